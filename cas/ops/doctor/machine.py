"""The checks of this machine's cache directory: whether a restore can write, link and lock there, and the free space.

They run in a folder of their own, in the cache or in its nearest parent that exists, which is removed again.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from cas import config
from cas.errors import CacheError
from cas.local import fs
from cas.local.locks import Lock
from cas.ops.doctor.findings import Findings, Result, failed, ok, warning
from cas.parallel import BackgroundCall

_ANSWERS_WITHIN = 10.0  # seconds; on a volume whose server is gone a system call waits for ever
_PROBE = bytes(range(256)) * 256  # not zeros, which is what a volume that lost it would give back
_LITTLE = 2_000_000_000  # bytes; less than F5-TTS with its vocoder and a part file need


def examine_cache(findings: Findings, cache_dir: str | None) -> None:
    """Note whether models can be restored to the cache directory.

    Args:
        findings: where to note it.
        cache_dir: the hub cache; None for the one that the environment names.
    """
    dirs = config.cache_dirs(cache_dir)
    existing = fs.nearest_existing(dirs.hub)
    looks: list[tuple[str, Callable[[Path], Result]]] = [
        ("cache", lambda scratch: _write(scratch, dirs.hub)),
        ("links", _links),
        ("locks", _locks),
        ("room", _room),
    ]
    made = BackgroundCall(lambda: _scratch(existing))
    if not made.ends_within(_ANSWERS_WITHIN):
        findings.add("machine", "cache", _silent(dirs.hub))
        return
    try:
        scratch = made.result()
    except OSError as error:
        findings.add("machine", "cache", _unwritable(dirs.hub, existing, error))
        return
    try:
        for name, look in looks:
            call = BackgroundCall(lambda look=look: look(scratch))  # type: ignore[misc]
            if not call.ends_within(_ANSWERS_WITHIN):
                findings.add("machine", name, _silent(dirs.hub))
                return
            findings.check("machine", name, call.result)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _scratch(existing: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=".cas-doctor-", dir=existing))


def _silent(hub: Path) -> Result:
    advice = "the volume's server is gone or slow: look at its mount, or choose another directory"
    return failed(f"{hub} did not answer in {_ANSWERS_WITHIN:g} s", advice, CacheError.exit_code)


def _unwritable(hub: Path, existing: Path, error: OSError) -> Result:
    advice = "check its owner and mode, or name another directory in HF_HUB_CACHE or --cache-dir"
    return failed(f"{hub}: nothing can be written in {existing}: {error.strerror}", advice, CacheError.exit_code)


def _write(scratch: Path, hub: Path) -> Result:
    path = scratch / "file"
    with fs.disk_errors(path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            fs.write_all(fd, _PROBE)
            durable = fs.sync(fd)
            back = bytearray(len(_PROBE))
            if fs.read_at(fd, memoryview(back), 0) != len(_PROBE) or back != _PROBE:
                advice = "the disk or volume is broken: choose another directory"
                return failed(f"{hub}: what was written there cannot be read back", advice, CacheError.exit_code)
        finally:
            os.close(fd)
    where = f"{hub}" if hub.exists() else f"{hub}, which the first restore makes"
    return ok(where) if durable else warning(f"{where}: no fsync", "a power cut may lose files: restore them again")


def _links(scratch: Path) -> Result:
    target = scratch / "file"
    try:
        os.symlink("file", scratch / "symlink")
    except OSError as error:
        try:
            os.link(target, scratch / "hardlink")
        except OSError:
            advice = "files are copied into snapshots: allow twice the space"
            return warning(f"no symlinks ({error.strerror}) and no hard links", advice)
        return warning(f"no symlinks ({error.strerror}): hard links take their place")
    clones = fs.can_clone(target, scratch)
    return ok("symlinks" + (", and clones that share bytes with older snapshots" if clones else ""))


def _locks(scratch: Path) -> Result:
    first, second = Lock(scratch / "lock"), Lock(scratch / "lock")
    try:
        acquired = first.try_acquire()
        again = second.try_acquire() if acquired else False
    finally:
        first.release()
        second.release()
    advice = "restores of one model at the same moment fetch it twice; what they write stays sound"
    if acquired is None:
        return warning("locks (flock) do not work", advice)
    if again:
        return warning("a lock (flock) is given to two at once", advice)
    return ok("a lock (flock) keeps others out")


def _room(scratch: Path) -> Result:
    free = fs.free_bytes(scratch)
    words = f"{free / 1e9:,.1f} GB free"
    if free == 0:
        return failed(words, "free some space, or name another directory in HF_HUB_CACHE", CacheError.exit_code)
    if free < _LITTLE:
        return warning(words, "free some space: a restore checks what it needs before the first byte")
    return ok(words)
