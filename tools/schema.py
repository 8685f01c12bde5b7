"""Write the JSON Schemas: of a manifest (manifests/schema/), and of what commands print with --json (docs/schemas/).

python -m tools.schema            writes the files
python -m tools.schema --check    exits with 1 when a file is not what would be written
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cas.formats import manifest
from tools.output_schemas.generator import schema
from tools.output_schemas.table import OUTPUTS

_ROOT = Path(__file__).parents[1]
OUTPUT_FOLDER = _ROOT / "docs" / "schemas"


def files() -> dict[Path, str]:
    """Return the text of each file."""
    schemas: dict[Path, Mapping[str, Any]] = {
        _ROOT / "manifests" / "schema" / f"manifest-{manifest.VERSION}.json": manifest.schema(),
        **{OUTPUT_FOLDER / f"{name}.json": schema(output) for name, output in OUTPUTS.items()},
    }
    return {path: json.dumps(made, indent=2, ensure_ascii=False) + "\n" for path, made in schemas.items()}


def main(arguments: Sequence[str] | None = None, texts: Mapping[Path, str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        arguments: command-line arguments, by default those of this process.
        texts: the files to write or to check, and what they must hold.
    """
    parser = argparse.ArgumentParser("python -m tools.schema", description="Write the JSON Schemas.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a file has drifted")
    texts = files() if texts is None else texts
    if not parser.parse_args(arguments).check:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return 0
    drifted = [path for path, text in texts.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in drifted:
        print(
            f"{path} is not what the types in cas/ and tools/output_schemas/ say: run python -m tools.schema, and "
            "commit the file",
            file=sys.stderr,
        )
    return 1 if drifted else 0


if __name__ == "__main__":
    sys.exit(main())
