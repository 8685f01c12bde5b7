"""The boot of a worker: the environment first, then the model, brought here by another process meanwhile.

    boot = Boot.start()     # before anything imports huggingface_hub
    import torch            # and whatever else takes its time
    booted = boot.wait()

Nothing here imports torch, f5_tts or runpod.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from cas.errors import CasError
from worker.boot import cold_start, environment, messages, process
from worker.boot.cold_start import Phases
from worker.boot.directories import Finding, examine
from worker.boot.messages import Failed, Restored
from worker.boot.settings import Settings
from worker.errors import describe_error
from worker.log import logger

WITHIN = 1800.0
"""Seconds that a boot may take before it is given up."""

_THEIRS = "restore."
_LAST = 5.0  # seconds
_STARTS = 2  # a process that was killed left what it had fetched: the next one goes on


class BootFailed(CasError):
    """No model is here. causes: what each source said. exit_code: with which the worker should end."""

    def __init__(self, causes: tuple[str, ...], exit_code: int) -> None:
        super().__init__(f"no model: {'; '.join(causes)}")
        self.causes = causes
        self.exit_code = exit_code or 1


class Boot:
    """One boot under way.

    settings: what was asked for. phases: what was done and how long it took; whoever loads the model adds to it.
    """

    def __init__(self, settings: Settings, measured: Phases, found: list[Finding]) -> None:
        """For `start` alone."""
        self.settings, self.phases = settings, measured
        self._found = found
        self._usable = [finding for finding in found if not finding.problem]
        self._children: list[process.Child] = []
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._outcome: Restored | Failed | None = None

    @classmethod
    def start(cls) -> Boot:
        """Chooses a directory, sets the environment, and starts to bring the model.

        Raises InputError for a variable with a bad value, BootFailed when no directory can be used.
        """
        measured = Phases()
        with measured.measure("settings"):
            settings = Settings.read()
            # Before the checks, and whatever comes of them: nothing may ever download to somewhere else.
            environment.apply(settings.directories[0])
        with measured.measure("directories"):
            boot = cls(settings, measured, examine(settings.directories))
        boot._begin()
        return boot

    def _begin(self) -> None:
        for finding in self._found:
            if finding.problem:
                logger.info(f"directory {finding.path} is left out: {finding.problem}")
            elif finding.note:
                logger.warning(f"directory {finding.path}: {finding.note}")
        if not self._usable:
            problems = tuple(f"{finding.path}: {finding.problem}" for finding in self._found)
            self._end(Failed(exit_code=7, causes=("no directory of CAS_CACHE_DIRS can be used", *problems)))
            raise BootFailed(("no directory of CAS_CACHE_DIRS can be used", *problems), 7)
        environment.apply(self._usable[0].path)
        self._spawn()

    def _spawn(self) -> None:
        words = (str(finding.path) for finding in self._usable)
        started = process.start("worker.model.restore_process", *words, stdout=subprocess.PIPE)
        self._children.append(started)

        def read() -> None:
            assert started.stdout
            line = started.stdout.readline()
            # It is not waited for any longer than it takes to tell: what it still writes is no part of a cold start.
            self._lines.put(line)
            started.stdout.close()
            started.wait()

        threading.Thread(target=read, name="restoring", daemon=True).start()

    def wait(self, within: float = WITHIN) -> Restored:
        """The model, once it is here; the environment then says so.

        within: seconds from now on, after which the process is ended. Raises BootFailed.
        """
        if self._outcome is None:
            deadline = time.monotonic() + within
            with self.phases.measure("wait"):
                self._outcome = self._heard(deadline)
            self.phases.add(self._outcome.steps, _THEIRS)
            if isinstance(self._outcome, Restored):
                environment.apply(Path(self._outcome.directory), offline=self._outcome.complete)
                logger.info(_told(self._outcome))
            else:
                self._end(self._outcome)
        if isinstance(self._outcome, Failed):
            raise BootFailed(self._outcome.causes, self._outcome.exit_code)
        return self._outcome

    def ready(self, device: str = "") -> None:
        """Tells the log, and CAS_PROMETHEUS_FILE, how the boot went; to be called when the model can be used.

        device: what it runs on, in words.
        """
        assert self._outcome, "wait first"
        self._end(self._outcome, device)

    def failed(self, error: Exception) -> None:
        """As `ready`, when the model is here and cannot be used; gives the receipt a moment to be kept."""
        assert isinstance(self._outcome, Restored), "wait first"
        brought = self._outcome
        code = error.exit_code if isinstance(error, CasError) else 1
        where = f"{brought.version or 'the model'} in {brought.directory}"
        cause = f"{where} cannot be used: {describe_error(error)}"
        failed = Failed(exit_code=code, causes=(cause,), warnings=brought.warnings, errors=brought.errors)
        self._end(failed, failure=(type(error).__name__, cause))
        self.settle(_LAST)

    def settle(self, within: float = 10.0) -> None:
        """Waits until what can wait until after a boot is done; a worker that goes on need not. within: seconds."""
        for started in self._children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                started.wait(timeout=within)

    def stop(self) -> None:
        """Ends what still runs; what was fetched is kept for the next boot."""
        for started in self._children:
            if started.poll() is None:
                started.kill()

    def _heard(self, deadline: float) -> Restored | Failed:
        for attempt in range(1, _STARTS + 1):
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                self.stop()
                return Failed(exit_code=6, causes=("the model did not come in time: look at the log for what it did",))
            try:
                return messages.decode(line)
            except msgspec.DecodeError:
                code = self._children[-1].wait(timeout=10)
                text = f"the restoring process ended without a word (exit status {code})"
            if attempt < _STARTS:
                logger.warning(f"{text}: starting it once more, to go on where it was")
                self._spawn()
        return Failed(exit_code=1, causes=(f"{text}, twice: is there enough memory?",))

    def _answer(self, failure: tuple[str, str] | None) -> None:
        """Tells the restoring process, which may keep a receipt in the store, how it went on."""
        own = tuple(step for step in self.phases.steps() if not step.name.startswith(_THEIRS))
        answer = messages.encode(messages.Ended(own, failure))
        for started in self._children[-1:]:
            with contextlib.suppress(OSError):
                assert started.stdin
                started.stdin.write(answer)
                started.stdin.flush()

    def _end(self, ended: Restored | Failed, device: str = "", failure: tuple[str, str] | None = None) -> None:
        document = cold_start.receipt(self.phases, ended, model=self.settings.model, deployment=_deployment())
        document["directories"] = {str(found.path): found.problem or found.note or "usable" for found in self._found}
        if device:
            document["device"] = device
        cold_start.write_line(document)
        self._answer(failure)
        if self.settings.prometheus:
            cold_start.write_prometheus(document, self.settings.prometheus)


def _deployment() -> str:
    return os.environ.get("CAS_DEPLOYMENT") or os.environ.get("RUNPOD_ENDPOINT_ID") or socket.gethostname()


def _told(done: Restored) -> str:
    return "; ".join(_words(done))


def _words(done: Restored) -> Iterator[str]:
    moved = done.bytes
    yield f"{done.version or 'the model'} is in {done.directory} ({done.directory_reason})"
    yield f"from {'this machine' if done.source == 'here' else done.where}, because: {done.version_reason}"
    yield (
        f"{moved.total:,} bytes: {moved.fetched:,} fetched, {moved.downloaded:,} downloaded, {moved.reused:,} reused, "
        f"{moved.present:,} here before"
    )


def main() -> int:
    """Brings the model here, tells how, and ends: what a worker would do, without its imports."""
    try:
        boot = Boot.start()
        boot.wait()
    except CasError as error:
        logger.error(str(error))
        return error.exit_code
    boot.ready()
    boot.settle()
    return 0
