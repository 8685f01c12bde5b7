"""A real Azure Blob Storage server on this machine: Microsoft's emulator Azurite, from the npm package of that name.

`make test` installs it into .venv/npm, from requirements/npm/package-lock.json, where there is an npm. Run
`python -m tools.servers.azurite --container models` and export the variables that it prints.
"""

from __future__ import annotations

import argparse
import base64
import email.utils
import hashlib
import hmac
import http.client
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from tools.servers.process import free_ports, run_until_interrupted, spawn

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Account and key of every Azurite, published in its documentation."""

START_TIMEOUT = 60.0


class AzuriteError(RuntimeError):
    """The server cannot be started, or refuses to make a container."""


class Azurite:
    """Run Azurite's blob service while the context lasts; what it stores is in memory and in `directory`.

    Args:
        directory: where to keep the log.

    Raises:
        AzuriteError: (on entering) it is not installed, or does not answer within 60 s.
    """

    def __init__(self, directory: Path) -> None:
        self.log = directory / "azurite.log"
        self.port = free_ports(1)[0]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """The URL of the account's blobs."""
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    def env(self, container: str) -> dict[str, str]:
        """Return the variables that point `cas` to a container here."""
        return {
            "AZURE_STORAGE_ACCOUNT": ACCOUNT,
            "AZURE_STORAGE_KEY": KEY,
            "AZURE_STORAGE_ENDPOINT": self.endpoint,
            "CAS_STORE": f"az://{container}/cas",
        }

    def create_container(self, name: str, *, public: bool = False) -> None:
        """Make an empty container. public: whether everybody may read its blobs and list them.

        Raises:
            AzuriteError: the server refuses, for example because the container exists.
            OSError: the server does not answer.
        """
        headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2023-11-03"}
        if public:
            headers["x-ms-blob-public-access"] = "container"
        # https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
        canonical = "".join(f"{header}:{value}\n" for header, value in sorted(headers.items()))
        text = "PUT" + 12 * "\n" + canonical + f"/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
        signature = base64.b64encode(hmac.digest(base64.b64decode(KEY), text.encode(), hashlib.sha256)).decode()
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{signature}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("PUT", f"/{ACCOUNT}/{name}?restype=container", headers=headers)
            answer = connection.getresponse()
            body = answer.read().decode(errors="replace")
        finally:
            connection.close()
        if answer.status != http.client.CREATED:
            raise AzuriteError(f"cannot create container {name}: {answer.status} {body}")

    def __enter__(self) -> Self:
        """Start the server and wait until it answers."""
        program = installed()
        if program is None:
            raise AzuriteError("Azurite is not installed: `make test` does so where there is an npm")
        # It sends no telemetry, and takes any version of the API that a client names.
        command = [str(program), "--blobHost", "127.0.0.1", "--blobPort", str(self.port), "--silent"]
        command += ["--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck"]
        self._process = spawn(command, self.log)
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise AzuriteError(f"Azurite does not answer; its log:\n{self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)
        return self

    def __exit__(self, *exc: object) -> None:
        """End the server."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", f"/{ACCOUNT}?comp=list")
            connection.getresponse().read()
            return True
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def installed(name: str = "azurite-blob") -> Path | None:
    """Return the program of an npm package that `make` installed beside this interpreter; None where it did not."""
    program = Path(sys.prefix) / "npm/node_modules/.bin" / name
    return program if program.exists() else None


def main() -> None:
    """Run the server with one container, and print its variables, until interrupted."""
    parser = argparse.ArgumentParser("python -m tools.servers.azurite", description="Run a local Azure Blob Storage.")
    parser.add_argument("--dir", type=Path, default=Path("build"), help="where to keep the log (default: build)")
    parser.add_argument("--container", default="models", help="container to make (default: models)")
    args = parser.parse_args()
    args.dir.mkdir(parents=True, exist_ok=True)
    try:
        with Azurite(args.dir) as server:
            server.create_container(args.container)
            for name, value in server.env(args.container).items():
                print(f"export {name}={value}", flush=True)
            run_until_interrupted()
    except AzuriteError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
