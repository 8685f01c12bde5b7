"""RunPod's HTTP routes: those of clients, which send jobs, and those of workers, which take and finish them.

Routes and bodies are those that the SDK runpod 1.12 uses: for workers `serverless/modules/rp_job.py`,
`rp_http.py` and `rp_ping.py`, for clients `endpoint/runner.py`.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tools.servers.runpod_jobs import Job, Jobs, Status

_LIMITS = {"run": 10_000_000, "runsync": 20_000_000}  # bytes; https://docs.runpod.io/serverless/endpoints/operations


class Refusal(Exception):
    """A request that is answered by an error; `status` is that of the answer."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class _Call:
    """A request to `/v2/<endpoint>/<what>/<names>?<query>`.

    Attributes:
        endpoint: name of the endpoint.
        what: the route, such as `runsync`.
        names: of the pod and the job, as the route has them.
        query: the last value of each parameter.
        body: the body as it came.
        listens: returns whether the caller still waits for the answer.
    """

    endpoint: str
    what: str
    names: list[str]
    query: dict[str, str]
    body: bytes
    listens: Callable[[], bool]

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {error}") from None


class Routes:
    """All routes of one platform; safe to use from any thread.

    Args:
        jobs: those of all endpoints.
        poll_seconds: how long a worker's request for a job waits for one.
        sync_seconds: how long `runsync` waits for a result.
    """

    def __init__(self, jobs: Jobs, poll_seconds: float, sync_seconds: float) -> None:
        self._jobs, self._poll_seconds, self._sync_seconds = jobs, poll_seconds, sync_seconds

    def answer(self, method: str, target: str, body: bytes, listens: Callable[[], bool]) -> Any:
        """Return what to send as JSON, or None for an empty answer.

        Args:
            method: the HTTP method.
            target: path and query.
            body: body of the request.
            listens: returns whether the caller still waits for the answer.

        Raises:
            Refusal: there is no such route or job, or the body is not as it should be.
        """
        url = urlsplit(target)
        root, endpoint, what, *names = [*url.path.strip("/").split("/"), "", ""]
        names = names[:-2]
        answer = _ANSWERS.get((method, what, len(names)))
        if root != "v2" or answer is None:
            raise Refusal(HTTPStatus.NOT_FOUND, f"no route {method} {url.path}")
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        return answer(self, _Call(endpoint, what, names, query, body, listens))

    # Routes of clients

    def _run(self, call: _Call) -> Any:
        if len(call.body) > _LIMITS[call.what]:
            reason = f"a body of {len(call.body)} bytes: /{call.what} takes {_LIMITS[call.what]}"
            raise Refusal(HTTPStatus.BAD_REQUEST, reason)
        given = call.json()
        if not isinstance(given, dict) or "input" not in given:
            raise Refusal(HTTPStatus.BAD_REQUEST, "input is required")
        job = self._jobs.add(call.endpoint, given["input"], "sync-" if call.what == "runsync" else "")
        if call.what == "runsync":
            self._jobs.wait(job, self._sync_seconds)
        return job.view()

    def _status(self, call: _Call) -> Any:
        return self._job(call).view()

    def _stream(self, call: _Call) -> Any:
        job = self._job(call)
        seen = job.view()  # before the pieces: a client stops at the first final status without any
        return {**seen, "stream": self._jobs.read_stream(job)}

    def _cancel(self, call: _Call) -> Any:
        job = self._job(call)
        self._jobs.cancel(job)
        return job.view()

    def _health(self, call: _Call) -> Any:
        return self._jobs.health(call.endpoint)

    def _purge(self, call: _Call) -> Any:
        waiting = [job for job in self._jobs.all(call.endpoint) if job.status is Status.IN_QUEUE]
        for job in waiting:
            self._jobs.cancel(job)
        return {"removed": len(waiting), "status": "completed"}

    # Routes of workers

    def _take(self, call: _Call) -> Any:
        endpoint, pod = call.endpoint, call.names[0]
        self._jobs.note_alive(endpoint, pod)
        count = int(call.query.get("batch_size", "1"))
        taken = self._jobs.take(endpoint, pod, count, self._poll_seconds, call.listens)
        jobs = [{"id": job.id, "input": job.input, "webhook": None} for job in taken]
        if not jobs:
            return None
        return jobs if call.what == "job-take-batch" else jobs[0]

    def _stop(self, call: _Call) -> Any:
        self._jobs.note_alive(call.endpoint, call.names[0])
        stops = self._jobs.stops(call.names[0], self._poll_seconds, call.listens)
        return {"jobsToStop": stops} if stops else None

    def _done(self, call: _Call) -> Any:
        job, result = self._job(call), call.json()
        if not isinstance(result, dict):
            raise Refusal(HTTPStatus.BAD_REQUEST, "a result is an object")
        if not isinstance(result.get("error", ""), str):
            # Some services of RunPod take no other type: the failure here shows which handlers return one.
            result = {"error": f"`error` must be a string, not {type(result['error']).__name__}"}
        self._jobs.finish(job, call.names[0], result)
        return {}

    def _yield(self, call: _Call) -> Any:
        self._jobs.stream(self._job(call), call.json())
        return {}

    def _ping(self, call: _Call) -> Any:
        if call.query.get("status") == "unhealthy":  # of rp_fitness.py
            self._jobs.note_unfit(call.names[0], call.query.get("check", ""), call.query.get("reason", ""))
            return {}
        self._jobs.note_alive(call.endpoint, call.names[0], filter(None, call.query.get("job_id", "").split(",")))
        return {}

    def _job(self, call: _Call) -> Job:
        job = self._jobs.get(call.names[-1])
        if job is None or job.endpoint != call.endpoint:
            raise Refusal(HTTPStatus.NOT_FOUND, f"no job {call.names[-1]} on endpoint {call.endpoint}")
        return job


# The key is the method, the route, and how many names follow: the job's, the pod's, or the pod's and then the job's.
_ANSWERS: dict[tuple[str, str, int], Callable[[Routes, _Call], Any]] = {
    ("POST", "run", 0): Routes._run,
    ("POST", "runsync", 0): Routes._run,
    ("GET", "status", 1): Routes._status,
    ("GET", "stream", 1): Routes._stream,
    ("POST", "cancel", 1): Routes._cancel,
    ("GET", "health", 0): Routes._health,
    ("POST", "purge-queue", 0): Routes._purge,
    ("GET", "job-take", 1): Routes._take,
    ("GET", "job-take-batch", 1): Routes._take,
    ("GET", "job-stop", 1): Routes._stop,
    ("POST", "job-done", 2): Routes._done,
    ("POST", "job-stream", 2): Routes._yield,
    ("GET", "ping", 1): Routes._ping,
}
