"""Fuzz one target in this process: `python -m tools.fuzz.engine TARGET [libFuzzer's options and folders]`.

atheris counts which branches of our code an input takes, so our code is imported here under its eyes, and nothing of it
before. The process ends at the first fault, as libFuzzer does.
"""

from __future__ import annotations

import random
import sys

import atheris


def main() -> None:
    """Fuzz until libFuzzer's options say that it is enough, or until a fault."""
    with atheris.instrument_imports(include=["cas", "worker", "yaml", "zipfile"]):
        from tools.fuzz import targets

    name = sys.argv.pop(1)
    target = targets.TARGETS[name]

    def mutated(data: bytes, largest: int, seed: int) -> bytes:
        rng = random.Random(seed)
        changed = target.mutate(data, rng) if target.mutate is not None and rng.random() < 0.6 else None
        if changed is None or len(changed) > largest:
            changed = atheris.Mutate(data, largest)
        return changed

    options = {"custom_mutator": mutated} if target.mutate is not None else {}
    atheris.Setup(sys.argv, lambda data: targets.run(name, data), **options)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
