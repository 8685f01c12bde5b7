"""What of loading can be done while the model is on its way, in a thread of the worker.

    at once                             make the device ready
    when both configs are here          make the networks
    when the vocoder's weights are      load them
    when F5-TTS's weights are           load them; as the largest file, they come last
    when nothing of these can be done   on a GPU: speak once with made-up weights, which makes the kernels warm;
                                        on a CPU: take the memory for F5-TTS's weights

An error here decides nothing: the work ends, and `finish` does it again in the main thread, where it is raised after
the restore, as every error of loading. The thread is a daemon, and the main thread only waits for it: so SIGTERM ends
the process at once, whatever the thread is doing.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath

from cas.errors import CasError
from worker.boot.cold_start import Phases
from worker.boot.messages import Arrived, Expected, Role
from worker.errors import describe_error
from worker.log import logger
from worker.speech import networks
from worker.speech.f5 import Speaker
from worker.speech.loading import OF_NETWORKS, WEIGHTS, Loading, Weights
from worker.speech.model_files import ArrivedFile, ModelFiles

Arrivals = queue.SimpleQueue[Expected | Arrived | None]
"""What the restoring process says of files; None when it has nothing more to say."""

_PREFIX = "early."  # of the names of these phases, which overlap the phase `wait`
_WITHIN = 600.0  # seconds for the step that is under way when the restore has ended


class EarlyWork:
    """The loading of a model that may still be on its way.

    Attributes:
        device: what the model runs on, `cuda` or `cpu`; empty until that is known.
    """

    def __init__(self, arrivals: Arrivals, phases: Phases, choose: Callable[[], str]) -> None:
        """Start the thread.

        Args:
            arrivals: says which files are expected, and which have come.
            phases: gets what is done here, with its seconds.
            choose: returns the device, or raises why there is none.
        """
        self._arrivals, self._phases, self._choose = arrivals, phases, choose
        self.device = ""
        self._loading: Loading | None = None
        self._expected: dict[Role, tuple[str, str]] = {}  # as of Expected
        self._arrived: dict[tuple[str, str], ArrivedFile] = {}  # by the repo's id, and the path in that repo
        self._before: dict[tuple[str, str], ArrivedFile] = {}  # of a second version, which comes first and is kept
        self._filled: set[str] = set()
        self._has_spoken = False
        self._thread = threading.Thread(target=self._run, name="early work", daemon=True)
        self._thread.start()

    @property
    def is_warm(self) -> bool:
        """Return whether the kernels that a job needs are loaded; a processor has none to load."""
        return self._has_spoken or self.device == "cpu"

    def finish(self, files: ModelFiles) -> Speaker:
        """Wait for the thread, do what is left, and return the speaker; to be called when the restore has ended.

        Args:
            files: those that the restore says are to be loaded.

        Raises:
            CasError: the device or a file cannot be used.
        """
        self._thread.join(_WITHIN)
        if self._thread.is_alive():
            raise CasError(f"loading has not gone on for {_WITHIN:g} s: is the GPU in order?")
        self.device = self.device or self._choose()
        return (self._loading or Loading(self.device)).finish(files)

    def _run(self) -> None:
        try:
            with self._phases.measure(f"{_PREFIX}device"):
                self.device = self._choose()
                networks.make_ready(self.device)
            self._loading = Loading(self.device)
            while step := self._next_step():
                name, work = step
                with self._phases.measure(f"{_PREFIX}{name}"):
                    work()
        except Exception as error:
            self._loading = None
            logger.warning(f"nothing is loaded before the whole model is here: {describe_error(error)}")

    def _next_step(self) -> tuple[str, Callable[[], object]] | None:
        """Return what to do next, with its name; None when the restore has ended. Wait while nothing can be done."""
        while True:
            step = self._possible_step()
            try:
                message = self._arrivals.get(block=step is None)
            except queue.Empty:
                return step
            if message is None:
                return None
            self._note(message)

    def _note(self, message: Expected | Arrived) -> None:
        if isinstance(message, Arrived):
            for name in message.names:
                file = ArrivedFile(PurePosixPath(name).name, Path(message.path), message.size, message.mtime)
                self._arrived[message.repo_id, name] = file
            return
        if self._expected:  # another source, version or directory, or another try: what was made is dropped
            self._arrived, self._filled, self._loading = dict(self._before), set(), Loading(self.device)
        else:
            self._before = dict(self._arrived)
        self._expected = message.files

    def _here(self, role: Role) -> ArrivedFile | None:
        file = self._expected.get(role)
        return self._arrived.get(file) if file else None

    def _possible_step(self) -> tuple[str, Callable[[], object]] | None:
        loading = self._loading
        if loading is None or "weights" not in self._expected:
            return None
        if loading.speaker is None:
            needed = [role for role in OF_NETWORKS if role in self._expected]
            files = {role: file for role in needed if (file := self._here(role))}
            if len(files) < len(needed):
                return None
            return "networks", partial(loading.make_networks, files, PurePosixPath(self._expected["weights"][1]))
        for role in WEIGHTS:
            if role not in self._filled and (file := self._here(role)):
                return role, partial(self._fill, loading, role, file)
        # The worker warms up with its own weights once it has them.
        return None if "weights" in self._filled else self._meanwhile(loading, loading.speaker)

    def _meanwhile(self, loading: Loading, speaker: Speaker) -> tuple[str, Callable[[], object]] | None:
        """Return what can be done while there is no file to load; the inference would take a CPU from the restore."""
        if not self.is_warm:
            return "warm-up", partial(self._warm_up, speaker)
        return ("memory", loading.take_memory) if loading.wants_memory else None

    def _fill(self, loading: Loading, role: Weights, file: ArrivedFile) -> None:
        self._filled.add(role)
        loading.fill(role, file)

    def _warm_up(self, speaker: Speaker) -> None:
        speaker.warm_up()
        self._has_spoken = True
