"""Run in the worker's environment, or in plain F5-TTS's: import what takes seconds once, and run each client in a fork.

The argument is `worker`, which imports what the worker does and hides what its image leaves out, installed or not; or
`plain`, which imports F5-TTS as its authors document it. A line on standard input is a JSON list: the client's module,
its output file, and its words. The answer is a line with the client's exit code; what it writes to standard error goes
to OUTPUT.err.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import traceback

if sys.argv[1] == "worker":
    from tests.worker.speech.clients import absent

    absent.hide()

    from worker import imports

    with imports.hurried():  # as the worker does
        import runpod  # noqa: F401

        import worker.jobs.serving
        import worker.model.early_work
        import worker.speech.model_files
        import worker.speech.sound  # noqa: F401
else:
    import f5_tts.api  # noqa: F401


def run(module: str, output: str, words: list[str]) -> int:
    """Run a client in a fork, and return its exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        for path, descriptor in ((os.devnull, 0), (output, 1), (f"{output}.err", 2)):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), descriptor)
        sys.argv = [module, *words]
        runpy.run_module(module, run_name="__main__")
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.__stdout__, sys.stderr):
            assert stream is not None
            stream.flush()
        os._exit(code)


def main() -> None:
    for line in sys.stdin:
        module, output, *words = json.loads(line)
        print(run(module, output, words), flush=True, file=sys.__stdout__)


if __name__ == "__main__":
    main()
