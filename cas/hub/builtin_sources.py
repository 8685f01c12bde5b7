"""The sources that come with this program: `cas sources` lists them, and `--source NAME` takes one."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from cas.errors import InputError
from cas.hub.source import Source

# The wheel has them here (pyproject.toml puts them there), a clone and the worker's image where they are written.
_PACKAGED = Path(__file__).with_name("sources")
_WRITTEN = Path(__file__).resolve().parents[2] / "manifests/sources"


class BuiltinSource(NamedTuple):
    """A source file that comes with this program.

    Attributes:
        name: what `--source` takes.
        path: the file.
        text: what the file holds.
    """

    name: str
    path: Path
    text: str

    @property
    def description(self) -> str:
        """Return the file's first line, which says what it is for."""
        return self.text.partition("\n")[0].removeprefix("# ").partition(": `")[0]

    @property
    def command(self) -> str:
        """Return the command in the file's first line, which publishes it."""
        return self.text.partition("\n")[0].partition(": `")[2].rstrip("`")

    def read(self) -> Source:
        """Return what the file says."""
        return Source.from_file(self.path)


def builtin_sources() -> list[BuiltinSource]:
    """Return the sources, ordered by name."""
    folder = _PACKAGED if _PACKAGED.is_dir() else _WRITTEN
    return [
        BuiltinSource(path.stem, path, path.read_text("utf-8"))
        for path in sorted(folder.glob("*.toml"), key=lambda path: path.stem)
    ]


def source_path(name: str) -> Path:
    """Return the source file that `--source` means: the file of that path, or else the built-in source of that name.

    Raises:
        InputError: there is neither.
    """
    path = Path(name)
    if path.is_file():
        return path
    found = {source.name: source.path for source in builtin_sources()}
    if name in found:
        return found[name]
    if path.exists():
        return path  # a folder or a device: reading it says so
    raise InputError(
        f"there is no source file {name}, and no source of that name: `cas sources` lists {', '.join(found)}"
    )
