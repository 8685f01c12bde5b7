"""Run in plain F5-TTS's own environment: what F5-TTS itself makes of everything that ours is compared with.

Arguments: the device, a folder of recordings, and a folder to write to; HF_HUB_CACHE has the published model. Nothing
of the worker is imported; what little of F5-TTS is exchanged is in `authors`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from f5_tts.infer import utils_infer
from f5_tts.model.utils import seed_everything
from huggingface_hub import hf_hub_download

from tests.worker.speech.clients import authors
from tests.worker.speech.clients.cases import (
    REFERENCE_TEXT,
    SENTENCES,
    SPLIT,
    STORY,
    digest,
    jobs,
    named,
    tensors,
    with_silences,
)

DEVICE = sys.argv[1]
RECORDINGS, FOLDER = (Path(word) for word in sys.argv[2:])

_REPO = "SWivid/F5-TTS"


def plain() -> Any:
    return authors.f5(hf_hub_download(_REPO, "F5TTS_v1_Base/config.yaml"), device=DEVICE)


def audio(speaker: Any, recording: Path, text: str, **settings: Any) -> list[object]:
    settings = {"nfe_step": 4, **settings}
    wave, rate, _ = speaker.infer(str(recording), REFERENCE_TEXT, text, seed=7, progress=None, **settings)
    assert rate == 24000
    return named(wave)


def several_voices(speaker: Any) -> list[object]:
    """A text in several voices, by the loop of F5-TTS's infer_cli."""
    waves = []
    seed_everything(7)
    for (words, speed), recording in zip(STORY, sorted(RECORDINGS.glob("*.wav")), strict=False):
        path, ref_text = utils_infer.preprocess_ref_audio_text(str(recording), REFERENCE_TEXT)
        settings = {} if speed is None else {"speed": speed}
        made = utils_infer.infer_process(
            path, ref_text, words, speaker.ema_model, speaker.vocoder, nfe_step=4, device=DEVICE, **settings
        )
        waves.append(made[0])
    return named(np.concatenate(waves))


def in_parts(speaker: Any) -> str:
    """The sentences, one after the other, faded into one by F5-TTS itself."""
    recording = RECORDINGS / "a short one.wav"
    path, text = utils_infer.preprocess_ref_audio_text(str(recording), "Some words are said here.")
    seed_everything(5)
    made = utils_infer.infer_batch_process(
        authors.load_wav(path),
        text,
        SENTENCES,
        speaker.ema_model,
        speaker.vocoder,
        progress=None,
        device=DEVICE,
        nfe_step=2,
    )
    return digest(next(made)[0])


def all_tensors(speaker: Any) -> dict[str, Any]:
    """The networks as F5-TTS loads them, and the model as it loads it in float16, as on CUDA."""
    weights = hf_hub_download(_REPO, "F5TTS_v1_Base/model_1250000.safetensors")
    found = {"model": tensors(speaker.ema_model), "vocoder": tensors(speaker.vocoder)}
    if DEVICE == "cpu":
        cast = plain().ema_model
        cast.load_state_dict({name: tensor.to(torch.float16) for name, tensor in cast.state_dict().items()})
        found["plain cast"] = tensors(cast)
        found["in float16"] = tensors(utils_infer.load_checkpoint(cast, weights, DEVICE, dtype=torch.float16))
    return found


def without_silence() -> str:
    path = str(FOLDER / "generated.wav")
    soundfile.write(path, with_silences(), 24000)
    utils_infer.remove_silence_for_generated_wav(path)
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == 24000
    return digest(samples)


def figures() -> list[object]:
    """What the worker has copies of."""
    names = "target_sample_rate hop_length win_length n_fft n_mel_channels mel_spec_type ode_method cross_fade_duration"
    return [getattr(utils_infer, name) for name in names.split()]


def main() -> None:
    speaker = plain()
    answer: dict[str, Any] = {"tensors": all_tensors(speaker)}
    if DEVICE == "cpu":
        answer["audio"] = {name: audio(speaker, path, **case) for name, (path, case) in jobs(RECORDINGS).items()}
        answer["several voices"] = several_voices(speaker)
        answer["in parts"] = in_parts(speaker)
        answer["without silence"] = without_silence()
        answer["split"] = [[utils_infer.chunk_text(text, most) for most in (9, 60, 135)] for text in SPLIT]
        answer["figures"] = figures()
    print(json.dumps(answer), file=sys.__stdout__)


if __name__ == "__main__":
    sys.stdout = sys.stderr  # F5-TTS prints
    main()
