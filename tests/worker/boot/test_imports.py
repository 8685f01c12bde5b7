"""The worker's quick imports: what the SDK learns of the processor is true, and nothing is left changed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

SDK = """
import gc, json, sys
from worker.boot import imports
with imports.hurried():
    assert not gc.isenabled()
    import runpod
from runpod.serverless.utils import rp_debugger
found = {"quick": rp_debugger.PROCESSOR, "left": "cpuinfo" in sys.modules, "frozen": gc.get_freeze_count()}
assert gc.isenabled()
import cpuinfo
print(json.dumps({**found, "real": cpuinfo.get_cpu_info()["brand_raw"]}))
"""

FAILING = """
import gc, sys
from worker.boot import imports
try:
    with imports.hurried():
        raise ImportError
except ImportError:
    assert gc.isenabled() and "cpuinfo" not in sys.modules
gc.disable()
sys.modules["cpuinfo"] = sys
with imports.hurried():
    assert sys.modules["cpuinfo"] is sys
assert not gc.isenabled() and sys.modules["cpuinfo"] is sys
"""


def test_the_sdk_has_the_processors_name_as_it_would_have_found_it(worker_python: Path) -> None:
    done = subprocess.run([worker_python, "-c", SDK], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["quick"] == found["real"]
    assert not found["left"]
    assert found["frozen"] > 10_000


def test_all_is_as_before_whatever_was_before(worker_python: Path) -> None:
    done = subprocess.run([worker_python, "-c", FAILING], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
