"""The environment that the RunPod worker runs in: made once per user, and shared by all clones.

It takes 6 GB and two minutes, so it is kept in the user's cache, under a name made from its lock files
and the Python version. Run `python -m tools.worker_env` to make it where it is missing; the last line
printed is its interpreter. Only the standard library is used: this runs before anything is installed.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

_REQUIREMENTS = Path(__file__).parent.parent / "requirements"
WORKER_LOCK = _REQUIREMENTS / "worker.lock"
F5_LOCK = _REQUIREMENTS / "f5.lock"

# In the order of installation. F5-TTS asks for packages that cannot be installed together: worker.in says which.
STEPS: Sequence[Sequence[str]] = (("-r", str(WORKER_LOCK)), ("--no-deps", "-r", str(F5_LOCK)))


class EnvironmentMissing(Exception):
    """The worker's environment, or a program that it needs, is not there or cannot be made."""


def folder(environ: Mapping[str, str] = os.environ, steps: Sequence[Sequence[str]] = STEPS) -> Path:
    """Return where the environment of these lock files and this Python is kept, made or not.

    Args:
        environ: XDG_CACHE_HOME, else HOME, is where caches are.
        steps: arguments of each `pip install`; each ends with the path of a lock file.

    Raises:
        OSError: a lock file cannot be read.
    """
    key = hashlib.sha256("\n".join(line for step in steps for line in _locked(Path(step[-1]))).encode())
    caches = environ.get("XDG_CACHE_HOME") or os.path.join(environ.get("HOME") or Path.home(), ".cache")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return Path(caches) / "model-cas" / f"worker-{key.hexdigest()[:12]}-py{version}"


def python(place: Path) -> Path:
    """Return the interpreter of an environment that was made.

    Raises:
        EnvironmentMissing: it was never made, or not to the end.
    """
    if not (place / "ready").exists():
        raise EnvironmentMissing(f"the worker's environment is not at {place}: run `make worker-env` to make it")
    return place / "bin" / "python"


def make(place: Path, steps: Sequence[Sequence[str]] = STEPS) -> Path:
    """Make the environment at its place, unless it is there, and return its interpreter.

    An environment cannot be moved, so it is made in place, and counts once the file `ready` is in it. Of
    several processes one makes it and the others wait; a half that was left by a kill is made anew.

    Args:
        place: folder to make it in.
        steps: arguments of each `pip install`.

    Raises:
        EnvironmentMissing: a package cannot be installed.
        OSError: the folder cannot be written.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_name(f"{place.name}.lock").open("w") as lock:
        _wait_for(lock, place)
        if not (place / "ready").exists():
            print(f"setting up the worker's environment in {place} (6 GB, about two minutes)", flush=True)
            shutil.rmtree(place, ignore_errors=True)
            _run(sys.executable, "-m", "venv", str(place))
            for step in steps:
                pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
                _run(str(place / "bin" / "python"), *pip, *step)
            (place / "ready").touch()
    return python(place)


def require_ffmpeg(path: str | None = None) -> None:
    """Check that FFmpeg is there: torchcodec loads its libraries, and the audio formats come from it.

    Args:
        path: folders to search, as in PATH, which is the default.

    Raises:
        EnvironmentMissing: there is no program `ffmpeg`.
    """
    if shutil.which("ffmpeg", path=path) is None:
        raise EnvironmentMissing("the worker needs FFmpeg: install it (`apt install ffmpeg`, `brew install ffmpeg`)")


def versions() -> dict[str, str]:
    """Return what the environment holds: version by the name of the package.

    Raises:
        OSError: a lock file cannot be read.
    """
    pins = [line.partition(";")[0].split("==") for lock in (WORKER_LOCK, F5_LOCK) for line in _locked(lock)]
    return {name.strip(): version.strip() for name, version in pins}


def _locked(lock: Path) -> Iterator[str]:
    for line in lock.read_text("utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line


def _wait_for(lock: IO[str], place: Path) -> None:
    """The lock is freed by the system when its holder dies, so this ends when the holder does."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"another process makes {place}: waiting for it", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)


def _run(*command: str) -> None:
    status = subprocess.run(command, check=False).returncode
    if status:
        raise EnvironmentMissing(f"`{' '.join(command)}` failed with exit code {status}: see above, then run it again")


def _install_ffmpeg() -> None:
    """Only where nobody is there to be asked: machines of continuous integration say CI."""
    if os.environ.get("CI") and shutil.which("ffmpeg") is None and shutil.which("apt-get") and os.geteuid() == 0:
        _run("apt-get", "update", "-qq")
        _run("apt-get", "install", "-qq", "--yes", "--no-install-recommends", "ffmpeg")


def main() -> None:
    """Make the environment where it is missing, and print its interpreter."""
    try:
        _install_ffmpeg()
        require_ffmpeg()
        print(make(folder()))
    except EnvironmentMissing as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
