"""References: their grammar, the manifests that they resolve to, and the versions that a store lists."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cas.bucket import Kind
from cas.errors import InputError, ManifestCorrupt, NotFoundError
from cas.formats.digest import hex_of, named
from cas.formats.manifest import timestamp
from cas.ops.inspect import versions
from cas.refs import reflog
from cas.refs.reference import Reference, log_of, parse_reference, resolve
from cas.store.layout import manifest_key
from cas.store.store import Store
from tests.refs.logs import A, latest, published
from tests.support.in_process import call_cas

# The grammar


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("m", Reference("m", tag="latest")),
        ("f5-tts:v1.0_x", Reference("f5-tts", tag="v1.0_x")),
        (f"m@{A[:8]}", Reference("m", digest=A[:8])),
        (f"m@{A}", Reference("m", digest=A)),
        (f"m@blake3:{A}", Reference("m", digest=A)),
        ("pin:eu-prod/m", Reference("m", deployment="eu-prod")),
        ("pin:m", None),
        ("pinned:v1", Reference("pinned", tag="v1")),
        ("pin", None),
        ("", None),
        (":v1", None),
        ("m:", None),
        ("m:a:b", None),
        ("m/n", None),
        ("../m", None),
        (" m\n", Reference("m", tag="latest")),
        ("m:v1/", Reference("m", tag="v1")),
        ("m :v1", None),
        ("m@", None),
        (f"m@{A[:7]}", None),
        (f"m@{A}0", None),
        (f"m@{A[:8].upper()}", Reference("m", digest=A[:8])),
        ("m@٠١٢٣٤٥٦٧", None),
        ("m@blake3:", None),
        (f"m@blake3:{A[:8]}", Reference("m", digest=A[:8])),
        (f"blake3:{A}", None),
        ("blake3:v1", None),
        (f"m@sha256:{A}", None),
        (f"m@{A}\n", Reference("m", digest=A)),
        (f"m:v1@{A}", Reference("m", "v1", A)),
        (f"pin:eu/m@{A}", None),
        (f"@{A}", None),
        ("pin:", None),
        ("pin:/m", None),
        ("pin:eu/", None),
        ("pin:eu/m/n", None),
        ("pin:../m", None),
    ],
)
def test_the_grammar_of_references(text: str, reference: Reference | None) -> None:
    if reference is None:
        with pytest.raises(InputError):
            parse_reference(text)
    else:
        assert parse_reference(text) == reference
        assert parse_reference(str(reference)) == reference


@given(st.text(max_size=20) | st.from_regex(r"(pin:)?[a-z./]{1,4}[:@]?(blake3:)?[0-9a-f]{0,66}", fullmatch=True))
def test_any_text_is_a_reference_or_an_input_error(text: str) -> None:
    try:
        reference = parse_reference(text)
    except InputError:
        return
    assert parse_reference(str(reference)) == reference


# Resolving


def test_references_resolve_to_the_manifest_they_name(store: Store) -> None:
    first, second = published(store, "1"), published(store, "2")
    latest(store).append(first, "publish")
    latest(store).append(second, "publish")
    log_of(store, Reference("m", tag="v1")).append(first, "tag")
    log_of(store, Reference("m", deployment="eu-prod")).append(first, "pin")
    for text, digest in (
        ("m", second),
        ("m:latest", second),
        ("m:v1", first),
        (f"m@{first[:12]}", first),
        (f"m@{named(first)}", first),
        ("pin:eu-prod/m", first),
    ):
        found = resolve(store, text)
        assert (found.digest, found.exact) == (digest, f"m@{named(digest)}")
        assert found.manifest.annotations == {"note": "1" if digest == first else "2"}
    assert reflog.tags(store) == {"m": {"latest": second, "v1": first}}


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("m:v9", "its tags are latest"),
        ("other", "models are m"),
        ("pin:eu-prod/m", "set it with `cas pin eu-prod m`"),
        (f"m@{A[:8]}", "cas ls m"),
        (f"m@{named(A)}", "cas ls m"),
        (f"other@{A[:8]}", "cas ls other"),
    ],
)
def test_what_is_not_there_is_said_with_a_hint(store: Store, text: str, hint: str) -> None:
    latest(store).append(published(store, "1"), "publish")
    with pytest.raises(NotFoundError, match=hint):
        resolve(store, text)


def test_an_ambiguous_prefix_is_refused(store: Store) -> None:
    for digest in (A[:10] + "0" * 54, A[:10] + "1" * 54):
        store.bucket.put(manifest_key("m", digest), b"{}", Kind.MANIFEST)
    with pytest.raises(InputError, match="ambiguous"):
        resolve(store, f"m@{A[:10]}")
    assert store.find_version("m", A[:10] + "1") == A[:10] + "1" * 54


def test_an_edited_manifest_is_named(store: Store) -> None:
    digest = published(store, "1")
    latest(store).append(digest, "publish")
    path = Path(store.url, manifest_key("m", digest))
    path.write_bytes(path.read_bytes().replace(b'"1"', b'"2"'))
    with pytest.raises(ManifestCorrupt, match=digest):
        resolve(store, "m")
    done = call_cas("--store", store.url, "show", "m")
    assert (done.returncode, done.stdout) == (4, "")
    assert digest in done.stderr


# Listing versions


def test_the_catalogue_lists_versions_with_their_tags(store: Store) -> None:
    first, second, other = published(store, "1"), published(store, "2"), published(store, "1", "other")
    for digest in (first, second):
        latest(store).append(digest, "publish")
    log_of(store, Reference("m", tag="v2")).append(second, "tag")
    latest(store, "other").append(other, "publish")
    tagged = [(found.model, found.digest, found.tags) for found in versions.versions(store)]
    assert tagged == [("m", second, ("latest", "v2")), ("other", other, ("latest",))]
    assert {(found.digest, found.tags) for found in versions.versions(store, "m")} == {
        (first, ()),
        (second, ("latest", "v2")),
    }
    assert versions.versions(store, "other")[0].document()["digest"] == named(other)


def test_the_catalogue_shows_what_cannot_be_read(store: Store) -> None:
    digest = published(store, "1")
    store.bucket.put(manifest_key("m", A), b"edited", Kind.MANIFEST)
    latest(store).append(A, "publish")
    states = {found.digest: found.created for found in versions.versions(store, "m")}
    written = timestamp(store.bucket.head(manifest_key("m", digest)).modified)
    assert states == {digest: written, A: "unreadable: ManifestCorrupt"}
    with pytest.raises(NotFoundError, match="the store's models are m"):
        versions.versions(store, "nobody")
    with pytest.raises(InputError):
        versions.versions(store, "../m")


def test_keys_are_as_documented(store: Store) -> None:
    digest = published(store, "1")
    latest(store).append(digest, "publish")
    log_of(store, Reference("m", deployment="eu")).append(digest, "pin")
    store.put_frame(hex_of(b"x"), b"frame")
    keys = [entry.key for entry in store.bucket.list("")]
    assert keys[:3] == [f"chunks/{hex_of(b'x')[:2]}/{hex_of(b'x')}", "format.json", f"manifests/m/{digest}.json"]
    assert [key.rsplit("/", 1)[0] for key in keys[3:]] == ["refs/pins/eu/m", "refs/tags/m/latest"]
