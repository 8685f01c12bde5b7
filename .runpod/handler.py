"""The handler that RunPod's Hub asks for: the worker, as the image's `python -m worker` starts it."""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    runpy.run_module("worker", run_name="__main__")
