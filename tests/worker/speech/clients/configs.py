"""Run in the worker's environment: reads hostile configs, and tells the errors and what else happened meanwhile.

Arguments: a folder with `speech` and `vocoder`, in which the configs are. The answer has for each file what its reading
ended with, and the imports, calls, variables and files that it led to.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

from worker.speech import configs

HARMLESS = ("compile", "object.__", "sys._getframe", "builtins.id", "code.__new__", "re.", "gc.")


class Notes:
    """What happens while `listening` is set."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.listening = False

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.listening and not event.startswith(HARMLESS):
            self.events.append(f"{event} {arguments[0] if arguments else ''}")


notes = Notes()


class Watched(MutableMapping[str, str]):
    """The environment, which notes what is read of it."""

    def __init__(self, real: Any) -> None:
        self.real = real

    def __getitem__(self, name: str) -> str:
        if notes.listening:
            notes.events.append(f"variable {name}")
        return str(self.real[name])

    def __setitem__(self, name: str, value: str) -> None:
        self.real[name] = value

    def __delitem__(self, name: str) -> None:
        del self.real[name]

    def __iter__(self) -> Iterator[str]:
        if notes.listening:
            notes.events.append("all variables")
        return iter(self.real)

    def __len__(self) -> int:
        return len(self.real)


def attempt(read: Callable[[Path], object], path: Path) -> dict[str, Any]:
    notes.events.clear()
    begun = time.process_time()
    notes.listening = True
    try:
        read(path)
        kind, text = "read", ""
    except Exception as error:
        kind, text = type(error).__name__, str(error)
    notes.listening = False
    others = [event for event in notes.events if event != f"open {path}"]
    return {"kind": kind, "text": text, "events": others, "seconds": time.process_time() - begun}


def main() -> None:
    root = Path(sys.argv[1])
    for read in (configs.read_architecture, configs.read_vocos):  # Python itself imports modules at its first error
        attempt(read, root / "none.yaml")
    os.environ = Watched(os.environ)  # type: ignore[assignment]  # noqa: B003
    sys.addaudithook(notes.hook)
    answer = {
        f"{kind}/{path.stem}": attempt(read, path)
        for kind, read in (("speech", configs.read_architecture), ("vocoder", configs.read_vocos))
        for path in sorted((root / kind).iterdir())
    }
    print(json.dumps(answer), file=sys.__stdout__)


if __name__ == "__main__":
    sys.stdout = sys.stderr
    main()
