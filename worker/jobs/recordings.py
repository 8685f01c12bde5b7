"""The recordings that a job's voices speak after: sent with it, downloaded, or read from the bucket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from worker.errors import BadRequest
from worker.jobs.audio_input import check_audio
from worker.jobs.reference_url import FIELD
from worker.jobs.references import Inline, Linked, Named, Source, check_together, field_of
from worker.jobs.schema import Request
from worker.jobs.turns import MAIN, Turn
from worker.speech.speaker import Passage

if TYPE_CHECKING:
    from worker.jobs.voices import Voices

_AT_ONCE = 4  # recordings that are fetched; each may be as large as half of what all may have together


class Recordings:
    """Finds what each voice of a job sounds like."""

    def __init__(self, voices: Voices | None, fetch: Callable[[str], bytes]) -> None:
        """Make no request yet.

        Args:
            voices: the named voices; None where there is no bucket.
            fetch: downloads a reference recording from its URL.
        """
        self._voices, self._fetch = voices, fetch

    def check(self, request: Request) -> None:
        """Check that every voice that says something could be there.

        Raises:
            BadRequest: a voice is in the bucket, and there is no bucket.
        """
        for name, voice in request.spoken.items():
            if isinstance(voice.source, Named) and self._voices is None:
                field = _field(request, name, "voice")
                raise BadRequest(
                    f"{field} is given, but this worker has no bucket: set S3_BUCKET, or send ref_audio, ref_text"
                )

    async def passages(self, request: Request) -> list[Passage]:
        """Return what is to be spoken, in order, with the recording of each voice.

        Several recordings are fetched at once. After the first error, or once they are too much together, no further
        one is begun.

        Raises:
            BadRequest: a recording cannot be had or used, or they are too much together.
            StoreError: the bucket cannot be read.
        """
        voices = request.spoken
        free, size = asyncio.Semaphore(_AT_ONCE), 0

        async def recording(name: str, source: Source) -> tuple[bytes, str]:
            nonlocal size
            async with free:
                found = await asyncio.to_thread(self._recording, request, name, source)
            size += len(found[0])
            check_together(size)
            return found

        tasks = [asyncio.ensure_future(recording(name, voice.source)) for name, voice in voices.items()]
        try:
            found = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        recordings = dict(zip(voices, found, strict=True))
        return [
            Passage(
                turn.text,
                *recordings[turn.voice],
                voices[turn.voice].speed,
                "" if turn.voice == MAIN else field_of(turn.voice),
            )
            for turn in request.turns or (Turn(MAIN, request.text),)
        ]

    def _recording(self, request: Request, name: str, source: Source) -> tuple[bytes, str]:
        """Return the audio of a voice, and what is said in it."""
        match source:
            case Inline(audio, text):
                return audio, text
            case Linked(url, text):
                field = _field(request, name, FIELD)
                try:
                    return check_audio(self._fetch(url), FIELD), text
                except BadRequest as error:
                    raise BadRequest(f"{field}{str(error).removeprefix(FIELD)}") from None
            case Named(voice):
                assert self._voices is not None
                found = self._voices.get(voice)
                return found.audio, found.text


def _field(request: Request, name: str, field: str) -> str:
    """Return what an error calls a field of a voice; the job's own voice has its fields in the job."""
    return request.names.get(field, field) if name == MAIN else f"{field_of(name)}.{field}"
