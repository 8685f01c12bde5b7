"""The sources that did not give a worker its model: what each of them said, and what follows for the next ones."""

from __future__ import annotations

from collections.abc import Sequence

import cas
from cas.errors import (
    CasError,
    ChunkMissing,
    FormatError,
    IntegrityError,
    ManifestMissing,
    NotFoundError,
    RefUnset,
    StoreError,
    StoreMissing,
)
from cas.refs.reference import DEFAULT_TAG
from worker.boot.messages import Source
from worker.boot.settings import Settings
from worker.model.recorder import Recorder

DAMAGE = (IntegrityError, FormatError, ChunkMissing)
"""Errors of a store whose content is damaged or incomplete. A SignatureError is none of them: it ends the boot, as
whoever wrote what is not signed must not choose what comes next, either."""

_SWITCHED_OFF = "ENABLE_S3_MODEL_CACHE is false"


class NoSource(StoreError):
    """No source has a model for this worker.

    Attributes:
        causes: what each source said.
        hub_away: whether the hub could not be reached.
    """

    def __init__(self, causes: Sequence[str], *, hub_away: bool = False) -> None:
        super().__init__("; ".join(causes))
        self.causes, self.hub_away = tuple(causes), hub_away


class FailedSources:
    """What the stores and mirrors said so far, each of which did not give the model.

    Attributes:
        causes: why there is no model yet, in words, in the order of the source chain.
        unpublished: whether the store says that there is no store, or that the tag latest was never set, and latest is
            what was asked for: then a download from Hugging Face may be published. After any other answer, such as a
            tag that was removed, it may not: that is somebody's decision, or damage to be looked into.
        refused: whether a source that must know says that it does not have the version that was asked for.
    """

    def __init__(self, settings: Settings, recorder: Recorder) -> None:
        """Begin with no source tried.

        Args:
            settings: what the environment asks for.
            recorder: gets a warning, or an error for damage, for each source that fails.
        """
        self._settings, self._recorder = settings, recorder
        self.causes: list[str] = []
        self.unpublished = self.refused = False
        self._damaged = self._silent = self._absent = False
        if reason := self._not_asked():
            self.causes.append(reason)

    def add(self, kind: Source, url: str, error: CasError, choice: cas.Choice | None, *, resolved: bool) -> None:
        """Note that a store or mirror failed.

        Args:
            kind: `store` or `mirror`.
            url: its URL.
            error: what it failed with.
            choice: which version is wanted; None when no store has told it yet.
            resolved: whether the manifest of that version is known.
        """
        text = f"{kind} {url}: {error}"
        self.causes.append(text)
        if isinstance(error, DAMAGE) or self._is_lost(kind, error, choice):
            self._damaged = True
            self._recorder.error(f"{text}; trying what comes next")
        else:
            self._recorder.warn(f"{text}; trying what comes next")
            self._absent |= isinstance(error, NotFoundError)
            self._silent |= not isinstance(error, NotFoundError)
        if isinstance(error, NotFoundError) and not resolved:
            # A mirror may lag behind: the store may have what the mirror lacks.
            self.refused |= kind == "store" or not self._settings.store
        if kind == "store" and isinstance(error, StoreMissing | RefUnset):
            self.unpublished = choice is not None and is_latest(choice)

    def skip(self, kind: Source, url: str, wanted: str) -> None:
        """Note that a mirror was not asked, because it may not say which version is wanted.

        Args:
            kind: `mirror`.
            url: its URL.
            wanted: what names the version, in words.
        """
        text = f"{kind} {url}: not asked, as the store alone may say which version {wanted} is"
        self.causes.append(text)
        self._recorder.warn(f"{text}; trying what comes next")

    def why(self) -> str:
        """Return in words why the model comes from no store."""
        stores = self._settings.stores()
        if not stores:
            return f"no store was asked ({self._not_asked()})"
        if self._damaged:
            return "what the stores hold is damaged or unknown"
        if self._silent:
            return "no store that answered has it" if self._absent else "no store answered"
        return "the store does not have it" if len(stores) == 1 else "no store has it"

    def _not_asked(self) -> str:
        return self._settings.no_store if self._settings.enabled else _SWITCHED_OFF

    def _is_lost(self, kind: Source, error: CasError, choice: cas.Choice | None) -> bool:
        """Whether a ref of this very store names a version whose manifest the store does not have."""
        if not isinstance(error, ManifestMissing) or choice is None or choice.parsed is None:
            return False
        by_pin = kind == "store" and not self._settings.local
        return by_pin or choice.parsed.digest is None


def is_latest(choice: cas.Choice) -> bool:
    """Whether a choice is the tag latest, and so no version that somebody named."""
    parsed = choice.parsed
    return parsed is not None and parsed.tag == DEFAULT_TAG and parsed.digest is None
