"""What the restoring process sends the worker when the model is on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cas
from cas.config import hub_endpoint
from cas.events import SignedEntry
from cas.local.register import Hold, Register
from worker.boot.directories import RankedDirectory
from worker.boot.messages import Bytes, Restored, Source
from worker.model.condition import Condition
from worker.model.recorder import Recorder

if TYPE_CHECKING:
    from worker.model.hub_download import DownloadedModel


class Results:
    """Makes the message of each way by which the model may come."""

    def __init__(self, condition: Condition, recorder: Recorder) -> None:
        """Prepare for one boot.

        Args:
            condition: which version is wanted.
            recorder: the phases, warnings and errors of the boot.
        """
        self._condition, self._recorder = condition, recorder
        self._holds: list[Hold | None] = []

    def restored(
        self,
        source: Source,
        where: str,
        directory: RankedDirectory,
        done: cas.Restored,
        reason: str,
        signed: SignedEntry | None,
        seed: Path | None = None,
    ) -> Restored:
        """Hold a restored version until this process ends, when the worker has a hold of its own; return the message.

        Args:
            source: the kind of source that had the version.
            where: its address.
            directory: the cache directory that the version is in.
            done: what the restore did.
            reason: why this version, in words.
            signed: the signed entry that named the version; None if none did.
            seed: the seed with files from Hugging Face; None if there is none.
        """
        assert done.hub is not None, "a worker restores into a cache"
        self._holds.append(Register(done.hub).hold(done.reference))
        downloaded = done.reused_from.get(str(seed), 0)
        return Restored(
            source=source,
            where=where,
            directory=str(directory.path),
            directory_reason=directory.reason,
            version=done.reference,
            version_reason=reason,
            snapshots={repo: str(path) for repo, path in done.snapshots.items()},
            complete=True,
            publish=False,
            bytes=Bytes(
                total=done.total,
                fetched=done.fetched,
                wire=done.wire,
                downloaded=downloaded,
                reused=done.reused - downloaded,
                present=max(0, done.total - done.fetched - done.reused),
            ),
            fallback=self._condition.fallback,
            signed=signed,
            holds=((str(done.hub), done.reference),),
            steps=self._recorder.steps(),
            warnings=tuple(self._recorder.warnings),
            errors=tuple(self._recorder.errors),
        )

    def downloaded(self, downloaded: DownloadedModel, *, publish: bool) -> Restored:
        """Return the message of a download of what Hugging Face has as main.

        Args:
            downloaded: the model.
            publish: whether it may be published if the hub itself gave it.
        """
        total, moved = downloaded.count_bytes()
        return Restored(
            source="hub",
            where=hub_endpoint(),
            directory=str(downloaded.directory.path),
            directory_reason=downloaded.directory.reason,
            version="",
            version_reason="what Hugging Face has as main",
            snapshots=downloaded.snapshots(),
            complete=False,
            publish=publish and downloaded.hub_answered,
            bytes=Bytes(total=total, downloaded=moved, present=total - moved),
            fallback=self._condition.fallback,
            steps=self._recorder.steps(),
            warnings=tuple(self._recorder.warnings),
            errors=tuple(self._recorder.errors),
        )
