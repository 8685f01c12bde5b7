"""Which version a worker runs: every combination of what may name one."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

import cas
from cas.bucket import Kind, open_bucket
from cas.errors import AccessDenied, FormatError, InputError, NotFoundError, StoreError
from cas.refs.reference import Reference, Resolved, log_of, resolve
from cas.refs.selection import Choice, choose
from cas.store.store import Store, open_store
from tests.support.buckets import HURRIED
from tests.support.models import publish_tree
from tests.support.two_versions import Boot
from tools.servers.seaweed import SeaweedFS


def pin(boot: Boot, deployment: str, reference: str, model: str = "m") -> None:
    digest = resolve(boot.store, reference).digest
    log_of(boot.store, Reference(model, deployment=deployment)).append(digest, "test")


def unpin(boot: Boot, deployment: str) -> None:
    log_of(boot.store, Reference("m", deployment=deployment)).append(None, "test")


COMBINATIONS = list(itertools.product((False, True), repeat=6))


@pytest.mark.parametrize(("model", "lock", "default", "deployed", "endpoint", "named"), COMBINATIONS)
def test_the_first_of_those_set_decides(
    boot: Boot, model: bool, lock: bool, default: bool, deployed: bool, endpoint: bool, named: bool
) -> None:
    pin(boot, "eu-prod", "m:v1")
    pin(boot, "rp1", "m:v1")
    unpin(boot, "rp1")
    environ = {"CAS_MODEL": "m:v1" if model else "", "CAS_LOCK": str(boot.lock) if lock else ""}
    environ |= {"CAS_DEPLOYMENT": "eu-prod" if deployed else "", "RUNPOD_ENDPOINT_ID": "rp1" if endpoint else ""}
    image = boot.lock.with_name("image.json")
    if default:
        image.write_bytes(boot.lock.read_bytes())
    if model:
        wanted = Choice("CAS_MODEL", "m:v1")
    elif lock:
        wanted = Choice(f"lock file {boot.lock}", lock=boot.lock)
    elif default:
        wanted = Choice(f"lock file {image}", lock=image)
    elif deployed:
        wanted = Choice("pin of deployment eu-prod", boot.old)
    elif endpoint and named:
        wanted = Choice("no pin of deployment rp1, so latest", "m:latest")
    elif named:
        wanted = Choice("no deployment is named, so latest", "m:latest")
    else:
        with pytest.raises(InputError, match="set CAS_MODEL to a reference, CAS_LOCK to a lock file"):
            choose(environ, default_lock=image, store=boot.store)
        return
    assert choose(environ, model="m" if named else None, default_lock=image, store=boot.store) == wanted


def test_a_pin_is_of_its_model_or_of_the_only_one(boot: Boot) -> None:
    eu = {"CAS_DEPLOYMENT": "eu"}
    pin(boot, "eu", "m:v1")
    publish_tree(boot.store, boot.lock.parent / "tree", model="other")
    assert choose(eu, store=boot.store).reference == boot.old
    other = choose(eu, model="other", store=boot.store)
    assert (other.reference, other.reason) == ("other:latest", "no pin of deployment eu, so latest")
    pin(boot, "eu", "other", "other")
    with pytest.raises(InputError, match="deployment eu has pins of m, other"):
        choose(eu, store=boot.store)
    assert choose(eu, model="m", store=boot.store).reference == boot.old
    unpin(boot, "eu")
    assert choose(eu, store=boot.store).reference.startswith("other@blake3:")


def test_a_version_is_what_the_reference_or_the_lock_says(boot: Boot) -> None:
    assert choose({"CAS_MODEL": "m:v1"}).version() == "m:v1"
    locked = choose({"CAS_LOCK": str(boot.lock)}).version()
    assert isinstance(locked, Resolved)
    assert cas.restore(locked, boot.store, cache_dir=boot.cache).reference == boot.old


@pytest.mark.parametrize(
    "environ", [{"CAS_MODEL": "m@xyz"}, {"CAS_DEPLOYMENT": "../eu"}, {"RUNPOD_ENDPOINT_ID": "a b"}], ids=str
)
def test_a_name_that_is_none_is_the_callers_mistake(environ: dict[str, str]) -> None:
    with pytest.raises(InputError):
        choose(environ, model="m", store="memory:")


def test_a_configuration_with_a_part_of_a_digest_is_warned_of(boot: Boot) -> None:
    digest = boot.old.partition("blake3:")[2]
    for reference in (f"m@{digest[:8]}", f"m@{digest[:32]}", f"m@{digest[:63]}"):
        chosen = choose({"CAS_MODEL": reference})
        count = len(reference) - 2
        assert chosen.caution.startswith(f"CAS_MODEL names {reference} by {count} of the 64 digits of its digest")
        restored = boot.cas("restore", "-q", CAS_MODEL=reference)
        assert (restored.returncode, restored.stderr) == (0, f"warning: {chosen.caution}\n")
    for environ in (
        {"CAS_MODEL": f"m@{digest}"},
        {"CAS_MODEL": boot.old},
        {"CAS_MODEL": "m"},
        {"CAS_MODEL": "pin:eu/m"},
    ):
        assert choose(environ).caution == ""
    assert choose({"CAS_LOCK": str(boot.lock)}).caution == ""
    named = boot.cas("restore", "-q", f"m@{digest[:8]}")
    assert (named.returncode, named.stderr) == (0, ""), "somebody looks at what a command line restores"


def test_a_lock_that_is_named_and_not_there_makes_way_for_nothing(boot: Boot) -> None:
    named = choose({"CAS_LOCK": "/none.json", "CAS_DEPLOYMENT": "eu"}, model="m", default_lock=boot.lock)
    with pytest.raises(InputError, match=r"/none\.json does not exist"):
        named.version()
    dangling = boot.lock.with_name("dangling.json")
    dangling.symlink_to("/none.json")
    with pytest.raises(InputError, match="does not exist"):
        choose({}, model="m", default_lock=dangling).version()


def test_a_pin_that_cannot_be_read_makes_way_for_nothing(boot: Boot, tmp_path: Path) -> None:
    eu = {"CAS_DEPLOYMENT": "eu"}
    pin(boot, "eu", "m:v1")
    boot.store.bucket.put("refs/pins/eu/m/00000009-ffffffffffffffff.json", b"{", Kind.DOCUMENT)
    for model in ("m", None):
        with pytest.raises(FormatError, match="pin:eu/m"):
            choose(eu, model=model, store=boot.store)
    with pytest.raises(StoreError, match="read only over https"):
        choose(eu, model="m", store="https://127.0.0.1:9/cas")
    with pytest.raises(NotFoundError, match="there is no store"):
        choose(eu, store=Store(open_bucket(str(tmp_path / "none"))))


def test_a_store_that_is_away_or_refuses_makes_way_for_nothing(
    s3_url: str, seaweed: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    eu = {"CAS_DEPLOYMENT": "eu"}
    store = open_store(s3_url)
    store.create()
    assert choose(eu, model="m", store=store).reference == "m:latest"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(AccessDenied):
        choose(eu, model="m", store=open_store(s3_url))
    for name, value in seaweed.env("x").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StoreError, match="does not exist"):
        choose(eu, model="m", store=open_store("s3://no-such-bucket/cas"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match="no connection"):
        choose(eu, model="m", store=open_store(s3_url, policy=HURRIED))


def test_restore_run_and_env_without_a_reference_take_what_the_environment_names(boot: Boot) -> None:
    pin(boot, "eu", "m:v1")
    for env, wanted, reason in (
        ({"CAS_MODEL": "m"}, boot.new, "the version is m: CAS_MODEL"),
        ({"CAS_LOCK": str(boot.lock)}, boot.old, f"the version is --lock {boot.lock}: lock file {boot.lock}"),
        ({"CAS_DEPLOYMENT": "eu"}, boot.old, f"the version is {boot.old}: pin of deployment eu"),
        ({"RUNPOD_ENDPOINT_ID": "eu"}, boot.old, f"the version is {boot.old}: pin of deployment eu"),
    ):
        restored = boot.cas("restore", "--json", "-v", **env)
        assert (restored.returncode, f'"{wanted}"' in restored.stdout) == (0, True), restored.stderr
        assert reason in restored.stderr.splitlines()
        assert boot.json("env", **env)["CAS_MODEL"] == wanted
        ran = boot.run("-q", "run", "--", "sh", "-c", 'echo "$CAS_MODEL"', **env)
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"{wanted}\n", "")


def test_when_nothing_names_a_model_the_way_to_name_one_is_told(boot: Boot) -> None:
    for words in (["restore"], ["env"], ["run", "--", "true"]):
        for env, told in (({}, "nothing names a model"), ({"CAS_DEPLOYMENT": "eu"}, "deployment eu has no pin in")):
            done = boot.cas(*words, **env)
            assert (done.returncode, done.stdout) == (2, "")
            assert told in done.stderr
            assert "set CAS_MODEL to a reference" in done.stderr
    for words in (["restore", ""], ["env", ""], ["run", "", "--", "true"]):
        empty = boot.cas(*words, CAS_MODEL="m")
        assert (empty.returncode, "model '' is not a name" in empty.stderr) == (2, True), empty.stderr
    assert not boot.cache.exists()
