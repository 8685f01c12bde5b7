"""A content-addressed store for model artifacts: publish once, restore anywhere, verify every byte.

    import cas
    store = cas.open_store("s3://bucket/cas")
    cas.publish("f5-tts", cas.Source.from_repos(["SWivid/F5-TTS"]), store)
    cas.restore("f5-tts:latest", store)

Names are imported when first used, so that `import cas` costs a cold start nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from cas.choice import Choice, choose
    from cas.deriver import Variant, derive
    from cas.errors import CasError
    from cas.events import Event
    from cas.lockfile import read_lock, write_lock
    from cas.publisher import Published, Source, publish
    from cas.restorer import Restored, restore
    from cas.store import Store, open_store

_HOMES = {
    "CasError": "cas.errors",
    "Choice": "cas.choice",
    "Event": "cas.events",
    "Published": "cas.publisher",
    "Restored": "cas.restorer",
    "Source": "cas.publisher",
    "Store": "cas.store",
    "Variant": "cas.deriver",
    "choose": "cas.choice",
    "derive": "cas.deriver",
    "open_store": "cas.store",
    "publish": "cas.publisher",
    "read_lock": "cas.lockfile",
    "restore": "cas.restorer",
    "write_lock": "cas.lockfile",
}

__all__ = [
    "CasError",
    "Choice",
    "Event",
    "Published",
    "Restored",
    "Source",
    "Store",
    "Variant",
    "__version__",
    "choose",
    "derive",
    "open_store",
    "publish",
    "read_lock",
    "restore",
    "write_lock",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'cas' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
