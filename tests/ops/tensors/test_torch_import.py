"""torch is imported beside the fetch: what that changes in the interpreter is as before afterwards."""

from __future__ import annotations

import gc
import sys
import threading
from pathlib import Path

import pytest

from cas.errors import InputError
from cas.ops.tensors.torch_import import import_torch, is_installed

MODULE = """
import gc, sys
seen = (gc.isenabled(), sys.getswitchinterval())
"""


@pytest.mark.parametrize(("text", "fails"), [(MODULE, False), (MODULE + "raise ImportError('broken')", True)])
def test_the_interpreter_is_as_before(text: str, fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a module of that name in torch's place, which takes no seconds and fails when it shall."""
    (tmp_path / "torch.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    before = gc.isenabled(), sys.getswitchinterval()
    assert is_installed()
    found: list[object] = []

    def load() -> None:
        try:
            found.append(import_torch().seen)
        except InputError as error:
            found.append(str(error))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [("torch cannot be imported: broken" if fails else (False, pytest.approx(0.0005)))] * 4
    assert (gc.isenabled(), sys.getswitchinterval()) == before
    sys.modules.pop("torch", None)
