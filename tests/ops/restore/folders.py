"""A folder to restore into, and what must hold of one."""

from __future__ import annotations

from pathlib import Path

import cas
from cas.store.store import Store
from tests.support.in_process import call_cas
from tests.support.models import KIB, noise, read_tree

FILES = {
    "model.bin": noise(300 * KIB, 1),
    "sub/second.bin": noise(200 * KIB, 2),
    "copy.bin": noise(200 * KIB, 2),
    "config.json": b"{}",
    "empty": b"",
}
OTHER = {"model.bin": noise(130 * KIB, 3), "README.md": b"other"}


def restore(store: Store, to: cas.Folder | Path, *references: str, **options: object) -> cas.Restored:
    return cas.restore(references or "m", store, to=to, **options)  # type: ignore[arg-type]


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file of the folder but those of our record."""
    assert not list(folder.glob(".cas/parts/*")), "no part file is left"
    return {path: data for path, data in read_tree(folder).items() if not path.startswith(".cas/")}


def refused(store: Store, folder: Path, *words: str, code: int = 2) -> str:
    """The one line that refuses a restore into the folder, which writes nothing; a dry run is refused as well."""
    before = read_tree(folder)
    lines = set()
    for more in ([], ["--dry-run"]):
        ran = call_cas("--store", store.url, "restore", *words, "--to", str(folder), *more)
        assert ran.returncode == code, ran.stderr
        lines.add(ran.stderr)
    (line,) = lines
    assert line.count("\n") == 1
    assert read_tree(folder) == before
    return line
