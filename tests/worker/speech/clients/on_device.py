"""Run in the worker's environment: the tensors that our loading puts on a device, as one JSON document.

Arguments: the device, the hub cache of the published model, and that of its float16 variant. Prints `null` where there
is no such device.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

DEVICE = sys.argv[1]
HUB, HALF = (Path(word) for word in sys.argv[2:])


def main() -> None:
    if DEVICE == "cuda" and not torch.cuda.is_available():
        print(json.dumps(None), file=sys.__stdout__)
        return  # before F5-TTS is imported
    from tests.worker.speech.clients.cases import tensors
    from worker.speech import f5, model_files

    found = {}
    for name, hub in (("published", HUB), ("variant", HALF)):
        speaker = f5.load(model_files.find(hub), DEVICE)
        speaker.warm_up()
        found[name] = tensors(speaker.model)
    print(json.dumps(found), file=sys.__stdout__)


if __name__ == "__main__":
    sys.stdout = sys.stderr
    main()
