"""Write manifests/schema/manifest-2.json, the JSON Schema of a manifest, from the types in cas/formats/manifest.py.

python -m tools.schema            writes the file
python -m tools.schema --check    exits with 1 when the file is not what would be written
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from cas.formats import manifest

FILE = Path(__file__).parents[1] / "manifests" / "schema" / f"manifest-{manifest.VERSION}.json"


def text() -> str:
    """Return the schema as the text of the file."""
    return json.dumps(manifest.schema(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str] | None = None, file: Path = FILE) -> int:
    """Run the command and return its exit code.

    Args:
        arguments: command-line arguments, by default those of this process.
        file: the file to write or to check.
    """
    parser = argparse.ArgumentParser("python -m tools.schema", description="Write the manifest's JSON Schema.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when the file has drifted")
    if not parser.parse_args(arguments).check:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text(), encoding="utf-8")
        return 0
    if file.is_file() and file.read_text(encoding="utf-8") == text():
        return 0
    print(
        f"{file} is not what cas/formats/manifest.py says: run python -m tools.schema, and commit the file",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
