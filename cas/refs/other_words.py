"""What people write where a reference belongs, and what it is instead: a URL, a path, a pattern, a repo's id.

No store is needed to tell.
"""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from cas.config import without_secrets
from cas.formats.digest import PREFIX
from cas.formats.manifest import REPO_PATTERN

_HUBS = ("huggingface.co", "www.huggingface.co", "hf.co")
_REPO = re.compile(REPO_PATTERN)
_PATTERN = re.compile(r"[*?\[]")
_PATH = re.compile(r"[./~]|.*\.(tar|b3|safetensors|gguf|bin|pt)$")


def is_pattern(text: str) -> bool:
    """Return whether a text is a pattern of names (`*`, `?`, `[…]`), as lists take it, and so names nothing."""
    return _PATTERN.search(text) is not None


def what_it_is(text: str) -> str:
    """Return, as the line of an error, what a text that is no reference is likely to be; empty if nothing tells."""
    if "://" in text:
        return _url(without_secrets(text))
    if is_pattern(text):
        return f"{text!r} is a pattern, and what is asked for is one name: `cas ls '{text}'` lists what it matches"
    return path_on_this_machine(text) or _other_name(text)


def path_on_this_machine(text: str) -> str:
    """Return what a path leads to, and what to do with that; empty where nothing is there."""
    path = os.path.expanduser(text)
    if "\0" in path or not os.path.exists(path):
        return ""
    if os.path.isfile(os.path.join(path, "format.json")):
        return f"{text} is a store on this machine: name it with `--store {text}`, and a model in it"
    if os.path.isdir(path):
        return f"{text} is a folder on this machine: publish it with `cas publish NAME --dir {text} --as ORG/NAME`"
    if os.path.exists(f"{path}.b3"):
        return f"{text} is a lock file: name it with `--lock {text}`"
    if text.endswith(".tar"):
        return f"{text} is a file on this machine: if `cas export` wrote it, read it with `--store {text}`"
    return f"{text} is a file on this machine: publish its folder with `cas publish NAME --dir DIR --as ORG/NAME`"


def _other_name(text: str) -> str:
    name = re.split("[:@]", text, maxsplit=1)[0]
    if _PATH.match(text):
        return f"{text!r} is a path, and what is asked for is a model of the store: `cas ls` lists them"
    if text.startswith(PREFIX):
        return f"{text!r} names a version by its digest alone: write its model before it, as in MODEL@{text}"
    if "/" in name and _REPO.fullmatch(name):
        return (
            f"{name!r} is no model's name, but the id of a repo: name the model that holds it, as `cas ls` lists them"
        )
    return ""


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if parts.hostname in _HUBS or parts.scheme == "hf":
        repo = "/".join([parts.netloc] * (parts.scheme == "hf") + parts.path.strip("/").split("/")[:2])
        if not _REPO.fullmatch(repo):
            return f"{text} is a page of the hub: name a repo as ORG/NAME, or a model, as `cas ls` lists them"
        return (
            f"{text} is a repo of the hub: write {repo} if a model of the store holds it, or publish it with "
            f"`cas publish NAME --repo {repo}`, then name the model"
        )
    return f"{text} is the URL of a store: name it with `--store {text}`, and a model in it"
