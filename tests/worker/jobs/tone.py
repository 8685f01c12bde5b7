"""A small speaker with a real signal: a tone a word, whose height the reference decides."""

from __future__ import annotations

import io
import re
import threading
import wave
from collections.abc import Iterator, Sequence

import numpy as np

from cas.errors import InputError
from worker.errors import WorkerBroken
from worker.speech.speaker import Manner, OnStep, Passage, Samples

RATE = 8000
WAV = b"RIFF\x24\0\0\0WAVEfmt "


class Tone:
    """Speaks a tenth of a second a word, sentence by sentence, and keeps count of who else does.

    A word may ask for trouble: `crash`, `undecodable`, `broken`, or `wait`, which lasts until `go` is set or the job is
    stopped.
    """

    rate = RATE

    def __init__(self) -> None:
        self.spoken: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self.waiting = threading.Event()
        self.stopped = threading.Event()
        self.go = threading.Event()
        self._counting = threading.Lock()

    def recite(
        self,
        passages: Sequence[Passage],
        *,
        by_sentence: bool,
        manner: Manner,
        step: OnStep | None,
        stop: threading.Event | None,
    ) -> Iterator[Samples]:
        with self._counting:
            self.at_once += 1
            self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            self.spoken += [passage.text for passage in passages]
            sentences = [(each, passage) for passage in passages for each in re.findall(r"[^.]+\.?", passage.text)]
            for done, (sentence, passage) in enumerate(sentences):
                if step:
                    step(done, len(sentences))
                words = sentence.split()
                self._act("".join(words).strip("."), stop)
                assert isinstance(passage.ref_audio, bytes)
                times = np.arange(int(len(words) * RATE / 10 / (passage.speed or manner.speed))) / RATE
                pitch = 200 + manner.seed % 100 + len(passage.ref_audio)
                yield np.sin(2 * np.pi * pitch * times).astype(np.float32)
        finally:
            with self._counting:
                self.at_once -= 1

    def _act(self, word: str, stop: threading.Event | None) -> None:
        if word == "crash":
            raise RuntimeError("a secret of the model\nin two lines")
        if word == "undecodable":
            raise InputError("the audio cannot be decoded: send a wav, flac, mp3 or ogg file")
        if word == "broken":
            raise WorkerBroken("the GPU failed (why): send the job again")
        if word == "wait":
            self.waiting.set()
            while not self.go.wait(0.01):
                if stop and stop.is_set():
                    self.stopped.set()
                    raise InterruptedError("stopped")


def encode(samples: Samples, rate: int, kind: str) -> bytes:
    """As wav, whatever is asked for: other encodings need a library that is not here."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes((samples * 32767).astype("<i2").tobytes())
    return file.getvalue()


def shorten(samples: Samples, rate: int) -> Samples:
    """The first half, which is as good as any cut for who looks whether one was made."""
    return samples[: len(samples) // 2]


def frames_of(data: bytes) -> int:
    """How many samples a wav file has."""
    with wave.open(io.BytesIO(data)) as reader:
        return reader.getnframes()
