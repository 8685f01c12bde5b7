"""What no loader can load: placeholders, empty files, files that are cut short, and web pages in place of weights.

A publish and an import refuse the same files by these checks. They read little: small files whole, and of large ones
the beginning, a header or the end.
"""

from __future__ import annotations

import re
import zipfile
from typing import BinaryIO

from cas.errors import FormatError
from cas.formats import safetensors
from cas.formats.runs import MAX_HEADER, MAX_TENSORS

TEXT_LIMIT = 1024
"""Bytes; the text of a symlink and a Git LFS pointer are shorter."""

_WEIGHTS = re.compile(
    r"\.(bin|ckpt|gguf|h5|keras|model|msgpack|np[yz]|onnx|pickle|pkl|ptl?|pth|safetensors|tflite)$", re.IGNORECASE
)
# An empty file is not valid in any of these formats.
_NEVER_EMPTY = re.compile(
    r"\.(bin|ckpt|gguf|h5|json|model|msgpack|np[yz]|onnx|pickle|pkl|pt|pth|safetensors|toml|ya?ml)$", re.IGNORECASE
)
# Parts of an archive that was split have neither of these endings, and no end of their own.
_ZIP = re.compile(r"\.(bin|ckpt|keras|mar|npz|pickle|pkl|ptl?|pth|zip)$", re.IGNORECASE)
_LINK = re.compile(
    rb"(?:(?:\.\.[/\\])+|/)(?:[^\0\r\n]+[/\\])?blobs[/\\](?:[0-9a-f]{2}[/\\])?(?P<blob>[^/\\\s]+)\s*", re.DOTALL
)
# https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md: a text that only mentions the address is none. hawser is
# the first name of Git LFS; a checkout on Windows may have changed the ends of lines.
_LFS_POINTER = re.compile(
    rb"(\xef\xbb\xbf)?version https://(git-lfs|hawser)\.github\.com/spec/v[0-9]+\r?\n"
    rb"(.*\n)*?oid sha256:[0-9a-f]{64}\r?\n"
)
# How pages, and errors of servers in XML, begin. A server that wants a login often answers 200.
_PAGE = re.compile(
    rb"(\xef\xbb\xbf)?\s*<(!doctype\s+html|html|head|body|\?xml|error|!--|(h[1-6]|center|title|script|meta|svg)[\s>])",
    re.IGNORECASE,
)
# What servers say in plain words: a hub of a file that it lacks, refuses or has elsewhere; others of errors, in JSON.
_REFUSAL = re.compile(
    rb"\s*(\{\s*\"(error|message|detail)\"\s*:|((entry|repository|revision|404:) )?not found\b"
    rb"|invalid username or password\b|(found|temporary redirect|moved permanently)\. redirecting to "
    rb"|access to model |(unauthorized|forbidden)\s*$)",
    re.IGNORECASE,
)
_PAGE_LIMIT = 1024  # bytes


def is_weights(path: str) -> bool:
    """Return whether a file holds weights, by the ending of its name."""
    return _WEIGHTS.search(path) is not None


def describe_empty(path: str) -> str:
    """Say what is wrong with an empty file of this name, as the rest of a sentence; empty if it may be empty."""
    suffix = _NEVER_EMPTY.search(path)
    return f"is empty, as no {suffix[0]} file is" if suffix else ""


def describe_placeholder(data: bytes) -> str:
    """Say what placeholder a small file is, as the rest of a sentence; empty if it is none.

    Args:
        data: all bytes of a file of at most TEXT_LIMIT bytes.
    """
    if link := _LINK.fullmatch(data):
        return f"holds the text of a symlink to blob {link['blob'].decode('ascii', 'replace'):.16}, not what that holds"
    return "holds a pointer of Git LFS, not the file" if _LFS_POINTER.match(data) else ""


def check_no_page(file: BinaryIO, path: str) -> None:
    """Raise FormatError if a file is a web page, and its name says that it holds weights or a configuration.

    Args:
        file: the file, which is read from its beginning.
        path: the name it is published by.
    """
    if not (is_weights(path) or _NEVER_EMPTY.search(path)):
        return
    file.seek(0)
    head = file.read(_PAGE_LIMIT)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head.decode("utf-16", "ignore").encode("utf-8", "ignore")
    if _PAGE.match(head) or (is_weights(path) and _REFUSAL.match(head)):
        raise FormatError("it is a web page, or what a server says of an error, saved under that name")


def check_complete(file: BinaryIO, size: int, path: str) -> None:
    """Raise FormatError if a file is cut short, as far as safetensors files and zip archives tell.

    Args:
        file: the file, of which a header or the end is read.
        size: bytes of the whole file.
        path: the name it is published by, whose ending tells the format.
    """
    file.seek(0)
    if path.lower().endswith(".safetensors"):
        first = file.read(8)
        # A loader may accept a header that is too long to be read here, or has too many tensors.
        if MAX_HEADER < int.from_bytes(first, "little") <= size - 8:
            return
        length = safetensors.length(first, size)
        file.seek(0)
        head = file.read(length)
        if head.count(b"{") <= MAX_TENSORS:
            safetensors.parse(head, size)
    elif _ZIP.search(path) and file.read(4) == b"PK\3\4":
        try:
            has_end = zipfile.is_zipfile(file)
        except zipfile.BadZipFile as error:  # zipfile does not call a zip archive of several disks none: it raises
            raise FormatError(f"it begins as a zip archive and cannot be read as one: {error}") from None
        if not has_end:
            raise FormatError("it begins as a zip archive and has no end")
