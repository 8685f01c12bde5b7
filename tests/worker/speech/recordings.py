"""Recordings to take a voice from: made-up speech, with pauses, of any length."""

from __future__ import annotations

import io
import wave

import numpy as np
from numpy.typing import NDArray

RATE = 24_000


def speech(seconds: float, rate: int = RATE, *, pause_every: float = 2.5, pause: float = 0.4) -> NDArray[np.int16]:
    """A tone that changes its pitch and loudness, interrupted by silence."""
    time = np.arange(int(seconds * rate)) / rate
    voice = np.sin(2 * np.pi * (140 + 40 * np.sin(3 * time)) * time) * (0.4 + 0.3 * np.sin(23 * time))
    voice[(time % pause_every) > pause_every - pause] = 0
    return (voice * 12_000).astype(np.int16)


def wav(samples: NDArray[np.int16], rate: int = RATE, channels: int = 1) -> bytes:
    """A wav file of 16-bit samples; those of several channels alternate."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((channels, 2, rate, 0, "NONE", ""))
        out.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()
