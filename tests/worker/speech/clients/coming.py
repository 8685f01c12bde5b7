"""A model that comes file by file to a worker that loads it meanwhile: for programs of the worker's environment."""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from worker.boot.cold_start import Phases
from worker.boot.messages import Arrived, Expected
from worker.model.early_work import Arrivals, EarlyWork
from worker.speech import file_roles, model_files
from worker.speech.model_files import ModelFile

SPEECH, VOCODER = file_roles.MODEL_REPO, file_roles.VOCODER_REPO
NAMES: dict[Any, tuple[str, str]] = {
    "config": (SPEECH, "F5TTS_v1_Base/config.yaml"),
    "vocabulary": (SPEECH, "F5TTS_v1_Base/vocab.txt"),
    "vocoder_config": (VOCODER, "config.yaml"),
    "vocoder_weights": (VOCODER, "pytorch_model.bin"),
    "weights": (SPEECH, file_roles.WEIGHTS),
}
EVERY = Expected(NAMES)


class OnGpu(EarlyWork):
    @property  # as on a GPU, whose kernels are to be warmed
    def is_warm(self) -> bool:
        return self._has_spoken


class Coming:
    """A model that comes file by file."""

    def __init__(self, choose: Callable[[], str] = lambda: "cpu", kind: type[EarlyWork] = EarlyWork) -> None:
        self.arrivals: Arrivals = queue.SimpleQueue()
        self.phases = Phases()
        self.work = kind(self.arrivals, self.phases, choose)

    def expect(self, expected: Expected = EVERY) -> Coming:
        self.arrivals.put(expected)
        return self

    def arrive(self, hub: Path, *roles: str, later: int = 0) -> Coming:
        """Say that files are here; `later` is added to the time of their last modification, in nanoseconds."""
        files = model_files.find(hub)
        for role in roles or NAMES:
            file: ModelFile = getattr(files, role)
            repo, name = NAMES[role]
            real = Path(os.path.realpath(file.path))
            stats = real.stat()
            self.arrivals.put(Arrived(str(real), repo, (name,), stats.st_size, stats.st_mtime_ns + later))
        return self

    def done(self) -> list[str]:
        return [step.name for step in self.phases.steps()]

    def until(self, phase: str, times: int = 1) -> Coming:
        deadline = time.monotonic() + 60
        while self.done().count(phase) < times and self.work._thread.is_alive():
            assert time.monotonic() < deadline, self.done()
            time.sleep(0.001)
        return self

    def finish(self, hub: Path) -> Any:
        self.arrivals.put(None)
        return self.work.finish(model_files.find(hub, must_be_verified=True))

    def outcome(self, hub: Path) -> list[str]:
        try:
            self.finish(hub)
        except Exception as error:
            return [type(error).__name__, str(error)]
        return ["loaded", ""]
