"""Start the worker until it could take a job, and print its phases and the model's source: `worker_ready.py`."""

import json
import os
import sys
from pathlib import Path

from worker.boot import device, imports
from worker.boot.boot import Boot

boot = Boot.start()
with boot.phases.measure("imports"), imports.hurried():
    import runpod  # noqa: F401 (as the worker does)

    from worker.speech import f5
booted = boot.wait()
with boot.phases.measure("load"):
    speaker = f5.load(Path(os.environ["HF_HUB_CACHE"]), device.choose(), must_be_verified=True)
with boot.phases.measure("first inference"):
    speaker.warm_up()
steps = {step.name: step.seconds for step in boot.phases.steps()}
sys.stdout.write("\n" + json.dumps({**steps, "source": booted.source}) + "\n")
sys.stdout.flush()
os._exit(0)
