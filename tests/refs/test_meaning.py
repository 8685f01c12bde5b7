"""What a word means that names nothing as it is written, and what is said of one that means nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import cas
from cas.bucket import Kind
from cas.errors import InputError, NotFoundError, RefUnset, SignatureError
from cas.refs.reference import Reference, log_of, resolve
from cas.refs.selection import choose
from cas.store.layout import manifest_key
from cas.store.store import Store
from tests.refs.conftest import Desk
from tests.refs.logs import latest, published
from tests.refs.signing import signed
from tests.support.buckets import RecordingBucket
from tests.support.in_process import call_cas
from tests.support.models import write_tree

REPO = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture
def shelf(desk: Desk, tmp_path: Path) -> Desk:
    """The store of `desk` with minilm besides, which holds a repo of the hub, and with pins."""
    source = cas.Source.from_folder(write_tree(tmp_path / "minilm", {"w": b"minilm"}), REPO)
    cas.publish("minilm", source, desk.url, tags=["latest", "v1"])
    for deployment, ref in (("eu-prod", "minilm"), ("eu-prod", "m"), ("us-prod", "m")):
        desk.done("pin", deployment, ref)
    return desk


def meant(desk: Desk, text: str) -> str:
    return str(resolve(desk.store, text).reference)


def test_digits_alone_name_a_version_of_any_model(shelf: Desk) -> None:
    digest = shelf.versions[1]
    for text in (
        digest[:8],
        digest[:12].upper(),
        digest,
        f"blake3:{digest}",
        f"blake3:{digest[:9]}",
        f" {digest[:8]}\n",
    ):
        assert meant(shelf, text) == shelf.exact(1)


def test_a_restore_tells_what_digits_alone_meant(shelf: Desk) -> None:
    done = shelf.cas("restore", shelf.versions[1][:9])
    assert done.returncode == 0
    assert done.stderr.startswith(f"m@{shelf.versions[1][:12]}  ")


def test_digits_of_several_versions_are_refused_with_a_list(shelf: Desk) -> None:
    for model, end in (("m", "1"), ("other", "2")):
        shelf.store.bucket.put(manifest_key(model, "ab" * 31 + f"0{end}"), b"{}", Kind.MANIFEST)
    with pytest.raises(InputError, match=r"ambiguous \(m@abababababab, other@abababababab\): give more digits"):
        resolve(shelf.store, "abababab")


def test_a_tag_beside_a_digest_must_name_it(shelf: Desk) -> None:
    last, first = shelf.versions[2], shelf.versions[0]
    for digits in (last[:8], f"blake3:{last}"):
        assert resolve(shelf.store, f"m:latest@{digits}").digest == last
    with pytest.raises(
        NotFoundError, match=f"m:latest names m@{last[:12]} now; write m:latest for that, or m@{first[:8]}"
    ):
        resolve(shelf.store, f"m:latest@{first[:8]}")


def test_a_deployment_means_its_only_pin(shelf: Desk) -> None:
    assert meant(shelf, "pin:us-prod") == "pin:us-prod/m"
    with pytest.raises(
        InputError, match="eu-prod has pins of m, minilm: say which, as in pin:eu-prod/m, pin:eu-prod/minilm"
    ):
        resolve(shelf.store, "pin:eu-prod")


def test_a_repo_means_the_model_that_holds_it(shelf: Desk, tmp_path: Path) -> None:
    done = shelf.cas("lock", REPO, "-o", str(tmp_path / "lock"))
    assert (done.returncode, done.stderr.splitlines()[0]) == (0, f"{REPO} is minilm")
    for text in (f"{REPO.lower()}:v1", f"{REPO}/"):
        assert resolve(shelf.store, text).manifest.model == "minilm"
    assert shelf.cas("-q", "show", REPO).stderr == ""
    cas.publish("fine-tuned", cas.Source.from_folder(tmp_path / "minilm", REPO), shelf.url)
    with pytest.raises(InputError, match=f"{REPO} is in fine-tuned, minilm: name one of these models"):
        resolve(shelf.store, REPO)
    with pytest.raises(NotFoundError, match="publish it with `cas publish name --repo org/Name`"):
        resolve(shelf.store, "org/Name")


def test_a_name_in_other_letters_is_found(shelf: Desk) -> None:
    done = shelf.cas("show", "MiniLM:V1")
    assert (done.returncode, done.stderr) == (0, "MiniLM:V1 is minilm:v1\n")
    log_of(shelf.store, Reference("M", tag="latest")).append(shelf.versions[0], "test")
    assert meant(shelf, "m") == "m:latest"  # a name as it is written comes first


def test_the_environment_may_say_it_so(shelf: Desk) -> None:
    env = {"CAS_STORE": shelf.url, "HF_HUB_CACHE": str(shelf.cache), "CAS_MODEL": REPO}
    done = call_cas("restore", "-n", env=env)
    assert (done.returncode, done.stderr.splitlines()[0]) == (0, f"{REPO} is minilm")
    done = call_cas("restore", "-n", env=env | {"CAS_MODEL": shelf.versions[0][:8]})
    assert done.returncode == 0
    assert f"names {shelf.versions[0][:8]} by 8 of the 64 digits" in done.stderr


@pytest.mark.parametrize(
    ("call", "code", "told"),
    [
        ("show minilmm", 3, "did you mean minilm? the store's models are minilm, m, other"),
        ("ls minilmm", 3, "did you mean minilm?"),
        ("du minilmm", 3, "did you mean minilm?"),
        ("fsck minilmm", 3, "did you mean minilm?"),
        ("show minilm:latst", 3, "did you mean minilm:latest? its tags are latest, v1"),
        ("restore eu-prod", 3, "eu-prod is a deployment: write pin:eu-prod/m, pin:eu-prod/minilm"),
        ("restore v1", 3, "v1 is a tag: write minilm:v1"),
        ("show s3://bucket/cas", 2, "is the URL of a store: name it with `--store s3://bucket/cas`"),
        (f"show https://huggingface.co/{REPO}", 2, f"publish it with `cas publish NAME --repo {REPO}`"),
        ("show eu-prod/minilm", 3, "holds the repo eu-prod/minilm: did you mean pin:eu-prod/minilm? publish it with"),
        ("show minilm/v1", 3, "holds the repo minilm/v1: did you mean minilm:v1? publish it with"),
        ("show 54a028", 3, "a digest takes 8 or more digits; the store's models are"),
        (f"show https://huggingface.co/{REPO}", 2, f"write {REPO} if a model of the store holds it"),
        ("show hf://x", 2, "is a page of the hub: name a repo as ORG/NAME, or a model"),
        ("show STORE", 2, "is a store on this machine: name it with `--store STORE`"),
        (
            "show FOLDER",
            2,
            "is a folder on this machine: publish it with `cas publish NAME --dir FOLDER --as ORG/NAME`",
        ),
        ("show FOLDER/w", 2, "is a file on this machine: publish its folder"),
        ("show ./nothing/here", 2, "is a path, and what is asked for is a model"),
        ("restore min*", 2, "is a pattern, and what is asked for is one name: `cas ls 'min*'` lists what it matches"),
        ("show pin:eu-prd/m", 3, "did you mean pin:eu-prod/m? deployments with pins are eu-prod, us-prod"),
        ("pin new pin:us-prd/m", 3, "did you mean pin:us-prod/m? deployments with pins are us-prod, eu-prod"),
        ("unpin eu-prd", 3, "did you mean eu-prod? deployments with pins are eu-prod, us-prod"),
        ("pins us-prd", 3, "did you mean us-prod? deployments with pins are us-prod, eu-prod"),
        ("show pin:eu-prod/minilmm", 3, "did you mean minilm? eu-prod has pins of minilm, m"),
        ("history pin:eu-prd", 3, "did you mean eu-prod?"),
        ("show 00000000", 3, "begins with 00000000, and no model is named so: see `cas ls`"),
        ("ls blake3:00000000", 3, "begins with 00000000, and no model is named so: see `cas ls`"),
    ],
)
def test_a_word_that_is_none_of_it_gets_the_likely_meaning(
    shelf: Desk, tmp_path: Path, call: str, code: int, told: str
) -> None:
    given = [text.replace("STORE", shelf.url).replace("FOLDER", str(tmp_path / "minilm")) for text in (call, told)]
    assert given[1] in shelf.refused(code, *given[0].split())


def test_a_typo_of_the_deployment_in_the_environment_lists_the_others(shelf: Desk) -> None:
    with pytest.raises(InputError, match=r"eu-prd has no pin in .* \(did you mean eu-prod\? deployments with pins are"):
        choose({"CAS_DEPLOYMENT": "eu-prd"}, store=shelf.store)


def test_a_command_about_refs_tells_which_refs_name_a_version(shelf: Desk) -> None:
    for text in (shelf.versions[2][:12], shelf.exact(2)):
        for command in ("history", "rollback"):
            line = shelf.refused(2, command, text)
            assert "is one version, which never changes" in line
            assert line.endswith("m:latest, pin:eu-prod/m, pin:us-prod/m name it")
    assert shelf.done("history", f"m:latest@{shelf.versions[2][:8]}") == shelf.done("history", "m")


def test_a_plain_reference_costs_what_it_did(shelf: Desk) -> None:
    bucket = RecordingBucket(shelf.store.bucket)
    resolve(Store(bucket), "m")
    assert sorted(key.split("/")[0] for key in bucket.read) == ["format.json", "manifests", "refs"]


def test_where_keys_are_trusted_a_repo_is_no_name(shelf: Desk, tmp_path: Path) -> None:
    """Else whoever deletes the log of a model gets another one read that holds the repo, past the floor."""
    source = cas.Source.from_folder(write_tree(tmp_path / "other", {"w": b"other"}), REPO)
    ours = signed(Store(shelf.store.bucket))
    cas.publish("other", source, ours)
    assert ours.trust is not None
    ours.trust.add_floor("minilm:latest", 1, "the test")
    for entry in shelf.store.bucket.list("refs/tags/minilm"):
        shelf.store.bucket.delete(entry.key)
    with pytest.raises(SignatureError):
        resolve(ours, "minilm")
    with pytest.raises(InputError, match=f"{REPO} is other now: where keys are trusted, write other"):
        resolve(ours, REPO)


def test_what_a_removal_says_is_no_command_to_run(shelf: Desk) -> None:
    shelf.done("untag", "minilm:v1", "--reason", "see `cas gc --grace 0 --force`", "--by", "`cas x`")
    error = shelf.cas("--json", "restore", "minilm:v1")
    assert json.loads(error.stdout)["error"]["hint"] == "cas --json history minilm:v1"


def test_where_keys_are_trusted_no_other_log_is_read_for_one_that_is_gone(store: Store) -> None:
    ours = signed(Store(store.bucket))
    digest = published(ours, "1")
    latest(ours).append(digest, "publish")
    with pytest.raises(RefUnset):
        resolve(ours, "M")
    assert resolve(ours, digest[:12]).digest == digest
    unsigned = published(store, "2")
    latest(store).append(unsigned, "publish")
    with pytest.raises(SignatureError, match="no signed entry of a tag or pin names a version that begins so"):
        resolve(ours, unsigned[:12])
    assert resolve(ours, unsigned).digest == unsigned  # the whole digest proves itself
