"""What the handler asks of a loaded model, and of what encodes its audio."""

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

Step: TypeAlias = Callable[[int, int], None]
"""Told before each part of a text how many are done, of how many; what it raises ends the work."""

MAX_SEED = 2**32 - 1
"""Small enough for every JSON reader to be exact."""


def a_seed() -> int:
    """A random one."""
    return secrets.randbelow(MAX_SEED + 1)


class Manner(msgspec.Struct, frozen=True):
    """How to speak; defaults as F5-TTS has them.

    seed: 0 to MAX_SEED; the same one gives the same audio. speed: 1.0 as fast as the reference. nfe_step: steps of the
    solver; more sound better and take longer. cfg_strength: how closely to follow text and voice.
    """

    seed: int = msgspec.field(default_factory=a_seed)
    speed: float = 1.0
    nfe_step: int = 32
    cfg_strength: float = 2.0


class Spoken(Protocol):
    """One channel of samples between -1 and 1, and how many of them are a second."""

    @property
    def samples(self) -> Samples: ...
    @property
    def rate(self) -> int: ...


class Speaker(Protocol):
    """A loaded model. The handler calls it from one thread, for one job at a time.

    Raises InputError for a reference that cannot be used, and anything when `stop` was set, which it looks at often.
    """

    @property
    def rate(self) -> int:
        """Samples in a second of what `stream` yields."""

    def speak(
        self,
        text: str,
        ref_audio: bytes,
        ref_text: str,
        *,
        manner: Manner,
        step: Step | None,
        stop: threading.Event | None,
    ) -> Spoken:
        """All of `text` in one."""

    def stream(
        self,
        text: str,
        ref_audio: bytes,
        ref_text: str,
        *,
        manner: Manner,
        step: Step | None,
        stop: threading.Event | None,
    ) -> Iterator[Samples]:
        """The same sentence by sentence, each as soon as it is spoken."""


class Encode(Protocol):
    """Samples as the bytes of a file. kind: `wav`, `flac` or `mp3`."""

    def __call__(self, samples: Samples, rate: int, kind: str) -> bytes: ...


class Shorten(Protocol):
    """Samples without long silences."""

    def __call__(self, samples: Samples, rate: int) -> Samples: ...
