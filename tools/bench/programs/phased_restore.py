"""Restore a version, and print the moments of its phases as JSON: `phased_restore.py REFERENCE CACHE`."""

import json
import os
import sys
import time

import cas.cli.restore  # noqa: F401 (the command loads it, too)
from cas import events
from cas.cli.process import keep_memory_together
from cas.ops.restore import restorer

reference, cache = sys.argv[1:]
marks: dict[str, float] = {"start": time.monotonic()}


def listen(event: events.Event) -> None:
    """Record when each phase begins, and when the first and the last chunk are written."""
    if isinstance(event, events.Phase):
        marks.setdefault(event.name, time.monotonic())
    elif isinstance(event, events.Moved):
        marks.setdefault("first chunk", time.monotonic())
        marks["last chunk"] = time.monotonic()


keep_memory_together()
restorer.restore(reference, cache_dir=cache, on_event=listen)
marks["done"] = time.monotonic()
print(json.dumps(marks), flush=True)
os._exit(0)  # as the command ends
