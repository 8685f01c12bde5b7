"""Workers, publishers and a collector at work together, any of them killed at any moment: nothing is ever lost.

`make soak` runs it for two minutes; CAS_SOAK_SECONDS says otherwise.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from cas.errors import CasError, NotFoundError
from cas.formats.frame import Decoder
from cas.formats.manifest import ChunkRef
from cas.refs import reflog
from cas.refs.reference import resolve
from cas.store.store import Store, open_store
from tests.support.collecting import AT_ONCE, Models, dangling
from tests.support.models import write_tree

_SECONDS = float(os.environ.get("CAS_SOAK_SECONDS", "15"))
_KEEP = 3
_LEASE = 4  # seconds
_KILLED = 0.3  # of all processes

# What may come of a process that was not killed: a publisher can lose a race for a tag, or its lease on a busy machine;
# a collector can be put off; a worker can come too late for a version that three others have followed.
_MAY_END = {"worker": {0, 3}, "publisher": {0, 6}, "collector": {0, 6}, "operator": {0, 2, 3, 6}}

# Most chunks of a version are those of others, too.
_SHARED = [random.Random(number).randbytes(30_000) for number in range(20)]


class _Soak:
    """Processes begun again and again until time is up. ended: exit codes by role. swept: chunks."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store, self.folder = store, folder
        self.ended: dict[str, Counter[int]] = {role: Counter() for role in _MAY_END}
        self.said: list[str] = []
        self.wrong: list[str] = []
        self.swept = 0
        self._over = threading.Event()
        self._counting = threading.Lock()

    def run(self, seconds: float) -> None:
        roles = [*["worker"] * 10, *["publisher"] * 3, "collector", "operator"]
        threads = [threading.Thread(target=self._act, args=(role, number)) for number, role in enumerate(roles)]
        threads.append(threading.Thread(target=self._watch))
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        self._over.set()
        for thread in threads:
            thread.join()

    def _act(self, role: str, number: int) -> None:
        chance = random.Random(number)
        while not self._over.is_set():
            words = [sys.executable, "-m", "cas", "-q", "--json", "--store", self.store.url]
            words += self._words(role, number, chance)
            with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
                if chance.random() < _KILLED:
                    threading.Timer(chance.uniform(0.2, 3), process.send_signal, [signal.SIGKILL]).start()
                try:
                    told, said = process.communicate(timeout=120)
                except subprocess.TimeoutExpired:
                    process.kill()
                    told, said = "", "it hung"
            with self._counting:
                if role == "collector" and process.returncode == 0:
                    self.swept += json.loads(told)["swept_chunks"]
                self.ended[role][process.returncode] += 1
                if process.returncode not in _MAY_END[role] | {-signal.SIGKILL}:
                    self.said.append(f"{role} {process.returncode}: {said}")

    def _words(self, role: str, number: int, chance: random.Random) -> list[str]:
        tag = chance.choice(["latest", "v1", "v2"])
        if role == "worker":
            reference = chance.choice([f"m:{tag}", "pin:eu/m"])
            return ["restore", reference, "--cache-dir", str(self.folder / f"cache{number}")]
        if role == "publisher":
            tree = self.folder / f"tree{number}"
            files = {f"{file}.bin": chance.choice(_SHARED) for file in range(6)}
            write_tree(tree, {**files, "own.bin": chance.randbytes(2_000)})
            return ["publish", "m", "--dir", str(tree), "--as", "org/model", "--tag", tag]
        if role == "operator":
            return chance.choice([["rollback", f"m:{tag}"], ["pin", "eu", f"m:{tag}"], ["tag", f"m:{tag}", "v3"]])
        return ["gc", "--grace", "1s", "--force", "--keep", str(_KEEP), "--wait", "5s"]

    def _watch(self) -> None:
        """What refs name now can be read whole, chunk for chunk, while all this goes on."""
        store = open_store(self.store.url)
        while not self._over.wait(0.5):
            for ref in (*reflog.current(store, "tags"), *reflog.current(store, "pins")):
                if damage := _damage(store, str(ref)):
                    self.wrong.append(damage)


def _damage(store: Store, reference: str) -> str:
    """What is missing of a version that a ref names before and after it is looked at."""
    try:
        found = resolve(store, reference)
    except NotFoundError as error:
        return str(error) if "has no version" in str(error) else ""
    decoder = Decoder()
    try:
        for digest, size in found.manifest.chunks().items():
            store.get_chunk(ChunkRef(digest, size), decoder)
    except CasError as error:
        return f"{reference}: {error}" if resolve(store, reference).digest == found.digest else ""
    return ""


@pytest.mark.timeout(_SECONDS + 300)
def test_nothing_is_lost_whoever_is_killed(s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAS_LEASE_SECONDS", str(_LEASE))
    monkeypatch.setenv("CAS_RECEIPT", "1")
    monkeypatch.setenv("CAS_DEPLOYMENT", "eu")
    store = open_store(s3_url)
    models = Models(store, tmp_path)
    models.publish("first")
    resolved = resolve(store, "m")
    for tag in ("v1", "v2"):
        assert _cas(store, "tag", resolved.exact, tag) == 0
    assert _cas(store, "pin", "eu", resolved.exact) == 0
    soak = _Soak(store, write_tree(tmp_path / "soak", {}))
    soak.folder.mkdir(exist_ok=True)
    soak.run(_SECONDS)
    print(f"{soak.swept} chunks swept;", {role: dict(codes) for role, codes in soak.ended.items()})
    assert soak.said == []
    assert soak.wrong == []
    assert dangling(store, keep=_KEEP) == []
    if _SECONDS >= 60:
        assert soak.swept > 0, "the collector swept while the others were at work"
    for role in ("worker", "publisher", "collector"):
        assert soak.ended[role][0] > 0, f"no {role} did its work"
    time.sleep(_LEASE + 1)
    for _ in range(2):
        models.collect(grace=AT_ONCE, keep=_KEEP)
    needed = set().union(*(models.needed(digest) for digest in models.versions()))
    assert models.chunks() == needed, "one more collection frees everything that nothing needs"
    assert dangling(store, keep=_KEEP) == []


def _cas(store: Store, *words: str) -> int:
    command = [sys.executable, "-m", "cas", "-q", "--store", store.url, *words]
    return subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
