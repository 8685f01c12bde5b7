"""The condition that a fallback keeps: which version is wanted, who may say so, and what may stand in for the store.

    a lock file                      holds the version itself
    a digest of 64 digits            names it; any source may give its manifest, which is hashed
    a tag, a pin, a short digest     the store alone says which version that is; this machine recalls what it said last
    latest, as nobody chose          whatever any store, or at last Hugging Face, has

Where somebody chose the version, mirrors, this machine and Hugging Face are sources of its bytes, and each byte is
hashed. CAS_FALLBACK says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cas
from cas.refs.reference import Resolved
from worker.boot import directories
from worker.boot.directories import RefPath
from worker.boot.messages import Fallback, Source
from worker.boot.settings import Settings

_WHOLE_DIGEST = 64  # hex digits


class Condition:
    """What the version that a worker runs must be.

    Attributes:
        choice: the version to run; None while it is not known whether the deployment has a pin.
    """

    def __init__(self, settings: Settings) -> None:
        """Begin without a choice.

        Args:
            settings: what the environment asks for.
        """
        self._settings = settings
        self.choice: cas.Choice | None = None

    def __str__(self) -> str:
        """What names the version, in words."""
        return str(self.choice) if self.choice else f"pin:{self._settings.deployment}/{self._settings.model}"

    def choose(self, environ: Mapping[str, str], store: cas.Store | None) -> cas.Choice:
        """Return the version to run, and keep to it from then on.

        Args:
            environ: the environment variables.
            store: where the pins are; None if no pin is to be read.

        Raises:
            CasError: as `cas.choose`.
        """
        if self.choice is None:
            settings = self._settings
            self.choice = cas.choose(environ, model=settings.model, default_lock=settings.lock, store=store)
        return self.choice

    @property
    def is_chosen(self) -> bool:
        """Whether somebody chose the version. A deployment counts until its store says that it has no pin."""
        if self.choice is None:
            return not self._settings.local and bool(self._settings.stores())
        return not self.choice.by_default

    @property
    def fallback(self) -> Fallback:
        """What may stand in for a store that does not give the version."""
        return self._settings.fallback or ("bytes" if self.is_chosen else "hub")

    @property
    def ref(self) -> RefPath | None:
        """The ref that names the version; None where a lock file or a digest does."""
        if not self._settings.local and self._settings.deployment:
            return "pins", self._settings.deployment, self._settings.model
        parsed = self.choice.parsed if self.choice else None
        if parsed is None or parsed.digest is not None:
            return None
        if parsed.deployment is not None:
            return "pins", parsed.deployment, parsed.model
        return "tags", parsed.model, str(parsed.tag)

    def may_name(self, kind: Source) -> bool:
        """Return whether a source may say which version is wanted, or give the manifest of the one that is.

        Without a store the mirrors take its place.

        Args:
            kind: `store` or `mirror`.
        """
        if kind == "store" or not self._settings.store or self.fallback == "hub":
            return True
        parsed = self.choice.parsed if self.choice else None
        if parsed is not None and parsed.digest is not None:
            return len(parsed.digest) == _WHOLE_DIGEST
        return not self.is_chosen and self._settings.fallback != "bytes"

    def recalled(self, paths: Sequence[Path], *, refused: bool) -> Resolved | None:
        """Return the version that the records on this machine say is wanted; None if no record says so.

        A version that a directory has, complete and verified, comes first.

        Args:
            paths: the cache directories.
            refused: whether the store says that it does not have what the condition names. Then a record of what a ref
                named once says nothing; a digest still names the same version.
        """
        digest = self.choice.parsed.digest if self.choice and self.choice.parsed else None
        if self.fallback == "none" or (digest is None and (refused or self.ref is None)):
            return None
        ref = None if digest else self.ref
        found = [
            (path, version)
            for path in paths
            if (version := directories.last_version(path, self._settings.model, ref))
            and version.digest.startswith(digest or "")
        ]
        complete = (version for path, version in found if not directories.missing(version.manifest, path))
        return next(complete, found[0][1] if found else None)
