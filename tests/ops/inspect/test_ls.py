"""`cas ls` reads each manifest once on a machine, and again when it was written anew."""

from __future__ import annotations

import pytest

from cas.bucket import Kind
from cas.formats.manifest import timestamp
from cas.ops.inspect import versions
from cas.store.layout import manifest_key
from cas.store.store import Store
from tests.refs.logs import latest, published
from tests.support.buckets import RecordingBucket


@pytest.fixture(autouse=True)
def _made(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cas.local.outlines._WORTH", 0)  # small stores are remembered, too
    fixture = "store" if "store" in request.fixturenames else "directory_store"
    request.getfixturevalue(fixture).create()


def manifests_read(store: Store, **options: object) -> tuple[list[versions.ListedVersion], list[str]]:
    """List versions; return them, and the keys of the manifests that were fetched."""
    bucket = RecordingBucket(store.bucket)
    listed = versions.versions(Store(bucket), **options)  # type: ignore[arg-type]
    return listed, sorted(key for key in bucket.read if key.startswith("manifests/"))


@pytest.mark.parametrize("options", [{}, {"model": "m"}, {"every": True}])
def test_a_manifest_is_read_once(store: Store, options: dict[str, object]) -> None:
    made = [published(store, note) for note in ("1", "2")]
    for digest in made:
        latest(store).append(digest, "publish")
    shown = made if options else made[1:]
    first, read = manifests_read(store, **options)
    assert read == sorted(manifest_key("m", digest) for digest in shown)
    assert manifests_read(store, **options) == (first, [])
    new = published(store, "3")
    latest(store).append(new, "publish")
    listed, read = manifests_read(store, **options)
    assert read == [manifest_key("m", new)]
    assert {version.digest for version in listed} == {new, *(shown if options else ())}


def test_damage_after_the_first_look_is_seen(directory_store: Store) -> None:
    digest = published(directory_store, "1")
    latest(directory_store).append(digest, "publish")
    manifests_read(directory_store)
    key = manifest_key("m", digest)
    whole = bytes(directory_store.bucket.get(key, 10_000))
    directory_store.bucket.put(key, whole.replace(b'"1"', b'"2"'), Kind.MANIFEST, overwrite=True)
    ((version,), _) = manifests_read(directory_store)
    assert version.created == "unreadable: ManifestCorrupt"
    directory_store.bucket.delete(key)
    ((version,), _) = manifests_read(directory_store)
    assert version.created == "unreadable: ManifestMissing"
    directory_store.bucket.put(key, whole, Kind.MANIFEST)
    ((version,), read) = manifests_read(directory_store)
    assert version.readable
    assert read == [key]


def test_one_model_is_not_shown_as_another(directory_store: Store) -> None:
    digest = published(directory_store, "1")
    latest(directory_store).append(digest, "publish")
    manifests_read(directory_store)
    data = directory_store.bucket.get(manifest_key("m", digest), 10_000)
    directory_store.bucket.put(manifest_key("other", digest), data, Kind.MANIFEST)
    latest(directory_store, "other").append(digest, "publish")
    listed, _ = manifests_read(directory_store)
    assert [(version.model, version.created) for version in listed] == [
        ("m", timestamp(directory_store.bucket.head(manifest_key("m", digest)).modified)),
        ("other", "unreadable: FormatError"),
    ]
