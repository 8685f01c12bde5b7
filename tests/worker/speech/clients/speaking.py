"""Run in the worker's environment: what a loaded model does, call by call.

Arguments: the hub cache, and a recording.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import weakref
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from cas.errors import CasError, InputError
from tests.worker.speech.clients.cases import SENTENCES as TEXTS
from tests.worker.speech.clients.cases import digest
from worker.speech import f5, model_files, networks, reference, text_parts
from worker.speech.speaker import Manner

HUB, RECORDING = (Path(word) for word in sys.argv[1:])
SENTENCES = " ".join(TEXTS)
UNBROKEN = "word " * 160
ENDLESS = "a" * 800


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
        "once": len(text_parts.split([SENTENCES], voice, 1.0)),
        "lengths": [len(part) for part in waves],
        "told": told,
        "seen": seen,
        "texts": texts,
    }


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


ILLEGAL = "CUDA error: an illegal memory access was encountered\nSearch for `cudaErrorIllegalAddress' in ..."
NO_CODE = "CUDA error: no kernel image is available for execution on the device\nSearch for ..."
ECC = "CUDA error: uncorrectable ECC error encountered\nSearch for `cudaErrorECCUncorrectable' in ..."
FULL = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 15.77 GiB"
FAULTS: dict[str, RuntimeError] = {
    "illegal": torch.AcceleratorError(ILLEGAL),
    "full": torch.OutOfMemoryError(FULL),
    "full, says CUDA": torch.AcceleratorError(
        "CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation' in ..."
    ),
    "cublas": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "cudnn": RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    "cufft": RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
    "mistake": RuntimeError(
        "The size of tensor a (3) must match the size of tensor b (4) at non-singleton dimension 1"
    ),
}


def raising(speaker: f5.Speaker, error: RuntimeError, seen: list[Any]) -> Any:
    """A hook by which the network fails in the middle, where it has a large tensor in use; no device here fails so."""

    def fail(*_: object) -> None:
        large = torch.zeros(1000)
        seen.append(weakref.ref(large))
        raise error

    return speaker.model.transformer.register_forward_hook(fail)


def of_gpu(speaker: f5.Speaker, voice: reference.Voice) -> dict[str, Any]:
    """What a caller sees of a GPU that fails in the middle of a job, and what is said after it."""
    manner = Manner(seed=1, nfe_step=4)
    found: dict[str, Any] = {"whole": digest(speaker.speak("One text.", voice, manner=manner).samples)}
    for refuses in (False, True):
        for name, error in FAULTS.items():
            seen: list[Any] = []
            freed: list[bool] = []

            def empty_cache(seen: list[Any] = seen, freed: list[bool] = freed, refuses: bool = refuses) -> None:
                freed.append(seen[0]() is None)
                if refuses:  # as CUDA does with every call after most of its errors
                    raise torch.AcceleratorError(ILLEGAL)

            hook = raising(speaker, error, seen)
            with mock.patch.object(torch.cuda, "empty_cache", empty_cache):
                try:
                    speaker.speak("One text.", voice, manner=manner)
                except Exception as raised:
                    told = [type(raised).__name__, str(raised), speaker._lock.locked(), freed]
            hook.remove()
            found[f"{name}, refusing" if refuses else name] = told
    found["after"] = digest(speaker.speak("One text.", voice, manner=manner).samples)
    return found


def of_gpu_at_the_start(speaker: f5.Speaker, files: Any) -> dict[str, list[Any]]:
    """The errors of a load, and of the first inference."""
    found: dict[str, list[Any]] = {}
    for name, error in {"no code": torch.AcceleratorError(NO_CODE), "full": FAULTS["full"]}.items():
        hook = raising(speaker, error, [])
        try:
            speaker.warm_up()
        except CasError as raised:
            found[name] = [type(raised).__name__, raised.exit_code, str(raised)]
        hook.remove()
    for name, error in {"ecc": torch.AcceleratorError(ECC), "damage": RuntimeError("invalid header")}.items():
        with mock.patch.object(networks, "load_file", mock.Mock(side_effect=error)):
            try:
                f5.load(files, "cpu")
            except CasError as raised:
                found[name] = [type(raised).__name__, raised.exit_code, str(raised)]
    return found


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
    speaker = f5.load(model_files.find(HUB), "cpu")
    voice = reference.prepare(data, "Some words are said here.")
    answer = {
        "in parts": in_parts(speaker, voice),
        "stopped": stopped(speaker, voice),
        "together": together(speaker, voice),
        "refused": refused(speaker, data),
        "of gpu": of_gpu(speaker, voice),
        "of gpu at the start": of_gpu_at_the_start(speaker, model_files.find(HUB)),
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
