"""The interfaces by which the handler uses a loaded model, and what encodes its audio; nothing here imports torch."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

import msgspec

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    from worker.speech.reference import Voice

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


class Passage(NamedTuple):
    """A text that one voice speaks.

    Attributes:
        text: what to say.
        ref_audio: a recording of the voice (wav, flac, mp3, ogg), or the result of `reference.prepare`.
        ref_text: what is said in the recording.
        speed: how fast to say it; None is as fast as the rest.
        voice: what to call the voice in an error; empty where there is but one.
    """

    text: str
    ref_audio: bytes | Voice
    ref_text: str
    speed: float | None = None
    voice: str = ""


class Speaker(Protocol):
    """A loaded model. The handler calls it from one thread, for one job at a time."""

    @property
    def rate(self) -> int:
        """Return how many samples in a second `recite` yields."""

    def recite(
        self,
        passages: Sequence[Passage],
        *,
        by_sentence: bool,
        manner: Manner,
        step: OnStep | None,
        stop: threading.Event | None,
    ) -> Iterator[Samples]:
        """Yield the audio of passages, each in its voice, in parts as soon as they are spoken.

        It raises InputError for a reference that cannot be used. It looks at `stop` often, and raises any error soon
        after that was set.

        Args:
            passages: what to say, in whose voice.
            by_sentence: yield each sentence by itself.
            manner: how to say it; a passage may have its own speed.
            step: called with the progress.
            stop: set from another thread when nobody waits for the audio any more.
        """


class Encode(Protocol):
    """Makes the bytes of an audio file of samples; `kind` is one of the formats of a job."""

    def __call__(self, samples: Samples, rate: int, kind: str) -> bytes: ...


class Shorten(Protocol):
    """Cuts long silences out of samples."""

    def __call__(self, samples: Samples, rate: int) -> Samples: ...
