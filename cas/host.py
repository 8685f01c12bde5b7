"""Facts about this machine and its user: what a restore's speed may depend on, and who moves a ref. No secrets."""

from __future__ import annotations

import os
import platform
import re
import socket
from pathlib import Path

import msgspec

from cas import config
from cas.formats.manifest import NAME_PATTERN
from cas.version import __version__

_GPUS = Path("/proc/driver/nvidia/gpus")
_PACKAGES = ("obstore", "huggingface_hub")


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
    return Host(
        hostname=socket.gethostname(),
        cores=config.usable_cores(),
        memory=config.memory_limit(),
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        gpus=_gpu_names(gpus),
        pod=os.environ.get("RUNPOD_POD_ID") or None,
        datacenter=os.environ.get("RUNPOD_DC_ID") or None,
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
    named = os.environ.get("CAS_DEPLOYMENT") or os.environ.get("RUNPOD_ENDPOINT_ID") or socket.gethostname()
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
    return f"{user}@{socket.gethostname()}"
