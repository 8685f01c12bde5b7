"""The boot of a worker: the environment first, then the model, which a process of its own restores meanwhile.

    boot = Boot.start()     # before anything imports huggingface_hub
    import torch            # and whatever else takes its time
    result = boot.wait()

Nothing here imports torch, f5_tts or runpod.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from cas import config
from cas.errors import CasError
from cas.local import fs, register
from worker.boot import cold_start, environment, messages, process, trace
from worker.boot.cold_start import Phases
from worker.boot.directories import Finding, examine
from worker.boot.messages import Arrived, Expected, Failed, Restored
from worker.boot.settings import Settings
from worker.boot.time_limit import TimeLimit, time_limit
from worker.errors import describe_error
from worker.log import logger

_PREFIX = "restore."  # of the names of the restoring process's phases
_AFTER_FAILURE = 5.0  # seconds for the restoring process to write its receipt
_STARTS = 2  # a restoring process that was killed left what it had fetched: the next one goes on from there


class BootFailed(CasError):
    """The boot brought no model.

    Attributes:
        causes: what each source said.
        exit_code: the code with which the worker should exit.
    """

    def __init__(self, causes: tuple[str, ...], exit_code: int) -> None:
        super().__init__(f"no model: {'; '.join(causes)}")
        self.causes = causes
        self.exit_code = exit_code or 1


class Boot:
    """One boot under way.

    Attributes:
        settings: what the environment asks for.
        phases: what was done, and how long it took; the caller adds the loading of the model to it.
        arrivals: what the restoring process says of files before it has ended; None once it has.
    """

    def __init__(self, settings: Settings, phases: Phases, found: list[Finding]) -> None:
        """For `start` alone.

        Args:
            settings: as the attribute.
            phases: as the attribute.
            found: what the checks of each cache directory found.
        """
        self.settings, self.phases = settings, phases
        self._found = found
        self._usable = [finding for finding in found if not finding.problem]
        self._children: list[process.Child] = []
        self.arrivals: queue.SimpleQueue[Expected | Arrived | None] = queue.SimpleQueue()
        self._answers: queue.Queue[Restored | Failed | None] = queue.Queue()
        self._result: Restored | Failed | None = None
        self._holds: list[object] = []

    @classmethod
    def start(cls) -> Boot:
        """Choose a directory, set the environment, and start the process that restores the model.

        Raises:
            InputError: a variable has a bad value.
            BootFailed: no directory can be used.
        """
        phases = Phases.of_process()
        # What this process and its children make, no other user may write to: the next boot would leave it out.
        os.umask(os.umask(0o022) | 0o022)
        with phases.measure("settings"):
            settings = Settings.read()
            environment.trust_keys_of_image()
            # Set before the checks, and whatever they find: nothing may ever download to somewhere else.
            environment.apply(settings.directories[0])
        with phases.measure("directories"):
            boot = cls(settings, phases, examine(settings.directories))
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
            failed = Failed(exit_code=7, causes=("no directory of CAS_CACHE_DIRS can be used", *problems))
            self._finish(failed)
            raise BootFailed(failed.causes, failed.exit_code)
        with self.phases.measure("spawn"):
            environment.apply(self._usable[0].path)
            self._spawn()

    def _spawn(self) -> None:
        words = (str(finding.path) for finding in self._usable)
        child = process.start("worker.model.restore_process", *words, stdout=subprocess.PIPE)
        self._children.append(child)

        def read() -> None:
            assert child.stdout
            # The boot goes on with the answer: what the child does after it is no part of a cold start.
            self._answers.put(answer := self._answer(child.stdout))
            self._hold(answer)
            child.stdout.close()
            child.wait()

        threading.Thread(target=read, name="restoring", daemon=True).start()

    def _answer(self, lines: Iterable[bytes]) -> Restored | Failed | None:
        """Return how the restore ended, None when the process does not say; pass on what it says of files before."""
        for line in lines:
            try:
                message = messages.decode(line)
            except msgspec.DecodeError:  # the process was killed while it wrote
                return None
            if isinstance(message, Restored | Failed):
                return message
            if isinstance(message, Arrived):
                _read_ahead(message.path)
            self.arrivals.put(message)
        return None

    def _hold(self, result: object) -> None:
        """Keep `cas prune` from removing what this worker uses, for as long as the worker lives."""
        for hub, reference in result.holds if isinstance(result, Restored) else ():
            self._holds.append(register.Register(Path(hub)).hold(reference))

    def wait(self, within: float | None = None) -> Restored:
        """Wait until the model is restored, set the environment accordingly, and return how it was restored.

        Args:
            within: seconds from now on, after which the restoring process is killed; None for `time_limit`'s, which
                count from the boot's beginning.

        Raises:
            BootFailed: no source has the model, or it did not come in time.
        """
        if self._result is None:
            limit = time_limit()
            deadline = self.phases.begun + limit.seconds if within is None else time.monotonic() + within
            with self.phases.measure("wait"):
                self._result = self._receive(deadline, limit)
            self.arrivals.put(None)
            self.phases.add(self._result.steps, _PREFIX)
            if isinstance(self._result, Restored):
                environment.apply(Path(self._result.directory), offline=self._result.complete)
                logger.info("; ".join(_summary(self._result)))
            else:
                self._finish(self._result)
        if isinstance(self._result, Failed):
            raise BootFailed(self._result.causes, self._result.exit_code)
        return self._result

    def ready(self, device: str = "") -> None:
        """Write the cold-start line and CAS_PROMETHEUS_FILE; to be called when the model can be used.

        Args:
            device: what the model runs on, in words.
        """
        assert self._result, "wait first"
        self._finish(self._result, device)

    def failed(self, error: Exception) -> None:
        """As `ready`, for a model that was restored and cannot be used; gives the receipt a moment to be stored.

        Args:
            error: why it cannot be used.
        """
        assert isinstance(self._result, Restored), "wait first"
        restored = self._result
        code = error.exit_code if isinstance(error, CasError) else 1
        what = f"{restored.version or 'the model'} in {restored.directory}"
        cause = f"{what} cannot be used: {describe_error(error)}"
        failed = Failed(
            exit_code=code,
            causes=(cause,),
            fallback=restored.fallback,
            warnings=restored.warnings,
            errors=restored.errors,
        )
        self._finish(failed, failure=(type(error).__name__, cause))
        self.settle(_AFTER_FAILURE)

    def settle(self, within: float = 10.0) -> None:
        """Wait for what the restoring process does after a boot; a worker that goes on need not.

        Args:
            within: seconds to wait at most, for each process.
        """
        for child in self._children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=within)
        trace.settle(within)

    def stop(self) -> None:
        """Kill the restoring process if it still runs; the next boot finds what it had fetched."""
        for child in self._children:
            if child.poll() is None:
                child.kill()

    def _receive(self, deadline: float, limit: TimeLimit) -> Restored | Failed:
        for attempt in range(1, _STARTS + 1):
            try:
                answer = self._next_answer(deadline, limit)
            except queue.Empty:
                self.stop()
                return Failed(exit_code=6, causes=(f"the model did not come in time: {limit.why}",))
            if answer is not None:
                return answer
            code = self._children[-1].wait(timeout=10)
            text = f"the restoring process ended without a word (exit status {code})"
            if attempt < _STARTS:
                logger.warning(f"{text}: starting it once more, to go on where it was")
                self._spawn()
        return Failed(exit_code=1, causes=(f"{text}, twice: is there enough memory?",))

    def _next_answer(self, deadline: float, limit: TimeLimit) -> Restored | Failed | None:
        warned_at = self.phases.begun + limit.warned_after
        if warned_at < deadline:
            with contextlib.suppress(queue.Empty):
                return self._answers.get(timeout=max(0.0, warned_at - time.monotonic()))
            logger.warning(limit.warning)
        return self._answers.get(timeout=max(0.0, deadline - time.monotonic()))

    def _finish(self, result: Restored | Failed, device: str = "", failure: tuple[str, str] | None = None) -> None:
        where = config.first("CAS_DEPLOYMENT", "RUNPOD_ENDPOINT_ID").value or socket.gethostname()
        document = cold_start.as_document(self.phases, result, model=self.settings.model, deployment=where)
        document["directories"] = {str(found.path): found.problem or found.note or "usable" for found in self._found}
        document |= {"device": device} if device else {}
        cold_start.write_line(document)
        self._reply(failure)
        if self.settings.prometheus:
            cold_start.write_prometheus(document, self.settings.prometheus)
        trace.send(document, self.phases)

    def _reply(self, failure: tuple[str, str] | None) -> None:
        """Tell the restoring process, which may write a receipt into the store, how the boot ended."""
        own = tuple(step for step in self.phases.steps() if not step.name.startswith(_PREFIX))
        reply = messages.encode(messages.Ended(own, failure))
        for child in self._children[-1:]:
            with contextlib.suppress(OSError):
                assert child.stdin
                child.stdin.write(reply)
                child.stdin.flush()


def _read_ahead(path: str) -> None:
    """Have the system read a file into its memory meanwhile, which takes seconds where it is on a volume."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError), fs.open_for_reading(Path(path)) as fd:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_WILLNEED)


def _summary(result: Restored) -> Iterator[str]:
    count = result.bytes
    yield f"{result.version or 'the model'} is in {result.directory} ({result.directory_reason})"
    yield f"from {'this machine' if result.source == 'here' else result.where}, because: {result.version_reason}"
    yield (
        f"{count.total:,} bytes: {count.fetched:,} fetched, {count.downloaded:,} downloaded, {count.reused:,} reused, "
        f"{count.present:,} here before"
    )


def main() -> int:
    """Restore the model as a worker would, without the worker's imports; the exit code."""
    try:
        (boot := Boot.start()).wait()
    except CasError as error:
        logger.error(str(error))
        return error.exit_code
    boot.ready()
    boot.settle()
    return 0
