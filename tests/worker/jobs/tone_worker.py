"""Run in the worker's environment: the real SDK in the worker's own loop, with a small speaker in the place of F5-TTS.

Arguments: `stream` or `whole`, and a file whose appearance ends every `wait` of the speaker.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from tests.worker.jobs.tone import Tone, encode, shorten
from worker import imports
from worker.boot import process
from worker.jobs import serving
from worker.jobs.handler import Handler


def main(kind: str, released: Path) -> None:
    speaker = Tone()

    def release() -> None:
        while not released.exists():
            time.sleep(0.01)
        speaker.go.set()

    process.end_forks_with_this()
    threading.Thread(target=release, daemon=True).start()
    with imports.hurried():  # else the SDK has the processor measured for a second
        import runpod  # noqa: F401
    handler = Handler(speaker, digest="blake3:" + "0" * 64, encode=encode, shorten=shorten)
    serving.serve(serving.configuration(handler, stream=kind == "stream", after_answer=lambda _: None))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
