"""One part of a text in one voice, as f5_tts.infer.utils_infer.infer_batch_process makes it.

That module is not imported: it imports transformers, librosa and matplotlib, looks for a device, sets
PYTORCH_ENABLE_MPS_FALLBACK, appends to sys.path, and makes the parts of a long text in several threads, which draw from
one random generator in any order. The steps and figures here are its own; tests compare both, to the bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from worker import imports
from worker.speech.reference import Voice
from worker.speech.sound import Samples
from worker.speech.speaker import Manner
from worker.speech.spectrum import HOP, RATE

with imports.lean():
    import torchaudio
    from f5_tts.model.utils import convert_char_to_pinyin

_LOUDNESS = 0.1  # root mean square to which a quieter reference is raised, and from which the speech is lowered again
_SWAY = -1.0  # sway sampling coefficient: steps are closer to each other at the beginning
_TINY, _SPEED_OF_TINY = 10, 0.3  # bytes; text of fewer is spoken slowly, whatever was asked for


class Prompt(NamedTuple):
    """A voice as F5-TTS takes it.

    Attributes:
        audio: shape (1, samples), at RATE, on the device.
        loudness: root mean square of the recording; a tensor without dimensions.
        text: what is said, with the end of a sentence and a space.
    """

    audio: Any
    loudness: Any
    text: str


def prompt(voice: Voice, device: str) -> Prompt:
    """Return a voice in one channel, as loud and at the rate that F5-TTS takes."""
    audio = torch.from_numpy(voice.samples)
    if len(audio) > 1:
        audio = torch.mean(audio, dim=0, keepdim=True)
    loudness = torch.sqrt(torch.mean(torch.square(audio)))
    if loudness < _LOUDNESS:
        audio = audio * _LOUDNESS / loudness
    if voice.rate != RATE:
        audio = torchaudio.transforms.Resample(voice.rate, RATE)(audio)
    text = voice.text + " " if len(voice.text[-1].encode()) == 1 else voice.text
    return Prompt(audio.to(device), loudness, text)


def speak(model: Any, vocoder: Any, voice: Prompt, text: str, manner: Manner) -> Samples:
    """Return the wave of a text that F5-TTS can speak at once.

    Args:
        model: F5-TTS's CFM.
        vocoder: a Vocos.
        voice: whose voice.
        text: what to say.
        manner: how to say it; its seed was set before.
    """
    before = voice.audio.shape[-1] // HOP
    size = len(text.encode())
    speed = _SPEED_OF_TINY if size < _TINY else manner.speed
    with torch.inference_mode():
        spectrum, _ = model.sample(
            cond=voice.audio,
            text=convert_char_to_pinyin([voice.text + text]),
            duration=before + int(before / len(voice.text.encode()) * size / speed),
            steps=manner.nfe_step,
            cfg_strength=manner.cfg_strength,
            sway_sampling_coef=_SWAY,
        )
        wave = vocoder.decode(spectrum.to(torch.float32)[:, before:, :].permute(0, 2, 1))
        if voice.loudness < _LOUDNESS:
            wave = wave * voice.loudness / _LOUDNESS
        samples: Samples = wave.squeeze().cpu().numpy()
    return np.atleast_1d(samples)
