"""Attest: a statement that says what the sha256 of every file of a version is, for verifiers that know no store.

Order of steps:
    1. resolve the reference to a manifest; where keys are trusted, only by a signed entry
    2. arrange the files as `cas restore --to DIR` would, so that the statement's paths are those below DIR
    3. read the signing key, before anything large is fetched
    4. hash every file's bytes, as the store has them, and compare the names that the manifest gives them
    5. write the statement; sign it, and write the bundle

A statement is about bytes, so it is made of bytes: the manifest alone would tell what its author wished. It says where
the version comes from (repos, commits, the ref and who signed its entry), which verifiers pass over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from cas import events, host, refs
from cas.errors import FormatError, InputError
from cas.formats import attestation, paths
from cas.formats.attestation import FileDigest
from cas.formats.folder_paths import LAYOUTS, full_path, path_in_folder
from cas.formats.manifest import Manifest, PlainFile, Repo, RepoFile
from cas.ops.attest.ec_key import EcKey
from cas.ops.attest.hashes import Chunks, sha256s
from cas.ops.attest.release import Release, release_of
from cas.refs.reference import Resolved
from cas.store.store import Store, open_store
from cas.version import __version__


@dataclass(frozen=True, slots=True)
class Attested:
    """A statement about a version.

    Attributes:
        reference: names the version for ever.
        root: the sha256 (64 hex) that names the model in the statement.
        files: how many files a verifier hashes and compares.
        unchecked: paths of git's own files, whose digests the statement tells and verifiers leave out.
        total: plain bytes of the version.
        release: the signed entry that the reference led through; None for a reference by digest.
        data: the statement's JSON, or that of the bundle where a key signed it.
        is_signed: whether it is a bundle.
        seconds: wall time.
    """

    reference: str
    root: str
    files: int
    unchecked: tuple[str, ...]
    total: int
    release: Release | None
    data: bytes
    is_signed: bool
    seconds: float


def attest(
    reference: str,
    store: Store | str | None = None,
    *,
    layout: str = LAYOUTS[0],
    key: Callable[[], EcKey] | None = None,
    limits: host.Limits | None = None,
    on_event: events.Listener = events.log,
) -> Attested:
    """Return a statement about the files of a version.

    Args:
        reference: names the version.
        store: an open store, its URL, or None for the default.
        layout: of the folder whose files a verifier will hash, as for `cas restore --to`.
        key: returns the key that signs the statement; None to leave it unsigned.
        limits: bounds of memory, requests and decoders.
        on_event: hears what happens.

    Raises:
        InputError: there is no such layout, or two files have one path in it.
        IntegrityError: a file's bytes are not what the manifest names.
        CasError: what `cas.refs.resolve` and `key` raise.
    """
    begun = time.monotonic()
    store = open_store(store)
    on_event(events.Phase("resolve"))
    resolved = refs.resolve(store, reference, listen=on_event)
    release = release_of(resolved)
    on_event(events.Resolved(resolved.exact, resolved.manifest.plain_size))
    contents = _arranged(resolved.manifest, layout)
    signer = key() if key else None
    digests = sha256s(store, resolved.manifest, limits or host.Limits(), on_event)
    made = attestation.statement(
        resolved.manifest.model,
        [FileDigest(path, digests[content]) for path, content in contents.items()],
        _facts(resolved, layout, release),
    )
    data = made.data
    if signer:
        data = attestation.bundle(data, signer.sign(attestation.signed_bytes(data)), signer.public)
    return Attested(
        reference=resolved.exact,
        root=made.root,
        files=len(made.checked),
        unchecked=tuple(file.path for file in made.unchecked),
        total=resolved.manifest.plain_size,
        release=release,
        data=data,
        is_signed=signer is not None,
        seconds=time.monotonic() - begun,
    )


def _arranged(manifest: Manifest, layout: str) -> dict[str, Chunks]:
    """Return the content of each path in a folder of this layout."""
    if layout not in LAYOUTS:
        raise InputError(f"layout {layout!a} is none of {', '.join(LAYOUTS)}")
    found: dict[str, Chunks] = {}
    for file, repo in _files_of(manifest):
        path = path_in_folder(file, repo, layout)
        if found.setdefault(path, file.chunks) != file.chunks:
            raise InputError(
                f"{path!a} would be two files that differ, {full_path(file, repo)!a} and another: {_ADVICE}"
            )
    try:
        paths.check_tree(found)
    except FormatError as error:
        raise InputError(f"{str(error).removesuffix(': refusing the manifest')}: {_ADVICE}") from None
    return found


_ADVICE = "give each repo a folder with --layout '{repo}/{path}', here and for `cas restore --to`"


def _files_of(manifest: Manifest) -> list[tuple[RepoFile | PlainFile, Repo | None]]:
    found: list[tuple[RepoFile | PlainFile, Repo | None]] = []
    for repo in manifest.repos:
        found += [(file, repo) for file in repo.files]
    return found + [(file, None) for file in manifest.files]


def _facts(resolved: Resolved, layout: str, release: Release | None) -> dict[str, object]:
    """Where the files come from, as the statement tells it."""
    manifest = resolved.manifest
    return {
        "reference": resolved.exact,
        "layout": layout,
        "repos": [
            {"repo_id": repo.repo_id, "repo_type": repo.repo_type, "commit": repo.commit, "refs": repo.refs}
            for repo in manifest.repos
        ],
        "derived": manifest.derived and {"from": manifest.derived.parent, "transform": manifest.derived.transform},
        "annotations": manifest.annotations,
        "release": release and release.document(),
        "tool": f"cas {__version__}",
    }
