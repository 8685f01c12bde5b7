"""The Python environments that the RunPod worker and tests run in: made once per user, and shared by all clones.

The worker's environment has what the image installs, 4 GB. The reference environment has what F5-TTS's own code imports
as well, so that tests can compare the worker's speech with that of plain F5-TTS: it sees the packages of the worker's
environment, as torch takes gigabytes, and adds 2 GB. The clients' environment sees both, and adds programs that load
models through a hub, 0.4 GB. All lie in the user's cache directory, under names made from their lock files and the
Python version. `python -m tools.worker_env` makes what is missing, which takes about three minutes, and prints the path
of the worker's interpreter as the last line. The module uses only the standard library, as it runs before anything is
installed.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from tools.lock import pins

_REQUIREMENTS = Path(__file__).parent.parent / "requirements"
TORCH_LOCK = _REQUIREMENTS / "torch.lock"
WORKER_LOCK = _REQUIREMENTS / "worker.lock"
F5_LOCK = _REQUIREMENTS / "f5.lock"
BUILD_LOCK = _REQUIREMENTS / "build.lock"
REFERENCE_LOCK = _REQUIREMENTS / "reference.lock"
CLIENTS_LOCK = _REQUIREMENTS / "clients.lock"

Steps = Sequence[Sequence[str]]
"""Arguments of each `pip install`, in the order of installation; each ends with the path of a lock file."""

# The locks list all that is needed, so pip need not look for dependencies (--no-deps): those of torch, the RunPod SDK
# and F5-TTS are gigabytes that speaking does not import (worker.in says which). The wheels are final, nothing is built.
_WHEELS = ("--require-hashes", "--only-binary=:all:", "--no-deps", "-r")
STEPS: Steps = tuple((*_WHEELS, str(lock)) for lock in (TORCH_LOCK, WORKER_LOCK, F5_LOCK))

# Two packages come as source: what builds them is installed first, and pip takes no other (--no-build-isolation).
REFERENCE_STEPS: Steps = (
    ("--require-hashes", "-r", str(BUILD_LOCK)),
    ("--require-hashes", "--no-build-isolation", "--no-deps", "-r", str(REFERENCE_LOCK)),
)

CLIENT_STEPS: Steps = ((*_WHEELS, str(CLIENTS_LOCK)),)


class EnvironmentMissing(Exception):
    """One of these environments is missing, or cannot be made."""


def folder(environ: Mapping[str, str] = os.environ, steps: Steps = STEPS, name: str = "worker") -> Path:
    """Return the directory for the environment of these lock files and this Python, whether it exists or not.

    Args:
        environ: variables; XDG_CACHE_HOME, else HOME, names the directory of caches.
        steps: what is installed in it.
        name: what the directory's name begins with.

    Raises:
        OSError: a lock file cannot be read.
    """
    key = hashlib.sha256("\n".join(pin for step in steps for pin in pins(Path(step[-1]).read_text("utf-8"))).encode())
    caches = environ.get("XDG_CACHE_HOME") or os.path.join(environ.get("HOME") or Path.home(), ".cache")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return Path(caches) / "model-cas" / f"{name}-{key.hexdigest()[:12]}-py{version}"


def reference_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the directory for the reference environment, whether it exists or not.

    Args:
        environ: as for `folder`.

    Raises:
        OSError: a lock file cannot be read.
    """
    return folder(environ, (*STEPS, *REFERENCE_STEPS), "reference")


def clients_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the directory for the environment of the clients of a hub, whether it exists or not.

    Args:
        environ: as for `folder`.

    Raises:
        OSError: a lock file cannot be read.
    """
    return folder(environ, (*STEPS, *REFERENCE_STEPS, *CLIENT_STEPS), "clients")


def python(directory: Path) -> Path:
    """Return the interpreter of an environment.

    Args:
        directory: what `folder`, `reference_folder` or `clients_folder` returns.

    Raises:
        EnvironmentMissing: it was never made, or the making did not finish.
    """
    if not (directory / "ready").exists():
        raise EnvironmentMissing(f"there is no environment at {directory}: run `make worker-env` to make it")
    return directory / "bin" / "python"


def make(directory: Path, steps: Steps = STEPS, base: Path | None = None) -> Path:
    """Make an environment, unless it exists, and return its interpreter.

    An environment cannot be moved, so it is made where it stays, and is complete once it holds the file `ready`. Of
    several processes one makes it and the others wait; an incomplete one, left by a kill, is made anew.

    Args:
        directory: where to make it.
        steps: what to install.
        base: an environment whose packages it sees, too, and those of that environment's base.

    Raises:
        EnvironmentMissing: a package cannot be installed.
        OSError: the folder cannot be written.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    with directory.with_name(f"{directory.name}.lock").open("w") as lock:
        _wait_for(lock, directory)
        if not (directory / "ready").exists():
            print(f"setting up {directory} (gigabytes, about two minutes)", flush=True)
            shutil.rmtree(directory, ignore_errors=True)
            _run(sys.executable, "-m", "venv", str(directory))
            if base:
                below = packages(base) / "base.pth"  # Python reads no .pth file of a folder that a .pth file names
                others = below.read_text("utf-8") if below.exists() else ""
                (packages(directory) / "base.pth").write_text(f"{packages(base)}\n{others}", "utf-8")
            for step in steps:
                pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
                _run(str(directory / "bin" / "python"), *pip, *step)
            (directory / "ready").touch()
    return python(directory)


def versions(steps: Steps = STEPS) -> dict[str, str]:
    """Return the versions of the packages in an environment, by the package's name.

    Args:
        steps: what is installed in it.

    Raises:
        OSError: a lock file cannot be read.
    """
    found = [pin.partition(";")[0].split("==") for step in steps for pin in pins(Path(step[-1]).read_text("utf-8"))]
    return {name.strip(): version.strip() for name, version in found}


def packages(directory: Path) -> Path:
    """Return the folder of an environment into which pip installs.

    Args:
        directory: as for `python`.
    """
    return directory / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def _wait_for(lock: IO[str], directory: Path) -> None:
    """Acquire the lock; the system releases it when the process that has it dies, so this never waits for ever."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"another process makes {directory}: waiting for it", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)


def _run(*command: str) -> None:
    status = subprocess.run(command, check=False).returncode
    if status:
        raise EnvironmentMissing(f"`{' '.join(command)}` failed with exit code {status}: see above, then run it again")


def main() -> None:
    """Make the environments that are missing, or the worker's alone (`worker`), and print that one's interpreter."""
    try:
        worker = make(folder())
        if sys.argv[1:] != ["worker"]:
            make(reference_folder(), REFERENCE_STEPS, folder())
            make(clients_folder(), CLIENT_STEPS, reference_folder())
        print(worker)
    except EnvironmentMissing as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
