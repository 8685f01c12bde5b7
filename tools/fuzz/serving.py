"""What clients of a server and an upstream hub send: a request's parts, a hub's answers, a version's list of files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import msgspec
from httpx2 import Response

from cas.errors import FormatError
from cas.formats import paths
from cas.formats.printable import printable
from cas.hub.upstream_answers import INFO, begin_of
from cas.ops.serve.access import Access
from cas.ops.serve.answers import Refusal
from cas.ops.serve.body import is_unchanged, span_of
from cas.ops.serve.pulled_version import lacking
from cas.ops.serve.routes import asked_paths, decoded

_SIZE = 1000


def request(data: bytes) -> None:
    """Read the input as a path, a body, and each of the headers that are heeded."""
    text = data.decode("latin-1")
    parts: tuple[Callable[[], object], ...] = (
        lambda: decoded(text),
        lambda: asked_paths("application/json; x", data),
        lambda: asked_paths("application/x-www-form-urlencoded", data),
        lambda: is_unchanged({"if-match": text, "if-none-match": text}, '"x"'),
        lambda: Access("secret").admit(text),
        lambda: _span(text),
    )
    for part in parts:
        try:
            part()
        except Refusal as refusal:
            assert 400 <= refusal.status < 500
            for value in refusal.all_headers().values():
                assert printable(value) == value and len(value) < 1000
    begin_of(Response(206, headers=[(b"Content-Range", data)]))


def _span(text: str) -> None:
    span = span_of({"range": text}, _SIZE, '"x"')
    assert 0 <= span.start <= span.stop <= _SIZE
    assert span.partial or (span.start, span.stop) == (0, _SIZE)


def hub_answer(data: bytes) -> None:
    """Read the input as what a hub says of a repo, and as what a version says of the files that it lacks."""
    with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, FormatError):
        for file in INFO.decode(data).files():
            paths.check_path(file.path)
    with contextlib.suppress(UnicodeDecodeError):
        for file in lacking({"upstream.lacks.000": data.decode()}):
            paths.check_path(file.path)
