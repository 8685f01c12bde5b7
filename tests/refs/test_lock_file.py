"""Lock files as files: what is written, and what is refused when they are read."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import cas
from cas.errors import CacheError, CasError, FormatError, InputError, IntegrityError
from cas.formats.digest import hex_of
from tests.support.documents import document, encoded
from tests.support.two_versions import Boot


def test_a_lock_is_the_manifest_as_stored_and_its_digest_beside_it(boot: Boot) -> None:
    stored = Path(boot.store.url, "manifests/m", f"{boot.old_digest}.json").read_bytes()
    assert boot.lock.read_bytes() == stored
    assert Path(f"{boot.lock}.b3").read_text() == f"{boot.old_digest}  m.json\n"
    assert sorted(path.name for path in boot.lock.parent.iterdir()) == ["m.json", "m.json.b3", "store", "tree"]
    assert cas.read_lock(boot.lock).exact == boot.old


def test_b3sum_checks_it(boot: Boot) -> None:
    if not shutil.which("b3sum"):
        pytest.skip("b3sum is not installed")
    check = ["b3sum", "-c", "m.json.b3"]
    done = subprocess.run(check, cwd=boot.lock.parent, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "m.json: OK\n")


def test_the_command_says_what_was_locked(boot: Boot, tmp_path: Path) -> None:
    told = boot.json("lock", "m", "-o", str(tmp_path / "new/f.json"))
    assert told == {
        "reference": boot.new,
        "lock": str(tmp_path / "new/f.json"),
        "digest_file": str(tmp_path / "new/f.json.b3"),
    }
    again = boot.cas("-q", "lock", "m:v1", "-o", str(tmp_path / "new/f.json"))
    assert (again.returncode, again.stdout, again.stderr) == (0, f"{boot.old}\n", "")
    assert cas.read_lock(tmp_path / "new/f.json").exact == boot.old


def test_a_lock_that_cannot_be_written_is_told(boot: Boot) -> None:
    (boot.lock.parent / "there").mkdir()
    for where in (boot.lock / "x.json", boot.lock.parent / "there"):
        done = boot.cas("lock", "m", "-o", str(where))
        assert (done.returncode, "choose another with -o" in done.stderr) == (7, True), done.stderr
    assert boot.cas("lock", "m", "-o", "a\\b.json").returncode == 2
    assert boot.cas("lock", "m:none", "-o", str(boot.lock)).returncode == 3
    assert cas.read_lock(boot.lock).exact == boot.old
    assert not [path.name for path in boot.lock.parent.iterdir() if path.name.endswith(".tmp")]


@pytest.mark.parametrize("name", ["{}.json", "m@{}.json", "models@home@{}.json"])
def test_a_digest_in_the_name_stands_for_the_digest_file(boot: Boot, name: str) -> None:
    moved = boot.lock.with_name(name.format(boot.old_digest))
    boot.lock.rename(moved)
    assert cas.read_lock(moved).exact == boot.old
    moved.write_bytes(moved.read_bytes() + b" ")
    with pytest.raises(IntegrityError, match="its name says"):
        cas.read_lock(moved)


def test_a_name_and_a_digest_file_must_both_be_right(boot: Boot) -> None:
    moved = boot.lock.with_name(f"{boot.old_digest}.json")
    boot.lock.rename(moved)
    Path(f"{moved}.b3").write_text(f"{'0' * 64}  {moved.name}\n")
    with pytest.raises(IntegrityError, match=r"json\.b3 says blake3:0000"):
        cas.read_lock(moved)


def _edit(lock: Path) -> None:
    lock.write_bytes(lock.read_bytes().replace(b'"config.json"', b'"config.JSON"'))


def _end_lines(lock: Path) -> None:
    lock.write_bytes(lock.read_bytes() + b"\r\n")


def _hostile(lock: Path) -> None:
    data = encoded(document(["../../evil"]))
    lock.write_bytes(data)
    Path(f"{lock}.b3").write_text(f"{hex_of(data)}  m.json\n")


def _pipe(lock: Path) -> None:
    lock.unlink()
    os.mkfifo(lock)


REFUSED: dict[str, tuple[Callable[[Path], object], type[CasError], str]] = {
    "edited": (_edit, IntegrityError, "was changed: its digest is"),
    "ended with CRLF": (_end_lines, IntegrityError, "git .* put `m.json -text` into .gitattributes"),
    "cut short": (lambda lock: lock.write_bytes(lock.read_bytes()[:-1]), IntegrityError, "was changed"),
    "hostile": (_hostile, FormatError, r"lock file .*m\.json: .*path"),
    "without a digest": (lambda lock: Path(f"{lock}.b3").unlink(), InputError, r"put m\.json\.b3 beside it"),
    "gone": (Path.unlink, InputError, "does not exist: write it with `cas lock"),
    "a folder": (lambda lock: (lock.unlink(), lock.mkdir()), InputError, "is not a file"),
    "a pipe": (_pipe, InputError, "is not a file"),
    "a loop": (lambda lock: (lock.unlink(), lock.symlink_to(lock)), CacheError, "cannot be read"),
    "huge": (lambda lock: os.truncate(lock, 1 << 40), FormatError, "over the limit"),
    "of a malformed digest": (lambda lock: Path(f"{lock}.b3").write_text("x  m.json\n"), FormatError, "not one line"),
    "of two digests": (
        lambda lock: Path(f"{lock}.b3").write_text(Path(f"{lock}.b3").read_text() * 2),
        FormatError,
        "not one line",
    ),
    "of an empty digest": (lambda lock: Path(f"{lock}.b3").write_text(""), FormatError, "not one line"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_lock_is_refused_and_nothing_restored(boot: Boot, case: str) -> None:
    spoil, error, told = REFUSED[case]
    spoil(boot.lock)
    with pytest.raises(error, match=told):
        cas.read_lock(boot.lock)
    for words in (["restore"], ["env"], ["verify"]):
        done = boot.cas(*words, "--lock", str(boot.lock))
        assert (done.returncode, done.stdout) == (error.exit_code, ""), done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not boot.cache.exists()


def test_a_digest_file_whose_line_ending_git_changed_is_read(boot: Boot) -> None:
    beside = Path(f"{boot.lock}.b3")
    beside.write_bytes(beside.read_bytes().replace(b"\n", b"\r\n"))
    assert cas.read_lock(boot.lock).exact == boot.old
