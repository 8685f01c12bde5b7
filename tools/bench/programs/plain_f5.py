"""Load F5-TTS as its authors document it, speak once, and print the phases: `plain_f5.py [WEIGHTS VOCOS_FOLDER]`.

The recording is read by soundfile, as torchaudio would need FFmpeg for it; it takes a millisecond either way.
"""

import itertools
import json
import os
import sys
import tempfile
import time

marks = [("begun", time.monotonic())]
import numpy as np  # noqa: E402
import soundfile  # noqa: E402
import torch  # noqa: E402 (F5-TTS has imported both)
import torchaudio  # noqa: E402
from f5_tts.api import F5TTS  # noqa: E402

marks.append(("imports", time.monotonic()))
torchaudio.load = lambda path: (torch.from_numpy(soundfile.read(path, dtype="float32")[0])[None], 24_000)
if len(sys.argv) > 1:
    weights, vocos = sys.argv[1:]
    speech = F5TTS(ckpt_file=weights, vocoder_local_path=vocos)
else:
    speech = F5TTS()
marks.append(("load", time.monotonic()))
# The inference that the worker warms up with (Speaker.warm_up): one step of a quarter of a second.
tone = 0.1 * np.sin(np.linspace(0, 220 * 2 * np.pi * 0.25, 6_000))
with tempfile.NamedTemporaryFile(suffix=".wav") as file:
    soundfile.write(file.name, tone, 24_000)
    speech.infer(file.name, "A tone.", "Warm up, 你好.", nfe_step=1, seed=0, show_info=lambda _: None, progress=None)
marks.append(("first inference", time.monotonic()))
steps = {name: at - before for (_, before), (name, at) in itertools.pairwise(marks)}
sys.stdout.write("\n" + json.dumps(steps) + "\n")
sys.stdout.flush()
os._exit(0)
