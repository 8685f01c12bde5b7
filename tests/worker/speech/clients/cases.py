"""What plain F5-TTS and our speaker are both asked to say, and how their answers are compared: by digest."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.worker.speech.recordings import RATE, speech

SHORT = "The sea was calm that night, and nobody spoke."
LONG = " ".join(f"Sentence number {n} is here to be spoken, and it takes its time; so does the next!" for n in range(4))
REFERENCE_TEXT = "Some words are said here, slowly"
CASES: dict[str, dict[str, Any]] = {
    "short": {"text": SHORT},
    "slow": {"text": SHORT, "speed": 0.7},
    "more steps": {"text": SHORT, "nfe_step": 9},
    "no guidance": {"text": SHORT, "cfg_strength": 0.0},
    "tiny text": {"text": "Hm."},
    "chinese": {"text": "今天天气很好。我们去公园。"},
    "long": {"text": LONG},
}
STORY: list[tuple[str, float | None]] = [
    ("He broke out with", None),
    ('"My poor dear friend, you live here no better than the ants!"', 0.7),
    (LONG, None),
    ("So he returned.", 1.2),
]
"""Passages of a text, each with its speed, and each in the voice of another recording; one has several parts."""

SENTENCES = [f"This is the sentence with the number {n}, and it goes on for a while." for n in range(8)]
SPLIT = [LONG, " ".join(SENTENCES), "词" * 40 + "。" + "又" * 9 + "\uff01 Ja; nein,doch:\nso. ", "", " . ", "One"]
"""Texts to be split into parts."""


def jobs(recordings: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Each case with the recording that it takes; all recordings but the first say the short text."""
    first, *others = sorted(recordings.glob("*.wav"))
    return {name: (first, case) for name, case in CASES.items()} | {
        path.stem: (path, CASES["short"]) for path in others
    }


def digest(samples: Any) -> str:
    return hashlib.sha256(np.asarray(samples, np.float32).tobytes()).hexdigest()


def named(samples: Any) -> list[object]:
    """What tells one audio from another: length, loudness, and digest of the float32 samples."""
    flat = np.asarray(samples, np.float32)
    return [len(flat), float(np.abs(flat).max()), digest(flat)]


def tensors(module: Any) -> dict[str, list[str]]:
    """Each parameter and buffer of a module: type, device, shape, and digest of its bytes."""
    found = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {
        name: [
            str(tensor.dtype),
            tensor.device.type,
            str(list(tensor.shape)),
            hashlib.sha256(tensor.detach().cpu().flatten().view(torch.uint8).numpy().tobytes()).hexdigest(),
        ]
        for name, tensor in found.items()
    }


def with_silences() -> Any:
    """Speech with three seconds of silence before each of its two pieces."""
    quiet = np.zeros(RATE * 3, np.int16)
    return np.concatenate([quiet, speech(2), quiet, speech(1)]).astype(np.float32) / 32768
