"""Between stores, names are verified where they come from and signed where they go; nothing unsigned gets a name."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from cas import events, refs
from cas.bucket import Kind
from cas.errors import InputError, SignatureError, SignerMissing
from cas.ops.transfer.copier import copy
from cas.ops.transfer.exporter import export
from cas.ops.transfer.importer import import_archive
from cas.ops.transfer.mirror import mirror
from cas.ops.transfer.wanted import naming
from cas.refs.reflog import Ref, RefLog
from cas.store import layout
from cas.store.layout import VersionId
from cas.store.store import Store, open_store
from tests.ops.transfer.test_archive import packed, unpacked
from tests.support.in_process import call_cas
from tests.support.signed_stores import KEY, OTHER, key_files, move, objects_of_refs, trusting, unsigned
from tests.support.transfer import NEXT, filled, objects


def released(store: Store, model: str = "m") -> tuple[Store, str]:
    """A store where a signed tag names a version; its view that trusts the key, and the version (64 hex)."""
    digest = filled(store, model=model)
    view = trusting(store)
    move(view, digest, model=model)
    return view, digest


def digest_of(store: Store, tag: str = "latest") -> str:
    """The version (64 hex) that a tag names, verified."""
    return refs.resolve(store, f"m:{tag}").digest


def test_a_copy_verifies_here_and_signs_there(directory_store: Store, tmp_path: Path) -> None:
    source, digest = released(directory_store)
    target = trusting(open_store(str(tmp_path / "copy")), OTHER, (OTHER,))
    copy(["m"], target, source)
    assert digest_of(target) == digest
    with pytest.raises(SignatureError, match=KEY.public.id):
        digest_of(trusting(target))  # another key signed there
    move(unsigned(source), filled(directory_store, NEXT))
    before = objects(target), objects_of_refs(target)
    with pytest.raises(SignatureError, match=r"m:latest .* has no signature"):
        copy(["m"], target, source)
    assert (objects(target), objects_of_refs(target)) == before


def test_the_signature_of_one_store_is_none_in_another(directory_store: Store, tmp_path: Path) -> None:
    source, digest = released(directory_store)
    target = open_store(str(tmp_path / "copy"))
    copy([f"m@{digest}"], target, directory_store, rule=naming(keep=False))
    for key, data in objects_of_refs(source).items():
        (tmp_path / "copy" / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copy" / key).write_bytes(data)
    with pytest.raises(SignatureError, match=r"not for file://.*copy.*CAS_STORE_NAME"):
        digest_of(trusting(target))
    third = trusting(open_store(str(tmp_path / "third")))
    with pytest.raises(SignatureError, match="CAS_STORE_NAME"):
        copy(["m"], third, trusting(target))
    assert objects_of_refs(third) == {}


def test_without_a_signer_a_copy_brings_all_but_the_name(directory_store: Store, tmp_path: Path) -> None:
    source, digest = released(directory_store)
    target = trusting(open_store(str(tmp_path / "copy")), None)
    with pytest.raises(SignerMissing, match=f"cas sign m@blake3:{digest} --tag latest --store .*copy"):
        copy(["m"], target, source)
    assert (objects(target), objects_of_refs(target)) == (objects(source), {})
    with pytest.raises(SignerMissing, match=f"cas pin eu m@blake3:{digest} --store"):
        copy(["m"], target, source, rule=naming(pins=["eu"]))
    copy(["m"], target, source, rule=naming(keep=False))  # no name is no move


def test_a_signer_that_is_not_trusted_is_refused_before_anything_is_written(
    directory_store: Store, tmp_path: Path
) -> None:
    source, _ = released(directory_store)
    target = trusting(open_store(str(tmp_path / "copy")), OTHER, (KEY,))
    with pytest.raises(SignatureError, match=f"{OTHER.public.id}.* is not trusted here"):
        copy(["m"], target, source)
    assert not (tmp_path / "copy").exists()


def test_one_name_for_both_stores_is_refused(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAS_STORE_NAME", "s3://bucket/prod")
    source, digest = released(directory_store)
    target = trusting(open_store(str(tmp_path / "copy")))
    with pytest.raises(InputError, match=f"CAS_STORE_NAME calls both.*={source.url}=s3://bucket/prod,{target.url}="):
        copy(["m"], target, source)
    monkeypatch.setenv("CAS_STORE_NAME", f"{source.url}=s3://bucket/prod")
    copy(["m"], target, source)
    assert digest_of(target) == digest
    assert (source.name, target.name) == ("s3://bucket/prod", (tmp_path / "copy").resolve().as_uri())


def test_a_ref_that_is_not_signed_keeps_no_other_out_of_a_mirror(directory_store: Store, tmp_path: Path) -> None:
    source, _ = released(directory_store)
    released(directory_store, "n")
    copies = trusting(open_store(str(tmp_path / "copy")))
    mirror([], copies, source)
    assert digest_of(copies)
    good = objects_of_refs(copies)
    move(unsigned(source), None)  # a removal that nobody signed removes nothing in a mirror
    move(source, filled(directory_store, NEXT, "n"), model="n")
    told: list[str] = []
    listen = lambda event: told.append(event.text) if isinstance(event, events.Warned) else None
    with pytest.raises(SignatureError, match="m:latest"):
        mirror([], copies, source, delete=True, on_event=listen)
    assert [text for text in told if text.startswith("m:latest is left out")]
    new = objects_of_refs(copies).keys() - good.keys()
    assert new and all("/n/" in key for key in new)
    assert (
        RefLog(copies, Ref("tags", "n", "latest")).current_digest()
        == RefLog(source, Ref("tags", "n", "latest")).current_digest()
    )


def test_a_mirror_sets_anew_what_somebody_moved_there(directory_store: Store, tmp_path: Path) -> None:
    source, digest = released(directory_store)
    copies = trusting(open_store(str(tmp_path / "copy")))
    mirror([], copies, source)
    move(unsigned(copies), filled(copies, NEXT))
    mirror([], copies, source)
    assert digest_of(copies) == digest
    move(unsigned(copies), digest)  # the right version, and yet not signed
    with pytest.raises(SignerMissing, match="cas sign"):
        mirror([], trusting(copies, None), source)
    assert mirror([], copies, source).moved == ("m:latest",)


def test_a_log_that_was_deleted_here_is_not_removed_there(directory_store: Store, tmp_path: Path) -> None:
    source, digest = released(directory_store)
    released(directory_store, "n")
    copies = trusting(open_store(str(tmp_path / "copy")))
    mirror([], copies, source)
    for key in objects_of_refs(source):
        if "/m/" in key:
            source.bucket.delete(key)
    with pytest.raises(SignatureError, match="has no entries, below its floor"):
        mirror([], copies, trusting(source, floors={"m:latest": 1}), delete=True)
    assert digest_of(copies) == digest


def exported(store: Store, folder: Path) -> Path:
    """The archive of the version that the tag names."""
    export(["m"], folder / "m.cas", store)
    return folder / "m.cas"


def test_an_archive_carries_entries_and_signatures_as_they_are(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, digest = released(directory_store)
    file = exported(directory_store, tmp_path)  # also by who trusts no key
    assert file.read_bytes() == exported(source, tmp_path).read_bytes()
    members = {name: data for name, data in unpacked(file.read_bytes()).items() if name.startswith("refs/")}
    assert members.items() <= objects_of_refs(source).items()
    assert {name[-8:] for name in members} == {".minisig", *(name[-8:] for name in members if name.endswith(".json"))}
    archive = trusting(open_store(str(file)), None)
    with pytest.raises(SignatureError, match=rf"was signed by {KEY.public.id} for {source.name}.*CAS_STORE_NAME"):
        digest_of(archive)
    monkeypatch.setenv("CAS_STORE_NAME", source.name)
    assert digest_of(archive) == digest
    assert digest_of(open_store(str(file))) == digest, "and without keys it is read as ever"


def test_signatures_that_mean_nothing_keep_none_out_of_an_archive(directory_store: Store, tmp_path: Path) -> None:
    source, _ = released(directory_store)
    (name,) = objects_of_refs(source, ".minisig")
    signature = layout.ref_signature(name)
    assert signature is not None
    for number in range(20):
        forged = layout.ref_signature_key(*signature._replace(key_id=f"{number:016X}"))
        source.bucket.put(forged, b"nothing", Kind.SIGNATURE)
    members = unpacked(exported(source, tmp_path).read_bytes())
    assert name in members and len([each for each in members if each.endswith(".minisig")]) == 16


def test_an_archive_is_imported_under_the_name_of_its_store(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, digest = released(directory_store)
    file = exported(source, tmp_path)
    target = trusting(open_store(str(tmp_path / "other")), OTHER, (KEY, OTHER))
    with file.open("rb") as archive, pytest.raises(SignatureError, match=f"CAS_STORE_NAME={file}=<name>"):
        import_archive(archive, str(file), target)
    assert objects_of_refs(target) == {}
    monkeypatch.setenv("CAS_STORE_NAME", f"{file}={source.name}")
    with file.open("rb") as archive:
        import_archive(archive, str(file), target)
    monkeypatch.delenv("CAS_STORE_NAME")
    assert digest_of(trusting(target, None, (OTHER,))) == digest, "what came in is signed here"
    for key in objects_of_refs(source):
        source.bucket.delete(key)
    with file.open("rb") as archive:
        import_archive(archive, str(file), source)  # a backup that comes home needs no other name
    assert digest_of(source) == digest


@pytest.mark.parametrize("attack", ["stripped", "entry", "number", "tag", "older", "unsigned"])
def test_an_archive_that_was_tampered_with_names_nothing(directory_store: Store, tmp_path: Path, attack: str) -> None:
    source, _ = released(directory_store)
    members = unpacked(exported(source, tmp_path).read_bytes())
    (entry,) = [name for name in members if name.endswith(".json") and name.startswith("refs/")]
    if attack == "stripped":
        members = {name: data for name, data in members.items() if not name.endswith(".minisig")}
    elif attack == "entry":
        members[entry] = members[entry].replace(b'"reason":"test"', b'"reason":"evil"')
        assert b"evil" in members[entry]
    elif attack == "number":
        members = {name.replace("/00000002-", "/00000003-"): data for name, data in members.items()}
    elif attack == "tag":
        members = {name.replace("/latest/", "/prod/"): data for name, data in members.items()}
    elif attack == "unsigned":
        members[entry.replace("/00000002-", "/00000003-")] = members[entry]
    floors = {"m:latest": 3} if attack == "older" else {}
    target = trusting(source, floors=floors)
    before = objects_of_refs(source)
    with pytest.raises(SignatureError):
        import_archive(io.BytesIO(packed(members)), "m.cas", target)
    assert objects_of_refs(source) == before


def test_who_gives_the_names_needs_no_signature_in_the_archive(directory_store: Store, tmp_path: Path) -> None:
    digest = filled(directory_store)
    file = exported(directory_store, tmp_path)
    target = trusting(open_store(str(tmp_path / "other")))
    with file.open("rb") as archive, pytest.raises(SignatureError, match="has no signature"):
        import_archive(archive, str(file), target)
    with file.open("rb") as archive:
        import_archive(archive, str(file), target, rule=naming(["checked"]))
    assert digest_of(target, "checked") == digest


def test_members_come_in_any_order(directory_store: Store, tmp_path: Path) -> None:
    source, digest = released(directory_store)
    members = unpacked(exported(source, tmp_path).read_bytes())
    refs_last = sorted(members, key=lambda name: name.startswith("refs/"))
    for order in (refs_last[::-1], refs_last, sorted(members)):
        for key in objects_of_refs(source):
            source.bucket.delete(key)
        import_archive(io.BytesIO(packed({name: members[name] for name in order})), "m.cas", source)
        assert digest_of(source) == digest


def test_the_commands(directory_store: Store, tmp_path: Path) -> None:
    digest = filled(directory_store)
    variables = key_files(tmp_path)
    trusted, signs = {"CAS_TRUSTED_KEYS": variables["CAS_TRUSTED_KEYS"]}, ("--sign-with", variables["CAS_SIGNING_KEY"])
    here, there = ("--store", directory_store.url), str(tmp_path / "copy")
    refused = call_cas(*here, "copy", "m", there, *signs, env=trusted)
    assert (refused.returncode, "m:latest" in refused.stderr, " sign " in refused.stderr) == (8, True, True)
    move(trusting(directory_store), digest)
    planned = call_cas(*here, "copy", "-n", "m", there, env=trusted)
    assert (planned.returncode, "m:latest would stay as they are in" in planned.stderr) == (0, True), planned.stderr
    left = call_cas(*here, "copy", "m", there, env=trusted)
    assert (left.returncode, f"cas sign {VersionId('m', digest)} --tag latest" in left.stderr) == (8, True)
    assert call_cas(*here, "copy", "m", there, *signs, env=trusted).returncode == 0
    assert call_cas(*here, "mirror", str(tmp_path / "mirror"), env=variables).returncode == 0
    assert call_cas(*here, "export", "m", "-o", str(tmp_path / "m.cas"), env=trusted).returncode == 0
    done = call_cas(*here, "import", str(tmp_path / "m.cas"), *signs, env=trusted)
    assert (done.returncode, done.stderr.count("secret")) == (0, 0)
    for store in (there, str(tmp_path / "mirror")):
        assert call_cas("--store", store, "show", "m", env=trusted).returncode == 0
        assert {layout.ref_signature(key) is not None for key in objects_of_refs(open_store(store))} == {True, False}
