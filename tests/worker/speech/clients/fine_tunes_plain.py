"""Run in plain F5-TTS's own environment: models of other owners, made here, and what plain F5-TTS says with them.

Arguments: a recording, and a folder for the models; HF_HUB_CACHE has the vocoder. The answer has, by case, the weights
that our speaker is to load, and the audio; the cases without audio cannot be loaded.
"""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from huggingface_hub import hf_hub_download
from safetensors.torch import save_file

from tests.worker.speech.clients import authors
from tests.worker.speech.clients.cases import REFERENCE_TEXT, named
from tools.models import tiny_f5

RECORDING, FOLDER = (Path(word) for word in sys.argv[1:])
CHARACTERS = "\u01c2\u0298\u01c0"
"""Clicks, which F5-TTS's own vocabulary lacks."""

TEXT = f"The sea was calm {CHARACTERS} that night, and nobody {CHARACTERS[::-1]} spoke."
JOB: dict[str, Any] = {"text": TEXT, "ref_text": REFERENCE_TEXT, "nfe_step": 2, "seed": 7, "format": "wav"}


def audio(weights: Path, model: str = "F5TTS_v1_Base", **how: Any) -> Any:
    """The samples of `F5TTS(ckpt_file=…, vocab_file=…)`."""
    vocabulary = weights.with_name("vocab.txt")
    files = {"ckpt_file": str(weights), "vocab_file": str(vocabulary) if vocabulary.exists() else ""}
    speaker = authors.f5(weights.with_name("config.yaml"), model, device="cpu", **files, **how)
    silent: dict[str, Any] = {"show_info": lambda _: None, "progress": None}
    return speaker.infer(str(RECORDING), REFERENCE_TEXT, TEXT, seed=JOB["seed"], nfe_step=JOB["nfe_step"], **silent)[0]


def wav(samples: Any) -> str:
    """What a worker answers: base64 of a wav file of 16 bits."""
    file = io.BytesIO()
    soundfile.write(file, np.asarray(samples, np.float32), 24_000, format="WAV", subtype="PCM_16")
    return base64.b64encode(file.getvalue()).decode()


def folder(name: str) -> Path:
    made = FOLDER / name
    made.mkdir(parents=True)
    return made


def model(name: str, section: dict[str, Any], cast: Any = None) -> Path:
    """A model of another architecture or type, with the vocabulary that F5-TTS ships."""
    weights = folder(name) / "model.safetensors"
    state = tiny_f5.speech_state(tiny_f5.shipped_vocabulary(), 3, section)
    if cast:
        state = {key: value.to(cast) if value.is_floating_point() else value for key, value in state.items()}
    save_file(state, str(weights))
    tiny_f5.write_config(weights.parent, section)
    return weights


def published(name: str, order: Callable[[list[str]], list[str]]) -> Path:
    """The published weights beside a vocabulary, which may have another order."""
    weights = folder(name) / "model.safetensors"
    weights.write_bytes(Path(hf_hub_download("SWivid/F5-TTS", "F5TTS_v1_Base/model_1250000.safetensors")).read_bytes())
    lines = tiny_f5.shipped_vocabulary().read_text("utf-8").splitlines(keepends=True)
    weights.with_name("vocab.txt").write_text("".join(order(lines)), "utf-8")
    tiny_f5.write_config(weights.parent)
    return weights


def extended(name: str, seed: int = 1) -> Path:
    tiny_f5.tiny_fine_tune(folder(name), CHARACTERS, seed)
    return FOLDER / name / "model_last.pt"


def copied(name: str) -> Path:
    """The first fine-tune once more, for something of it to be changed."""
    return Path(shutil.copytree(FOLDER / "first", FOLDER / name), "model_last.pt")


def saved(name: str, change: Callable[[dict[str, Any]], object], **how: Any) -> Path:
    """A trainer's file of which something is changed."""
    weights = copied(name)
    checkpoint = torch.load(weights, weights_only=True)
    torch.save(change(checkpoint) or checkpoint, weights, **how)
    return weights


def vocabulary(name: str, change: Callable[[bytes], bytes]) -> Path:
    weights = copied(name)
    path = weights.with_name("vocab.txt")
    path.write_bytes(change(path.read_bytes()))
    return weights


def config(name: str, **changed: Any) -> Path:
    weights = copied(name)
    tiny_f5.write_config(weights.parent, {**tiny_f5.SPEECH, **changed})
    return weights


def told_by_its_folder(name: str) -> Path:
    weights = copied(name)
    weights.with_name("config.yaml").unlink()
    return weights


class Touch:
    """A pickle of it runs a command where it is loaded as pickles are by default."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {FOLDER / 'ran'}",)


def huge(checkpoint: dict[str, Any]) -> None:
    checkpoint["ema_model_state_dict"]["ema_model.x"] = torch.zeros(1).expand(1 << 40)


def good() -> dict[str, tuple[Path, dict[str, Any]]]:
    """Each case with what plain F5-TTS has to be told of it."""
    return {
        "as published": (published("as-published", list), {}),
        "permuted": (published("permuted", lambda lines: lines[::-1]), {}),
        "extended": (extended("first", 1), {}),
        "extended again": (extended("second", 2), {}),
        "without average": (
            saved("without-average", lambda checkpoint: checkpoint.pop("ema_model_state_dict") and None),
            {"use_ema": False},
        ),
        "in an old format": (saved("old", lambda _: None, _use_new_zipfile_serialization=False), {}),
        "E2-TTS": (model("e2", tiny_f5.E2), {"model": "E2TTS_Base"}),
        "v0 Base": (model("v0", tiny_f5.V0), {"model": "F5TTS_Base"}),
        "bfloat16": (model("half", tiny_f5.SPEECH, torch.bfloat16), {}),
    }


def bad() -> dict[str, Path]:
    return {
        "vocabulary too short": vocabulary("short", lambda data: data[: data.rindex("\u0298".encode())]),
        "vocabulary too long": vocabulary("long", lambda data: data + b"x1\nx2\n"),
        "a line twice": vocabulary("twice", lambda data: b"a\n" + data),
        "not UTF-8": vocabulary("latin", lambda data: data + b"\xe9\n"),
        "empty vocabulary": vocabulary("empty", lambda _: b""),
        "no weights in it": saved("other", lambda _: {"update": 7}),
        "code in it": saved("code", lambda _: {"ema_model_state_dict": Touch()}),
        "words in it": saved("words", lambda _: {"ema_model_state_dict": {"x": "y"}}),
        "more than it has": saved("huge", huge),
        "bytes": config("bytes", tokenizer="byte"),
        "bigvgan": config("bigvgan", mel_spec={"mel_spec_type": "bigvgan"}),
        "bigvgan by its folder": told_by_its_folder("F5TTS_Base_bigvgan"),
    }


def main() -> None:
    made = good()
    samples = {case: audio(weights, **how) for case, (weights, how) in made.items()}
    answer = {
        "weights": {case: str(weights) for case, (weights, _) in made.items()},
        "audio": {case: named(found) for case, found in samples.items()},
        "broken": {case: str(weights) for case, weights in bad().items()},
        "job": {**JOB, "ref_audio": base64.b64encode(RECORDING.read_bytes()).decode()},
        "answers": {str(made[case][0].parent): wav(samples[case]) for case in ("extended", "extended again")},
    }
    print(json.dumps(answer), file=sys.__stdout__)


if __name__ == "__main__":
    sys.stdout = sys.stderr  # F5-TTS prints
    main()
