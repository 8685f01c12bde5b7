"""huggingface_hub is an extra: whether it is installed, and what a user reads where it is not."""

from __future__ import annotations

from importlib.util import find_spec

from cas.errors import InputError

NAME = "huggingface_hub"
"""The library that downloads from a hub; restores, and publishes of folders and hub caches, need none."""

INSTALL = "pip install 'model-cas[hub]'"
"""The command that installs it."""


def is_installed() -> bool:
    """Whether the library is there; it is not imported, which takes half a second."""
    return find_spec(NAME) is not None


def require() -> None:
    """Check that the library is there.

    Raises:
        InputError: it is not.
    """
    if not is_installed():
        raise InputError(f"downloads from Hugging Face take {NAME}, which is not installed: {INSTALL}")
