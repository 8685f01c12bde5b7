"""Manifests to name, the log of a tag, and entries written by hand."""

from __future__ import annotations

import json

from cas.bucket import Kind
from cas.formats.digest import named
from cas.formats.manifest import Manifest
from cas.refs.reference import Reference, log_of
from cas.refs.reflog import RefLog
from cas.store.store import Store

A, B = "a" * 64, "b" * 64
PREFIX = "refs/tags/m/latest"


def published(store: Store, note: str, model: str = "m") -> str:
    """Store a manifest whose note makes it differ from others, and return its digest (64 hex)."""
    return store.put_manifest(Manifest(model=model, repos=(), annotations={"note": note}))


def latest(store: Store, model: str = "m") -> RefLog:
    return log_of(store, Reference(model, tag="latest"))


def written(store: Store, name: str, digest: str, prefix: str = PREFIX) -> None:
    """Write an entry of a log under a chosen name."""
    entry = {"manifest": named(digest), "created": "2026-11-23T03:00:00Z", "by": "somebody", "reason": "test"}
    store.bucket.put(f"{prefix}/{name}", json.dumps(entry).encode(), Kind.DOCUMENT)
