"""A server hosts no ref that no trusted key signed, and nothing takes that ref's place."""

from __future__ import annotations

from pathlib import Path

import pytest

from cas import events
from cas.errors import IntegrityError, SignatureError, SignerMissing
from cas.formats.manifest import digest_of
from cas.ops.serve.catalog import Catalog, Chosen, RevisionMissing
from cas.ops.serve.server import HubServer, Serving
from cas.store import layout
from cas.store.store import Store
from tests.ops.serve.conftest import Served, no_publish
from tests.ops.serve.test_catalog import Clock, put
from tests.ops.serve.upstream_hub import GuardedHub
from tests.support.models import REPO, put_model, write_tree
from tests.support.signed_stores import move, objects_of_refs, trusting, unsigned

ONE, TWO, THREE = "1" * 40, "2" * 40, "3" * 40


def told(reported: list[events.Event]) -> list[str]:
    """The warnings among events."""
    return [event.text for event in reported if isinstance(event, events.Warned)]


def attack(store: Store, tag: str, commit: str = THREE, model: str = "m") -> str:
    """Store a version and move a tag to it without a signature; return its digest."""
    return digest_of(put_model(unsigned(store), {REPO: {"a.txt": b"evil"}}, tag=tag, commit=commit, model=model))


def test_a_ref_that_is_not_signed_is_not_hosted_and_nothing_takes_its_place(directory_store: Store) -> None:
    store = trusting(directory_store)
    prod, latest = put(store, "prod", "prod", commit=ONE), put(store, "latest", "latest", commit=TWO)
    clock, reported = Clock(), list[events.Event]()
    catalog = Catalog(store, ["prod", "latest"], clock=clock, on_event=reported.append)
    assert catalog.find("model", REPO).version.digest == prod
    evil = attack(store, "prod")
    clock.now += 10
    for revision in (None, "main", "prod"):
        with pytest.raises(SignatureError, match=r"m:prod .* has no signature"):
            catalog.find("model", REPO, revision)
    assert catalog.find("model", REPO, "latest").version.digest != evil
    assert catalog.find("model", REPO, ONE).version.digest == prod, "who began to download goes on"
    with pytest.raises(SignatureError):
        Catalog(store, ["prod", "latest"]).find("model", REPO)
    with pytest.raises(SignatureError):
        catalog.find("model", REPO, "v1.0")
    assert catalog.repos() == []
    assert [text for text in told(reported) if text.startswith("m:prod is not served")]
    move(store, latest, "prod")
    clock.now += 10
    assert catalog.find("model", REPO).version.digest == latest
    chosen = [event.hosted.version.digest for event in reported if isinstance(event, Chosen)]
    assert evil not in chosen


def test_what_is_preferred_or_of_another_model_stays_served(directory_store: Store) -> None:
    store = trusting(directory_store)
    prod = put(store, "prod", "prod")
    attack(store, "dev")
    attack(store, "latest", model="n")
    assert Catalog(store, ["prod", "dev"]).find("model", REPO).version.digest == prod
    other = Catalog(store, ["n:latest", "prod"])
    assert other.find("model", REPO).version.digest == prod, "a signed tag of another model holds the repo"
    every = Catalog(store)
    assert every.find("model", REPO).reference == "m:prod"


def test_a_log_that_was_cut_while_the_server_ran(directory_store: Store) -> None:
    store = trusting(directory_store)
    old = put(store, "prod", "old", commit=ONE)
    put(store, "prod", "new", commit=TWO)
    clock = Clock()
    catalog = Catalog(store, ["prod"], clock=clock)
    catalog.find("model", REPO)
    for key in objects_of_refs(store):
        if "/prod/00000002" in key:
            store.bucket.delete(key)
    clock.now += 10
    with pytest.raises(SignatureError, match="was at 2 while this server ran"):
        catalog.find("model", REPO)
    assert Catalog(store, ["prod"]).find("model", REPO).version.digest == old, "which a floor forbids, and no signature"
    with pytest.raises(SignatureError, match="below its floor of 2"):
        Catalog(trusting(store, floors={"m:prod": 2}), ["prod"]).find("model", REPO)


def test_a_log_that_nobody_ever_signed_stands_for_its_model(directory_store: Store) -> None:
    put(directory_store, "latest", "evil", commit=ONE)
    signed = put(trusting(directory_store), "prod", "good", commit=TWO)
    move(unsigned(directory_store), signed)
    with pytest.raises(SignatureError):
        Catalog(trusting(directory_store)).find("model", REPO)
    with pytest.raises(RevisionMissing):
        Catalog(trusting(directory_store)).find("model", REPO, ONE)
    assert Catalog(directory_store).find("model", REPO).version.digest == signed, "without keys as before"


def test_a_client_gets_no_byte_from_elsewhere(directory_store: Store, tmp_path: Path) -> None:
    """Neither the next tag nor the hub stands in for a tag that is refused."""
    store = trusting(directory_store)
    put(store, "prod", "good", commit=ONE)
    attack(store, "prod", TWO)
    write_tree(tmp_path / "hub" / REPO, {"a.txt": b"of the hub"})
    reported: list[events.Event] = []
    with GuardedHub(tmp_path / "hub") as hub:
        serving = Serving(cache=tmp_path / "cache", cache_size=1 << 20, port=0, upstream=hub.url)
        with HubServer(store, serving, no_publish, reported.append) as server:
            served = Served(store, server, reported)
            for path in (f"/{REPO}/resolve/main/a.txt", f"/api/models/{REPO}/revision/main"):
                answer = served.ask(path)
                assert answer.status == 500
                assert "no trusted key signed" in answer.headers["x-error-message"]
            assert served.ask(f"/{REPO}/resolve/{TWO}/a.txt").status == 404
            assert served.ask("/health").status == 200
        assert [path for _, path in hub.requests if "resolve" in path] == []
    assert [text for text in served.warnings() if "m:prod is not served" in text]


def test_what_comes_from_a_hub_must_be_signed_to_be_published(directory_store: Store, tmp_path: Path) -> None:
    directory_store.create()
    serving = Serving(cache=tmp_path / "cache", cache_size=1 << 20, port=0, upstream="http://127.0.0.1:1")
    with pytest.raises(SignerMissing, match=r"upstream hub .*--sign-with"):
        HubServer(trusting(directory_store, None), serving, no_publish)
    with HubServer(trusting(directory_store), serving, no_publish):
        pass


def test_a_version_whose_manifest_is_withheld_makes_no_way_for_another(directory_store: Store) -> None:
    store = trusting(directory_store)
    put(store, "dev", "old", commit=ONE)
    first = put(store, "prod", "first", commit=TWO)
    clock = Clock()
    catalog = Catalog(store, ["prod", "dev"], clock=clock)
    assert catalog.find("model", REPO).version.digest == first
    store.bucket.delete(layout.manifest_key("m", put(store, "prod", "second", commit=THREE)))
    clock.now += 10
    for each in (catalog, Catalog(store, ["prod", "dev"]), Catalog(store, ["prod"])):
        with pytest.raises(IntegrityError, match="has no version"):
            each.find("model", REPO)
    assert catalog.find("model", REPO, ONE) and catalog.find("model", REPO, TWO)
    assert Catalog(directory_store, ["prod", "dev"]).find("model", REPO).reference == "m:dev", "without keys"
