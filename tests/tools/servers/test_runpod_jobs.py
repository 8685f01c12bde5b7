"""The rules of the local RunPod platform that need no SDK to be seen: plain HTTP, and the jobs themselves."""

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tools.servers.runpod_jobs import Jobs
from tools.servers.runpod_platform import Platform, Status


@pytest.fixture
def platform() -> Iterator[Platform]:
    with Platform(poll_seconds=0.1, sync_seconds=0.1) as platform:
        yield platform


def listening() -> bool:
    return True


def ask(platform: Platform, method: str, path: str, body: object = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(platform.url.removeprefix("http://"), timeout=30)
    try:
        sent = body if isinstance(body, bytes) or body is None else json.dumps(body)
        connection.request(method, f"/v2/ep{path}", sent, {"Authorization": platform.key})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or "null")
    finally:
        connection.close()


def take(platform: Platform, pod: str = "pod", query: str = "") -> Any:
    return ask(platform, "GET", f"/job-take/{pod}?gpu=none{query}")[1]


def test_what_cannot_be_answered_is_refused_by_name(platform: Platform) -> None:
    assert ask(platform, "GET", "/status/none") == (404, {"error": "no job none on endpoint ep"})
    assert ask(platform, "GET", "/nothing/here") == (404, {"error": "no route GET /v2/ep/nothing/here"})
    assert ask(platform, "GET", "/job-take")[0] == 404
    assert ask(platform, "POST", "/run", {"text": "x"}) == (400, {"error": "input is required"})
    assert ask(platform, "POST", "/run", b"{")[0] == 400
    elsewhere = platform.submit("other", {})
    assert ask(platform, "GET", f"/status/{elsewhere.id}")[0] == 404


def test_runsync_tells_the_status_when_the_wait_is_over(platform: Platform) -> None:
    status, said = ask(platform, "POST", "/runsync", {"input": {"text": "x"}})
    assert (status, said["status"]) == (200, "IN_QUEUE")
    with pytest.raises(TimeoutError, match="IN_QUEUE"):
        platform.wait(platform.jobs.all("ep")[0], 0.1)


def test_jobs_are_taken_in_order_singly_or_in_batches(platform: Platform) -> None:
    assert ask(platform, "GET", "/job-take/pod?gpu=none") == (204, None)
    jobs = [platform.submit("ep", {"number": number}) for number in range(4)]
    assert take(platform) == {"id": jobs[0].id, "input": {"number": 0}, "webhook": None}
    _, batch = ask(platform, "GET", "/job-take-batch/pod?batch_size=2")
    assert [job["id"] for job in batch] == [jobs[1].id, jobs[2].id]
    assert ask(platform, "POST", "/purge-queue") == (200, {"removed": 1, "status": "completed"})
    assert [job.status for job in jobs] == [Status.IN_PROGRESS] * 3 + [Status.CANCELLED]


def test_what_comes_after_the_end_changes_nothing(platform: Platform) -> None:
    job = platform.submit("ep", {})
    take(platform)
    for told in ({"output": 1}, {"error": "twice"}, {"status": "IN_PROGRESS", "output": "late"}):
        assert ask(platform, "POST", f"/job-done/pod/{job.id}", told)[0] == 200
    assert (job.status, job.output, job.error, job.progress) == (Status.COMPLETED, 1, None, ["late"])
    assert ask(platform, "POST", f"/cancel/{job.id}")[1]["status"] == "COMPLETED"


def test_a_result_counts_from_the_worker_that_has_the_job(platform: Platform) -> None:
    job = platform.submit("ep", {})
    take(platform, "first")
    platform.jobs.requeue("first")
    assert take(platform, "second")["id"] == job.id
    ask(platform, "POST", f"/job-done/first/{job.id}", {"output": "old"})
    assert job.status is Status.IN_PROGRESS
    ask(platform, "POST", f"/job-done/second/{job.id}", {"output": "new"})
    assert (job.output, platform.jobs.health("ep")["jobs"]["retried"]) == ("new", 1)


def test_a_stop_is_told_once_to_the_worker_concerned(platform: Platform) -> None:
    job = platform.submit("ep", {})
    take(platform)
    ask(platform, "POST", f"/cancel/{job.id}")
    assert ask(platform, "GET", "/job-stop/another") == (204, None)
    assert ask(platform, "GET", "/job-stop/pod") == (200, {"jobsToStop": [job.id]})
    assert ask(platform, "GET", "/job-stop/pod") == (204, None)


def test_a_worker_that_died_while_it_waited_gets_no_job() -> None:
    with Platform(poll_seconds=60) as platform:
        host, _, port = platform.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=30) as dying:
            head = f"GET /v2/ep/job-take/dying?gpu=none HTTP/1.1\r\nAuthorization: {platform.key}\r\n\r\n"
            dying.sendall(head.encode())
            assert platform.jobs.until(lambda: platform.jobs.health("ep")["workers"]["idle"] == 1, 30)
        job = platform.submit("ep", {})
        assert take(platform, "living")["id"] == job.id
        assert (job.worker, job.takes) == ("living", 1)


def test_the_end_does_not_wait_for_polls() -> None:
    with Platform(poll_seconds=600, sync_seconds=600) as platform:
        polls = [
            threading.Thread(target=_hung_up, args=(platform, *what))
            for what in (("GET", "/job-take/pod"), ("GET", "/job-stop/pod"), ("POST", "/runsync", {"input": 1}))
        ]
        for poll in polls:
            poll.start()
        assert platform.jobs.until(lambda: len(platform.requests) == 3, 30)
    for poll in polls:
        poll.join(30)
    assert not any(poll.is_alive() for poll in polls)


def _hung_up(platform: Platform, *what: Any) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):  # the connection is cut
        ask(platform, *what)


def test_ends_of_waits_are_told() -> None:
    jobs = Jobs()
    job = jobs.add("ep", {})
    assert not jobs.wait(job, 0.01)
    assert jobs.take("ep", "deaf", 1, 0.01, lambda: False) == []
    assert jobs.take("ep", "pod", 1, 60, listening) == [job]
    jobs.finish(job, "pod", {"output": None})
    assert jobs.wait(job, 60)
    jobs.close()
    assert jobs.take("ep", "pod", 1, 60, listening) == []
    assert not jobs.wait(jobs.add("ep", {}), 60)
