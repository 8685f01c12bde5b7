"""Run in the worker's environment: models of other owners, loaded and spoken with by our speaker, as one JSON document.

Arguments: the hub cache with the vocoder, a recording, and the answer of `fine_tunes_plain`, which made the models.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.worker.speech.clients.cases import named
from worker.speech import f5, loading, model_files
from worker.speech.model_files import ModelFile, ModelFiles
from worker.speech.speaker import Manner

HUB, RECORDING = (Path(word) for word in sys.argv[1:3])
PLAIN = json.loads(Path(sys.argv[3]).read_text())
VOCODER = model_files.find(HUB)


def version(weights: Path) -> ModelFiles:
    """The files of a version, as the restoring process finds them: what lies beside the weights belongs to them."""

    def placed(path: Path) -> ModelFile:
        return ModelFile(path, weights.parent.parent, must_be_verified=False)

    beside = [path if (path := weights.with_name(name)).exists() else None for name in ("vocab.txt", "config.yaml")]
    return ModelFiles(
        placed(weights), *(path and placed(path) for path in beside), VOCODER.vocoder_config, VOCODER.vocoder_weights
    )


def audio(weights: Path) -> list[object]:
    job = PLAIN["job"]
    manner = Manner(seed=job["seed"], nfe_step=job["nfe_step"])
    speaker = f5.load(version(weights), "cpu")
    return named(speaker.speak(job["text"], RECORDING.read_bytes(), job["ref_text"], manner=manner).samples)


def refused(weights: Path) -> list[str]:
    try:
        f5.load(version(weights), "cpu")
    except Exception as error:
        assert not (weights.parent.parent / "ran").exists()
        return [type(error).__name__, str(error)]
    return ["loaded", ""]


def by_folder_name(name: str) -> list[str]:
    """Which config of F5-TTS's own is read, where the version has none."""
    found = loading.Loading("cpu")._architecture(None, Path(name, "model.safetensors"))
    return [found.backbone, Path(found.source).stem]


def main() -> None:
    answer: dict[str, Any] = {
        "audio": {case: audio(Path(weights)) for case, weights in PLAIN["weights"].items()},
        "errors": {case: refused(Path(weights)) for case, weights in PLAIN["broken"].items()},
        "by folder": [by_folder_name(name) for name in ("E2TTS_Base", "F5TTS_Base", "F5TTS_v1_Base", "my-voice")],
    }
    print(json.dumps(answer), file=sys.__stdout__)


if __name__ == "__main__":
    sys.stdout = sys.stderr
    main()
