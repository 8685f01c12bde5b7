"""Build the wheel and the source archive of the current commit into dist/: `make dist`.

Everybody who builds one commit gets the same bytes: the files come from `git archive`, not from the working tree, times
are the commit's (SOURCE_DATE_EPOCH), hatchling sorts files and levels their modes, and its version is locked
(requirements/backend.lock). Both are built twice, in folders of other names and with another umask, and compared before
anything is written. Compression is zlib's: a Python that is linked with another one (zlib-ng) makes other bytes of the
same files, so releases name the Python that built them.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import zlib
from io import BytesIO
from pathlib import Path

from cas.version import __version__

ROOT = Path(__file__).resolve().parents[1]
SUMS = "SHA256SUMS"


class DistError(Exception):
    """The wheel or the source archive cannot be built, or is another one each time."""


def build(source: Path, into: Path, epoch: int, umask: int = 0o022) -> dict[str, bytes]:
    """Build a wheel and a source archive, and return their bytes by file name.

    Args:
        source: the project's files, or more.
        into: an empty folder.
        epoch: seconds since 1970, the time of all files inside.
        umask: of the process that builds.

    Raises:
        DistError: hatchling fails.
    """
    command = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--target", "wheel"]
    done = subprocess.run(
        [*command, "--directory", str(into)],
        cwd=source,
        env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch)},
        umask=umask,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DistError(f"hatchling failed with exit code {done.returncode}:\n{done.stdout}{done.stderr}")
    return {path.name: path.read_bytes() for path in sorted(into.iterdir())}


def sums(files: dict[str, bytes]) -> str:
    """Return the lines that `sha256sum -c` reads."""
    return "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items()))


def of_commit(commit: str, clone: Path = ROOT) -> dict[str, bytes]:
    """Return the wheel and the source archive of a commit, by file name, built twice and found equal.

    Args:
        commit: what git takes for one.
        clone: the repository.

    Raises:
        DistError: they cannot be built, are not equal, or this is no clone.
    """
    epoch = int(_git(clone, "log", "-1", "--format=%ct", commit).decode())
    archive = _git(clone, "archive", "--format=tar", commit)
    made = []
    with tempfile.TemporaryDirectory(prefix="dist-") as folder:
        for name, umask in (("one", 0o022), ("another", 0o077)):
            source, into = Path(folder, name, "source"), Path(folder, name, "dist")
            into.mkdir(parents=True)
            with tarfile.open(fileobj=BytesIO(archive)) as tar:
                tar.extractall(source, filter="data")
            made.append(build(source, into, epoch, umask))
    if made[0] != made[1]:
        raise DistError(f"two builds of {commit} differ:\n{sums(made[0])}{sums(made[1])}")
    return made[0]


def _git(clone: Path, *words: str) -> bytes:
    done = subprocess.run(["git", *words], cwd=clone, capture_output=True, check=False)
    if done.returncode:
        raise DistError(f"`git {words[0]}` failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def main() -> int:
    """Build, write dist/ with SHA256SUMS, and print the sums."""
    parser = argparse.ArgumentParser(prog="python -m tools.dist", description=__doc__)
    parser.add_argument("--tag", help="fail unless this is the tag of the version: v1.2.3")
    parser.add_argument("--into", type=Path, default=ROOT / "dist")
    options = parser.parse_args()
    if options.tag not in (None, f"v{__version__}"):
        sys.exit(f"the tag is {options.tag} and cas/version.py says {__version__}: tag the commit v{__version__}")
    try:
        files = of_commit("HEAD")
    except DistError as error:
        sys.exit(str(error))
    options.into.mkdir(parents=True, exist_ok=True)
    for name, data in {**files, SUMS: sums(files).encode()}.items():
        (options.into / name).write_bytes(data)
    print(sums(files), end="")
    print(f"built by Python {sys.version.split()[0]} with zlib {zlib.ZLIB_RUNTIME_VERSION}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
