"""Run in the worker's environment: what a loaded model does, call by call.

Arguments: the hub cache, and a recording.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from f5_tts.infer import utils_infer

from cas.errors import InputError
from worker.errors import WorkerBroken
from worker.speech import f5, reference, text_parts
from worker.speech.speaker import Manner

HUB, RECORDING = (Path(word) for word in sys.argv[1:])
SENTENCES = " ".join(f"This is the sentence with the number {n}, and it goes on for a while." for n in range(8))
UNBROKEN = "word " * 160
ENDLESS = "a" * 800


def digest(samples: Any) -> str:
    assert samples.dtype == np.float32
    return hashlib.sha256(samples.tobytes()).hexdigest()


class Called(Exception):
    """Raised by a caller in the middle of a text."""


def in_parts(speaker: f5.Speaker, voice: reference.Voice) -> dict[str, Any]:
    """The parts as they come, and what was told of progress when each one came."""
    told: list[tuple[int, int]] = []
    waves, seen = [], []
    for part in speaker.stream(SENTENCES, voice, manner=Manner(seed=5, nfe_step=2), step=lambda *at: told.append(at)):
        waves.append(part)
        seen.append(len(told))
    texts = text_parts.sentences(SENTENCES)
    return {
        "parts": digest(np.concatenate(waves)),
        "theirs": digest(of_f5_tts(speaker, voice, texts)),
        "once": len(text_parts.split([SENTENCES], voice, 1.0)),
        "lengths": [len(part) for part in waves],
        "told": told,
        "seen": seen,
        "texts": texts,
    }


def of_f5_tts(speaker: f5.Speaker, voice: reference.Voice, texts: list[str]) -> Any:
    """What F5-TTS makes of the same texts, one after the other, faded into one by itself."""
    # Its threads share one random generator; with one thread it is reproducible.
    utils_infer.ThreadPoolExecutor = functools.partial(ThreadPoolExecutor, max_workers=1)
    f5._seed_everything(5)
    made = utils_infer.infer_batch_process(
        (torch.from_numpy(voice.samples), voice.rate),
        voice.text,
        texts,
        speaker.model,
        speaker.vocoder,
        progress=None,
        device="cpu",
        nfe_step=2,
    )
    return next(made)[0].astype(np.float32)


def stopped(speaker: f5.Speaker, voice: reference.Voice) -> dict[str, Any]:
    """Speech ended in three ways, and what the same thread says afterwards."""
    before = digest(speaker.speak("One text.", voice, manner=Manner(seed=1, nfe_step=4)).samples)
    endings = {}
    stop = threading.Event()
    steps = 0

    def third(*_: object) -> None:
        nonlocal steps
        steps += 1
        if steps == 3:
            stop.set()

    hook = speaker.model.transformer.register_forward_hook(third)
    try:
        speaker.speak("Another and much longer text.", voice, manner=Manner(seed=1, nfe_step=500), stop=stop)
    except f5.Stopped as error:
        endings["by an event"] = [type(error).__name__, steps]
    hook.remove()
    after_event = digest(speaker.speak("One text.", voice, manner=Manner(seed=1, nfe_step=4)).samples)

    def enough(done: int, _: int) -> None:
        if done == 1:
            raise Called

    try:
        speaker.speak(SENTENCES, voice, manner=Manner(seed=1, nfe_step=2), step=enough)
    except Called as error:
        endings["by its progress"] = [type(error).__name__]
    stream = speaker.stream(SENTENCES, voice, manner=Manner(seed=1, nfe_step=2))
    next(stream)
    busy = speaker._lock.locked()
    stream.close()  # type: ignore[attr-defined]
    endings["by closing"] = [busy, speaker._lock.locked()]
    after_all = digest(speaker.speak("One text.", voice, manner=Manner(seed=1, nfe_step=4)).samples)
    return {"endings": endings, "after": [before, after_event, after_all]}


def together(speaker: f5.Speaker, voice: reference.Voice) -> dict[str, Any]:
    """Four threads at once, and each one's words alone."""
    words = [f"These are the words of thread {n}." for n in range(4)]
    found: dict[str, str] = {}

    def say(text: str) -> None:
        found[text] = digest(speaker.speak(text, voice, manner=Manner(seed=2, nfe_step=6)).samples)

    threads = [threading.Thread(target=say, args=(text,)) for text in words]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    alone = {text: digest(speaker.speak(text, voice, manner=Manner(seed=2, nfe_step=6)).samples) for text in words}
    return {"together": found, "alone": alone}


def broken(speaker: f5.Speaker, voice: reference.Voice) -> list[str]:
    """What a caller sees of a GPU that fails in the middle, and what comes after it."""

    def fail(*_: object) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nCompile with ...")

    hook = speaker.model.transformer.register_forward_hook(fail)
    try:
        speaker.speak("One text.", voice, manner=Manner(seed=1, nfe_step=4))
    except WorkerBroken as error:
        return [str(error), str(speaker._lock.locked())]
    finally:
        hook.remove()
    return []


def refused(speaker: f5.Speaker, data: bytes) -> dict[str, str]:
    cases = {
        "empty text": ("", data, "Words."),
        "blank text": (" \n ", data, "Words."),
        "no reference text": ("Hello.", data, " "),
        "no audio": ("Hello.", b"", "Words."),
        "slow voice": ("word " * 1000, data, "A."),
    }
    found = {}
    for name, (text, audio, ref_text) in cases.items():
        try:
            speaker.speak(text, audio, ref_text, manner=Manner(nfe_step=1))
            found[name] = "spoken"
        except InputError as error:
            found[name] = str(error)
    return found


def main() -> None:
    data = RECORDING.read_bytes()
    tempfile.tempdir = tempfile.mkdtemp()
    os.environ.pop("PYTHONHASHSEED", None)
    speaker = f5.load(HUB, "cpu")
    voice = reference.prepare(data, "Some words are said here.")
    answer = {
        "in parts": in_parts(speaker, voice),
        "stopped": stopped(speaker, voice),
        "together": together(speaker, voice),
        "refused": refused(speaker, data),
        "broken": broken(speaker, voice),
        "without punctuation": {
            name: [
                len(text_parts.split([text], voice, 1.0)),
                len(speaker.speak(text, voice, manner=Manner(seed=0, nfe_step=1)).samples),
            ]
            for name, text in (("words", UNBROKEN), ("letters", ENDLESS))
        },
        "kept": "".join(text_parts.split([UNBROKEN], voice, 1.0)).replace(" ", "") == UNBROKEN.replace(" ", ""),
        "files": os.listdir(tempfile.tempdir),
        "hash seed": os.environ.get("PYTHONHASHSEED"),
    }
    print(json.dumps(answer), file=sys.__stdout__)


if __name__ == "__main__":
    sys.stdout = sys.stderr
    main()
