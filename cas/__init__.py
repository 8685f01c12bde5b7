"""A content-addressed store for model artifacts: publish once, restore anywhere, verify every byte.

    import cas

    store = cas.open_store("s3://my-models/cas")
    source = cas.Source.from_folder("weights", "sentence-transformers/all-MiniLM-L6-v2")
    with cas.progress_bar() as bar:
        cas.publish("minilm", source, store, on_event=bar)
        restored = cas.restore("minilm", store, on_event=bar)
    store.tag("minilm", "prod")
    print(store.versions("minilm"), store.history("minilm:prod"))
    weights = cas.load_tensors("minilm:prod", store, framework="numpy")

Each command of the command line is a function here; those that concern a store alone are methods of `Store`, too.
A name is imported when it is first used, so `import cas` costs a cold start nothing.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

from cas.version import __version__

if TYPE_CHECKING:
    from cas.api.care import doctor, explain, info, init, lock, sources
    from cas.api.flat_import import Imported, import_flat
    from cas.api.look import VersionDetails, du, env, history, pins, resolve, show, tags, tree, versions
    from cas.api.names import Moved, pin, rollback, tag, unpin, untag
    from cas.api.serving import serve
    from cas.api.signatures import attest, sign
    from cas.api.store import Store, open_store
    from cas.api.transfer import copy, export, import_archive, mirror
    from cas.cli.display.progress_bar import progress_bar
    from cas.errors import CasError
    from cas.events import Event, Listener
    from cas.ops.audit.auditor import audit
    from cas.ops.audit.result import Audit
    from cas.ops.derive.check import Proven
    from cas.ops.derive.check import check as prove
    from cas.ops.derive.deriver import Variant, derive
    from cas.ops.doctor.examiner import Diagnosis
    from cas.ops.fsck.checker import Checked, fsck
    from cas.ops.fsck.fleet import fsck_by_fleet
    from cas.ops.fsck.merge import merge_files as merge_fsck
    from cas.ops.gc.collector import gc
    from cas.ops.gc.explain import Explained
    from cas.ops.gc.result import Collected
    from cas.ops.inspect.comparison import Comparison
    from cas.ops.inspect.comparison import compare as diff
    from cas.ops.inspect.receipts import FoundReceipts, receipt, receipts
    from cas.ops.inspect.tree import TreeLine
    from cas.ops.inspect.usage import Usage
    from cas.ops.inspect.versions import ListedVersion as Version
    from cas.ops.prune.pruner import prune
    from cas.ops.prune.result import Pruned
    from cas.ops.publish.publisher import Published, Source, publish
    from cas.ops.read.opened_file import open_file
    from cas.ops.report.figures import Report
    from cas.ops.report.reporter import report
    from cas.ops.restore.folder import Folder
    from cas.ops.restore.in_use import view
    from cas.ops.restore.receipts import ReceiptWriter
    from cas.ops.restore.restorer import Restored, restore
    from cas.ops.tensors.loader import load_tensors
    from cas.ops.transfer.result import Copied, Exported
    from cas.ops.verify import Report as Verified
    from cas.ops.verify import verify
    from cas.refs.history import RolledBack
    from cas.refs.lock_file import Locked, read_lock, write_lock
    from cas.refs.past_moves import PastMove
    from cas.refs.pins import Pin
    from cas.refs.reference import Resolved
    from cas.refs.selection import Choice, choose
    from cas.store.later_phases import phase

# Name -> the module that has it; with the name there, where that is another one.
_PLACES = {
    "Audit": "cas.ops.audit.result",
    "CasError": "cas.errors",
    "Checked": "cas.ops.fsck.checker",
    "Choice": "cas.refs.selection",
    "Collected": "cas.ops.gc.result",
    "Comparison": "cas.ops.inspect.comparison",
    "Copied": "cas.ops.transfer.result",
    "Diagnosis": "cas.ops.doctor.examiner",
    "Event": "cas.events",
    "Explained": "cas.ops.gc.explain",
    "Exported": "cas.ops.transfer.result",
    "Folder": "cas.ops.restore.folder",
    "FoundReceipts": "cas.ops.inspect.receipts",
    "Imported": "cas.api.flat_import",
    "Listener": "cas.events",
    "Locked": "cas.refs.lock_file",
    "Moved": "cas.api.names",
    "PastMove": "cas.refs.past_moves",
    "Pin": "cas.refs.pins",
    "Proven": "cas.ops.derive.check",
    "Pruned": "cas.ops.prune.result",
    "Published": "cas.ops.publish.publisher",
    "Report": "cas.ops.report.figures",
    "Resolved": "cas.refs.reference",
    "Restored": "cas.ops.restore.restorer",
    "ReceiptWriter": "cas.ops.restore.receipts",
    "RolledBack": "cas.refs.history",
    "Source": "cas.ops.publish.publisher",
    "Store": "cas.api.store",
    "TreeLine": "cas.ops.inspect.tree",
    "Usage": "cas.ops.inspect.usage",
    "Variant": "cas.ops.derive.deriver",
    "Verified": "cas.ops.verify:Report",
    "Version": "cas.ops.inspect.versions:ListedVersion",
    "VersionDetails": "cas.api.look",
    "attest": "cas.api.signatures",
    "audit": "cas.ops.audit.auditor",
    "choose": "cas.refs.selection",
    "copy": "cas.api.transfer",
    "derive": "cas.ops.derive.deriver",
    "diff": "cas.ops.inspect.comparison:compare",
    "doctor": "cas.api.care",
    "du": "cas.api.look",
    "env": "cas.api.look",
    "explain": "cas.api.care",
    "export": "cas.api.transfer",
    "fsck": "cas.ops.fsck.checker",
    "fsck_by_fleet": "cas.ops.fsck.fleet",
    "gc": "cas.ops.gc.collector",
    "history": "cas.api.look",
    "import_archive": "cas.api.transfer",
    "import_flat": "cas.api.flat_import",
    "info": "cas.api.care",
    "init": "cas.api.care",
    "load_tensors": "cas.ops.tensors.loader",
    "lock": "cas.api.care",
    "merge_fsck": "cas.ops.fsck.merge:merge_files",
    "mirror": "cas.api.transfer",
    "open_file": "cas.ops.read.opened_file",
    "open_store": "cas.api.store",
    "phase": "cas.store.later_phases",
    "pin": "cas.api.names",
    "pins": "cas.api.look",
    "progress_bar": "cas.cli.display.progress_bar",
    "prove": "cas.ops.derive.check:check",
    "prune": "cas.ops.prune.pruner",
    "publish": "cas.ops.publish.publisher",
    "read_lock": "cas.refs.lock_file",
    "receipt": "cas.ops.inspect.receipts",
    "receipts": "cas.ops.inspect.receipts",
    "report": "cas.ops.report.reporter",
    "resolve": "cas.api.look",
    "restore": "cas.ops.restore.restorer",
    "rollback": "cas.api.names",
    "serve": "cas.api.serving",
    "show": "cas.api.look",
    "sign": "cas.api.signatures",
    "sources": "cas.api.care",
    "tag": "cas.api.names",
    "tags": "cas.api.look",
    "tree": "cas.api.look",
    "unpin": "cas.api.names",
    "untag": "cas.api.names",
    "verify": "cas.ops.verify",
    "versions": "cas.api.look",
    "view": "cas.ops.restore.in_use",
    "write_lock": "cas.refs.lock_file",
}

__all__ = [
    "Audit",
    "CasError",
    "Checked",
    "Choice",
    "Collected",
    "Comparison",
    "Copied",
    "Diagnosis",
    "Event",
    "Explained",
    "Exported",
    "Folder",
    "FoundReceipts",
    "Imported",
    "Listener",
    "Locked",
    "Moved",
    "PastMove",
    "Pin",
    "Proven",
    "Pruned",
    "Published",
    "ReceiptWriter",
    "Report",
    "Resolved",
    "Restored",
    "RolledBack",
    "Source",
    "Store",
    "TreeLine",
    "Usage",
    "Variant",
    "Verified",
    "Version",
    "VersionDetails",
    "__version__",
    "attest",
    "audit",
    "choose",
    "copy",
    "derive",
    "diff",
    "doctor",
    "du",
    "env",
    "explain",
    "export",
    "fsck",
    "fsck_by_fleet",
    "gc",
    "history",
    "import_archive",
    "import_flat",
    "info",
    "init",
    "load_tensors",
    "lock",
    "merge_fsck",
    "mirror",
    "open_file",
    "open_store",
    "phase",
    "pin",
    "pins",
    "progress_bar",
    "prove",
    "prune",
    "publish",
    "read_lock",
    "receipt",
    "receipts",
    "report",
    "resolve",
    "restore",
    "rollback",
    "serve",
    "show",
    "sign",
    "sources",
    "tag",
    "tags",
    "tree",
    "unpin",
    "untag",
    "verify",
    "versions",
    "view",
    "write_lock",
]


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module 'cas' has no attribute {name!r}")
    if sys.platform == "win32":
        from cas.errors import refuse_platform

        refuse_platform()
    module, _, there = _PLACES[name].partition(":")
    return getattr(importlib.import_module(module), there or name)


def __dir__() -> list[str]:
    return sorted({*(name for name in globals() if name.startswith("__")), *__all__})
