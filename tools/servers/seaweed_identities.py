"""Who may use the local S3 server: four identities, their keys, and what each may do."""

import json
from typing import NamedTuple

_ACTIONS = {
    "admin": ["Admin", "Read", "Write", "List", "Tagging"],
    "publisher": ["Read", "Write", "List"],
    "writer": [],
    "reader": ["Read", "List"],
}
# SeaweedFS counts deletes among "Write": only a policy can tell the two apart.
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
_POLICY_NAME = "write-only-adds"


class Credentials(NamedTuple):
    """A pair of S3 keys."""

    access: str
    secret: str


def credentials(identity: str) -> Credentials:
    """Return the keys of `admin`, `publisher`, `writer` or `reader`.

    Raises:
        KeyError: there is no such identity.
    """
    if identity not in _ACTIONS:
        raise KeyError(identity)
    return Credentials(f"{identity}-access", f"{identity}-secret")


def config() -> dict[str, object]:
    """Return all of them as `weed` reads them from the file of its option `s3.config`."""
    policy = {"name": _POLICY_NAME, "content": json.dumps(_WRITER_POLICY)}
    return {"identities": [_identity(name) for name in _ACTIONS], "policies": [policy]}


def _identity(name: str) -> dict[str, object]:
    access, secret = credentials(name)
    keys = [{"accessKey": access, "secretKey": secret}]
    policies = [_POLICY_NAME] if name == "writer" else []
    return {"name": name, "credentials": keys, "actions": _ACTIONS[name], "policyNames": policies}
