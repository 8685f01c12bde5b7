"""What the model runs on: the GPU where there is one, and never silently without it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from cas.errors import CasError
from worker.errors import GpuFailed

Asked = Literal["", "cpu", "cuda"]
"""What CAS_DEVICE asks for; empty: the GPU where there is one."""

_NODES = Path("/dev")


class NoGpu(CasError):
    """torch cannot use the GPU that is there or that was asked for; on the processor a job would take minutes."""


def choose(asked: Asked = "") -> str:
    """Return the device to run on, `cuda` or `cpu`.

    Args:
        asked: the device that it must be; empty: the GPU where there is one, else the processor.

    Raises:
        NoGpu: torch cannot use a GPU that is there, or that was asked for.
        GpuFailed: torch has no code for the GPU, or the GPU fails at the first call.
    """
    import torch

    if asked == "cpu":
        return asked
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if torch.cuda.is_available():
            _check_code()
            return "cuda"
    if asked == "cuda" or any(_NODES.glob("nvidia[0-9]*")):
        because = "; ".join(str(each.message).strip().partition("\n")[0] for each in caught) or "it does not say why"
        raise NoGpu(
            f"torch {torch.__version__} cannot use this machine's GPU ({because}): allow only hosts whose driver has "
            f"CUDA {torch.version.cuda} or newer, or set CAS_DEVICE=cpu"
        )
    return "cpu"


def _check_code() -> None:
    """Raise GpuFailed if this torch was not built for the GPU: it would fail at the first computation only."""
    import torch

    try:
        name, capability = torch.cuda.get_device_name(), torch.cuda.get_device_capability()
    except RuntimeError as error:
        line = str(error).partition("\n")[0]
        raise GpuFailed(
            f"the GPU cannot be used ({line}): it or its driver is broken, or in use by others: start the worker on "
            "another machine"
        ) from error
    built = torch.cuda.get_arch_list()
    if built and not runs_on(capability, built):
        raise GpuFailed(
            f"torch {torch.__version__} has no code for this machine's {name} (compute capability "
            f"{capability[0]}.{capability[1]}; there is {', '.join(built)}): choose other GPUs, or set CAS_DEVICE=cpu"
        )


def runs_on(capability: tuple[int, int], built: Iterable[str]) -> bool:
    """Return whether code for some architectures runs on a GPU (CUDA C++ Programming Guide, "Binary Compatibility").

    Args:
        capability: the GPU's compute capability, major and minor.
        built: architectures as torch.cuda.get_arch_list names them: `sm_86` is machine code for 8.6 and later minors,
            `sm_90a` for 9.0 alone, `compute_90` is compiled for whatever is newer when it is loaded.
    """
    for name in built:
        match = re.fullmatch(r"(sm|compute)_(\d+)(\d)([a-z]?)", name)
        if match is None:
            continue
        needed = int(match[2]), int(match[3])
        if match[4] == "a":
            fits = capability == needed
        elif match[1] == "compute":
            fits = capability >= needed
        else:
            fits = capability[0] == needed[0] and capability >= needed
        if fits:
            return True
    return False


def describe(device: str) -> str:
    """Return a device in words for the cold-start line, a GPU with its name."""
    import torch

    return f"{device}: {torch.cuda.get_device_name()}" if device == "cuda" else device
