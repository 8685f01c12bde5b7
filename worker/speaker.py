"""What the handler asks of a loaded model, and of what encodes its audio."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

Samples: TypeAlias = "NDArray[numpy.float32]"

Step: TypeAlias = Callable[[int, int], None]
"""Told before each part of a text how many are done, of how many; what it raises ends the work."""


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
        speed: float,
        nfe_step: int,
        cfg_strength: float,
        seed: int,
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
        speed: float,
        nfe_step: int,
        cfg_strength: float,
        seed: int,
        step: Step | None,
        stop: threading.Event | None,
    ) -> Iterator[Samples]:
        """The same part by part, each as soon as it is spoken."""


class Encode(Protocol):
    """Samples as the bytes of a file. kind: `wav`, `flac` or `mp3`."""

    def __call__(self, samples: Samples, rate: int, kind: str) -> bytes: ...


class Shorten(Protocol):
    """Samples without long silences."""

    def __call__(self, samples: Samples, rate: int) -> Samples: ...
