"""The condition that a fallback keeps: which version is wanted, who may say so, and what may stand in for the store.

    a lock file                      holds the version itself
    a digest of 64 digits            names it; any source may give its manifest, which is hashed
    a tag, a pin, a short digest     the store alone says which version that is; this machine recalls what it said last
    latest, as nobody chose          whatever any store, or at last Hugging Face, has

Where somebody chose the version, mirrors, this machine and Hugging Face are sources of its bytes, and each byte is
hashed. CAS_FALLBACK says otherwise.

Where keys are trusted, latest counts as chosen, too: by whoever signed its entry. A ref is believed when a trusted key
signed what it names, be it read from a store or recalled by this machine. What is not signed ends the boot: nothing
stands in for it, whatever CAS_FALLBACK says; nor does another version for one whose digest is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cas
from cas.errors import SignatureError
from cas.events import SignedEntry
from cas.refs.reference import Resolved
from worker.boot import directories
from worker.boot.messages import Fallback, Source
from worker.boot.settings import Settings
from worker.model import records
from worker.model.records import RefPath

if TYPE_CHECKING:
    from cas.local.trusted_keys import Trust
    from cas.store.store import Store

_WHOLE_DIGEST = 64  # hex digits


class Condition:
    """What the version that a worker runs must be.

    Attributes:
        choice: the version to run; None while it is not known whether the deployment has a pin.
        trust: the keys that must have signed what a ref names; None where no keys are trusted.
        paths: the cache directories, once it is known which of them can be believed.
        named: the version (64 hex) that a signed entry says the ref names: from then on no other one will do, even if
            the store does not have it, or has it damaged. None where no keys are trusted, or no entry was read.
    """

    def __init__(self, settings: Settings, trust: Trust | None = None) -> None:
        """Begin without a choice.

        Args:
            settings: what the environment asks for.
            trust: as the attribute.
        """
        self._settings, self.trust = settings, trust
        self.choice: cas.Choice | None = None
        self.named: str | None = None
        self.paths: Sequence[Path] = ()

    def __str__(self) -> str:
        """What names the version, in words."""
        return str(self.choice) if self.choice else f"pin:{self._settings.deployment}/{self._settings.model}"

    def choose(self, environ: Mapping[str, str], store: Store | None, hubs: Sequence[Path] = ()) -> cas.Choice:
        """Return the version to run, and keep to it from then on.

        Args:
            environ: the environment variables.
            store: where the pins are; None if no pin is to be read.
            hubs: as for `cas.choose`.

        Raises:
            SignatureError: keys are trusted, and the version is named by a few digits, which nobody signs.
            CasError: as `cas.choose`.
        """
        if self.choice is None:
            settings = self._settings
            choice = cas.choose(environ, model=settings.model, default_lock=settings.lock, store=store, hubs=hubs)
            if self.trust and choice.caution:
                raise SignatureError(f"{choice.caution}. Where keys are trusted, fewer are refused")
            self.choice = choice
        return self.choice

    @property
    def is_chosen(self) -> bool:
        """Whether somebody chose the version. A deployment counts until its store says that it has no pin."""
        if self.trust and self._settings.enabled:
            return True
        if self.choice is None:
            return not self._settings.local and bool(self._settings.stores())
        return not self.choice.by_default

    @property
    def fallback(self) -> Fallback:
        """What may stand in for a store that does not give the version."""
        given = self._settings.fallback or ("bytes" if self.is_chosen else "hub")
        # Whoever can withhold a chunk of what was signed must not get another version to run by that.
        return "bytes" if given == "hub" and self.trust and self._is_known else given

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
        if self._digest is not None:
            return len(self._digest) == _WHOLE_DIGEST
        return not self.is_chosen and self._settings.fallback != "bytes"

    def recalled(self, *, refused: bool, store_name: str) -> tuple[Resolved, SignedEntry | None] | None:
        """Return the version that the records on this machine say is wanted; None if no record says so.

        A version that a directory has, complete and verified, comes first.

        Args:
            refused: whether the store says that it does not have what the condition names. Then a record of what a ref
                named once says nothing; a digest still names the same version.
            store_name: of the store whose refs count where keys are trusted; empty when no store could be opened.

        Returns:
            The version and, where keys are trusted and a ref named it, the signed entry that did.
        """
        digest, ref = self._digest, self.ref
        if self.fallback == "none" or (digest is None and (refused or ref is None)):
            return None
        found = [
            (path, *recorded)
            for path in self.paths
            for recorded in (self._of_digest(path, digest) if digest else self.recorded(path, ref, store_name),)
            if recorded
        ]
        complete = (each[1:] for each in found if not directories.missing(each[1].manifest, each[0]))
        return next(complete, found[0][1:] if found else None)

    def recorded(self, path: Path, ref: RefPath | None, store_name: str) -> tuple[Resolved, SignedEntry | None] | None:
        """Return the last version that a cache directory was given; where keys are trusted, only one that they signed.

        Args:
            path: the cache directory.
            ref: count only what this ref named; None counts every version, or, where keys are trusted, what the ref of
                this condition named.
            store_name: as for `recalled`.
        """
        model = self._settings.model
        if self.trust:
            ref = ref or self.ref
            return records.signed_version(path, model, ref, self.trust, store_name, self.paths) if ref else None
        version = records.last_version(path, model, ref)
        return (version, None) if version else None

    @property
    def _is_known(self) -> bool:
        """Whether it is known which version is wanted, or a lock file holds it."""
        return self._digest is not None or bool(self.choice and self.choice.lock)

    @property
    def _digest(self) -> str | None:
        """The digest, or its first digits, that names the version; None where nothing but a ref does."""
        return self.named or (self.choice.parsed.digest if self.choice and self.choice.parsed else None)

    def _of_digest(self, path: Path, digest: str) -> tuple[Resolved, None] | None:
        """Return the version that begins with these digits, if a directory was given it last, or by this ref last."""
        last = (records.last_version(path, self._settings.model, ref) for ref in dict.fromkeys((None, self.ref)))
        return next(((version, None) for version in last if version and version.digest.startswith(digest)), None)
