"""What a server refuses is told as what it is: an archive, a region, a clock, a policy, and not as a permission."""

from __future__ import annotations

from pathlib import Path

import pytest

from cas.bucket import Kind, open_bucket
from cas.bucket.errors.refusals import answer_of, refusal
from cas.errors import AccessDenied, ObjectArchived, Redirected, StoreError
from cas.ops.fsck.checker import fsck
from cas.store.store import open_store
from tests.bucket.recording import Environment
from tests.support.buckets import HURRIED
from tests.support.faults import FILES, OPERATIONS
from tests.support.in_process import call_cas
from tests.support.models import publish_tree, write_tree
from tools.servers.habits import HabitServer, parse_habits
from tools.servers.s3_answers import StoredObject

URL = "s3://bucket/cas"


@pytest.mark.parametrize(
    ("habit", "says"),
    [
        ("region=fr-par", "the bucket is in the region fr-par: set AWS_REGION=fr-par"),
        ("clock=3600", "machine's clock is wrong"),
        ("expires_after=0", "fresh credentials"),
        ("virtual=oss.test", "set AWS_VIRTUAL_HOSTED_STYLE_REQUEST=true"),
        ("refusal=403 QuotaExceeded", "quota used up"),
        ("refusal=403 AccessDenied Access Denied", "the key needs the permission "),
        ("refusal=403 SomethingElse", "for no reason that is known here"),
        ("refusal=307 TemporaryRedirect", "redirects elsewhere: check AWS_ENDPOINT_URL"),
    ],
)
@pytest.mark.parametrize("operation", ["get", "head", "put", "list", "delete"])
def test_the_cause_is_in_the_line(habits: HabitServer, habit: str, says: str, operation: str) -> None:
    habits.objects["cas/key"] = StoredObject(b"data", 0)
    habits.habits = parse_habits([habit])
    with pytest.raises(StoreError) as error:
        OPERATIONS[operation](open_bucket(URL, HURRIED))
    assert says in str(error.value)
    assert ("needs the permission" in str(error.value)) == ("permission" in says)


@pytest.mark.parametrize("operation", ["get", "get-into", "head", "put", "list", "delete"])
def test_the_region_of_a_bare_redirect_is_told(habits: HabitServer, operation: str) -> None:
    habits.habits = parse_habits(["region=eu-west-3", "region_status=301"])
    bucket = open_bucket(URL, HURRIED)
    operations = OPERATIONS | {"get-into": lambda bucket: bucket.get_into("key", memoryview(bytearray(9)))}
    with pytest.raises(Redirected, match=r"in the region eu-west-3: set AWS_REGION=eu-west-3") as error:
        operations[operation](bucket)
    assert error.value.region == "eu-west-3"


@pytest.mark.parametrize(
    ("code", "message", "says"),
    [
        (
            "AccessDenied",
            "User: x is not authorized to perform: s3:PutObject because no identity-based policy allows the action",
            "the key needs the permission s3:PutObject",
        ),
        (
            "AccessDenied",
            "User: arn:aws:iam::1:user/x is not authorized to perform: kms:Decrypt on the resource with the key",
            "the key needs the permission kms:Decrypt",
        ),
        (
            "AccessDenied",
            "User: x is not authorized to perform: s3:PutObject with an explicit deny in a resource-based policy",
            "a policy forbids it",
        ),
        ("AccessDenied", "Access Denied because object protected by object lock.", "Object Lock keeps the object"),
        ("AccessDenied", "Cannot upload files, storage cap exceeded.", "the store is full"),
        ("PathStyleDomainForbidden", "must be addressed using COS virtual-styled domain.", "AWS_VIRTUAL_HOSTED"),
        ("VirtualHostDomainRequired", "Virtual hosting domain name is not used.", "AWS_VIRTUAL_HOSTED"),
        (
            "AuthorizationHeaderMalformed",
            "Authorization header malformed, unexpected scope, expected: '20260101/garage/s3/aws4_request'",
            "set AWS_REGION=garage",
        ),
    ],
)
def test_messages_of_providers(code: str, message: str, says: str) -> None:
    error = refusal(answer_of(403, {"Code": code, "Message": message}), "put key in s3://b", "PutObject")
    assert says in str(error)
    assert ("needs the permission" in str(error)) == ("permission" in says)


def test_the_servers_time_is_told() -> None:
    skewed = {"Code": "RequestTimeTooSkewed", "Message": "too large.", "ServerTime": "2026-01-01T00:00:00Z"}
    error = refusal(answer_of(403, skewed), "get key in s3://b", "GetObject")
    assert "too large., and that it is 2026-01-01T00:00:00Z there): set it" in str(error)
    assert isinstance(error, AccessDenied)


def test_an_archived_chunk_is_named_by_restore_and_fsck(habits: HabitServer, tmp_path: Path) -> None:
    store = open_store(URL, policy=HURRIED)
    publish_tree(store, write_tree(tmp_path / "source", FILES))
    habits.habits.archived = "/chunks/"
    done = call_cas("--store", URL, "restore", "m", "--cache-dir", str(tmp_path / "hub"))
    assert done.returncode == 6
    assert "is archived in the storage class GLACIER" in done.stderr
    assert "needs the permission" not in done.stderr
    checked = fsck("m", store)
    assert checked.undecodable.count > 0
    assert {item.what for item in checked.undecodable.items} == {"chunk"}
    assert all("storage class GLACIER" in item.reason for item in checked.undecodable.items)
    with pytest.raises(ObjectArchived):
        store.bucket.get(next(iter(store.bucket.list("chunks"))).key, 10**6)


@pytest.mark.parametrize("status", [400, 405, 501])
def test_a_server_without_deleteobjects_deletes(habits: HabitServer, status: int) -> None:
    habits.habits.bulk_delete = status
    bucket = open_bucket(URL, HURRIED)
    bucket.put("key", b"data", Kind.DOCUMENT)
    bucket.delete("key")
    bucket.delete("key")
    assert habits.objects == {}
    assert habits.count("POST") == 0


def test_a_head_that_another_request_explains(habits: HabitServer, monkeypatch: Environment) -> None:
    habits.habits = parse_habits(["refusal=403 AccessDenied Access Denied", "refused=HEAD"])
    habits.objects["cas/key"] = StoredObject(b"data", 0)
    bucket = open_bucket(URL, HURRIED)
    with pytest.raises(
        AccessDenied, match="for no reason that is known here: check the key and its right to GetObject"
    ):
        bucket.head("key")  # GET succeeds, so the refusal of HEAD stays unexplained
    assert bucket.put("other", b"x", Kind.DOCUMENT)
