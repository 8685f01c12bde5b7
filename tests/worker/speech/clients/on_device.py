"""Run in the worker's environment: our loading beside plain F5-TTS's, on one device.

Arguments: the device, the hub cache of the published model, and that of its float16 variant. Prints the names of the
tensors that are not the same to the bit, or `null` where there is no such device.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

DEVICE = sys.argv[1]
HUB, HALF = (Path(word) for word in sys.argv[2:])


def different(ours: Any, theirs: Any) -> list[str]:
    left, right = ours.state_dict(), theirs.state_dict()
    return sorted(
        name
        for name in left.keys() | right.keys()
        if name not in left
        or name not in right
        or left[name].dtype != right[name].dtype
        or left[name].device.type != DEVICE
        or not torch.equal(left[name], right[name])
    )


def plain() -> Any:
    """What F5-TTS's own load_checkpoint makes of the published file."""
    from f5_tts.infer import utils_infer

    from worker.speech import configs, model_files, networks

    files = model_files.find(HUB)
    assert files.config
    empty = networks.speech_network(configs.read_architecture(files.config.path)).to_empty(device="cpu")
    return utils_infer.load_checkpoint(empty, str(files.weights.path), DEVICE)


def main() -> None:
    if DEVICE == "cuda" and not torch.cuda.is_available():
        print(json.dumps(None), file=sys.__stdout__)
        return  # before F5-TTS is imported, which takes seconds
    from worker.speech import f5

    theirs = plain()
    found = {}
    for name, hub in (("published", HUB), ("variant", HALF)):
        speaker = f5.load(hub, DEVICE)
        speaker.warm_up()
        found[name] = different(speaker.model, theirs)
    print(json.dumps(found), file=sys.__stdout__)


if __name__ == "__main__":
    sys.stdout = sys.stderr  # F5-TTS prints
    main()
