"""The variables by which Hugging Face, transformers and torch find their files, set before anything reads them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from cas.config import CacheDirs
from cas.local.environment import cache_variables


def hub_of(directory: Path) -> Path:
    """Return the hub cache of a cache directory."""
    return directory / "hub"


def apply(directory: Path, *, offline: bool = False) -> None:
    """Have this process and its children keep models in `directory`.

    huggingface_hub reads the variables when it is imported; if it is imported already, its constants are set, too.

    Args:
        directory: a cache directory.
        offline: never ask the hub, as the cache has all files.
    """
    hub = str(hub_of(directory))
    dirs = CacheDirs(hub_of(directory), directory)
    variables = {**cache_variables(dirs, every=True), "HF_HUB_DISABLE_SHARED_BLOBS": "1"}
    if offline:
        variables["HF_HUB_OFFLINE"] = "1"
    os.environ.update(variables)
    constants = sys.modules.get("huggingface_hub.constants")
    if constants is not None:
        _set_existing(constants, {"HF_HOME": str(directory), "HF_HUB_CACHE": hub, "HUGGINGFACE_HUB_CACHE": hub})
        if offline:
            _set_existing(constants, {"HF_HUB_OFFLINE": True})


def _set_existing(constants: object, values: dict[str, object]) -> None:
    for name, value in values.items():
        if hasattr(constants, name):
            setattr(constants, name, value)
