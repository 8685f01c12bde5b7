"""What is known of the storage behind an endpoint: how to tell which it is, its habits, and where its keys are made.

Habits are those that docs/operations/permissions.md names, each measured or documented by the provider.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from cas.bucket.base import ServerFacts

_S3_ACTIONS = {
    "read": "s3:GetObject",
    "list": "s3:ListBucket on the bucket",
    "write": "s3:PutObject",
    "delete": "s3:DeleteObject and s3:DeleteObjectVersion",
    "versions": "s3:ListBucketVersions on the bucket",
    "uploads": "s3:ListBucketMultipartUploads on the bucket",
}
_B2_CAPABILITIES = {
    "read": "readFiles",
    "list": "listFiles",
    "write": "writeFiles",
    "delete": "deleteFiles",
    "versions": "listFiles",
    "uploads": "listFiles and writeFiles",
}
_R2_TOKENS = dict.fromkeys(_S3_ACTIONS, "a token Object Read & Write") | {
    "read": "a token Object Read only",
    "list": "a token Object Read only",
}
_B2_KEYS = {"reader": "listFiles,readFiles", "publisher": "listFiles,readFiles,writeFiles"}
_R2_KEYS = {"reader": "Object Read only", "publisher": "Object Read & Write"}


class Provider(NamedTuple):
    """One kind of storage.

    Attributes:
        name: as people call it.
        hosts: pattern of the endpoint's host; empty where the host does not tell.
        software: pattern of the header Server, or of the form of a request's id; empty where neither tells.
        rights: what the provider calls each right.
        inseparable: rights that no key with the right to write can be without.
        habits: what to know of this storage when a check finds something, by the name of the check.
    """

    name: str
    hosts: str = ""
    software: str = ""
    rights: Mapping[str, str] = _S3_ACTIONS
    inseparable: frozenset[str] = frozenset()
    habits: Mapping[str, str] = {}

    def grant_advice(self, right: str) -> str:
        """Return how to give a key a right."""
        words = self.rights[right]
        if self.name == "Backblaze B2":
            return f"make a key with the capability {words}: `b2 key create`; the master key does not work with S3"
        if self.name == "Cloudflare R2":
            return f"make {words}, under R2, Manage API tokens"
        return f"grant the key {words}; docs/operations/permissions.md has whole policies"

    def key_advice(self, role: str) -> str:
        """Return how to make a key for a role that can do no more."""
        if self.name == "Backblaze B2":
            return f"b2 key create --bucket BUCKET --name-prefix PREFIX/ cas-{role} {_B2_KEYS.get(role, '')}"
        if self.name == "Cloudflare R2":
            return f"a token {_R2_KEYS.get(role, 'Object Read & Write')}, under R2, Manage API tokens"
        return f"docs/operations/permissions.md has the policy of a {role}"


_IGNORES_CONDITIONS = "--expect and two publishes of one tag at the same moment rely on the log of the ref alone"

PROVIDERS = (
    Provider(
        "Backblaze B2",
        hosts=r"\.backblazeb2\.com$",
        rights=_B2_CAPABILITIES,
        habits={
            "conditional": f"B2 has no conditional writes: {_IGNORES_CONDITIONS}",
            "versions": "B2 keeps every version, always: run `cas gc` with a collector's key to free space",
            "key": "B2's master key does not work with S3: make one with `b2 key create`",
            "connect": "B2's endpoint is https://s3.<region>.backblazeb2.com, as the bucket's page shows it",
        },
    ),
    Provider(
        "Cloudflare R2",
        hosts=r"\.r2\.cloudflarestorage\.com$",
        rights=_R2_TOKENS,
        inseparable=frozenset({"delete"}),
        habits={
            "connect": "R2's endpoint is https://<account>.r2.cloudflarestorage.com, without the bucket; region auto",
            "key": "the S3 keys of an R2 token are shown once, when it is made: an API token itself is no key",
        },
    ),
    Provider(
        "Google Cloud Storage",
        hosts=r"^storage\.googleapis\.com$",
        habits={
            "conditional": f"the S3 interface of Google's storage ignores If-None-Match: {_IGNORES_CONDITIONS}",
            "key": "Google's S3 interface takes HMAC keys: Cloud Storage, Settings, Interoperability",
            "connect": "Google's S3 interface is https://storage.googleapis.com",
        },
    ),
    Provider(
        "Hugging Face buckets",
        hosts=r"^s3\.hf\.co$",
        habits={
            "key": "S3 keys (HFAK…) are made from an access token: Settings, Access Tokens, Generate S3 credentials",
            "versions": "Hugging Face's buckets keep no versions",
            "connect": "the endpoint is https://s3.hf.co; only Storage Buckets are there, no model repos",
        },
    ),
    Provider(
        "RunPod network volume",
        hosts=r"^s3api-[a-z0-9-]+\.runpod\.io$",
        habits={
            "key": "RunPod's S3 keys are another kind than its API keys: Settings, S3 API Keys (user_… and rps_…)",
            "connect": "the endpoint is https://s3api-<datacenter>.runpod.io, the bucket is the id of the volume",
            "region": "AWS_REGION is the volume's datacenter, such as EU-RO-1",
        },
    ),
    Provider(
        "AWS",
        hosts=r"\.amazonaws\.com(\.cn)?$",
        habits={
            "connect": "AWS_REGION must be the bucket's: `aws s3api get-bucket-location --bucket BUCKET`",
            "clock": "AWS refuses requests that are more than 15 minutes off",
        },
    ),
    Provider(
        "Ceph",
        software=r"(?i)ceph|^tx[0-9a-f]{21}-",
        habits={
            "conditional": f"Ceph ignores If-None-Match while the bucket keeps versions: {_IGNORES_CONDITIONS}. "
            "Suspend versioning, or let nobody rely on --expect"
        },
    ),
    Provider("SeaweedFS", software=r"(?i)seaweedfs"),
)

UNKNOWN = Provider("S3-compatible storage")
"""Storage of which nothing is known."""

DIRECTORY = Provider(
    "directory",
    rights=dict.fromkeys(_S3_ACTIONS, "access to the directory: its owner and mode"),
    inseparable=frozenset({"delete"}),
)
"""A directory: who may write in a folder may delete there."""


_AZURE_READER, _AZURE_WRITER = "the role Storage Blob Data Reader", "the role Storage Blob Data Contributor"

BY_SCHEME = {
    "file": DIRECTORY,
    "az": Provider(
        "Azure Blob Storage",
        rights=dict.fromkeys(_S3_ACTIONS, _AZURE_WRITER) | {"read": _AZURE_READER, "list": _AZURE_READER},
        inseparable=frozenset({"delete"}),
    ),
    "gs": Provider(
        "Google Cloud Storage",
        rights={
            "read": "storage.objects.get",
            "list": "storage.objects.list",
            "write": "storage.objects.create",
            "delete": "storage.objects.delete",
            "versions": "storage.objects.list",
            "uploads": "storage.multipartUploads.list",
        },
    ),
}
"""Storage that the scheme of a store's URL tells."""


def provider_of(host: str, facts: ServerFacts | None = None) -> Provider:
    """Return which storage this is.

    Args:
        host: of the endpoint.
        facts: what the server says of itself; None while nothing is known.
    """
    said = (facts.software, facts.request) if facts else ()
    for provider in PROVIDERS:
        if provider.hosts and re.search(provider.hosts, host):
            return provider
    for provider in PROVIDERS:
        if provider.software and any(re.search(provider.software, words) for words in said):
            return provider
    return UNKNOWN
