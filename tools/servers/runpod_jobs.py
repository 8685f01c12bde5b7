"""Jobs of a serverless platform: queued, taken by workers, and told how they went."""

import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

_LOOK = 0.2  # seconds between looks at whether a worker that waits for a job still listens
_SILENT = 15.0  # seconds without a word after which a worker counts as gone


class Status(StrEnum):
    """What RunPod calls the states of a job."""

    IN_QUEUE = "IN_QUEUE"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


FINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})


@dataclass
class Job:
    """One request to an endpoint, and all that became of it.

    Args:
        id: its name, unique on the platform.
        endpoint: the endpoint that it was sent to.
        input: what the client sent under "input".
        status: its state.
        output: the result; while it is in progress, the latest progress.
        error: why it failed; a string if the worker obeys the platform's rules.
        worker: the pod that took it last.
        takes: how many times a worker took it.
        progress: every progress update, oldest first.
        chunks: everything that a generator handler yielded, oldest first.
        result: the whole last answer of the worker, as it was posted.
        queued: when it came, taken and done: when that was, in seconds of the monotonic clock.
    """

    id: str
    endpoint: str
    input: Any
    status: Status = Status.IN_QUEUE
    output: Any = None
    error: Any = None
    worker: str | None = None
    takes: int = 0
    progress: list[Any] = field(default_factory=list)
    chunks: list[Any] = field(default_factory=list)
    result: dict[str, Any] | None = None
    queued: float = field(default_factory=time.monotonic)
    taken: float | None = None
    done: float | None = None
    streamed: int = 0

    def view(self) -> dict[str, Any]:
        """Return what the platform tells its clients, times in milliseconds."""
        seen: dict[str, Any] = {"id": self.id, "status": str(self.status)}
        if self.taken is not None:
            seen |= {"delayTime": int(1000 * (self.taken - self.queued)), "workerId": self.worker}
            if self.done is not None:
                seen["executionTime"] = int(1000 * (self.done - self.taken))
        for name in ("output", "error"):
            if (value := getattr(self, name)) is not None:
                seen[name] = value
        return seen


class Jobs:
    """Every job of a platform; safe to use from any thread.

    Attributes:
        pings: (pod, ids of the jobs that it works on) of every heartbeat, oldest first.
    """

    def __init__(self) -> None:
        self.pings: list[tuple[str, list[str]]] = []
        self._jobs: dict[str, Job] = {}
        self._heard: dict[tuple[str, str], float] = {}
        self._stops: dict[str, list[str]] = {}
        self._changed = threading.Condition()
        self._closed = False

    def close(self) -> None:
        """End every wait now."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def all(self, endpoint: str | None = None) -> list[Job]:
        """Return the jobs of an endpoint, or all, oldest first."""
        with self._changed:
            return [job for job in self._jobs.values() if endpoint in (None, job.endpoint)]

    def get(self, job_id: str) -> Job | None:
        """Return a job, or None if there never was one of this name."""
        with self._changed:
            return self._jobs.get(job_id)

    def add(self, endpoint: str, given: Any, prefix: str = "") -> Job:
        """Queue a new job, whose name starts with the prefix."""
        job = Job(f"{prefix}{uuid.uuid4()}", endpoint, given)
        with self._changed:
            self._jobs[job.id] = job
            self._changed.notify_all()
        return job

    def until(self, happened: Callable[[], bool], seconds: float) -> bool:
        """Wait until something is so, looked at after every change; return whether it is, after so long at most."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or happened(), seconds)
            return happened()

    def wait(self, job: Job, seconds: float) -> bool:
        """Wait until a job has ended, and return whether it has, after so long at most."""
        return self.until(lambda: job.status in FINAL, seconds)

    def heard(self, endpoint: str, pod: str, working_on: Iterable[str] | None = None) -> None:
        """Note that a worker is alive, and with a heartbeat what it works on."""
        with self._changed:
            self._heard[endpoint, pod] = time.monotonic()
            if working_on is not None:
                self.pings.append((pod, list(working_on)))
            self._changed.notify_all()

    def take(self, endpoint: str, pod: str, count: int, seconds: float, listens: Callable[[], bool]) -> list[Job]:
        """Hand out the oldest jobs of a queue, at most `count`; wait for the first as long as the worker listens."""
        end = time.monotonic() + seconds
        with self._changed:
            while not self._closed and (left := end - time.monotonic()) > 0:
                waiting = [
                    job for job in self._jobs.values() if job.endpoint == endpoint and job.status is Status.IN_QUEUE
                ]
                if waiting and not listens():
                    break  # a worker that was killed while it waited: the job is for another
                for job in waiting[:count]:
                    job.status, job.worker, job.taken, job.takes = (
                        Status.IN_PROGRESS,
                        pod,
                        time.monotonic(),
                        job.takes + 1,
                    )
                if waiting:
                    self._changed.notify_all()
                    return waiting[:count]
                self._changed.wait(min(left, _LOOK))
        return []

    def stops(self, pod: str, seconds: float, listens: Callable[[], bool]) -> list[str]:
        """Return the jobs that this worker is to stop, once each; wait for the first as long as the worker listens."""
        end = time.monotonic() + seconds
        with self._changed:
            while not self._closed and (left := end - time.monotonic()) > 0:
                if self._stops.get(pod) and listens():
                    return self._stops.pop(pod)
                self._changed.wait(min(left, _LOOK))
        return []

    def finish(self, job: Job, pod: str, result: dict[str, Any]) -> None:
        """Note what a worker posted: progress, or the end, unless the job has ended or is another worker's now."""
        with self._changed:
            if result.get("status") == Status.IN_PROGRESS:
                job.progress.append(result.get("output"))
                if job.status is Status.IN_PROGRESS:
                    job.output = result.get("output")
            elif job.status is Status.IN_PROGRESS and job.worker == pod:
                job.result, job.done = result, time.monotonic()
                job.output, job.error = result.get("output"), result.get("error")
                job.status = Status.FAILED if "error" in result else Status.COMPLETED
            self._changed.notify_all()

    def stream(self, job: Job, chunk: Any) -> None:
        """Note one piece of a generator handler's output."""
        with self._changed:
            job.chunks.append(chunk)
            self._changed.notify_all()

    def read_stream(self, job: Job) -> list[Any]:
        """Return the pieces that were not read so far."""
        with self._changed:
            new = job.chunks[job.streamed :]
            job.streamed += len(new)
            return new

    def cancel(self, job: Job) -> None:
        """End a job that has not ended, and let the worker that has it know."""
        with self._changed:
            if job.status is Status.IN_PROGRESS and job.worker is not None:
                self._stops.setdefault(job.worker, []).append(job.id)
            if job.status not in FINAL:
                job.status, job.done = Status.CANCELLED, time.monotonic()
            self._changed.notify_all()

    def lose(self, pod: str) -> None:
        """Queue again what a worker that is gone had taken, as RunPod does when its heartbeats end."""
        with self._changed:
            for job in self._jobs.values():
                if job.worker == pod and job.status is Status.IN_PROGRESS:
                    job.status, job.output, job.worker = Status.IN_QUEUE, None, None
            self._heard = {key: when for key, when in self._heard.items() if key[1] != pod}
            self._changed.notify_all()

    def health(self, endpoint: str) -> dict[str, dict[str, int]]:
        """Return the counts of jobs and workers of an endpoint, as RunPod's health route names them."""
        with self._changed:
            jobs = [job for job in self._jobs.values() if job.endpoint == endpoint]
            silent = time.monotonic() - _SILENT
            alive = {pod for (where, pod), when in self._heard.items() if where == endpoint and when > silent}
        running = {job.worker for job in jobs if job.status is Status.IN_PROGRESS}
        count = {status: sum(job.status is status for job in jobs) for status in Status}
        return {
            "jobs": {
                "completed": count[Status.COMPLETED],
                "failed": count[Status.FAILED],
                "inProgress": count[Status.IN_PROGRESS],
                "inQueue": count[Status.IN_QUEUE],
                "retried": sum(max(job.takes - 1, 0) for job in jobs),
            },
            "workers": {"idle": len(alive - running), "running": len(running)},
        }
