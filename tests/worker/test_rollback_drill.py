"""The rollback drill of docs/operations/versions.md: its commands, and workers on a volume and on fresh machines."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from cas.errors import SignatureError
from tests.support.in_process import call_cas
from tests.support.models import read_tree
from tests.worker.signed import SPEECH, SignedStation, release, signed
from tests.worker.station import ROOT

__all__ = ["signed"]

PIN = "pin:drill/f5-tts"
DRILL = (
    (ROOT / "docs/operations/versions.md")
    .read_text()
    .partition("**The rollback drill.**")[2]
    .partition("\n**Who made")[0]
)


def commands(key: Path) -> list[list[str]]:
    """The drill's commands, with the path of the key."""
    lines = re.findall(r"^\$ cas (.*)$", DRILL, re.MULTILINE)
    return [shlex.split(line.replace("release.key", str(key))) for line in lines]


def test_a_bad_release_is_rolled_back_for_workers_on_volumes_and_fresh_ones(signed: SignedStation) -> None:
    volume, fresh = (signed.station.folder / name for name in ("volume", "fresh"))
    eu = {"CAS_DEPLOYMENT": "drill"}

    def runs(name: str, *directories: Path, **env: str) -> int | None:
        booted = signed.walk(*directories, **eu, **env)
        assert read_tree(Path(booted.restored.snapshots[SPEECH])) == release(name)[SPEECH]
        assert booted.restored.signed is not None and booted.restored.signed.ref == PIN
        return booted.number

    signed.release("good", PIN)
    assert runs("good", volume) == 1
    signed.release("bad", PIN)
    assert (runs("bad", volume), runs("bad", fresh)) == (2, 2)

    before = shutil.copytree(signed.station.store, signed.station.folder / "before")
    variables = {**signed.variables(), "CAS_STORE": signed.station.store}
    history, *others = (call_cas(*words, env=variables) for words in commands(signed.key.file))
    assert (history.returncode, [done.returncode for done in others]) == (0, [0, 0]), [done.stderr for done in others]
    assert len(others) == 2

    for directory in (volume, signed.station.folder / "fresher"):
        ran = signed.station.boot(**signed.variables(**eu, CAS_CACHE_DIRS=str(directory)))
        signed.station.check(ran, release("good"))
        assert ran.receipt["signed"]["number"] == 3
        assert ran.receipt["signed"]["key"] == signed.key.id

    # Somebody who can delete puts the bad release into force again.
    shutil.rmtree(signed.station.store)
    shutil.copytree(before, signed.station.store)
    with pytest.raises(SignatureError, match="was verified in this cache before"):
        signed.walk(volume, **eu)
    floor = re.findall(r"`CAS_FLOOR=(\S+)`", DRILL)[0]
    with pytest.raises(SignatureError, match="below its floor of 3"):
        signed.walk(fresh.with_name("freshest"), **eu, CAS_FLOOR=floor)
