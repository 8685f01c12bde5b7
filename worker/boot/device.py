"""What the model runs on: the GPU if there is one, and never silently without it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Literal

from cas.errors import CasError

Asked = Literal["", "cpu", "cuda"]

_NODES = Path("/dev")


class NoGpu(CasError):
    """There is a GPU, or one was asked for, and torch cannot use it: on the processor a job would take minutes."""


def choose(asked: Asked = "") -> str:
    """`cuda` or `cpu`; raises NoGpu. asked: what it must be, if not the best that is here."""
    import torch

    if asked == "cpu":
        return asked
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        if torch.cuda.is_available():
            return "cuda"
    if asked == "cuda" or any(_NODES.glob("nvidia[0-9]*")):
        because = "; ".join(str(each.message).strip().partition("\n")[0] for each in told) or "it does not say why"
        raise NoGpu(
            f"torch {torch.__version__} cannot use this machine's GPU ({because}): allow only hosts whose driver has "
            f"CUDA {torch.version.cuda} or newer, or set CAS_DEVICE=cpu"
        )
    return "cpu"


def described(device: str) -> str:
    """A device in words, for the receipt."""
    import torch

    return f"{device}: {torch.cuda.get_device_name()}" if device == "cuda" else device
