"""The variables by which Hugging Face, transformers and torch find their files, set before anything reads them."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def hub_of(directory: Path) -> Path:
    """The hub cache in a cache directory."""
    return directory / "hub"


def apply(directory: Path, *, offline: bool = False) -> None:
    """Has this process and its children keep models in `directory`; offline: and ask no hub for them.

    huggingface_hub reads the variables when it is imported: where it has been already, its constants follow.
    """
    hub = str(hub_of(directory))
    variables = {
        "HF_HOME": str(directory),
        "HF_HUB_CACHE": hub,
        "TRANSFORMERS_CACHE": hub,
        "TORCH_HOME": str(directory / "torch"),
        "HF_HUB_DISABLE_SHARED_BLOBS": "1",
    }
    if offline:
        variables["HF_HUB_OFFLINE"] = "1"
    os.environ.update(variables)
    constants = sys.modules.get("huggingface_hub.constants")
    if constants is not None:
        _follow(constants, {"HF_HOME": str(directory), "HF_HUB_CACHE": hub, "HUGGINGFACE_HUB_CACHE": hub})
        if offline:
            _follow(constants, {"HF_HUB_OFFLINE": True})


def _follow(constants: object, values: dict[str, object]) -> None:
    for name, value in values.items():
        if hasattr(constants, name):
            setattr(constants, name, value)
