"""A local RunPod platform: the server that serverless workers and their clients connect to.

Run `python -m tools.servers.runpod_platform` and export the variables that it prints, for a worker and for a client.
"""

import argparse
import contextlib
import json
import select
import socket
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Self, cast

from tools.servers.process import run_until_interrupted
from tools.servers.runpod_jobs import FINAL, Job, Jobs, Status
from tools.servers.runpod_routes import Refusal, Routes
from tools.servers.serving import ClosableServer

__all__ = ["FINAL", "Job", "Platform", "Status"]


class Platform:
    """Serve RunPod's client API and the webhooks of its workers while the context lasts.

    The first request that names an endpoint creates it; each endpoint has a queue of its own.

    Args:
        port: TCP port to listen on, 0 for a free one.
        host: address to listen on.
        key: the API key that clients and workers must have.
        poll_seconds: how long a worker's request for a job waits for one; a worker ends only between two such requests.
        sync_seconds: how long `runsync` waits for a result before it returns the status.

    Attributes:
        jobs: every job, with its progress, stream and result, and the heartbeats.
        routes: computes the answer to each request.
        requests: (method, path with query) of every request so far, oldest first.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        key: str = "local-key",
        poll_seconds: float = 2,
        sync_seconds: float = 90,
    ) -> None:
        self.key = key
        self.jobs = Jobs()
        self.routes = Routes(self.jobs, poll_seconds, sync_seconds)
        self.requests: list[tuple[str, str]] = []
        self._server = _PlatformServer((host, port), self)

    @property
    def url(self) -> str:
        """The URL of the platform; a test may replace it by a proxy's URL in the variables."""
        return f"http://{self._server.host}:{self._server.port}"

    def env(self, pod: str, endpoint: str) -> dict[str, str]:
        """Return the variables that RunPod sets in a worker's container.

        Args:
            pod: name of the worker; each has its own.
            endpoint: the endpoint whose jobs it takes.
        """
        base = f"{self.url}/v2/{endpoint}"
        return {
            "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID?gpu=none",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID?gpu=none",
            "RUNPOD_WEBHOOK_POST_STREAM": f"{base}/job-stream/$RUNPOD_POD_ID/$ID?gpu=none",
            "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID?gpu=none",
            "RUNPOD_PING_INTERVAL": "2000",
            "RUNPOD_AI_API_KEY": self.key,
            "RUNPOD_POD_ID": pod,
            "RUNPOD_ENDPOINT_ID": endpoint,
            # The SDK's checks of the machine want a public address, and 10 % of the disk free.
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
            "RUNPOD_SKIP_GPU_CHECK": "true",
            "RUNPOD_MIN_DISK_PERCENT": "0",  # which the worker heeds, too
        }

    def client_env(self) -> dict[str, str]:
        """Return the variables for a client, which passes the key to `runpod.Endpoint` itself."""
        return {"RUNPOD_ENDPOINT_BASE_URL": f"{self.url}/v2", "RUNPOD_API_KEY": self.key}

    def submit(self, endpoint: str, given: Any) -> Job:
        """Queue a job without a client; `given` is its input."""
        return self.jobs.add(endpoint, given)

    def wait(self, job: Job, seconds: float = 60) -> Job:
        """Wait until a job has ended, and return it.

        Raises:
            TimeoutError: the job has not ended after so many seconds.
        """
        if not self.jobs.wait(job, seconds):
            raise TimeoutError(f"job {job.id} is {job.status} after {seconds:g} s: see the log of the worker")
        return job

    def __enter__(self) -> Self:
        """Start to answer requests."""
        self._server.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """End all waits, cut all connections and stop."""
        self.jobs.close()
        self._server.stop()


class _PlatformServer(ClosableServer):
    def __init__(self, address: tuple[str, int], platform: Platform) -> None:
        super().__init__(address, _Handler)
        self.platform = platform


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are separate writes: Nagle would add 40 ms to each

    @property
    def platform(self) -> Platform:
        return cast(_PlatformServer, self.server).platform

    def do_GET(self) -> None:
        self.platform.requests.append((self.command, self.path))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            answer = self._answer(body)
        except Refusal as refusal:
            self._reply(refusal.status, {"error": str(refusal)})
        else:
            self._reply(HTTPStatus.NO_CONTENT if answer is None else HTTPStatus.OK, answer)

    do_POST = do_GET  # noqa: N815 - http.server gives the name

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet: `Platform.requests` is the log."""

    def _answer(self, body: bytes) -> Any:
        if self.headers.get("Authorization", "").removeprefix("Bearer ") != self.platform.key:
            raise Refusal(HTTPStatus.UNAUTHORIZED, "wrong API key")
        return self.platform.routes.answer(self.command, self.path, body, self._listens)

    def _listens(self) -> bool:
        """Return whether the caller is still connected: it sends nothing while it waits, so only an end is readable."""
        with contextlib.suppress(OSError):
            readable = select.select([self.connection], [], [], 0)[0]
            return not readable or bool(self.connection.recv(1, socket.MSG_PEEK))
        return False

    def _reply(self, status: HTTPStatus, value: Any) -> None:
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if status is not HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Print the variables for a worker and a client, and serve until interrupted."""
    parser = argparse.ArgumentParser("python -m tools.servers.runpod_platform", description="A RunPod on this machine.")
    parser.add_argument("--port", type=int, default=0, help="TCP port (default: a free one)")
    parser.add_argument("--endpoint", default="local", help="name of the endpoint (default: %(default)s)")
    parser.add_argument("--pod", default="pod-1", help="name of the worker (default: %(default)s)")
    args = parser.parse_args()
    with Platform(args.port) as platform:
        for title, variables in (("worker", platform.env(args.pod, args.endpoint)), ("client", platform.client_env())):
            print(f"# for the {title}")
            for name, value in variables.items():
                print(f"export {name}='{value}'")
        print(f"# POST {platform.url}/v2/{args.endpoint}/runsync", flush=True)
        run_until_interrupted()


if __name__ == "__main__":
    main()
