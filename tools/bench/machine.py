"""What the figures depend on: this machine, and the version of each program that is measured."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path

from tools.bench.client import program

_PACKAGES = ("boto3", "huggingface_hub", "obstore", "numpy", "zstandard", "runai-model-streamer", "torch")
_PROGRAMS = {"s5cmd": ("s5cmd", "version"), "rclone": ("rclone", "version"), "SeaweedFS": ("weed", "version")}


def facts() -> dict[str, str | int]:
    """Return facts about the machine and versions of programs, by names for people to read."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0,
        "processor": _processor(),
        "memory GiB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "model-cas": _package("model-cas"),
        **{name: version for name in _PACKAGES if (version := _package(name))},
        **{name: version for name, command in _PROGRAMS.items() if (version := _first_line(*command))},
    }


def _package(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _first_line(name: str, *words: str) -> str:
    if shutil.which(program(name)) is None:
        return ""
    done = subprocess.run([program(name), *words], capture_output=True, text=True, check=False)
    return next(iter((done.stdout or done.stderr).splitlines()), "").removeprefix(name).strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
