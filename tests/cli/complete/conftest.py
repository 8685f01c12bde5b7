"""A store whose names are completed: two models, tags, and a pin."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.in_process import call_cas
from tests.support.models import publish_tree, write_tree


class Named(NamedTuple):
    """A store in a folder.

    Attributes:
        folder: the folder; the store is `store` in it.
        url: the store.
        minilm: the digest of the version that all of minilm's refs name.
        whisper: the digest of whisper's version.
    """

    folder: Path
    url: str
    minilm: str
    whisper: str


@pytest.fixture(scope="session")
def named(tmp_path_factory: pytest.TempPathFactory) -> Named:
    """A store with minilm (latest, fp16, a removed tag, pinned by eu-prod) and whisper."""
    folder = tmp_path_factory.mktemp("named")
    url = str(folder / "store")
    tree = write_tree(folder / "tree", {"config.json": b"{}"})
    published = publish_tree(url, tree, model="minilm", tags=["latest", "fp16", "old"])
    other = publish_tree(url, write_tree(folder / "other", {"config.json": b'{"a": 1}'}), model="whisper")
    for words in (("untag", "minilm:old"), ("pin", "eu-prod", "minilm")):
        assert call_cas("--store", url, *words).returncode == 0
    (folder / "minilm.lock").write_text("{}")
    return Named(folder, url, *(done.reference.partition("blake3:")[2] for done in (published, other)))
