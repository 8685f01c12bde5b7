"""Manifests that shall cost their reader memory or time: as large as the largest that is read, or larger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from cas.errors import FormatError
from cas.formats import manifest
from tests.support.documents import document, encoded

_SIZE = manifest.MAX_MANIFEST - 4096
_REPO = encoded(document()["repos"][0])


def _filled(marker: str, item: Callable[[int], bytes]) -> bytes:
    """A document whose empty list or object after `marker` is filled up to the limit."""
    head, empty, tail = encoded(document(plain_files=["torch/x"], refs=[])).partition(marker.encode())
    items: list[bytes] = []
    size = len(head) + len(tail)
    while size < _SIZE:
        items.append(item(len(items)))
        size += len(items[-1]) + 1
    return head + empty[:-1] + b",".join(items) + empty[-1:] + tail


def _repo(index: int) -> bytes:
    return b"," * (not index) + _REPO.replace(b"org/model", b"org/%d" % index)


def _file(index: int, components: int = 0) -> bytes:
    return b"," * (not index) + b'{"path":"torch/%d%s","size":0,"chunks":[]}' % (index, b"/a" * components)


CASES: Mapping[str, Callable[[], bytes]] = {
    "100 MB of files": lambda: b"".join([encoded(document())[:-100], *[_file(1)] * (100_000_000 // 37)]),
    "100 MB of nesting": lambda: b"[" * 100_000_000,
    "nested arrays": lambda: b'{"version":1,"model":' + b"[" * _SIZE,
    "nested objects": lambda: b'{"version":1,"model":' + b'{"a":' * (_SIZE // 5),
    "nested in an unknown field": lambda: b'{"new":' + b"[" * (_SIZE // 2) + b"]" * (_SIZE // 2) + b',"version":1}',
    "chunks": lambda: _filled('"chunks":[]', lambda at: b'["%064x",1]' % at),
    "annotations": lambda: _filled('"annotations":{}', lambda at: b'"%x":""' % at),
    "refs": lambda: _filled('"refs":[]', lambda at: b'"%x"' % at),
    "files": lambda: _filled('{"path":"torch/x","size":0,"chunks":[]}]', _file),
    "deep files": lambda: _filled('{"path":"torch/x","size":0,"chunks":[]}]', lambda at: _file(at, 500)),
    "repos": lambda: _filled('"files":[]}]', _repo),
    "a number of 16 MB": lambda: b'{"version":' + b"9" * _SIZE + b"}",
    "zeros": lambda: bytes(_SIZE),
}
"""Name -> the manifest's bytes. Some are valid, only large."""


def read(path: str) -> None:
    """Parse a file, and fail unless it is valid or refused."""
    try:
        manifest.parse(Path(path).read_bytes())
    except FormatError as error:
        print(error)
