"""Packages that no worker needs to load a model and speak: here nobody finds them, wherever they are installed.

The image does without most of them; boto3, huggingface_hub and fastapi it has for other processes and modes.
Each time that one is looked for is noted: some packages look whether another is there, and go on without it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

NAMES = frozenset(
    """
    accelerate bcrypt boto3 botocore cached_path datasets einx ema_pytorch encodec fastapi gradio hydra huggingface_hub
    librosa llvmlite loguru matplotlib nacl numba omegaconf pandas paramiko pyarrow scipy sklearn sympy tokenizers
    tomlkit torchcodec transformers triton uvicorn wandb watchdog
    """.split()  # noqa: SIM905
)

looked_for: list[str] = []


class _PathFinder(PathFinder):
    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] in NAMES or fullname == "torch._dynamo":
            looked_for.append(fullname)
            return None
        return super().find_spec(fullname, path, target)


def hide() -> None:
    """Hide the packages from all imports of this process that follow."""
    sys.meta_path[sys.meta_path.index(PathFinder)] = _PathFinder
