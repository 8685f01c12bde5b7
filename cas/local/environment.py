"""The variables under which Hugging Face's clients, transformers and torch find a restored version.

One list, for `cas run`, `cas env` and the worker. Sources: huggingface_hub/constants.py (HF_HOME, HF_HUB_CACHE, and
HUGGINGFACE_HUB_CACHE, which older ones read alone), torch/hub.py (TORCH_HOME), utils/hub.py of transformers 4.57 (three
older names, each of which wins over HF_HUB_CACHE; transformers 5 reads none of them), sentence_transformers
(SENTENCE_TRANSFORMERS_HOME, likewise).
"""

from __future__ import annotations

from cas import config
from cas.config import CacheDirs
from cas.formats.paths import PLAIN_FILE_FOLDER

_OVERRIDING = (
    "TRANSFORMERS_CACHE",
    "PYTORCH_TRANSFORMERS_CACHE",
    "PYTORCH_PRETRAINED_BERT_CACHE",
    "SENTENCE_TRANSFORMERS_HOME",
)
"""Variables by which a library takes another hub cache than HF_HUB_CACHE."""


def cache_variables(dirs: CacheDirs, *, every: bool = False) -> dict[str, str]:
    """Return the variables that name the places of a cache.

    A variable that overrides HF_HUB_CACHE is among them only where it is set, to another place as a rule: transformers
    warns of each of its own that is there.

    Args:
        dirs: the hub cache and HF_HOME.
        every: name those variables, too, that are not set.
    """
    hub = str(dirs.hub)
    return {
        "HF_HOME": str(dirs.home),
        "HF_HUB_CACHE": hub,
        "HUGGINGFACE_HUB_CACHE": hub,
        "TORCH_HOME": str(dirs.home / PLAIN_FILE_FOLDER),
        **{name: hub for name in _OVERRIDING if every or config.is_set(name)},
    }


def client_variables(dirs: CacheDirs) -> dict[str, str]:
    """Return the variables under which clients find a restored version, and send no request to a hub."""
    return {**cache_variables(dirs), "HF_HUB_OFFLINE": "1"}
