"""Answers jobs: as an async function, or as an async generator that sends the audio of a long text in parts.

Every job gets an answer, and no job ends the worker: a job that fails is answered by one string under "error".
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import secrets
import threading
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from cas.errors import CasError, InputError
from cas.formats.printable import printable
from worker.errors import BadRequest, WorkerBroken
from worker.jobs import reference_url, shapes
from worker.jobs.executor import SerialExecutor
from worker.jobs.recordings import Recordings
from worker.jobs.schema import Request, parse
from worker.log import logger
from worker.speech.speaker import Encode, Samples, Shorten, Speaker

if TYPE_CHECKING:
    from worker.jobs.voices import Voices

Job: TypeAlias = Mapping[str, Any]
Output: TypeAlias = dict[str, Any]
Part: TypeAlias = Output | str
"""What a stream sends: an object, or an event as text."""

MAX_PAYLOAD = 9 * 1000 * 1000
"""Most characters of base64 in one answer: RunPod takes 10 MB."""

_SECONDS = 600.0  # for one job, the time in the queue included
_BETWEEN_UPDATES = 1.0  # seconds: the SDK starts a thread for each
_LONGEST_ERROR = 1000

_log = logger.getChild("jobs.handler")


class Upload(Protocol):
    """Stores audio as `<name>.<format>` and returns its URL."""

    def __call__(self, name: str, audio: bytes, format: str) -> str: ...


class Handler:
    """Answers jobs of the RunPod SDK, which is given the handler itself, or its method `stream`."""

    def __init__(
        self,
        speaker: Speaker,
        *,
        digest: str,
        encode: Encode,
        shorten: Shorten,
        voices: Voices | None = None,
        upload: Upload | None = None,
        progress: Callable[[Job, Output], None] | None = None,
        fetch: Callable[[str], bytes] = reference_url.fetch,
        seconds: float = _SECONDS,
    ) -> None:
        """Make a handler.

        Args:
            speaker: a loaded model.
            digest: names the version of the model; it stands in every answer.
            encode: makes the bytes of an audio file of samples.
            shorten: cuts long silences out of samples.
            voices: the named voices; None where there is no bucket.
            upload: stores audio and returns its URL; None where there is no bucket.
            progress: as `runpod.serverless.progress_update`.
            fetch: downloads a reference recording from its URL.
            seconds: how long a job may take, the time in the queue included.
        """
        self._speaker, self._digest = speaker, digest
        self._encode, self._shorten = encode, shorten
        self._recordings = Recordings(voices, fetch)
        self._upload, self._progress = upload, progress
        self._executor = SerialExecutor(seconds)

    async def __call__(self, job: Job) -> Output:
        """Return the whole answer: audio or url, format, sample_rate, seconds, seed, model and timings; or error."""
        try:
            request = self._request(job)
            if request.stream:
                raise BadRequest(
                    "stream is true, but this endpoint answers in one: leave it out, or ask a streaming one"
                )
            return await self._whole(job, request)
        except Exception as error:
            return _failure(error, job)

    async def stream(self, job: Job) -> AsyncGenerator[Part, None]:
        """Yield the answer in parts as they are spoken, then totals; whole where the job does not ask to stream."""
        try:
            request = self._request(job)
            if not request.stream:
                yield await self._whole(job, request)
                return
            async with contextlib.aclosing(self._parts(job, request)) as parts:
                async for part in parts:
                    yield part
        except Exception as error:
            # Not raised: the SDK would send the traceback to the job's sender.
            yield _failure(error, job)

    def close(self) -> None:
        """Wait for the inference that runs, and begin no other."""
        self._executor.close()

    def _request(self, job: Job) -> Request:
        request = parse(job.get("input"), uploads=self._upload is not None)
        if request.deliver == "upload" and self._upload is None:
            raise BadRequest("return is upload, but this worker has no bucket: set S3_BUCKET, or ask for base64")
        self._recordings.check(request)
        return request

    async def _whole(self, job: Job, request: Request) -> Output:
        clock = _Clock()
        passages = await self._recordings.passages(request)
        clock.lap("reference")
        report = _ProgressReport(self._progress, job)

        def work(stop: threading.Event) -> Samples:
            import numpy

            clock.lap("wait")
            parts = self._speaker.recite(passages, by_sentence=False, manner=request.manner, step=report, stop=stop)
            samples: Samples = numpy.concatenate(list(parts))
            clock.lap("speak")
            return samples

        samples = await self._executor.run(work)
        part = await asyncio.to_thread(self._delivered, job, request, samples, "")
        clock.lap("deliver")
        return shapes.answer(request.shape, {**part, **self._about(request), "timings": clock.seconds})

    async def _parts(self, job: Job, request: Request) -> AsyncGenerator[Part, None]:
        clock = _Clock()
        passages = await self._recordings.passages(request)
        clock.lap("reference")
        # Unbounded: a slow receiver must not hold up the next job. The limit of the text limits the audio, too.
        spoken: asyncio.Queue[Samples | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def work(stop: threading.Event) -> None:
            clock.lap("wait")
            parts = self._speaker.recite(passages, by_sentence=True, manner=request.manner, step=None, stop=stop)
            for samples in parts:
                if stop.is_set():
                    return
                loop.call_soon_threadsafe(spoken.put_nowait, samples)
            clock.lap("speak")

        speaking = asyncio.ensure_future(self._executor.run(work))
        speaking.add_done_callback(lambda _: spoken.put_nowait(None))
        # Retrieves the error: asyncio would log it when the receiver is gone and nobody awaits the task.
        speaking.add_done_callback(lambda done: done.cancelled() or done.exception())
        count, seconds, payload = 0, 0.0, 0
        try:
            while (samples := await spoken.get()) is not None:
                part = await asyncio.to_thread(self._delivered, job, request, samples, f"-{count}")
                # The limit is for all parts together: at the end the SDK sends them once more, as the job's output.
                payload += len(part.get("audio", ""))
                if payload > MAX_PAYLOAD:
                    raise _too_much(payload)
                yield shapes.part(request.shape, {"part": count, **part, **self._about(request)})
                count, seconds = count + 1, seconds + part["seconds"]
            await speaking
        finally:
            speaking.cancel()
            await asyncio.wait([speaking])
        clock.lap("deliver")
        totals = {"parts": count, "seconds": round(seconds, 3), **self._about(request), "timings": clock.seconds}
        yield shapes.totals(request.shape, totals)

    def _delivered(self, job: Job, request: Request, samples: Samples, suffix: str) -> Output:
        rate = self._speaker.rate
        if request.remove_silence:
            shortened = self._shorten(samples, rate)
            samples = shortened if len(shortened) else samples  # if all is silence, nothing would be left
        encoded = self._encode(samples, rate, request.format)
        about = {"sample_rate": rate, "seconds": round(len(samples) / rate, 3)}
        if request.deliver == "upload":
            assert self._upload is not None
            name = f"{_safe(job)}-{secrets.token_hex(8)}{suffix}"  # cannot be guessed, and no other job writes it
            return {"url": self._upload(name, encoded, request.format), **about}
        audio = base64.b64encode(encoded).decode()
        if len(audio) > MAX_PAYLOAD:
            raise _too_much(len(audio))
        return {"audio": audio, **about}

    def _about(self, request: Request) -> Output:
        about = {"format": request.format, "seed": request.manner.seed, "model": self._digest}
        return about | ({"ignored": list(request.ignored)} if request.ignored else {})


def _too_much(payload: int) -> BadRequest:
    return BadRequest(
        f"return is base64, but {payload:,} characters of audio are more than RunPod sends back ({MAX_PAYLOAD:,}): "
        "ask for upload, for the format opus or mp3, or for less text"
    )


class _Clock:
    """Seconds that each step of a job took, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name], self._last = round(now - self._last, 3), now


class _ProgressReport:
    """Reports to the platform from time to time how far a text is spoken; no job fails because a report does."""

    def __init__(self, progress: Callable[[Job, Output], None] | None, job: Job) -> None:
        self._progress, self._job = progress, job
        self._last = float("-inf")

    def __call__(self, done: int, parts: int) -> None:
        now = time.monotonic()
        # The SDK sends each update from a thread: an update at the very end could arrive after the answer.
        if self._progress is None or done >= parts or now - self._last < _BETWEEN_UPDATES:
            return
        self._last = now
        try:
            self._progress(self._job, {"done": done, "parts": parts})
        except Exception:
            _log.warning("job %s: its progress could not be sent", _safe(self._job), exc_info=True)


def _failure(error: Exception, job: Job) -> Output:
    """Return the answer to a job that failed; it asks for another worker where this one is broken."""
    answer: Output = {"error": _error_line(error, job)}
    return answer | {"refresh_worker": True} if isinstance(error, WorkerBroken) else answer


def _error_line(error: Exception, job: Job) -> str:
    """Return one line for the job's sender: of an unexpected error only the reference under which the log has it."""
    if isinstance(error, CasError):
        if not isinstance(error, InputError):
            _log.warning("job %s: %s", _safe(job), error)
        # The sender gets a sentence: line breaks of a server's words become spaces, and not visible escapes.
        line = printable(" ".join(Exception.__str__(error).split()))
        return line if len(line) <= _LONGEST_ERROR else line[:_LONGEST_ERROR] + "..."
    reference = secrets.token_hex(4)
    _log.error("job %s failed, reference %s", _safe(job), reference, exc_info=error)
    return f"the worker failed at this job: look for reference {reference} in its log, or send the job again"


def _safe(job: Job) -> str:
    """Return the job's id in a form that is safe in a file name and in a line of the log."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", str(job.get("id", "job")))[:64]
