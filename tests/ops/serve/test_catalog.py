"""The catalog of a server: which version a repo id and a revision mean, when refs move, and while the store is away."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

import cas
from cas import events
from cas.bucket import open_bucket
from cas.errors import NotFoundError, StoreError
from cas.ops.serve.catalog import Catalog, Chosen, RepoMissing, RevisionMissing
from cas.refs.reflog import Ref, RefLog
from cas.store import layout
from cas.store.store import Store
from tests.support.buckets import HURRIED
from tests.support.models import REPO, noise, put_model
from tools.servers.fault_proxy import Fault, FaultProxy, Kind


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def put(store: Store, tag: str, text: str, model: str = "m", commit: str = "c" * 40) -> str:
    """Store a version of one file, tag it, and return its digest."""
    made = put_model(store, {REPO: {"a.txt": text.encode()}}, model=model, commit=commit)
    digest = store.put_manifest(made)
    RefLog(store, Ref("tags", model, "latest")).append(None, "test")
    RefLog(store, Ref("tags", model, tag)).append(digest, "test")
    return digest


def pin(store: Store, deployment: str, digest: str, model: str = "m") -> None:
    RefLog(store, Ref("pins", deployment, model)).append(digest, "test")


def test_main_is_what_latest_names_and_commits_and_tags_name_the_others(directory_store: Store) -> None:
    old = put(directory_store, "old", "1", commit="1" * 40)
    new = put(directory_store, "latest", "2", commit="2" * 40)
    pin(directory_store, "eu", put(directory_store, "new", "3", commit="3" * 40))
    RefLog(directory_store, Ref("tags", "m", "latest")).append(new, "test")
    catalog = Catalog(directory_store)
    assert catalog.find("model", REPO).version.digest == new
    assert catalog.find("model", REPO, "main").reference == "m:latest"
    assert catalog.find("model", REPO, "1" * 40).version.digest == old
    assert catalog.find("model", REPO, "old").version.digest == old
    assert [(each.repo.repo_id, each.version.digest) for each in catalog.repos()] == [(REPO, new)]
    with pytest.raises(RevisionMissing, match="'other'"):
        catalog.find("model", REPO, "other")
    for repo_type, repo_id in (("dataset", REPO), ("model", "org/none")):
        with pytest.raises(RepoMissing):
            catalog.find(repo_type, repo_id)


def test_tags_and_pins_choose_in_their_order_and_the_choice_is_told(directory_store: Store) -> None:
    prod, canary = (put(directory_store, tag, tag, commit=tag[0] * 40) for tag in ("canary", "eagle"))
    pin(directory_store, "eu-prod", prod)
    told: list[events.Event] = []
    catalog = Catalog(directory_store, ["eagle"], ["eu-prod"], on_event=told.append)
    assert catalog.find("model", REPO).version.digest == canary
    assert catalog.find("model", REPO, "c" * 40).reference == "pin:eu-prod/m"
    assert [event.text for event in told if isinstance(event, Chosen)] == [
        f"{REPO} is that of m:eagle ({canary[:12]}), commit {'e' * 12}"
    ]
    assert Catalog(directory_store, [], ["pin:eu-prod/m"]).find("model", REPO).version.digest == prod
    assert Catalog(directory_store, ["other:eagle", "m:canary"]).find("model", REPO).version.digest == prod
    with pytest.raises(RepoMissing):
        Catalog(directory_store, ["canary"]).find("model", "org/none")
    with pytest.raises(NotFoundError, match="has no tag nightly"):
        Catalog(directory_store, ["nightly"]).find("model", REPO)


def test_a_ref_that_moved_counts_after_a_while_and_the_old_commit_still_answers(directory_store: Store) -> None:
    old = put(directory_store, "prod", "1", commit="1" * 40)
    clock, told = Clock(), list[events.Event]()
    catalog = Catalog(directory_store, ["prod"], clock=clock, on_event=told.append)
    assert catalog.find("model", REPO).version.digest == old
    new = put(directory_store, "prod", "2", commit="2" * 40)
    assert catalog.find("model", REPO).version.digest == old
    clock.now += 10
    assert catalog.find("model", REPO).version.digest == new
    assert catalog.find("model", REPO, "1" * 40).version.digest == old
    assert catalog.find("model", REPO, "2" * 40).version.digest == new
    assert [event.hosted.version.digest for event in told if isinstance(event, Chosen)] == [old, new]
    RefLog(directory_store, Ref("tags", "m", "prod")).append(None, "test")
    put(directory_store, "other", "3")
    clock.now += 10
    # What was chosen is gone altogether: what was served goes on, with a warning.
    assert catalog.find("model", REPO).version.digest == new
    assert any(
        "served on" in event.text and "no tag prod" in event.text for event in told if isinstance(event, events.Warned)
    )


def test_while_the_store_is_away_what_is_known_is_served(proxy: FaultProxy, s3_url: str) -> None:
    store = Store(open_bucket(s3_url, HURRIED))
    digest = put(store, "prod", "1")
    clock, told = Clock(), list[events.Event]()
    catalog = Catalog(Store(open_bucket(s3_url, HURRIED)), clock=clock, on_event=told.append)
    proxy.inject(Fault(Kind.STATUS, times=None, status=500, code="InternalError"))
    with pytest.raises(StoreError):
        catalog.find("model", REPO)
    proxy.clear()
    assert catalog.find("model", REPO).version.digest == digest
    before = proxy.count()
    assert catalog.find("model", REPO).version.digest == digest
    assert proxy.count() == before
    clock.now += 10
    assert catalog.find("model", REPO).version.digest == digest
    assert proxy.count() == before + 1  # a listing: entries and manifests never change
    proxy.inject(Fault(Kind.STATUS, times=None, status=500, code="InternalError"))
    clock.now += 10
    assert catalog.find("model", REPO).version.digest == digest


def test_a_version_that_cannot_be_read_is_left_out_and_told(directory_store: Store) -> None:
    lost = put(directory_store, "lost", "1", model="lost")
    kept = put(directory_store, "kept", "2", model="kept")
    directory_store.bucket.delete(layout.manifest_key("lost", lost))
    told: list[events.Event] = []
    catalog = Catalog(directory_store, on_event=told.append)
    assert catalog.find("model", REPO).version.digest == kept
    warned = [event.text for event in told if isinstance(event, events.Warned)]
    assert len(warned) == 1
    assert warned[0].startswith("lost:lost is not served")


def test_a_repo_is_found_by_its_type_too(directory_store: Store, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/table.csv").write_bytes(noise(5000))
    published = cas.publish("table", cas.Source.from_folder(tmp_path / "data", REPO), directory_store)
    model = Catalog(directory_store).find("model", REPO)
    assert str(model.version) == published.reference
    assert [file.path for file in model.repo.files] == ["table.csv"]
    made = directory_store.get_manifest(*model.version)
    repos = tuple(msgspec.structs.replace(repo, repo_type="dataset") for repo in made.repos)
    digest = directory_store.put_manifest(msgspec.structs.replace(made, repos=repos))
    RefLog(directory_store, Ref("tags", "table", "data")).append(digest, "test")
    found = Catalog(directory_store)
    assert found.find("dataset", REPO).version.digest == digest
    assert found.find("model", REPO).version == model.version
    assert [each.repo.repo_type for each in found.repos()] == ["dataset", "model"]


def test_what_was_named_first_is_main_whatever_commit_it_was_published_at(directory_store: Store) -> None:
    made = put_model(directory_store, {REPO: {"a.txt": b"1"}}, commit="1" * 40)
    pinned = msgspec.structs.replace(made, repos=tuple(msgspec.structs.replace(r, refs=()) for r in made.repos))
    digest = directory_store.put_manifest(pinned)
    RefLog(directory_store, Ref("tags", "m", "prod")).append(digest, "test")
    branch = put(directory_store, "dev", "2", commit="2" * 40)
    assert Catalog(directory_store, ["prod", "dev"]).find("model", REPO).version.digest == digest
    assert Catalog(directory_store, ["dev", "prod"]).find("model", REPO).version.digest == branch
    assert Catalog(directory_store).find("model", REPO).version.digest == branch  # of equals, the hub's main
