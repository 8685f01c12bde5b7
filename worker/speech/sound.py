"""Sound as bytes and as samples: input is limited in size and length, output is one of FORMATS."""

from __future__ import annotations

import io
import warnings
from typing import Any, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from cas.errors import InputError
from worker.speech import ogg

with warnings.catch_warnings():
    # pydub looks for FFmpeg, by which it reads and writes files. Here it only cuts.
    warnings.filterwarnings("ignore", "Couldn.t find ffmpeg", RuntimeWarning)
    from pydub import AudioSegment as AudioSegment  # noqa: PLC0414 (mypy: for others, too)
    from pydub import silence as silence  # noqa: PLC0414

FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "opus": ("OGG", "OPUS"),
    "pcm": ("RAW", "PCM_16"),
}
"""Formats that `encode` writes, with libsndfile's names of the container and of the coding."""

MAX_BYTES = 16 * 1024 * 1024
"""Largest reference recording, in bytes."""

MAX_SECONDS = 120.0
"""Longest reference recording; F5-TTS uses at most 12 s of it."""

_READABLE = frozenset({"WAV", "WAVEX", "RF64", "FLAC", "MP3", "OGG"})
_MAX_CHANNELS = 2
_RATES = range(8_000, 192_001)
_BLOCK = 1 << 16  # frames
_FULL_SCALE = 32768

Samples = NDArray[np.float32]


class Sound(NamedTuple):
    """Decoded audio.

    Attributes:
        samples: 16 bit, shape (frames, channels).
        rate: frames in a second.
    """

    samples: NDArray[np.int16]
    rate: int

    @property
    def seconds(self) -> float:
        """Return the length in seconds."""
        return len(self.samples) / self.rate


def encode(samples: Samples, rate: int, kind: str) -> bytes:
    """Return the bytes of an audio file.

    Args:
        samples: mono, -1 to 1; values beyond are clipped.
        rate: samples in a second.
        kind: one of FORMATS.

    Raises:
        InputError: `kind` is not one of FORMATS.
    """
    if kind not in FORMATS:
        raise InputError(f"format {kind!r:.40} is not known: choose one of {', '.join(FORMATS)}")
    container, coding = FORMATS[kind]
    file = io.BytesIO()
    endian = "LITTLE" if container == "RAW" else None  # in all others the container decides
    soundfile.write(file, np.asarray(samples, np.float32), rate, format=container, subtype=coding, endian=endian)
    return ogg.steady(file.getvalue()) if container == "OGG" else file.getvalue()


def decode(data: bytes, *, max_bytes: int = MAX_BYTES, max_seconds: float = MAX_SECONDS) -> Sound:
    """Decode wav, flac, mp3 or ogg; memory is bounded whatever a header claims.

    Args:
        data: bytes of the file.
        max_bytes: largest file that is decoded.
        max_seconds: longest audio that is decoded.

    Raises:
        InputError: the audio is too long, too large, empty, or cannot be decoded; the message says which.
    """
    if len(data) > max_bytes:
        raise InputError(f"the audio has {len(data)} bytes: at most {max_bytes} are taken, send a shorter recording")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            return _read(file, max_seconds)
    except InputError:
        raise
    except Exception as error:  # besides its own errors soundfile raises TypeError, ValueError, RuntimeError
        raise InputError("the audio cannot be decoded: send a wav, flac, mp3 or ogg file") from error


def without_silence(samples: Samples, rate: int) -> Samples:
    """Cut silences of a second or more down to half a second on each side, as F5-TTS's `remove_silence` does.

    The result has 16 bits of precision, and is empty when all was silent.
    """
    audio = segment(decode(encode(samples, rate, "wav"), max_bytes=1 << 31, max_seconds=float("inf")))
    pieces = silence.split_on_silence(audio, min_silence_len=1000, silence_thresh=-50, keep_silence=500, seek_step=10)
    kept = AudioSegment.empty()
    for piece in pieces:
        kept += piece
    return floats(kept)[0] if pieces else np.zeros(0, np.float32)


def segment(sound: Sound) -> Any:
    """Return the sound as pydub's AudioSegment."""
    frames, channels = sound.samples.shape
    assert frames
    return AudioSegment(sound.samples.tobytes(), frame_rate=sound.rate, sample_width=2, channels=channels)


def floats(audio: Any) -> Samples:
    """Return the samples of a 16-bit AudioSegment, -1 to 1, shape (channels, frames)."""
    whole = np.frombuffer(audio.raw_data, "<i2").reshape(-1, audio.channels)
    return np.ascontiguousarray(whole.T.astype(np.float32) / _FULL_SCALE)


def _read(file: Any, max_seconds: float) -> Sound:
    if file.format not in _READABLE:
        raise InputError(f"the audio is a {file.format} file: send wav, flac, mp3 or ogg")
    if file.channels > _MAX_CHANNELS:
        raise InputError(f"the audio has {file.channels} channels: send mono or stereo")
    if file.samplerate not in _RATES:
        raise InputError(f"the audio has {file.samplerate} samples a second: send {_RATES[0]} to {_RATES[-1]}")
    most = max_seconds * file.samplerate
    blocks: list[NDArray[np.int16]] = []
    frames = 0
    while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
        frames += len(block)
        if frames > most:
            raise InputError(f"the audio is longer than {max_seconds:g} s: send a shorter recording")
        if not np.isfinite(block).all():
            raise InputError("the audio has samples that are no numbers: send another recording")
        blocks.append(np.clip(np.rint(block * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16))
    if not frames:
        raise InputError("the audio is empty: send a recording of a few seconds")
    return Sound(np.concatenate(blocks), file.samplerate)
