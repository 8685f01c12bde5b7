"""Which GGUF file of a repo `llama-cli -hf org/name:TAG` means (llama.cpp, common/arg.cpp: `common_get_hf_file`)."""

from __future__ import annotations

from typing import Any

from cas.formats.manifest import RepoFile
from cas.ops.serve.answers import entry
from cas.ops.serve.listing import Listing

_DEFAULT = "Q4_K_M"
_ANY_TAG = ("", "latest")


def chosen_gguf(listing: Listing, tag: str) -> dict[str, Any] | None:
    """Return the file that a tag means, and the projector for images beside it, in the words of the hub.

    Args:
        listing: the repo's files.
        tag: a quantization, in any case; `latest` for Q4_K_M, or the first file where there is none.

    Returns:
        None if no file is meant.
    """
    files = [file for path, file in listing.files.items() if path.lower().endswith(".gguf")]
    models = [file for file in files if not _is_projector(file) and _is_first_part(file)]
    wanted = _DEFAULT if tag.lower() in _ANY_TAG else tag
    named = [file for file in models if wanted.lower() in file.path.lower()]
    chosen = named or (models if tag.lower() in _ANY_TAG else [])
    if not chosen:
        return None
    found = {"ggufFile": _described(chosen[0])}
    if projectors := [file for file in files if _is_projector(file)]:
        found["mmprojFile"] = _described(projectors[0])
    return found


def _is_projector(file: RepoFile) -> bool:
    return "mmproj" in file.path.lower()


def _is_first_part(file: RepoFile) -> bool:
    """Whether a program can open the file: a model in several parts is opened by the first."""
    name = file.path.lower()
    return "-of-" not in name or "-00001-of-" in name


def _described(file: RepoFile) -> dict[str, Any]:
    listed = entry(file)
    return {"rfilename": listed.pop("path"), "blobId": listed.pop("oid"), **listed}
