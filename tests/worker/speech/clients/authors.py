"""Plain F5-TTS as its authors document it, for the clients that run in its own environment.

Nothing of it is exchanged but for this: it reads the tiny architecture where it reads its config, it makes the parts of
a text one after the other, as its threads share one random generator, and its wav files are read by soundfile, which
needs no FFmpeg. 16-bit samples are the same numbers to both readers.
"""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import f5_tts.api
import numpy as np
import soundfile
import torch
import torchaudio
from f5_tts.infer import utils_infer


def load_wav(path: str) -> tuple[Any, int]:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return torch.from_numpy(np.ascontiguousarray(samples.T)), rate


torchaudio.load = load_wav
utils_infer.ThreadPoolExecutor = functools.partial(ThreadPoolExecutor, max_workers=1)


def f5(config: str | Path, *words: str, **how: Any) -> Any:
    """`F5TTS(…)`, told of the tiny architecture where it reads its config."""
    load = f5_tts.api.OmegaConf.load
    f5_tts.api.OmegaConf.load = lambda path: load(str(config)) if "configs/" in path else load(path)
    try:
        return f5_tts.api.F5TTS(*words, **how)
    finally:
        f5_tts.api.OmegaConf.load = load
