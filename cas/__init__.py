"""A content-addressed store for model artifacts: publish once, restore anywhere, verify every byte.

    import cas
    store = cas.open_store("s3://bucket/cas")
    cas.publish("f5-tts", cas.Source.from_repos(["SWivid/F5-TTS"]), store)
    cas.restore("f5-tts:latest", store)
    cas.restore(["flux:fp8", "wan:latest"], store, to="ComfyUI/models", include=["*.safetensors"])
    weights = cas.load_tensors("f5-tts:latest", store, include="*.safetensors")

A name is imported when it is first used, so `import cas` costs a cold start nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from cas.version import __version__

if TYPE_CHECKING:
    from cas.errors import CasError
    from cas.events import Event
    from cas.ops.derive.deriver import Variant, derive
    from cas.ops.publish.publisher import Published, Source, publish
    from cas.ops.read.opened_file import open_file
    from cas.ops.restore.folder import Folder
    from cas.ops.restore.in_use import view
    from cas.ops.restore.restorer import Restored, restore
    from cas.ops.tensors.loader import load_tensors
    from cas.refs.lock_file import read_lock, write_lock
    from cas.refs.selection import Choice, choose
    from cas.store.store import Store, open_store

_MODULES = {
    "CasError": "cas.errors",
    "Choice": "cas.refs.selection",
    "Event": "cas.events",
    "Folder": "cas.ops.restore.folder",
    "Published": "cas.ops.publish.publisher",
    "Restored": "cas.ops.restore.restorer",
    "Source": "cas.ops.publish.publisher",
    "Store": "cas.store.store",
    "Variant": "cas.ops.derive.deriver",
    "choose": "cas.refs.selection",
    "derive": "cas.ops.derive.deriver",
    "load_tensors": "cas.ops.tensors.loader",
    "open_file": "cas.ops.read.opened_file",
    "open_store": "cas.store.store",
    "publish": "cas.ops.publish.publisher",
    "read_lock": "cas.refs.lock_file",
    "restore": "cas.ops.restore.restorer",
    "view": "cas.ops.restore.in_use",
    "write_lock": "cas.refs.lock_file",
}

__all__ = [
    "CasError",
    "Choice",
    "Event",
    "Folder",
    "Published",
    "Restored",
    "Source",
    "Store",
    "Variant",
    "__version__",
    "choose",
    "derive",
    "load_tensors",
    "open_file",
    "open_store",
    "publish",
    "read_lock",
    "restore",
    "view",
    "write_lock",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'cas' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
