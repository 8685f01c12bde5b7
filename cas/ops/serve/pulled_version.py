"""What the store holds of a repo that was pulled from an upstream hub: its model's name, and what its manifest adds.

A version may hold some of a commit's files: those that somebody asked for. So that a server answers for all of them
while the hub is away, the version's annotations tell the others:

    upstream.url        the hub
    upstream.access     `public`, `gated` or `private`
    upstream.lacks.000  a JSON list of [path, size, blob] of the files that the version lacks, cut into texts
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import msgspec

from cas.errors import FormatError
from cas.formats import paths
from cas.formats.digest import hex_of
from cas.formats.manifest import Blob, Repo, RepoFile, Size

TAG = "upstream"
"""The tag of every version that a server publishes."""

MAIN = "main"

_URL, _ACCESS, _LACKS = "upstream.url", "upstream.access", "upstream.lacks."
_TEXT = 4096  # characters of the longest annotation
_MOST_TEXTS = 200
_LONGEST_NAME = 96

_LISTED = msgspec.json.Decoder(list[tuple[str, Size, Blob]])


def model_name(repo: Repo) -> str:
    """The model that a repo is published as: `org--name`, with the commit where it is not what `main` means."""
    kind = "" if repo.repo_type == "model" else f"{repo.repo_type}s--"
    name = kind + repo.repo_id.replace("/", "--").lstrip("_")
    name += "" if MAIN in repo.refs else f"--{repo.commit[:12]}"
    return name if len(name) <= _LONGEST_NAME else f"{name[:64]}--{hex_of(name.encode())[:16]}"


def annotations_for(url: str, access: str, lacks: Sequence[RepoFile]) -> dict[str, str] | None:
    """What a version's manifest adds; None if the files that it lacks are too many to be told.

    Args:
        url: of the hub.
        access: as in UpstreamRepo.
        lacks: the commit's files that the version lacks.
    """
    found = {_URL: url, _ACCESS: access}
    if lacks:
        text = json.dumps([[file.path, file.size, file.blob] for file in lacks], separators=(",", ":"))
        texts = [text[at : at + _TEXT] for at in range(0, len(text), _TEXT)]
        if len(texts) > _MOST_TEXTS:
            return None
        found |= {f"{_LACKS}{number:03d}": part for number, part in enumerate(texts)}
    return found


def is_pulled(annotated: Mapping[str, str]) -> bool:
    """Whether a server published the version from an upstream hub."""
    return _URL in annotated


def access_of(annotated: Mapping[str, str]) -> str:
    """To whom the hub gives the version's files; whatever is not known to be public is private."""
    if not is_pulled(annotated):
        return "public"
    access = annotated.get(_ACCESS, "")
    return access if access in ("public", "gated") else "private"


def lacking(annotated: Mapping[str, str]) -> tuple[RepoFile, ...]:
    """The commit's files that the version lacks, without chunks.

    Raises:
        FormatError: the annotations are malformed.
    """
    text = "".join(annotated[name] for name in sorted(annotated) if name.startswith(_LACKS))
    if not text:
        return ()
    try:
        listed = _LISTED.decode(text)
    except msgspec.MsgspecError as error:
        raise FormatError(f"a version's list of files that it lacks is malformed: {error}") from None
    for path, _, _ in listed:
        paths.check_path(path)
    return tuple(RepoFile(path, size, blob, ()) for path, size, blob in listed)
