"""A directory that a copy or import wrote to survives a power cut: before, what was; at the end, what was brought."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from cas.ops.transfer.copier import copy
from cas.ops.transfer.exporter import export
from cas.ops.transfer.importer import import_archive
from cas.store.store import Store, open_store
from tests.support.power_cut import PowerCuts
from tests.support.transfer import FILES, NEXT, filled


@pytest.mark.parametrize("way", ["copy", "import"])
def test_what_was_brought_is_on_the_disk(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    target = open_store(str(tmp_path / "new/store"))
    files = {name: data[:200_000] for name, data in FILES.items()}
    old = filled(directory_store, files)
    copy(["m"], target, directory_store)
    new = filled(directory_store, {name: data[:200_000] + b"more" for name, data in NEXT.items()})
    cuts = PowerCuts(tmp_path / "new/store", monkeypatch)
    if way == "copy":
        copy(["m"], target, directory_store)
    else:
        out = io.BytesIO()
        export(["m"], out, directory_store)
        out.seek(0)
        import_archive(out, "model.cas", target)
    cuts.check()
    assert cuts.kept() == {"tags/m/latest": new}
    assert {cuts.named_at(moment) for moment in cuts.moments} == {old, new}
