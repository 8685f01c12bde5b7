"""The Python environment that the RunPod worker runs in: made once per user, and shared by all clones.

It takes 6 GB and two minutes, so it lies in the user's cache directory, under a name made from its lock files and the
Python version. `python -m tools.worker_env` makes it if it is missing, and prints the path of its interpreter as the
last line. The module uses only the standard library, as it runs before anything is installed.
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
BUILD_LOCK = _REQUIREMENTS / "build.lock"
WORKER_LOCK = _REQUIREMENTS / "worker.lock"
F5_LOCK = _REQUIREMENTS / "f5.lock"

# Steps in the order of installation. Two packages come as source: what builds them is installed first, and pip takes no
# other (--no-build-isolation). The locks are complete, so pip need not look for dependencies (--no-deps): with hashes
# it would refuse those that a package requires with an extra (`pydantic[email]`), although they are locked. F5-TTS
# requires packages that cannot be installed together: worker.in says which.
STEPS: Sequence[Sequence[str]] = (
    ("--require-hashes", "-r", str(BUILD_LOCK)),
    ("--require-hashes", "--no-build-isolation", "--no-deps", "-r", str(WORKER_LOCK)),
    ("--require-hashes", "--no-deps", "-r", str(F5_LOCK)),
)


class EnvironmentMissing(Exception):
    """The worker's environment, or a program that it needs, is missing or cannot be made."""


def folder(environ: Mapping[str, str] = os.environ, steps: Sequence[Sequence[str]] = STEPS) -> Path:
    """Return the directory for the environment of these lock files and this Python, whether it exists or not.

    Args:
        environ: variables; XDG_CACHE_HOME, else HOME, names the directory of caches.
        steps: arguments of each `pip install`; each ends with the path of a lock file.

    Raises:
        OSError: a lock file cannot be read.
    """
    key = hashlib.sha256("\n".join(pin for step in steps for pin in pins(Path(step[-1]).read_text("utf-8"))).encode())
    caches = environ.get("XDG_CACHE_HOME") or os.path.join(environ.get("HOME") or Path.home(), ".cache")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return Path(caches) / "model-cas" / f"worker-{key.hexdigest()[:12]}-py{version}"


def python(directory: Path) -> Path:
    """Return the interpreter of an environment.

    Args:
        directory: what `folder` returns.

    Raises:
        EnvironmentMissing: it was never made, or the making did not finish.
    """
    if not (directory / "ready").exists():
        raise EnvironmentMissing(f"the worker's environment is not at {directory}: run `make worker-env` to make it")
    return directory / "bin" / "python"


def make(directory: Path, steps: Sequence[Sequence[str]] = STEPS) -> Path:
    """Make the environment, unless it exists, and return its interpreter.

    An environment cannot be moved, so it is made where it stays, and is complete once it holds the file `ready`. Of
    several processes one makes it and the others wait; an incomplete one, left by a kill, is made anew.

    Args:
        directory: where to make it.
        steps: arguments of each `pip install`.

    Raises:
        EnvironmentMissing: a package cannot be installed.
        OSError: the folder cannot be written.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    with directory.with_name(f"{directory.name}.lock").open("w") as lock:
        _wait_for(lock, directory)
        if not (directory / "ready").exists():
            print(f"setting up the worker's environment in {directory} (6 GB, about two minutes)", flush=True)
            shutil.rmtree(directory, ignore_errors=True)
            _run(sys.executable, "-m", "venv", str(directory))
            for step in steps:
                pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
                _run(str(directory / "bin" / "python"), *pip, *step)
            (directory / "ready").touch()
    return python(directory)


def require_ffmpeg(path: str | None = None) -> None:
    """Check that FFmpeg is installed: torchcodec loads its libraries, and the worker encodes audio with it.

    Args:
        path: directories to search, in the form of the variable PATH, which is the default.

    Raises:
        EnvironmentMissing: there is no program `ffmpeg`.
    """
    if shutil.which("ffmpeg", path=path) is None:
        raise EnvironmentMissing("the worker needs FFmpeg: install it (`apt install ffmpeg`, `brew install ffmpeg`)")


def versions() -> dict[str, str]:
    """Return the versions of the packages in the environment, by the package's name.

    Raises:
        OSError: a lock file cannot be read.
    """
    found = [
        pin.partition(";")[0].split("==") for lock in (WORKER_LOCK, F5_LOCK) for pin in pins(lock.read_text("utf-8"))
    ]
    return {name.strip(): version.strip() for name, version in found}


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


def _install_ffmpeg() -> None:
    """Install FFmpeg on machines of continuous integration, which set CI: no person is there to do it."""
    if os.environ.get("CI") and shutil.which("ffmpeg") is None and shutil.which("apt-get") and os.geteuid() == 0:
        _run("apt-get", "update", "-qq")
        _run("apt-get", "install", "-qq", "--yes", "--no-install-recommends", "ffmpeg")


def main() -> None:
    """Make the environment if it is missing, and print the path of its interpreter."""
    try:
        _install_ffmpeg()
        require_ffmpeg()
        print(make(folder()))
    except EnvironmentMissing as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
