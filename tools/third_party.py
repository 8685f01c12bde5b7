"""The licences of what the worker's image contains: `python -m tools.third_party` writes its table in THIRD-PARTY.md.

What a package declares (`License-Expression`, else `License`, else a classifier) is read from the worker's environment,
which the image's steps make, too. A package that declares nothing clear is named below with what its licence file says.
"""

from __future__ import annotations

import email
import re
import sys
from collections import defaultdict
from email.message import Message
from pathlib import Path
from typing import NamedTuple

from tools import worker_env

DOCUMENT = Path(__file__).resolve().parents[1] / "THIRD-PARTY.md"
_TABLE = re.compile(r"(?<=<!-- written by `python -m tools.third_party` -->\n).*?(?=<!-- end -->)", re.DOTALL)

# Identifiers of SPDX: what consists of these is taken as it is. Of other words, and of classifiers, `_MEANT` says more.
_KNOWN = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0", "Zlib"),
    "LicenseRef-NVIDIA-Proprietary",
}
_MEANT = {
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "BSD 3-Clause License": "BSD-3-Clause",
    "https://opensource.org/licenses/BSD-3-Clause": "BSD-3-Clause",
    "MIT License": "MIT",
    "NVIDIA Proprietary Software": "LicenseRef-NVIDIA-Proprietary",
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: MIT License": "MIT",
}

# What the licence file of a package says that declares less: "Dual License", "BSD License", or nothing.
_READ = {
    "cuda-toolkit": "LicenseRef-NVIDIA-Proprietary",  # a name and a version, without a file
    "python-dateutil": "Apache-2.0 AND BSD-3-Clause",
    "torchaudio": "BSD-2-Clause",
    "vocos": "MIT",
}

_TEXT = re.compile(r"(licen[cs]e|copying|notice|eula)", re.IGNORECASE)


class LicenceUnknown(Exception):
    """A package does not say clearly under which licence it comes."""


class Package(NamedTuple):
    """An installed package and its licence.

    Attributes:
        name: as the package writes it.
        version: of the package.
        licence: an SPDX expression.
        has_text: whether a text of the licence lies beside it.
    """

    name: str
    version: str
    licence: str
    has_text: bool


def licence(metadata: Message) -> str:
    """Return the SPDX expression of what a package's metadata declare.

    Args:
        metadata: of the package, as its METADATA file has them.

    Raises:
        LicenceUnknown: they declare none that is known here, and `_READ` does not name the package.
    """
    if metadata["Name"] in _READ:
        return _READ[metadata["Name"]]
    words = (metadata["License"] or "").strip().partition("\n")[0].strip()
    for declared in (metadata["License-Expression"], words, *metadata.get_all("Classifier", [])):
        meant = _MEANT.get(declared or "", declared or "")
        if meant and set(re.split(r" AND | OR ", meant)) <= _KNOWN:
            return meant
    raise LicenceUnknown(f"{metadata['Name']} declares {words!r}: read its licence file, and name it in {__name__}")


def packages(site: Path, wanted: dict[str, str]) -> list[Package]:
    """Return the wanted packages of an environment, sorted by name.

    Args:
        site: the environment's folder of packages.
        wanted: versions by name, as `worker_env.versions` returns them.

    Raises:
        LicenceUnknown: see `licence`.
        LookupError: a wanted package is not installed in its version.
    """
    found = []
    for path in site.glob("*.dist-info/METADATA"):
        metadata = email.message_from_bytes(path.read_bytes())
        # cuSPARSELt has the text in its own folder, and soundfile also that of libsndfile.
        folders = (path.parent, *(site / name for name in ("nvidia/cusparselt",) if "cusparselt" in path.parent.name))
        has_text = any(_TEXT.search(file.name) for folder in folders for file in folder.rglob("*") if file.is_file())
        found.append((normalized(metadata["Name"]), metadata, has_text))
    installed = {name: Package(data["Name"], data["Version"], "", text) for name, data, text in found}
    missing = {name for name, version in wanted.items() if installed[normalized(name)].version != version}
    if missing:
        raise LookupError(f"{', '.join(sorted(missing))}: not installed in the version of the lock files")
    names = {normalized(name) for name in wanted}
    chosen = [installed[name]._replace(licence=licence(data)) for name, data, _ in found if name in names]
    return sorted(chosen, key=lambda package: package.name.lower())


def normalized(name: str) -> str:
    """Return the name of a package as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def table(found: list[Package]) -> str:
    """Return the Markdown table of licences, those of most packages first, and a line on packages without a text."""
    by_licence = defaultdict(list)
    for package in found:
        by_licence[package.licence].append(package.name)
    rows = sorted(by_licence.items(), key=lambda row: (-len(row[1]), row[0]))
    lines = ["| licence | packages |", "|---|---|", *(f"| {name} | {', '.join(names)} |" for name, names in rows)]
    without = ", ".join(package.name for package in found if not package.has_text)
    return "\n".join([*lines, "", f"Without a text of their licence: {without}.", ""])


def document(text: str, found: list[Package]) -> str:
    """Return the document with the table of these packages in the place of the one that it has.

    Raises:
        ValueError: the document has no place for it.
    """
    if not _TABLE.search(text):
        raise ValueError(f"{DOCUMENT.name} has no lines between which the table belongs")
    return _TABLE.sub(lambda _: table(found), text)


def main() -> int:
    """Write the table, or with `--check` only compare it; return 1 if it was another one."""
    site = worker_env.packages(worker_env.folder())
    text = DOCUMENT.read_text("utf-8")
    written = document(text, packages(site, worker_env.versions()))
    if "--check" not in sys.argv[1:]:
        DOCUMENT.write_text(written, "utf-8")
    return int(written != text)


if __name__ == "__main__":
    sys.exit(main())
