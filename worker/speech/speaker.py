"""The interfaces by which the handler uses a loaded model, and what encodes its audio; nothing here imports torch."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

Samples: TypeAlias = "NDArray[numpy.float32]"

OnStep: TypeAlias = Callable[[int, int], None]
"""Called before each part of a text: how many parts are done, and of how many. What it raises ends the work."""

MAX_SEED = 2**32 - 1
"""Largest seed: small enough for every JSON reader to be exact."""


def a_seed() -> int:
    """Return a random seed, 0 to MAX_SEED."""
    return secrets.randbelow(MAX_SEED + 1)


class Manner(msgspec.Struct, frozen=True):
    """How to speak; the defaults are those of F5-TTS.

    Attributes:
        seed: 0 to MAX_SEED; the same seed gives the same audio.
        speed: 1.0 is as fast as the reference.
        nfe_step: steps of the solver; more of them sound better and take longer.
        cfg_strength: how closely to follow text and voice.
    """

    seed: int = msgspec.field(default_factory=a_seed)
    speed: float = 1.0
    nfe_step: int = 32
    cfg_strength: float = 2.0


class Spoken(Protocol):
    """Speech.

    Attributes:
        samples: one channel, -1 to 1.
        rate: samples in a second.
    """

    @property
    def samples(self) -> Samples: ...
    @property
    def rate(self) -> int: ...


class Speaker(Protocol):
    """A loaded model. The handler calls it from one thread, for one job at a time.

    Both methods raise InputError for a reference that cannot be used. They look at `stop` often, and raise any error
    soon after it was set.
    """

    @property
    def rate(self) -> int:
        """Return how many samples in a second `stream` yields."""

    def speak(
        self,
        text: str,
        ref_audio: bytes,
        ref_text: str,
        *,
        manner: Manner,
        step: OnStep | None,
        stop: threading.Event | None,
    ) -> Spoken:
        """Return the audio of all of `text`."""

    def stream(
        self,
        text: str,
        ref_audio: bytes,
        ref_text: str,
        *,
        manner: Manner,
        step: OnStep | None,
        stop: threading.Event | None,
    ) -> Iterator[Samples]:
        """Yield the audio sentence by sentence, each as soon as it is spoken."""


class Encode(Protocol):
    """Makes the bytes of an audio file of samples; `kind` is `wav`, `flac` or `mp3`."""

    def __call__(self, samples: Samples, rate: int, kind: str) -> bytes: ...


class Shorten(Protocol):
    """Cuts long silences out of samples."""

    def __call__(self, samples: Samples, rate: int) -> Samples: ...
