"""Start the worker until it could take a job, and print its phases and the model's source: `worker_ready.py`."""

import json
import os
import sys

from worker import imports
from worker.boot import device
from worker.boot.boot import Boot

boot = Boot.start()
with boot.phases.measure("imports"), imports.hurried():
    import runpod  # noqa: F401 (as the worker does)

    from worker.model.early_work import EarlyWork
    from worker.speech import model_files
early = EarlyWork(boot.arrivals, boot.phases, device.choose)
booted = boot.wait()
with boot.phases.measure("load"):
    speaker = early.finish(model_files.of_version(booted.files))
with boot.phases.measure("first inference"):
    speaker.warm_up(briefly=early.is_warm)
steps = {step.name: step.seconds for step in boot.phases.steps()}
sys.stdout.write("\n" + json.dumps({**steps, "source": booted.source}) + "\n")
sys.stdout.flush()
os._exit(0)
