"""Jobs of a serverless platform: clients queue them, workers take them and post their results."""

import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

_CHECK_INTERVAL = 0.2  # seconds between two checks whether a worker that waits for a job is still connected
_SILENT = 15.0  # seconds without a request after which a worker counts as gone


class Status(StrEnum):
    """The states of a job, by their names in RunPod's API."""

    IN_QUEUE = "IN_QUEUE"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


FINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})


@dataclass
class Job:
    """One request to an endpoint, its progress and its result.

    Attributes:
        id: the job's name, unique on the platform.
        endpoint: the endpoint that the job was sent to.
        input: what the client sent under "input".
        status: the job's state.
        output: the result; while the job is in progress, the latest progress.
        error: why the job failed; a string if the worker obeys the platform's rules.
        worker: the pod that took the job last.
        takes: how many times a worker took the job.
        progress: every progress update, oldest first.
        chunks: everything that a generator handler yielded, oldest first.
        result: the whole final result that the worker posted.
        queued: when the job was queued, in seconds of the monotonic clock.
        taken: when a worker took it last, in seconds of the same clock.
        done: when it ended, in seconds of the same clock.
        streamed: how many of the chunks clients have read.
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
        """Return the job as the platform shows it to clients, times in milliseconds."""
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
        unfit: (pod, name of the fitness check, reason) of every worker that said that it cannot start, oldest first.
    """

    def __init__(self) -> None:
        self.pings: list[tuple[str, list[str]]] = []
        self.unfit: list[tuple[str, str, str]] = []
        self._jobs: dict[str, Job] = {}
        self._alive: dict[tuple[str, str], float] = {}
        self._stops: dict[str, list[str]] = {}
        self._changed = threading.Condition()
        self._closed = False

    def close(self) -> None:
        """End every wait now: methods that wait return at once."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def all(self, endpoint: str | None = None) -> list[Job]:
        """Return the jobs of an endpoint, or all, oldest first."""
        with self._changed:
            return [job for job in self._jobs.values() if endpoint in (None, job.endpoint)]

    def get(self, job_id: str) -> Job | None:
        """Return the job with this name, or None if there never was one."""
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
        """Wait at most so many seconds until `happened()`, called after every change, is true; return whether it is."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or happened(), seconds)
            return happened()

    def wait(self, job: Job, seconds: float) -> bool:
        """Wait at most so many seconds until a job has ended, and return whether it has."""
        return self.until(lambda: job.status in FINAL, seconds)

    def note_alive(self, endpoint: str, pod: str, working_on: Iterable[str] | None = None) -> None:
        """Record that a worker sent a request just now.

        Args:
            endpoint: the endpoint whose jobs the worker takes.
            pod: name of the worker.
            working_on: ids of the jobs that it works on, if the request is a heartbeat.
        """
        with self._changed:
            self._alive[endpoint, pod] = time.monotonic()
            if working_on is not None:
                self.pings.append((pod, list(working_on)))
            self._changed.notify_all()

    def note_unfit(self, pod: str, check: str, reason: str) -> None:
        """Record that a worker cannot start.

        Args:
            pod: name of the worker.
            check: name of the fitness check that failed.
            reason: why it failed.
        """
        with self._changed:
            self.unfit.append((pod, check, reason))
            self._changed.notify_all()

    def take(self, endpoint: str, pod: str, count: int, seconds: float, listens: Callable[[], bool]) -> list[Job]:
        """Give the oldest queued jobs of an endpoint to a worker; wait for the first while the worker is connected.

        Args:
            endpoint: the endpoint.
            pod: name of the worker.
            count: the most jobs to give.
            seconds: how long to wait for a first job.
            listens: returns whether the worker is still connected.
        """
        end = time.monotonic() + seconds
        with self._changed:
            while not self._closed and (left := end - time.monotonic()) > 0:
                waiting = [
                    job for job in self._jobs.values() if job.endpoint == endpoint and job.status is Status.IN_QUEUE
                ]
                if waiting and not listens():
                    break  # the worker was killed while it waited: another one gets the job
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
                self._changed.wait(min(left, _CHECK_INTERVAL))
        return []

    def stops(self, pod: str, seconds: float, listens: Callable[[], bool]) -> list[str]:
        """Return ids of jobs that this worker must stop, each once; wait for the first while the worker is connected.

        Args:
            pod: name of the worker.
            seconds: how long to wait for a first job.
            listens: returns whether the worker is still connected.
        """
        end = time.monotonic() + seconds
        with self._changed:
            while not self._closed and (left := end - time.monotonic()) > 0:
                if self._stops.get(pod) and listens():
                    return self._stops.pop(pod)
                self._changed.wait(min(left, _CHECK_INTERVAL))
        return []

    def finish(self, job: Job, pod: str, result: dict[str, Any]) -> None:
        """Record what a worker posted: progress, or a result, which counts only if the worker still has the job."""
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
        """Record one piece of a generator handler's output."""
        with self._changed:
            job.chunks.append(chunk)
            self._changed.notify_all()

    def read_stream(self, job: Job) -> list[Any]:
        """Return the pieces that no client has read so far."""
        with self._changed:
            new = job.chunks[job.streamed :]
            job.streamed += len(new)
            return new

    def cancel(self, job: Job) -> None:
        """Cancel a job that has not ended, and let the worker that has it stop it."""
        with self._changed:
            if job.status is Status.IN_PROGRESS and job.worker is not None:
                self._stops.setdefault(job.worker, []).append(job.id)
            if job.status not in FINAL:
                job.status, job.done = Status.CANCELLED, time.monotonic()
            self._changed.notify_all()

    def requeue(self, pod: str) -> None:
        """Queue again the jobs of a worker that is gone, as RunPod does when its heartbeats end."""
        with self._changed:
            for job in self._jobs.values():
                if job.worker == pod and job.status is Status.IN_PROGRESS:
                    job.status, job.output, job.worker = Status.IN_QUEUE, None, None
            self._alive = {key: when for key, when in self._alive.items() if key[1] != pod}
            self._changed.notify_all()

    def health(self, endpoint: str) -> dict[str, dict[str, int]]:
        """Return the counts of jobs and workers of an endpoint, as RunPod's health route names them."""
        with self._changed:
            jobs = [job for job in self._jobs.values() if job.endpoint == endpoint]
            silent = time.monotonic() - _SILENT
            alive = {pod for (where, pod), when in self._alive.items() if where == endpoint and when > silent}
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
