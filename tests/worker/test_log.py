"""The worker's log: each message is one line on standard error, once, whatever libraries do to the root logger."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LINES = """
import logging, sys
from worker.log import logger
logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
logger.info("100% here\\nand there\\n")
logger.warning("low")
logger.getChild("jobs").error("job %s", 7)
logging.getLogger("library").info("theirs")
"""


def test_each_message_is_one_line_on_standard_error_and_comes_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LINES],
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "worker: 100% here and there",
        "worker: warning: low",
        "worker: error: job 7",
        "INFO library: theirs",
    ]
