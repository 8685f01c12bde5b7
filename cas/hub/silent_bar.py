"""No progress bars of huggingface_hub: one that draws nothing and counts, as whoever listens to events shows them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any


def counter(moved: Callable[[int], None]) -> Any:
    """Return a class for huggingface_hub's `tqdm_class`.

    Args:
        moved: called with a number of bytes of files when these have come, from any thread.
    """
    from tqdm.auto import tqdm

    class Counter(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, unit: str = "", desc: str = "", name: str = "", **options: Any) -> None:
            # A second bar of 2.x counts what came over the network, before it is put together to files.
            self._counts = unit == "B" and desc != "Downloading bytes"
            super().__init__(*args, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> None:
            if self._counts and n:
                moved(int(n))

    return Counter


@contextlib.contextmanager
def without_bars() -> Iterator[None]:
    """Silence the progress bars of huggingface_hub, as whoever listens shows progress; bars that are off stay off."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
