"""This machine and its user: how much of it operations may use, its facts in a receipt, who moves a ref,
whether traces of them are wanted. No secrets.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from cas import config
from cas.formats.manifest import NAME_PATTERN
from cas.version import __version__

MIB = 1024 * 1024

WRITE_AT_ONCE = 512 * 1024
"""Bytes of one write(2) at most: pieces of a large write cost less than the whole.

Linux puts a write of 2 MiB or more into pages of 2 MiB (large folios). A virtual machine that reports its free memory
has given just such pages back to its host, and filling them costs the kernel two to six times as much CPU time;
smaller pages are mostly still there (docs/performance.md).
"""

_GPUS = Path("/proc/driver/nvidia/gpus")
_PACKAGES = ("obstore", "huggingface_hub")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of the machine an operation may use.

    Attributes:
        budget: bytes of chunks in flight.
        requests: requests in flight.
        uploads: chunks that are being encoded or sent; memory holds each of them twice while it is sent.
        workers: chunks that are encoded or decoded at once.
    """

    budget: int = field(default_factory=lambda: default_budget())  # noqa: PLW0108 (defined below)
    requests: int = 14
    uploads: int = field(default_factory=lambda: default_workers() + 4)
    workers: int = field(default_factory=lambda: default_workers())  # noqa: PLW0108 (defined below)


def default_budget() -> int:
    """Bytes of chunks in flight: 256 MiB, or an eighth of the container's memory limit (32 MiB at least) if less."""
    limit = memory_limit()
    return 256 * MIB if limit is None else max(32 * MIB, min(256 * MIB, limit // 8))


def default_workers() -> int:
    """Chunks to encode or decode at once: one per core, 2 to 8, and no more than the memory allows.

    Encoding a chunk takes five buffers of 8 MiB.
    """
    return max(1, min(8, max(2, usable_cores()), default_budget() // (32 * MIB)))


def memory_limit() -> int | None:
    """Bytes of memory that the control group (version 2, then 1) allows; None when it sets no limit."""
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(name).read_text().strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < 1 << 60:
            return int(text)
    return None


def usable_cores() -> int:
    """Processor cores that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """One machine or container, as a receipt records it.

    Attributes:
        hostname: the host's name.
        cores: processor cores that this process may run on.
        memory: bytes that the control group allows; None without a limit.
        kernel: name and release of the operating system's kernel.
        python: version of Python.
        gpus: names of the NVIDIA GPUs; empty without a driver.
        pod: RUNPOD_POD_ID, if set.
        datacenter: RUNPOD_DC_ID, if set.
    """

    hostname: str
    cores: int
    memory: int | None
    kernel: str
    python: str
    gpus: tuple[str, ...] = ()
    pod: str | None = None
    datacenter: str | None = None


def facts(gpus: Path = _GPUS) -> Host:
    """The facts about this machine.

    Args:
        gpus: the directory in which the NVIDIA driver lists its devices.
    """
    import platform

    return Host(
        hostname=_hostname(),
        cores=usable_cores(),
        memory=memory_limit(),
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        gpus=_gpu_names(gpus),
        pod=config.read("RUNPOD_POD_ID") or None,
        datacenter=config.read("RUNPOD_DC_ID") or None,
    )


def versions() -> dict[str, str]:
    """Versions of this program and of the installed packages that its speed depends on, without importing them."""
    from importlib import metadata

    found = {"model-cas": __version__}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def deployment() -> str:
    """The deployment's name: CAS_DEPLOYMENT, else RUNPOD_ENDPOINT_ID, else the host's name.

    Characters that names may not have become dashes.
    """

    named = config.first("CAS_DEPLOYMENT", "RUNPOD_ENDPOINT_ID").value or _hostname()
    name = re.sub(r"[^A-Za-z0-9._-]", "-", named).lstrip("._-")[:96]
    return name if re.match(NAME_PATTERN, name) else "unnamed"


def _gpu_names(folder: Path) -> tuple[str, ...]:
    found = []
    try:
        for file in sorted(folder.glob("*/information")):
            if match := re.search(r"^Model:\s*(.+?)\s*$", file.read_text(errors="replace"), re.MULTILINE):
                found.append(match[1])
    except OSError:
        return ()
    return tuple(found)


def whoami() -> str:
    """`user@host`, which a ref's log records as who moved it."""
    import getpass

    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{_as_text(user)}@{_hostname()}"


def _hostname() -> str:
    import socket

    return _as_text(socket.gethostname())


def _as_text(name: str) -> str:
    """A name that fits any document: `?` in place of bytes that are no UTF-8, which Python passes on as surrogates."""
    return name.encode(errors="replace").decode()


def traces_wanted() -> bool:
    """Whether variables of OpenTelemetry name an endpoint for traces, and do not switch them off."""
    endpoint = config.first("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT").value
    is_off = config.read("OTEL_SDK_DISABLED").lower() == "true" or config.read("OTEL_TRACES_EXPORTER") == "none"
    return bool(endpoint) and not is_off
