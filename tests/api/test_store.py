"""A store in Python: what it holds, what names it and its care, as the command line tells it."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from pathlib import Path

import pytest

import cas
from cas import events
from cas.store.store import Store as PlainStore
from tests.support.in_process import call_cas, cas_json
from tests.support.models import REPO, publish_tree, write_tree

FIRST, SECOND = {"a.bin": b"a" * 5000}, {"a.bin": b"a" * 5000, "b.bin": b"b" * 3000}


@pytest.fixture
def store(tmp_path: Path) -> cas.Store:
    """A store with two versions of the model m: `latest` and `prod` name the second, and `old` the first."""
    opened = cas.open_store(tmp_path / "store")
    publish_tree(opened, write_tree(tmp_path / "1", FIRST), tags=("latest", "old"))
    publish_tree(opened, write_tree(tmp_path / "2", SECOND))
    opened.tag("m", "prod", by="anna", reason="release 2")
    return opened


def test_a_store_tells_what_it_holds(store: cas.Store) -> None:
    assert {version.tags: version.size for version in store.versions("m")} == {("latest", "prod"): 8000, ("old",): 5000}
    assert json.loads(json.dumps([version.document() for version in store.versions()])) == cas_json(store, "ls")
    first, second = store.tags("m")["old"], store.tags("m")["prod"]
    assert store.tags("m") == {"latest": second, "old": first, "prod": second}
    assert store.resolve("m:old").exact == first
    shown = store.show("m")
    assert (shown.version.exact, shown.names.tags) == (second, ("latest", "prod"))
    assert shown.lineage.parent == first[-64:]
    assert [line.version.digest[:8] for line in store.tree()["m"]] == [first[9:17], second[9:17]]
    assert (store.diff("m:old", "m").download.plain, store.diff("m", "m").same) == (3000, True)
    assert sorted(usage.plain for usage in store.du().versions) == [5000, 8000]


def test_tags_and_pins_are_moved_and_put_back(store: cas.Store) -> None:
    first, second = store.tags("m")["old"], store.tags("m")["prod"]
    moved = store.tag("m:old", ["prod", "old"])
    assert (moved.reference, moved.refs, moved.moved) == (first, ("m:prod", "m:old"), ("m:prod",))
    assert store.rollback("m:prod").after == second[-64:]
    assert next(move.move.entry.by for move in store.history("m:prod")) == "anna"
    assert store.pin("eu-prod", "m:old", by="ben").moved == ("pin:eu-prod/m",)
    assert [(pin.deployment, pin.by) for pin in store.pins()] == [("eu-prod", "ben")]
    assert store.resolve("pin:eu-prod/m").exact == first
    assert store.unpin("eu-prod").moved == ("pin:eu-prod/m",)
    assert store.pins() == []
    assert store.untag("m:prod").reference == ""
    assert set(store.tags("m")) == {"latest", "old"}


@pytest.mark.parametrize(
    ("text", "told"), [("m", "is a model"), ("pin:eu/m", "is a pin"), ("m@" + "a" * 8, "is a version")]
)
def test_untag_removes_tags_alone(store: cas.Store, text: str, told: str) -> None:
    with pytest.raises(cas.CasError, match=told):
        store.untag(text)


def test_what_must_be_named_now_is_checked_first(store: cas.Store) -> None:
    with pytest.raises(cas.CasError, match="m:prod"):
        store.tag("m:old", "prod", expect="none")
    assert store.tags("m")["prod"] == store.tags("m")["latest"]


def test_the_care_of_a_store(store: cas.Store, tmp_path: Path) -> None:
    assert store.fsck().sound
    assert store.gc(dry_run=True).dry_run
    assert any("m:latest" in why for why in store.explain(store.tags("m")["latest"]).kept_by)
    assert store.doctor(cache_dir=str(tmp_path / "hub")).store == store.url
    assert [ref.ref.second for ref in store.audit().refs] == ["latest", "old", "prod"]
    locked = store.lock("m:old", tmp_path / "m.lock")
    assert (locked.lock, cas.read_lock(locked.lock).exact) == (tmp_path / "m.lock", locked.reference)


def test_functions_take_a_url_a_path_an_open_store_or_the_default(
    store: cas.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = store.versions()
    assert cas.versions(store=store.url) == cas.versions(store=PlainStore(store.bucket)) == listed
    monkeypatch.setenv("CAS_STORE", store.url)
    assert cas.versions("m") == cas.open_store().versions("m")
    assert cas.open_store(store) is store
    assert cas.init() is False


def test_archives_and_other_stores(store: cas.Store, tmp_path: Path) -> None:
    done = cas.export("m:old", tmp_path / "m.tar", store)
    copied = cas.import_archive(tmp_path / "m.tar", tmp_path.joinpath("other").as_posix())
    assert copied.versions == done.versions == (store.tags("m")["old"],)
    held = io.BytesIO()
    cas.export(["m"], held, store)
    held.seek(0)
    assert cas.import_archive(held, str(tmp_path / "third"), refs=False).moved == ()
    assert cas.copy("m:prod", str(tmp_path / "fourth"), store).moved == ("m:prod",)
    assert cas.mirror((), str(tmp_path / "fourth"), store).made_store is False
    assert cas.open_store(tmp_path / "fourth").tags("m") == store.tags("m")


def test_what_results_say_of_themselves_is_short(store: cas.Store, tmp_path: Path) -> None:
    restored = cas.restore("m", store, cache_dir=tmp_path / "hub")
    digest = restored.reference[-64:]
    (version,) = (each for each in store.versions("m") if each.digest == digest)
    shown = [repr(each) for each in (store, restored, version, store.resolve("m"), store.show("m"))]
    shown += [repr(each) for each in (store.pin("eu", "m"), store.pins()[0], store.history("m")[-1])]
    shown.append(repr(store.diff("m:old", "m")))
    assert shown[0] == f"Store({str(tmp_path / 'store')!r})"
    assert all(digest[:12] in text and digest[:13] not in text for text in shown[1:]), shown
    assert all(len(text) < 120 for text in shown[2:]), shown


def test_results_name_files_by_paths_and_documents_by_texts(store: cas.Store, tmp_path: Path) -> None:
    restored = cas.restore("m", store, cache_dir=tmp_path / "hub")
    assert restored.hub == tmp_path / "hub"
    assert restored.snapshots[REPO].joinpath("b.bin").read_bytes() == SECOND["b.bin"]
    into_folder = cas.restore("m", store, to=tmp_path / "folder")
    assert (into_folder.folder, into_folder.hub) == (tmp_path / "folder", None)
    document = cas_json(store, "restore", "m", "--cache-dir", str(tmp_path / "hub"))
    assert document["snapshots"] == {REPO: str(restored.snapshots[REPO])}


def test_the_variables_are_those_of_the_command(store: cas.Store, tmp_path: Path) -> None:
    hub = str(tmp_path / "hub")
    cas.restore("m", store, cache_dir=hub)
    assert cas.env("m", store, cache_dir=hub) == cas_json(store, "env", "m", "--cache-dir", hub)


def test_a_bar_shows_progress_where_it_is_told(store: cas.Store, tmp_path: Path) -> None:
    out = io.StringIO()
    with cas.progress_bar(verbose=True, out=out) as bar:
        bar(cas.Event())
        cas.restore("m", store, cache_dir=tmp_path / "hub", on_event=bar)
    assert "\x1b" not in out.getvalue()


def test_several_operations_at_once_are_awaited_in_threads(store: cas.Store, tmp_path: Path) -> None:
    async def both() -> list[cas.Restored]:
        return await asyncio.gather(
            *(
                asyncio.to_thread(cas.restore, name, store, cache_dir=tmp_path / name.replace(":", "-"))
                for name in ("m:old", "m:prod")
            )
        )

    assert [done.total for done in asyncio.run(both())] == [5000, 8000]


def test_a_server_runs_while_it_is_a_context(store: cas.Store, tmp_path: Path) -> None:
    with cas.serve(store, port=0, cache=tmp_path / "cache") as server:
        assert [hosted.repo.repo_id for hosted in server.repos()] == [REPO]
        assert server.endpoint.endswith(str(server.port))


def test_a_store_that_signs(store: cas.Store, tmp_path: Path) -> None:
    made = call_cas("keygen", str(tmp_path / "ci"))
    assert made.returncode == 0, made.stderr
    signing = cas.open_store(store.url, sign_with=tmp_path / "ci.key")
    (entry,) = signing.sign("m:prod")
    assert entry.added
    signatures = {str(each.ref): len(each.key_ids) for version in signing.versions("m") for each in version.signatures}
    assert signatures == {"m:latest": 0, "m:old": 0, "m:prod": 1}
    with pytest.raises(cas.CasError, match="say what to sign"):
        signing.sign()


def test_who_listens_to_nothing_finds_warnings_and_notes_in_the_log(
    store: cas.Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="cas"):
        cas.restore("m", store, cache_dir=tmp_path / "hub")
        events.log(events.Warned("50% of it is gone"))
        events.log(events.Moved(1))
    told = [(record.name, record.levelname, record.getMessage()) for record in caplog.records]
    assert ("cas", "DEBUG", "phase fetch") in told
    assert told[-1] == ("cas", "WARNING", "50% of it is gone")
    assert logging.getLogger("cas").handlers == []
