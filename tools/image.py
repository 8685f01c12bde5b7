"""Build the worker's image, weigh its parts and let it answer `test_input.json`: `python -m tools.image`.

buildah does what `docker build` does, without a daemon: `apt-get install buildah debootstrap`, as root. Where the base
image cannot be pulled, or with `--stand-in`, one is made by debootstrap: the same release of Debian with Debian's own
Python of the same minor version. The worker gets its model, full size with random weights, from a local S3 server, and
speaks with the processor.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tools.models.f5tts import hub_folder
from tools.servers.hub import Hub
from tools.servers.seaweed import SeaweedFS

ROOT = Path(__file__).resolve().parents[1]
MOST = 4.6e9
"""Bytes that the unpacked image may have."""

_IMAGE, _STAND_IN = "localhost/f5-tts-worker", "localhost/python-of-debian"
_BUCKET = "models"
_RELEASE, _PACKAGES = "bookworm", "ca-certificates,python3,python3-pip,python-is-python3"
# pip's settings and the certificates of this machine: the steps of a build see them, the image does not contain them.
_SETTINGS = ("/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt")

PARTS = {
    "torch": r"/(torch|functorch|torchgen)(-[^/]*)?/",
    "cuBLAS": r"/nvidia/.*/libcublas",
    "cuDNN": r"/nvidia/cudnn/",
    "cuFFT": r"/nvidia/.*/libcufft",
    "cuSPARSE, cuSPARSELt": r"/nvidia/.*/libcusparse",
    "NCCL, NVSHMEM": r"/nvidia/(nccl|nvshmem)/",
    "cuSOLVER": r"/nvidia/.*/libcusolver",
    "cuRAND": r"/nvidia/.*/libcurand",
    "NVRTC, nvJitLink": r"/nvidia/.*/libnv(rtc|JitLink)",
    "CUDA's runtime and the rest of it": r"/(nvidia|cuda)(-[^/]*)?/",
    "F5-TTS, Vocos": r"/(f5_tts|vocos)(-[^/]*)?/",
    "other packages": r"^usr/local/lib/python3[^/]*/(site|dist)-packages/(?!pip|setuptools|wheel)",
    "this project": r"^app/",
    "Debian, Python": r"",
}
"""Name of a part of the image -> what the paths of its files match; the first match counts."""


# Without a GPU nothing loads these: what torch loads late, and the parts of cuDNN that a convolution or an attention on
# a GPU goes through. Each function loads its part of cuDNN, and returns 0 if it is there.
_LIBRARIES = """
import ctypes, pathlib, torch
libraries = pathlib.Path(torch.__file__).parent / "lib"
ctypes.CDLL(str(libraries / "libtorch_cuda_linalg.so"))
nvidia = libraries.parents[1] / "nvidia"
ctypes.CDLL(str(nvidia / "cu13/lib/libnvrtc.so.13"))
cudnn = ctypes.CDLL(str(nvidia / "cudnn/lib/libcudnn.so.9"))
for name in ("cudnnCreateTensorDescriptor", "cudnnCreateConvolutionDescriptor"):
    assert getattr(cudnn, name)(ctypes.byref(ctypes.c_void_p())) == 0, name
assert cudnn.cudnnBackendCreateDescriptor(0, ctypes.byref(ctypes.c_void_p())) == 0
for name in ("engines_precompiled", "engines_runtime_compiled", "heuristic"):
    ctypes.CDLL(str(nvidia / f"cudnn/lib/libcudnn_{name}.so.9"))
"""


class ImageError(Exception):
    """The image cannot be built, is too large, or does not answer."""


class Buildah:
    """buildah, with its images in a folder of their own.

    Args:
        folder: where to keep them; 15 GB while an image is built.

    Raises:
        ImageError: buildah or debootstrap is not installed, or this user is not root.
    """

    def __init__(self, folder: Path) -> None:
        for program in ("buildah", "debootstrap"):
            if shutil.which(program) is None:
                raise ImageError(f"there is no {program}: `apt-get install buildah debootstrap`")
        if os.geteuid() != 0:
            raise ImageError("only root may set up the file systems of an image: run this as root")
        self.folder = folder
        self._command = ["buildah", "--root", str(folder / "images"), "--runroot", str(folder / "run")]

    def __call__(self, *words: str | Path) -> str:
        """Run a command of buildah, and return what it prints; its messages go to standard error.

        Raises:
            ImageError: it fails.
        """
        command = [*self._command, *map(str, words)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise ImageError(f"`buildah {words[0]}` failed with exit code {done.returncode}: see above")
        return done.stdout.strip()

    def run(self, container: str, variables: dict[str, str], *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a program in a container, as the image's user, on this machine's network; return how it ended."""
        given = [f"--env={name}={value}" for name, value in variables.items()]
        command = [*self._command, "run", "--isolation=chroot", *given, container, "--", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=False)


def stand_in(buildah: Buildah) -> str:
    """Return a base image that debootstrap makes, as the one of the Dockerfile; an earlier one is used again.

    Raises:
        ImageError: debootstrap fails.
    """
    if _STAND_IN in buildah("images", "--format", "{{.Name}}").split():
        return _STAND_IN
    with tempfile.TemporaryDirectory(dir=buildah.folder) as folder:
        system = Path(folder, "system")
        command = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _RELEASE, str(system)]
        if subprocess.run(command, stdout=sys.stderr, check=False).returncode:
            raise ImageError("debootstrap failed: see above")
        for mark in system.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):  # Debian's pip would refuse to install
            mark.unlink()
        for path in ("var/cache/apt/archives", "var/lib/apt/lists"):
            shutil.rmtree(system / path)
            (system / path).mkdir()
        container = buildah("from", "scratch")
        buildah("add", "--quiet", container, system, "/")
        buildah("commit", "--quiet", "--rm", container, _STAND_IN)
    return _STAND_IN


def named_base() -> str:
    """Return the base image that the Dockerfile names, as `python:TAG@sha256:DIGEST`."""
    (named,) = re.findall(r"^ARG BASE=(\S+)", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    return str(named)


def base_image(buildah: Buildah) -> str:
    """Return the base image that the Dockerfile names where it can be pulled, else a stand-in."""
    named = named_base()
    try:
        buildah("pull", "--quiet", named)
    except ImageError:
        print(f"{named} cannot be pulled: debootstrap makes a stand-in", flush=True)
        return stand_in(buildah)
    return named


def weigh(system: Path) -> Counter[str]:
    """Return the bytes of the files of each part of an image.

    Args:
        system: where its root directory is mounted.
    """
    found: Counter[str] = Counter(dict.fromkeys(PARTS, 0))
    expressions = [(name, re.compile(pattern)) for name, pattern in PARTS.items()]
    for folder, _, names in os.walk(system):
        for name in names:
            path = os.path.join(folder, name)
            inside = os.path.relpath(path, system)
            part = next(name for name, expression in expressions if expression.search(inside))
            found[part] += os.lstat(path).st_size
    return found


def answer(buildah: Buildah, container: str, work: Path) -> dict[str, Any]:
    """Let the worker in a container answer test_input.json with a model from a local S3 server.

    Args:
        buildah: whose container it is.
        container: a container of the image.
        work: an empty folder, for the model and the server.

    Returns:
        The worker's receipt of its cold start, with `answer`, the job's output, and `seconds`, from start to end.

    Raises:
        ImageError: the worker fails, or its answer is no audio.
    """
    with SeaweedFS(work / "seaweed") as server:
        server.create_bucket(_BUCKET)
        environment = {**server.env(_BUCKET), "S3_BUCKET": _BUCKET, "CAS_DEVICE": "cpu", "CAS_PUBLISH": "false"}
        hub_folder(work / "hub")
        with Hub(work / "hub") as hub:
            source = ROOT / "manifests/sources/f5-tts.toml"
            command = [sys.executable, "-m", "cas", "publish", "f5-tts", "--source", str(source)]
            home = {"HF_ENDPOINT": hub.url, "HF_HOME": str(work / "publisher")}
            subprocess.run(command, env={**os.environ, **environment, **home}, check=True)
        job = (ROOT / "test_input.json").read_text("utf-8")
        begun = time.monotonic()
        done = buildah.run(container, environment, "python", "-m", "worker", "--test_input", job)
        seconds = time.monotonic() - begun
    return {**_result(done), "seconds": seconds}


def _result(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the receipt and the answer that the SDK's local mode prints, whose log leaves out the middle of a line."""
    receipts = re.findall(r'^\{"event": "cold-start".*$', done.stdout, re.MULTILINE)
    # An mp3 begins with // in base64.
    answers = re.findall(r"Job result: {'output': {'audio': '//[\w+/]{99}[^']+', (.*})}", done.stdout)
    if done.returncode or not receipts or not answers:
        raise ImageError(f"the worker ended with code {done.returncode}:\n{done.stdout[:2000]}{done.stderr[-2000:]}")
    return {**json.loads(receipts[-1]), "answer": ast.literal_eval("{" + answers[-1])}


def table(rows: Iterable[tuple[str, int]]) -> str:
    """Return the lines of a Markdown table of parts and their sizes, largest first."""
    lines = [f"| {name} | {size / 1e6:,.0f} |" for name, size in sorted(rows, key=lambda row: -row[1])]
    return "\n".join(["| part | MB |", "|---|---|", *lines])


def main() -> int:
    """Build, weigh and try the image, write build/image.json, and return 1 if it is too large or fails, else 0."""
    parser = argparse.ArgumentParser(prog="python -m tools.image", description=__doc__)
    parser.add_argument("--stand-in", action="store_true", help="do not try to pull the base image")
    parser.add_argument("--folder", type=Path, default=ROOT / "build/image", help="where the images are kept")
    options = parser.parse_args()
    try:
        options.folder.mkdir(parents=True, exist_ok=True)
        buildah = Buildah(options.folder.resolve())
        base = stand_in(buildah) if options.stand_in else base_image(buildah)
        volumes = [f"--volume={path}:{path}:ro" for path in _SETTINGS if os.path.exists(path)]
        begun = time.monotonic()
        buildah("build", "--isolation", "chroot", "--layers", "--pull=never", *volumes,
                f"--build-arg=BASE={base}", "--tag", _IMAGE, ROOT)  # fmt: skip
        built = time.monotonic() - begun
        container = buildah("from", "--pull=never", _IMAGE)
        try:
            parts = weigh(Path(buildah("mount", container)))
            libraries = buildah.run(container, {}, "python", "-c", _LIBRARIES)
            if libraries.returncode:
                raise ImageError(f"a library is missing: {libraries.stderr}")
            with tempfile.TemporaryDirectory(dir=options.folder, prefix="try-") as work:
                tried = answer(buildah, container, Path(work))
        finally:
            buildah("rm", container)
    except ImageError as error:
        sys.exit(str(error))
    size = parts.total()
    print(table(parts.items()))
    print(f"\n{size / 1e9:.2f} GB (at most {MOST / 1e9:.1f}), built in {built:.0f} s on {base}")
    print(f"test_input.json answered {tried['seconds']:.1f} s after the start")
    record = {"base": base, "build_seconds": built, "bytes": size, "parts": parts, **tried}
    (ROOT / "build/image.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    return int(size > MOST)


if __name__ == "__main__":
    sys.exit(main())
