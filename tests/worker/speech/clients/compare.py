"""Run in the worker's environment: what our loading and speaking makes of the cases, as one JSON document.

Arguments: the hub cache of the published model, that of its float16 variant, and a folder of recordings.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.worker.speech.clients.cases import REFERENCE_TEXT, SHORT, SPLIT, STORY, jobs, named, tensors
from worker.speech import configs, f5, model_files, networks, text_parts
from worker.speech.speaker import Manner, Passage

HUB, HALF, RECORDINGS = (Path(word) for word in sys.argv[1:])


def audio(speaker: f5.Speaker, recording: Path, text: str, seed: int = 7, **settings: Any) -> list[object]:
    manner = Manner(seed=seed, **{"nfe_step": 4, **settings})
    spoken = speaker.speak(text, recording.read_bytes(), REFERENCE_TEXT, manner=manner)
    assert (spoken.rate, spoken.seed, spoken.samples.dtype) == (24000, seed, np.float32)
    return named(spoken.samples)


def several_voices(speaker: f5.Speaker) -> list[Any]:
    """A text in several voices, and what was told of progress."""
    passages = [
        Passage(words, recording.read_bytes(), REFERENCE_TEXT, speed)
        for (words, speed), recording in zip(STORY, sorted(RECORDINGS.glob("*.wav")), strict=False)
    ]
    told: list[tuple[int, int]] = []
    manner = Manner(seed=7, nfe_step=4)
    parts = speaker.recite(passages, by_sentence=False, manner=manner, step=lambda *at: told.append(at))
    return [named(np.concatenate(list(parts))), [len(STORY), *told]]


def load(hub: Path, **how: bool) -> f5.Speaker:
    return f5.load(model_files.find(hub, **how), "cpu")


def in_float16() -> dict[str, Any]:
    """What is made of both files in float16, as on CUDA."""
    networks.precision = lambda device: torch.float16
    return {f"{name} in float16": tensors(load(hub).model) for name, hub in (("model", HUB), ("variant", HALF))}


def shapes_of_v1_base() -> dict[str, list[int]]:
    """Of the state of the network that is made for the published weights."""
    shipped = networks.shipped_config(networks.DEFAULT)
    assert shipped
    model = networks.speech_network(configs.read_architecture(shipped))
    return {name: list(tensor.shape) for name, tensor in model.state_dict().items()}


def main() -> None:
    ours, half = load(HUB, must_be_verified=True), load(HALF)
    cases = jobs(RECORDINGS)
    first = cases["short"][0]
    answer = {
        "audio": {name: audio(ours, path, **case) for name, (path, case) in cases.items()},
        "several voices": several_voices(ours),
        "again": [audio(ours, first, SHORT, seed) for seed in (7, 7, 8)],
        "half": audio(half, first, SHORT),
        "seeds": [ours.speak("Hm.", first.read_bytes(), "Words", manner=Manner(nfe_step=1)).seed for _ in range(3)],
        "tensors": {
            "model": tensors(ours.model),
            "vocoder": tensors(ours.vocoder),
            "variant": tensors(half.model),
            **in_float16(),
        },
        "shapes": shapes_of_v1_base(),
        "split": [[text_parts.chunks(text, most) for most in (9, 60, 135)] for text in SPLIT],
    }
    print(json.dumps(answer), file=sys.__stdout__)


if __name__ == "__main__":
    sys.stdout = sys.stderr
    main()
