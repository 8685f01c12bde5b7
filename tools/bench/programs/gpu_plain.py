"""Load F5-TTS as its authors document it, and print its tensors as JSON: `gpu_plain.py DEVICE WEIGHTS VOCOS CONFIG`.

CONFIG is a file in the form of F5-TTS's configs, for an architecture that F5-TTS does not ship; empty for v1 Base.
"""

import json
import sys

import f5_tts.api

from tools.bench.programs.tensors import digests

device, weights, vocos, config = sys.argv[1:]
if config:
    load = f5_tts.api.OmegaConf.load
    f5_tts.api.OmegaConf.load = lambda path: load(config if "configs/" in path else path)
speech = f5_tts.api.F5TTS(ckpt_file=weights, vocoder_local_path=vocos, device=device)
found = {"model": digests(speech.ema_model), "vocoder": digests(speech.vocoder)}
sys.stdout.write("\n" + json.dumps(found) + "\n")
