"""The worker's log: each message is one line on standard error, once, whatever libraries do to the root logger."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LINES = """
import logging, sys
from worker.log import Printable, logger
logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
logging.getLogger().handlers[0].setFormatter(Printable("%(levelname)s %(name)s: %(message)s"))
logger.info("100% here\\nand there\\n")
logger.warning("low")
logger.getChild("jobs").error("job %s", 7)
logging.getLogger("library").info("theirs")
logger.info("Köln\\x1b[2J\\r\\u202ex\\u2028worker: error: y")
logging.getLogger("library").info("\\x1b]0;owned\\x07")
try:
    raise ValueError("x\\nworker: ready\\x1b[2J")
except ValueError:
    logger.exception("failed")
"""


def test_each_message_is_one_line_on_standard_error_and_comes_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LINES],
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == ""
    lines = done.stderr.split("\n")
    assert lines[:4] == [
        "worker: 100% here and there",
        "worker: warning: low",
        "worker: error: job 7",
        "INFO library: theirs",
    ]
    assert lines[4] == r"worker: Köln\x1b[2J\r\u202ex\u2028worker: error: y"
    assert lines[5] == r"INFO library: \x1b]0;owned\x07"
    assert lines[6] == "worker: error: failed"
    assert lines[-3:] == ["ValueError: x", r"  worker: ready\x1b[2J", ""]
