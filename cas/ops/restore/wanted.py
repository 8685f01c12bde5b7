"""What of several versions a restore is to write: the files that the user's patterns choose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import msgspec

from cas.errors import FormatError, InputError
from cas.formats.manifest import Manifest
from cas.formats.paths import PICKLE_SUFFIXES, match_patterns
from cas.refs.reference import Resolved


def choose_files(versions: Sequence[Resolved], include: Sequence[str], exclude: Sequence[str]) -> list[Resolved]:
    """Return the versions with those of their files that the patterns choose, as `hf download` understands patterns.

    A file is chosen when a pattern of `include` matches its path in its repo, or `include` is empty, and no pattern of
    `exclude` matches. A repo of which no file is chosen is left out.

    Args:
        versions: the versions.
        include: glob patterns of the files to take.
        exclude: glob patterns of the files to leave out.

    Raises:
        InputError: a pattern of `include` matches no file of any version, or no file is chosen.
    """
    if not include and not exclude:
        return list(versions)
    names = ", ".join(str(version.reference) for version in versions)
    every_path = {file.path for version in versions for file in version.manifest.all_files()}
    chosen, unmatched = match_patterns(every_path, include) if include else (every_path, [])
    if unmatched:
        raise InputError(f"--include {unmatched[0]!r} matches no file of {names}: see `cas show`")
    chosen = chosen - match_patterns(every_path, exclude)[0]
    if not chosen:
        raise InputError(f"--include and --exclude leave no file of {names}: see `cas show`")
    return [replace(version, manifest=_with_files(version.manifest, chosen)) for version in versions]


def _with_files(manifest: Manifest, paths: set[str]) -> Manifest:
    repos = [
        msgspec.structs.replace(repo, files=tuple(file for file in repo.files if file.path in paths))
        for repo in manifest.repos
    ]
    return msgspec.structs.replace(
        manifest,
        repos=tuple(repo for repo in repos if repo.files),
        files=tuple(file for file in manifest.files if file.path in paths),
    )


def refuse_pickles(manifests: Iterable[Manifest]) -> None:
    """Raise FormatError when a file to be restored is a pickle file."""
    for manifest in manifests:
        found = [file.path for file in manifest.all_files() if file.path.endswith(PICKLE_SUFFIXES)]
        if found:
            raise FormatError(
                f"{manifest.model} contains pickle files ({', '.join(found[:3])}), refused by --refuse-pickle"
            )
