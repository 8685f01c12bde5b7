"""The variables by which Hugging Face, transformers and torch find their files, set before anything reads them.

Also the one that says which keys are trusted, where the image holds public keys.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from cas.config import CacheDirs, is_set, read
from cas.errors import InputError
from cas.local.environment import cache_variables

KEYS = Path(__file__).resolve().parents[2] / "manifests/keys"
"""The folder for public keys that an image is built with."""

_TRUSTED_KEYS = "CAS_TRUSTED_KEYS"
_NO_KEYS = ("README.md", ".gitkeep")


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


def trust_keys_of_image(folder: Path = KEYS) -> None:
    """Have this process and its children trust the public keys in the image, beside those of CAS_TRUSTED_KEYS.

    Args:
        folder: holds the keys as `*.pub`; it need not exist.

    Raises:
        InputError: the folder cannot be read, or holds something else than public keys.
    """
    try:
        names = sorted(set(os.listdir(folder)).difference(_NO_KEYS))
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"{folder}, which is for trusted keys, cannot be read ({error.strerror})") from error
    # A key with another ending would silently not be trusted; and a secret key must get into no image.
    if others := [name for name in names if not name.endswith(".pub")]:
        raise InputError(f"{folder / others[0]} is in the folder of trusted keys: build the image with NAME.pub alone")
    given = read(_TRUSTED_KEYS)
    if is_set(_TRUSTED_KEYS) and not given:
        return  # which is an error, be there keys in the image or not: whoever reads the variable reports it
    if names and str(folder) not in given.split():
        os.environ[_TRUSTED_KEYS] = f"{given} {folder}".strip()


def _set_existing(constants: object, values: dict[str, object]) -> None:
    for name, value in values.items():
        if hasattr(constants, name):
            setattr(constants, name, value)
