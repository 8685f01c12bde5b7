"""The five identities of the local S3 server: their keys and permissions."""

import json
from typing import NamedTuple

_ACTIONS = {
    "admin": ["Admin", "Read", "Write", "List", "Tagging"],
    "publisher": ["Read", "Write", "List"],
    "writer": [],
    "signed-worker": [],
    "reader": ["Read", "List"],
}
# The action "Write" of SeaweedFS includes deletes: only a policy can permit one and not the other.
_WRITER_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": [
                "s3:GetObject",
                "s3:PutObject",
                "s3:ListBucket",
                "s3:AbortMultipartUpload",
                "s3:ListMultipartUploadParts",
            ],
            "Resource": ["arn:aws:s3:::*", "arn:aws:s3:::*/*"],
        }
    ],
}
SIGNED_WORKER_WRITES = [f"arn:aws:s3:::*/cas/{name}/*" for name in ("chunks", "manifests", "leases", "receipts")]
"""Where the identity `signed-worker` may write, in any bucket."""

# As the policy SignedWorker of docs/operations/permissions.md, for stores of the prefix `cas` in any bucket.
_SIGNED_WORKER_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:ListBucket"],
            "Resource": ["arn:aws:s3:::*", "arn:aws:s3:::*/*"],
        },
        {
            "Effect": "Allow",
            "Action": "s3:PutObject",
            "Resource": SIGNED_WORKER_WRITES,
        },
    ],
}
_POLICIES = {"writer": _WRITER_POLICY, "signed-worker": _SIGNED_WORKER_POLICY}
"""Policies by the identity that has no other right; each has the identity's name."""

PUBLIC_BUCKET = "public"
"""A bucket of this name may be read, and not listed, without a key; it is there when somebody makes it."""


class Credentials(NamedTuple):
    """The access key id and the secret access key of an identity."""

    access: str
    secret: str


def credentials(identity: str) -> Credentials:
    """Return the keys of `admin`, `publisher`, `writer`, `signed-worker` or `reader`.

    Raises:
        KeyError: there is no such identity.
    """
    if identity not in _ACTIONS:
        raise KeyError(identity)
    return Credentials(f"{identity}-access", f"{identity}-secret")


def config() -> dict[str, object]:
    """Return all identities in the form of the file that the option `s3.config` of `weed` names."""
    policies = [{"name": name, "content": json.dumps(content)} for name, content in _POLICIES.items()]
    everybody = {"name": "anonymous", "actions": [f"Read:{PUBLIC_BUCKET}"]}
    return {"identities": [*(_identity(name) for name in _ACTIONS), everybody], "policies": policies}


def _identity(name: str) -> dict[str, object]:
    access, secret = credentials(name)
    keys = [{"accessKey": access, "secretKey": secret}]
    policies = [name] if name in _POLICIES else []
    return {"name": name, "credentials": keys, "actions": _ACTIONS[name], "policyNames": policies}
