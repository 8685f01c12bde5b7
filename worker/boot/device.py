"""What the model runs on: the GPU where there is one, and never silently without it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Literal

from cas.errors import CasError

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
    """
    import torch

    if asked == "cpu":
        return asked
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if torch.cuda.is_available():
            return "cuda"
    if asked == "cuda" or any(_NODES.glob("nvidia[0-9]*")):
        because = "; ".join(str(each.message).strip().partition("\n")[0] for each in caught) or "it does not say why"
        raise NoGpu(
            f"torch {torch.__version__} cannot use this machine's GPU ({because}): allow only hosts whose driver has "
            f"CUDA {torch.version.cuda} or newer, or set CAS_DEVICE=cpu"
        )
    return "cpu"


def describe(device: str) -> str:
    """Return a device in words for the cold-start line, a GPU with its name."""
    import torch

    return f"{device}: {torch.cuda.get_device_name()}" if device == "cuda" else device
