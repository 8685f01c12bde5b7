"""Load F5-TTS as the worker does, and print what became of it as JSON: `gpu_ours.py DEVICE PUBLISHED FLOAT16`.

The arguments are the device, and the hub caches of the published version and of its variant.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tools.bench.programs.tensors import digests
from worker.boot import device
from worker.speech import f5, model_files
from worker.speech.reference import Voice
from worker.speech.speaker import Manner

wanted, *hubs = sys.argv[1:]
found: dict[str, Any] = {"device": device.describe(wanted)}
for name, hub in zip(("published", "float16"), hubs, strict=True):
    speaker = f5.load(model_files.find(Path(hub), must_be_verified=True), wanted)
    found[name] = {"model": digests(speaker.model), "vocoder": digests(speaker.vocoder)}
tone = 0.1 * np.sin(np.linspace(0, 220 * 2 * np.pi, speaker.rate))
voice = Voice(tone.astype(np.float32)[None], speaker.rate, "A tone. ")
audio = [speaker.speak("Say it twice, 你好.", voice, manner=Manner(seed=7, nfe_step=4)).samples for _ in range(2)]
found["audio"] = [hashlib.sha256(samples.tobytes()).hexdigest() for samples in audio]
found["loudest"] = float(np.abs(audio[0]).max())
sys.stdout.write("\n" + json.dumps(found) + "\n")
