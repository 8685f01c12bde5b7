"""The reader of a guide: a folder, a store, a hub with some repos, and what else the guides speak of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.guides import Reader, path_with_cas
from tests.support.models import write_tree
from tools.servers.hub import Hub
from tools.servers.process import free_ports

WEIGHTS = b"\2" + bytes(7) + b"{}"
"""A safetensors file without tensors."""

F5 = "import huggingface_hub; print(open(huggingface_hub.hf_hub_download('SWivid/F5-TTS', 'vocab.txt')).read().strip())"


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """A reader with `cas`, a store, a hub with some repos, and the files that the guides speak of."""
    here = write_tree(tmp_path / "reader", {"app.py": b"", "serve.py": F5.encode(), "lora/pixel.safetensors": WEIGHTS})
    ports = free_ports(4)
    with Hub(tmp_path / "hub") as hub:
        environment = {
            "PATH": f"{tmp_path / 'bin'}:{path_with_cas()}",
            "HF_HOME": str(tmp_path / "hf"),
            "HF_ENDPOINT": hub.url,
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_VERBOSITY": "error",
            "TRANSFORMERS_VERBOSITY": "error",
            "XDG_CACHE_HOME": str(tmp_path / "caches"),
        }
        own = {
            "s3://eu@my-models-eu/cas": str(tmp_path / "eu"),
            "s3://my-models-eu/cas": str(tmp_path / "eu"),
            "s3://my-models-new/cas": str(tmp_path / "new"),
            "s3://my-models/cas": str(tmp_path / "store"),
            "s3://inside/cas": str(tmp_path / "inside"),
            **{str(shown): str(port) for shown, port in zip((8000, 8080, 8081, 8082), ports, strict=True)},
        }
        with Reader(here, environment, own) as reader:
            yield reader


def put_python(folder: Path, python: Path) -> None:
    """Put a `python` on the reader's PATH."""
    path = write_tree(folder / "bin", {"python": f'#!/bin/sh\nexec {python} "$@"\n'.encode()}) / "python"
    path.chmod(0o755)
