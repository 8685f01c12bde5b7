"""Run in the worker's environment: import F5-TTS once, and run each client that is asked for in a fork of this process.

The variables of huggingface_hub, which it reads when it is imported, are those that this process was started with. A
line on standard input is a JSON list: the client's module, its output file, and its words. The answer is a line with
the client's exit code; what it writes to standard error goes to OUTPUT.err.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import traceback

import f5_tts.api  # noqa: F401 (what takes seconds to import, for all clients)


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
