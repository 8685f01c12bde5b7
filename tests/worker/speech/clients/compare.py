"""Run in the worker's environment: our loading and speaking beside plain F5-TTS's, as one JSON document.

Arguments: the hub cache of the published model, that of its float16 variant, and a folder of recordings.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HUB, HALF, RECORDINGS = (Path(word) for word in sys.argv[1:])
os.environ |= {"HF_HUB_CACHE": str(HUB), "HF_HUB_OFFLINE": "1"}

import f5_tts.api  # noqa: E402 (huggingface_hub reads the environment when it is imported)
import numpy as np  # noqa: E402
import torch  # noqa: E402
from f5_tts.infer import utils_infer  # noqa: E402

from worker.speech import configs, f5, model_files, networks  # noqa: E402
from worker.speech.speaker import Manner  # noqa: E402

SHORT = "The sea was calm that night, and nobody spoke."
LONG = " ".join(f"Sentence number {n} is here to be spoken, and it takes its time; so does the next!" for n in range(4))
REFERENCE_TEXT = "Some words are said here, slowly"
CASES: dict[str, dict[str, Any]] = {
    "short": {"text": SHORT},
    "slow": {"text": SHORT, "speed": 0.7},
    "more steps": {"text": SHORT, "nfe_step": 9},
    "no guidance": {"text": SHORT, "cfg_strength": 0.0},
    "tiny text": {"text": "Hm."},
    "chinese": {"text": "今天天气很好。我们去公园。"},
    "long": {"text": LONG},
}


def plain() -> Any:
    """`F5TTS()`, told of the tiny architecture where it reads its config."""
    config = model_files.find(HUB).config
    assert config
    load = f5_tts.api.OmegaConf.load
    f5_tts.api.OmegaConf.load = lambda path: load(str(config.path)) if "configs/" in path else load(path)
    # Its threads share one random generator; with one thread a long text is reproducible.
    utils_infer.ThreadPoolExecutor = functools.partial(ThreadPoolExecutor, max_workers=1)
    try:
        return f5_tts.api.F5TTS(device="cpu")
    finally:
        f5_tts.api.OmegaConf.load = load


def named(samples: Any) -> list[object]:
    """What tells one audio from another: length, loudness, and digest of the float32 samples."""
    flat = np.asarray(samples, np.float32)
    return [len(flat), float(np.abs(flat).max()), hashlib.sha256(flat.tobytes()).hexdigest()]


def of_plain(speaker: Any, recording: Path, text: str, seed: int, **settings: Any) -> list[object]:
    settings = {"nfe_step": 4, **settings}
    wave, rate, _ = speaker.infer(str(recording), REFERENCE_TEXT, text, seed=seed, progress=None, **settings)
    assert rate == 24000
    return named(wave)


def of_ours(speaker: f5.Speaker, recording: Path, text: str, seed: int, **settings: Any) -> list[object]:
    manner = Manner(seed=seed, **{"nfe_step": 4, **settings})
    spoken = speaker.speak(text, recording.read_bytes(), REFERENCE_TEXT, manner=manner)
    assert (spoken.rate, spoken.seed, spoken.samples.dtype) == (24000, seed, np.float32)
    return named(spoken.samples)


def tensors(module: Any) -> dict[str, Any]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def different(ours: Any, theirs: Any) -> list[str]:
    """Names of tensors that are not the same to the bit, or not of the same kind."""
    left, right = tensors(ours), tensors(theirs)
    wrong = set(left.keys() ^ right.keys())
    for name in left.keys() & right.keys():
        ours, theirs = left[name], right[name]
        same = ours.dtype == theirs.dtype and ours.device == theirs.device and torch.equal(ours, theirs)
        wrong |= set() if same else {name}
    return sorted(wrong)


def plain_cast() -> Any:
    """The model of plain F5-TTS with what its file holds through float16."""
    model = plain().ema_model
    model.load_state_dict({name: tensor.to(torch.float16) for name, tensor in model.state_dict().items()})
    return model


def in_float16() -> dict[str, list[str]]:
    """What F5-TTS's own loading makes of the published file in float16, as on CUDA, beside ours of both files."""
    network = configs.read_architecture(model_files.find(HUB).config.path)  # type: ignore[union-attr]
    theirs = utils_infer.load_checkpoint(
        plain().ema_model, str(model_files.find(HUB).weights.path), "cpu", dtype=torch.float16
    )
    networks.precision = lambda device: torch.float16
    return {
        f"{name} in float16": different(networks.speech_model(network, model_files.find(hub).weights, "cpu"), theirs)
        for name, hub in (("model", HUB), ("variant", HALF))
    }


def shapes_of_v1_base() -> dict[str, list[int]]:
    """Of the state of the network that is made for the published weights."""
    model = networks.speech_network(configs.read_architecture(networks.shipped_config()))
    return {name: list(tensor.shape) for name, tensor in model.state_dict().items()}


def main() -> None:
    theirs, ours, half = plain(), f5.load(HUB, "cpu", must_be_verified=True), f5.load(HALF, "cpu")
    first, *others = sorted(RECORDINGS.glob("*.wav"))
    jobs = {name: (first, case) for name, case in CASES.items()} | {
        path.stem: (path, CASES["short"]) for path in others
    }
    answer: dict[str, Any] = {"audio": {}, "tensors": {}, "count": len(tensors(ours.model))}
    for name, (recording, case) in jobs.items():
        pair = (of_plain(theirs, recording, seed=7, **case), of_ours(ours, recording, seed=7, **case))
        answer["audio"][name] = pair
    answer["again"] = [of_ours(ours, first, SHORT, seed) for seed in (7, 7, 8)]
    answer["half"] = of_ours(half, first, SHORT, 7)
    answer["seeds"] = [ours.speak("Hm.", first.read_bytes(), "Words", manner=Manner(nfe_step=1)).seed for _ in range(3)]
    answer["tensors"] = {
        "model": different(ours.model, theirs.ema_model),
        "vocoder": different(ours.vocoder, theirs.vocoder),
        "variant as plain": different(half.model, theirs.ema_model),
        "variant as plain cast": different(half.model, plain_cast()),
        **in_float16(),
    }
    answer["shapes"] = shapes_of_v1_base()
    print(json.dumps(answer), file=sys.__stdout__)


if __name__ == "__main__":
    sys.stdout = sys.stderr  # F5-TTS prints
    main()
