"""What is fuzzed: for each kind of foreign bytes, a function that gives them to all of our code that reads them.

A target returns, or raises an error of this project (`CasError`) whose text is one harmless line. Everything else is a
fault: another exception, a property that an `assert` of the target states, a hang, memory without bound.
"""

from __future__ import annotations

import atexit
import functools
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from cas import events, host
from cas.errors import CasError
from cas.formats import (
    archive,
    blosc_planes,
    frame,
    manifest,
    paths,
    planes,
)
from cas.formats.digest import hex_of
from cas.formats.printable import printable
from cas.hub.source import Source
from cas.local import hf_cache
from cas.local.folder_record import FolderRecord
from cas.local.verified import VerifiedFiles
from cas.ops.audit.runs import Receipts
from cas.ops.fsck.checkpoint import load_checkpoint
from cas.ops.restore import receipts
from cas.ops.restore.restorer import Restored
from cas.refs.lock_file import read_lock
from cas.refs.reflog import Ref, RefLog, current
from cas.store import layout
from cas.store.condemned import condemned_chunks, condemned_sets, condemned_versions
from cas.store.lease_entries import active_leases
from cas.store.store import Store
from tools.fuzz import environment, model_files, mutators, refusals, serving, signatures, words
from tools.fuzz.bucket import WHEN, OneDocument, Written
from tools.fuzz.mutators import Mutator
from worker.jobs import schema, shapes, turns
from worker.speech import configs
from worker.speech.vocabulary import read_vocabulary

PRELOADED = (planes, blosc_planes)
"""Modules that our code imports only when it needs them: imported here, they are instrumented, too."""

_HEX = "0123456789abcdef" * 4


@dataclass(frozen=True, slots=True)
class Target:
    """One kind of foreign bytes.

    Attributes:
        run: gives the bytes to our code.
        mutate: changes the bytes with a view to their form; None to change them as bytes alone.
        max_size: the most bytes of an input.
    """

    run: Callable[[bytes], object]
    mutate: Mutator | None = None
    max_size: int = 8192


@functools.cache
def _folder() -> Path:
    """A folder of this process, which goes when the process ends."""
    folder = tempfile.TemporaryDirectory(prefix="fuzz-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def _file(name: str, data: bytes) -> Path:
    """Write a file into the folder of this process, anew for each input."""
    path = _folder() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def run(name: str, data: bytes) -> None:
    """Give an input to a target.

    Args:
        name: of the target.
        data: the input.

    Raises:
        Exception: a fault; an error of this project is none.
    """
    try:
        TARGETS[name].run(data)
    except CasError as error:
        refusals.check(error)


def _manifest(data: bytes) -> None:
    parsed = manifest.parse(data)
    assert manifest.parse(manifest.encode(parsed)) == parsed
    if parsed.version == manifest.VERSION:
        assert manifest.encode(parsed) == data, "one content has one name"
    assert sum(parsed.chunks().values()) <= parsed.plain_size


def _ref(data: bytes) -> None:
    ref = Ref("tags", "m", "latest")
    key = layout.ref_entry_key(layout.RefEntryId(*ref, layout.ref_entry_name(1, _HEX[:16])))
    store = Store(OneDocument(data, key))
    assert [move.name for move in RefLog(store, ref).history()] == [key.rpartition("/")[2]]
    digest = RefLog(store, ref).current_digest()
    assert current(store, "tags") == ({} if digest is None else {ref: digest})


def _lease(data: bytes) -> None:
    for identity in (layout.lease_id(_HEX[:16]), layout.sweep_id(f"20260101T000000Z-{_HEX[:8]}")):
        bucket = OneDocument(data, layout.lease_entry_key(layout.LeaseEntry(identity, 1)))
        active_leases(Store(bucket), bucket.list(""), lambda: WHEN)


def _condemned(data: bytes) -> None:
    bucket = OneDocument(data, layout.condemned_key(f"20260101T000000Z-{_HEX[:8]}", 0))
    for condemned in condemned_sets(bucket.list("")):
        assert all(len(digest) == 32 for digest in condemned_chunks(Store(bucket), condemned))
        list(condemned_versions(Store(bucket), condemned))


def _audited_receipt(data: bytes) -> None:
    bucket = OneDocument(data, layout.receipt_key("d", "2026-01-01T00:00:00Z", _HEX, _HEX[:16]))
    found = Receipts(Store(bucket), "", WHEN)
    assert found.listed == 1
    assert len(found.unsigned((), lambda model: True, lambda model: "", 1)) + len(found.unread) <= 1


def _keys(data: bytes) -> None:
    """Read keys of a listing, those of receipts among them."""
    for key in data.decode(errors="surrogateescape").split("\n"):
        layout.chunk_digest(key)
        layout.receipt_digest(key)
        layout.is_probe(key)
        layout.lease_entry(key)
        if run := layout.condemned_run(key):
            assert layout.lease_entry(key) is None, run
        if version := layout.version_id(key):
            assert layout.manifest_key(*version) == key
        if entry := layout.ref_entry(key):
            assert layout.ref_entry_key(entry) == key
            layout.ref_entry_order(entry.name)


def _receipt(data: bytes) -> None:
    """Write the receipt of a boot whose words are foreign (a server's, a path, an error); NUL is between them."""
    words = data.decode(errors="surrogateescape").split("\0")
    reason, directory, why, seed, failure = (*words, "", "", "", "", "")[:5]
    bucket, warnings = Written(), list[events.Event]()
    with (
        mock.patch.object(host, "versions", return_value={}),  # they take longer than all the rest
        receipts.ReceiptWriter(Store(bucket), warnings.append, reason=reason) as writer,
    ):
        writer.listen(events.Resolved(f"m@blake3:{_HEX}", 1))
        writer.finished(Restored("m", None, None, {}, 1, 1, 1, 1.0, True, reused_from={seed: 1}))
        writer.boot([events.Span("import", 0.0, 1.0)], directory, why, ("CasError", failure) if failure else None)
    assert not [event for event in warnings if isinstance(event, events.Warned)], warnings
    ((key, document),) = bucket.objects
    assert layout.receipt_digest(key) == _HEX
    text = document.decode()
    assert json.loads(text)["manifest"] == f"blake3:{_HEX}"
    assert text == printable(text), "a receipt steers a terminal"


def _lock(data: bytes) -> None:
    """Read a lock file: the text of FILE.b3, in which @ stands for the right digest, then NUL, then the manifest."""
    beside, _, document = data.partition(b"\0")
    digest = hex_of(document)
    path = _file("model.json" if beside else f"{digest}.json", document)
    try:
        if beside:
            _file("model.json.b3", beside.replace(b"@", digest.encode()))
        assert read_lock(path).digest == digest
    finally:
        path.unlink()


def _format(data: bytes) -> None:
    Store(OneDocument(data)).check_format()


def _frame(data: bytes) -> None:
    size = frame.claimed_size(data)
    plain = frame.decode(data, size)
    assert len(plain) == size
    decoder = frame.Decoder()
    assert decoder.decode(bytearray(data), size) == plain
    for wrong in {0, 1, size + 1} - {size}:
        try:
            decoder.decode(data, wrong)
        except frame.FrameDamaged:
            continue
        raise AssertionError("a frame is decoded to another size than the manifest's")


def _planes(data: bytes) -> None:
    """Encode and decode plain bytes; the first byte of the input is the width."""
    plain = data[1:]
    encoded = frame.Encoder().encode(plain, data[0] or None if data else None)
    assert frame.decode(encoded, len(plain)) == plain


def _job(data: bytes) -> None:
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):
        return  # the platform sends no such job
    request = schema.parse(given)
    assert 1 <= len(request.text) <= schema.MAX_TEXT
    assert sum(len(turn.text) for turn in request.turns) <= len(request.text)
    assert request.spoken.keys() <= {turns.MAIN, *request.voices}
    answered = shapes.answer(request.shape, {"audio": "", "format": request.format})
    assert answered.keys() & {"audio", "audio_url"}


def _speech_config(data: bytes) -> None:
    path = _file("config.yaml", data)
    refusals.read_all((lambda: configs.read_architecture(path), lambda: configs.read_vocos(path)))


def _vocabulary(data: bytes) -> None:
    read_vocabulary(_file("vocab.txt", data))


def _source(data: bytes) -> None:
    Source.from_file(_file("source.toml", data))


def _hub_cache(data: bytes) -> None:
    """Read the small files of a repo in a hub cache, each of which holds the input."""
    hf_cache.etags_of(hf_cache.tree_files(data))
    repo = hf_cache.RepoCache(_folder(), "model", "o/m")
    for name in ("refs/main", ".cas/verified.json", ".cas/chunks.json", ".cas/folder.json"):
        _file(f"{repo.root.name}/{name}", data)
    state = _file("state.json", data)
    record = VerifiedFiles(repo.root)
    assert list(record.unchanged_files()) == []
    record.is_unchanged(state)
    for path in FolderRecord(repo.root).files:
        paths.check_path(path)
    refusals.read_all((lambda: load_checkpoint(state, "memory:", None, 1.0), lambda: repo.commit_of("main")))


def _archive(data: bytes) -> None:
    """Find the members of an archive, each within it or cut short by its end."""
    for member in archive.members(lambda offset, size: data[offset : offset + size], "x"):
        assert member.offset % 512 == 0
        assert member.size >= 0


TARGETS = {
    "manifest": Target(_manifest, mutators.json_document),
    "ref": Target(_ref, mutators.json_document),
    "lease": Target(_lease, mutators.json_document),
    "condemned": Target(_condemned, mutators.json_document),
    "keys": Target(_keys),
    "receipt": Target(_receipt),
    "audited_receipt": Target(_audited_receipt, mutators.json_document),
    "lock": Target(_lock, mutators.after_nul),
    "signature": Target(signatures.read),
    "format": Target(_format, mutators.json_document),
    "frame": Target(_frame),
    "planes": Target(_planes),
    "safetensors": Target(model_files.safetensors_file, mutators.safetensors),
    "zip": Target(model_files.zip_file),
    "gguf": Target(model_files.tensors),
    "tar": Target(model_files.tar),
    "archive": Target(_archive),
    "onnx": Target(model_files.members),
    "job": Target(_job, mutators.json_document),
    "speech_config": Target(_speech_config, mutators.json_document),
    "vocabulary": Target(_vocabulary),
    "source": Target(_source),
    "hub_cache": Target(_hub_cache, mutators.json_document),
    "environment": Target(environment.read, environment.mutate),
    "options": Target(words.read_options, max_size=256),
    "server_error": Target(words.read_server_error, max_size=2048),
    "address": Target(words.read_address),
    "request": Target(serving.request),
    "hub_answer": Target(serving.hub_answer, mutators.json_document),
}
"""Every kind of foreign bytes, by name."""
