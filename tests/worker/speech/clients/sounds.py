"""Run in the worker's environment: sound in and out of bytes, and what of a recording is taken."""

from __future__ import annotations

import io
import json
import struct
import sys
from typing import Any

import numpy as np
import soundfile

from cas.errors import InputError
from tests.worker.speech.clients.cases import digest, with_silences
from tests.worker.speech.recordings import RATE, speech, wav
from worker.speech import reference, sound


def made(samples: Any, rate: int, container: str, coding: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=coding)
    return file.getvalue()


def claims(frames: int) -> bytes:
    """A wav file whose header claims more than there is."""
    data = bytearray(wav(speech(1)))
    struct.pack_into("<I", data, 40, frames * 2)
    return bytes(data)


def tried(data: bytes, **limits: Any) -> list[Any]:
    try:
        got = sound.decode(data, **limits)
    except InputError as error:
        return ["refused", str(error)]
    return [got.samples.shape, got.rate]


def round_trips() -> dict[str, Any]:
    """Of a second of speech through each format: first bytes, frames, rate, and the largest difference."""
    samples = speech(1).astype(np.float32) / 32768
    found = {}
    for kind in sound.FORMATS:
        data = sound.encode(samples, RATE, kind)
        back = sound.decode(wav(np.frombuffer(data, "<i2")) if kind == "pcm" else data)  # pcm has no header to read
        count = min(len(samples), len(back.samples))
        louder = float(np.abs(back.samples[:count, 0] / 32768 - samples[:count]).max())
        again = sound.encode(samples, RATE, kind) == data
        found[kind] = [data[:4].hex(), len(back.samples), back.rate, louder, again, len(data)]
    return found


def decoded() -> dict[str, list[Any]]:
    """What becomes of files good and bad."""
    voice = speech(1).astype(np.float32) / 32768
    noisy = voice.copy()
    noisy[100] = np.nan
    cases = {
        "24 bit": made(voice, RATE, "WAV", "PCM_24"),
        "float": made(voice, RATE, "WAV", "FLOAT"),
        "vorbis": made(voice, RATE, "OGG", "VORBIS"),
        "opus": made(voice, RATE, "OGG", "OPUS"),
        "header claims more": claims(1 << 30),
        "empty": b"",
        "text": b"this is not audio at all, it is a text" * 9,
        "half of a header": wav(speech(1))[:20],
        "no frames": wav(speech(0)),
        "aiff": made(voice, RATE, "AIFF", "PCM_16"),
        "five channels": wav(speech(1), channels=5),
        "low rate": wav(speech(1), rate=4_000),
        "high rate": wav(speech(1), rate=400_000),
        "not numbers": made(noisy, RATE, "WAV", "FLOAT"),
        "too long": made(np.zeros(RATE * 121), RATE, "FLAC", "PCM_16"),
        "just not too long": made(np.zeros(RATE * 120), RATE, "FLAC", "PCM_16"),
    }
    found = {name: tried(data) for name, data in cases.items()}
    found["too large"] = tried(wav(speech(1)), max_bytes=40_000)
    exact = sound.decode(wav(speech(1))).samples[:, 0]
    found["16 bit"] = [bool(np.array_equal(exact, speech(1)))]
    return found


def without_silence() -> dict[str, Any]:
    samples = with_silences()
    ours = sound.without_silence(samples, RATE)
    return {
        "digest": digest(ours),
        "lengths": [len(samples), len(ours)],
        "all silent": len(sound.without_silence(np.zeros(RATE, np.float32), RATE)),
    }


def prepared() -> dict[str, Any]:
    """What of a recording is taken: its seconds, channels and text, or why nothing is."""
    quiet = np.zeros(RATE, np.int16)
    cases = {
        "short": (wav(speech(3)), "Words"),
        "long": (wav(speech(40)), "Words."),
        "ends": (wav(np.concatenate([quiet, speech(2), quiet])), "Words. "),
        "stereo": (wav(speech(2).repeat(2), channels=2), "词。"),
        "silent": (wav(quiet), "Words"),
        "click": (wav(speech(0.05)), "Words"),
        "no text": (wav(speech(3)), "\n"),
    }
    found: dict[str, Any] = {}
    for name, (data, text) in cases.items():
        try:
            voice = reference.prepare(data, text)
        except InputError as error:
            found[name] = str(error)
        else:
            found[name] = [round(voice.seconds, 2), len(voice.samples), voice.text]
    return found


def serials() -> list[str]:
    """The serial numbers in the pages of each of two Ogg files, which hold different audio."""
    voice = speech(3).astype(np.float32) / 32768
    found = []
    for samples in (voice, voice / 2):
        data = sound.encode(samples, RATE, "opus")
        numbers = {data[at + 14 : at + 18].hex() for at in range(len(data)) if data[at : at + 5] == b"OggS\0"}
        found.append(" ".join(numbers))
    return found


def unknown_format() -> str:
    try:
        sound.encode(np.zeros(9, np.float32), RATE, "aac")
    except InputError as error:
        return str(error)
    return "encoded"


def main() -> None:
    too_loud = np.array([2.0, -3.0, 0.5], np.float32)
    loud = sound.decode(sound.encode(too_loud, RATE, "wav")).samples[:, 0].tolist()
    answer = {
        "round trips": round_trips(),
        "decoded": decoded(),
        "without silence": without_silence(),
        "prepared": prepared(),
        "loud": loud,
        "loud pcm": sound.encode(too_loud, RATE, "pcm").hex(),
        "serials": serials(),
        "unknown format": unknown_format(),
    }
    print(json.dumps(answer), file=sys.__stdout__)


if __name__ == "__main__":
    sys.stdout = sys.stderr
    main()
