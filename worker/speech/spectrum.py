"""The figures of F5-TTS's mel spectrogram, which are those of charactr/vocos-mel-24khz.

They stand in f5_tts.infer.utils_infer, which the worker does not import; a test compares them.
"""

from __future__ import annotations

RATE = 24_000
"""Samples in a second of the audio that F5-TTS takes and makes."""

HOP = 256
"""Samples from one frame of the spectrogram to the next."""

WINDOW = 1024
"""Samples that one frame is made of; the length of its Fourier transform, too."""

CHANNELS = 100
"""Mel bands of a frame."""
