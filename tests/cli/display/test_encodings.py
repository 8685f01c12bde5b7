"""Names whose bytes are no UTF-8, and terminals, logs and locales that are no UTF-8."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import cas
from cas import events, host
from cas.errors import InputError
from cas.ops.fsck.checker import fsck
from cas.store.store import Store
from tests.support.models import publish_tree, write_tree
from tests.support.processes import run_cas

NO_TEXT = os.fsdecode(b"caf\xe9")  # "café" in Latin-1, as an old archive leaves it
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}  # Python then takes file names for ASCII


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with a file whose name is beyond Latin-1."""
    return write_tree(tmp_path / "tree", {"w.bin": b"weights", "modèle-模型.txt": b"text"})


class TestNames:
    """Names of files and folders that are no text."""

    def test_such_a_file_is_not_published_and_is_named(self, directory_store: Store, tree: Path) -> None:
        write_tree(tree, {NO_TEXT: b"x"})
        with pytest.raises(InputError, match=r"the name of the file caf\\xe9 in .* is not UTF-8: rename it") as error:
            publish_tree(directory_store, tree)
        assert len(str(error.value).splitlines()) == 1
        source = cas.Source.from_folder(tree, "o/m", ["w.bin"])
        assert cas.publish("m", source, directory_store).created

    def test_folders_may_have_such_names(self, tmp_path: Path, tree: Path) -> None:
        odd = tmp_path / NO_TEXT
        odd.mkdir()
        store = cas.open_store(str(odd / "store"))
        published = publish_tree(store, tree.rename(odd / "tree"))
        state = tmp_path / "state"
        assert fsck(None, store, state=state).sound
        assert list(cas.restore("m", store, cache_dir=odd / "hub").snapshots)
        locked = cas.write_lock("m", store, odd / f"{NO_TEXT}.json")
        assert cas.read_lock(locked.lock).exact == published.reference

    def test_an_interrupted_check_of_such_a_store_goes_on(self, tmp_path: Path, tree: Path) -> None:
        store = cas.open_store(str(tmp_path / NO_TEXT))
        publish_tree(store, tree)

        def interrupt(event: object) -> None:
            if isinstance(event, events.Moved):
                raise KeyboardInterrupt

        state = tmp_path / "state"
        with pytest.raises(KeyboardInterrupt):
            fsck(None, store, state=state, on_event=interrupt)
        assert r"caf\\udce9" in state.read_text()
        assert fsck(None, store, state=state).sound

    def test_a_user_s_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LOGNAME", NO_TEXT)
        assert host.whoami().startswith("caf?@")

    def test_no_line_for_a_shell_holds_an_escape(self, tmp_path: Path, tree: Path) -> None:
        publish_tree(str(tmp_path / "store"), tree)
        words = ("env", "m", "--store", str(tmp_path / "store"), "--cache-dir")
        done = run_cas(*words, str(tmp_path / NO_TEXT / "hub"))
        assert (done.returncode, done.stdout) == (2, "")
        assert "cannot be printed in utf-8 as it is" in done.stderr
        done = run_cas(*words, str(tmp_path / "café" / "hub"), env={"PYTHONIOENCODING": "ascii"})
        assert (done.returncode, done.stdout) == (2, "")


class TestOutput:
    """What a stream's encoding lacks."""

    @pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
    def test_text_becomes_escapes_and_json_stays_json(self, tmp_path: Path, tree: Path, encoding: str) -> None:
        publish_tree(str(tmp_path / "store"), tree)
        env = {"PYTHONIOENCODING": encoding, "CAS_STORE": str(tmp_path / "store")}
        done = run_cas("show", "m", env={**env, "PYTHONIOENCODING": "ascii"})
        assert done.returncode == 0
        assert r"mod\xe8le-\u6a21\u578b.txt" in done.stdout
        shown = run_cas("show", "m", "--json", env=env)
        assert "modèle-模型.txt" in json.dumps(json.loads(shown.stdout), ensure_ascii=False)
        assert run_cas("diff", "m", "m", env=env).returncode == 0


class TestLocale:
    """A process that takes file names for something else than UTF-8."""

    def test_names_beyond_ascii_are_neither_read_nor_written_wrongly(self, tmp_path: Path, tree: Path) -> None:
        store = str(tmp_path / "store")
        publish_tree(store, tree)
        for words in (
            ("restore", "m", "--cache-dir", str(tmp_path / "hub")),
            ("publish", "other", "--dir", str(tree), "--as", "o/m"),
        ):
            done = run_cas(*words, "--store", store, env=C_LOCALE)
            assert (done.returncode, done.stdout) == (2, "")
            assert "set PYTHONUTF8=1" in done.stderr
            assert len(done.stderr.splitlines()) == 1
        words = ("publish", "other", "--dir", str(tree), "--as", "o/m", "--include", "w.bin", "-q", "--store", store)
        assert run_cas(*words, env=C_LOCALE).returncode == 0
