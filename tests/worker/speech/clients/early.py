"""Run in the worker's environment: loads a model while it comes, in several ways, and tells what became of it.

Arguments: the hub cache of the published model, that of its float16 variant, and a folder for copies.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tests.worker.speech.clients.coming import NAMES, SPEECH, Coming, OnGpu
from worker.boot.device import NoGpu
from worker.boot.messages import Arrived, Expected
from worker.model.early_work import EarlyWork
from worker.speech import f5, model_files, networks

HUB, HALF, COPIES = (Path(word) for word in sys.argv[1:])


def copied(name: str) -> Path:
    return Path(shutil.copytree(HUB.parent, COPIES / name, symlinks=True)) / "hub"


def different(speaker: Any, hub: Path) -> list[str]:
    """Tensors that are not those of the same cache, loaded at once."""
    wanted = f5.load(model_files.find(hub), "cpu")
    pairs = [(speaker.model, wanted.model), (speaker.vocoder, wanted.vocoder)]
    return [
        name
        for ours, theirs in pairs
        for name, tensor in theirs.state_dict().items()
        if not torch.equal(ours.state_dict()[name], tensor)
    ]


def reads(call: Callable[[], Any]) -> int:
    """How often the weights are read by a call."""
    count, load_file = 0, networks.load_file

    def counted(*words: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        return load_file(*words, **options)

    networks.load_file = counted
    try:
        call()
    finally:
        networks.load_file = load_file
    return count


def in_order(kind: type[EarlyWork]) -> dict[str, Any]:
    """As a restore brings the files: the weights last, after all that can be done without them."""
    coming = Coming(kind=kind).expect().arrive(HUB, "config", "vocabulary", "vocoder_config").until("early.memory")
    coming.arrive(HUB, "vocoder_weights").until("early.vocoder_weights").arrive(HUB, "weights").until("early.weights")
    again = reads(lambda: coming.finish(HUB))
    speaker = coming.work.finish(model_files.find(HUB, must_be_verified=True))
    speaker.warm_up()
    return {"phases": coming.done(), "different": different(speaker, HUB), "read again": again}


def all_at_once() -> dict[str, Any]:
    everything = threading.Event()  # until then the device is not ready, so that no file is waited for
    coming = Coming(lambda: "cpu" if everything.wait(60) else "", OnGpu).expect().arrive(HUB)
    everything.set()
    coming.until("early.weights")
    again = reads(lambda: coming.finish(HUB))
    return {"phases": coming.done(), "read again": again}


def into_the_memory() -> dict[str, Any]:
    """The weights of a CPU are copied into memory that was taken before they came, whatever their type."""
    coming = Coming().expect().arrive(HALF, "config", "vocabulary", "vocoder_config").until("early.memory")
    assert coming.work._loading
    memory = coming.work._loading._memory
    assert memory
    taken = {name: tensor.data_ptr() for name, tensor in memory.items()}
    coming.arrive(HALF, "vocoder_weights", "weights").until("early.weights")
    used = {name: tensor.data_ptr() for name, tensor in coming.finish(HALF).model.named_parameters()}
    return {"all": taken == used, "left": len(memory)}


def another_version() -> dict[str, Any]:
    """The restore ends with other files than those that came first."""
    coming = Coming().expect().arrive(HUB).until("early.weights")
    again = reads(lambda: coming.finish(HALF))
    speaker = coming.work.finish(model_files.find(HALF, must_be_verified=True))
    return {"different": different(speaker, HALF), "others": len(different(speaker, HUB)), "read again": again}


def freed() -> bool:
    """Networks whose place others take do not wait for the garbage collector: there may be memory for one pair."""
    coming = Coming().expect().arrive(HUB).until("early.weights")
    loading = coming.work._loading
    assert loading and loading.speaker
    early = weakref.ref(loading.speaker.model)
    gc.disable()
    coming.finish(HALF)
    gc.enable()
    return early() is None


def begun_anew() -> dict[str, Any]:
    """A second source begins: of what came before, nothing is left."""
    coming = Coming().expect().arrive(HUB).until("early.weights")
    coming.expect().arrive(HALF, "config", "vocabulary", "vocoder_config", "vocoder_weights")
    again = reads(lambda: coming.finish(HALF))
    return {
        "different": different(coming.work.finish(model_files.find(HALF, must_be_verified=True)), HALF),
        "read again": again,
    }


def vocoder_of_a_second_version() -> int:
    """It came before anything was expected, and is not told of again when the next source begins."""
    others = ("config", "vocabulary", "weights")
    coming = Coming().arrive(HUB, "vocoder_config", "vocoder_weights").expect().arrive(HUB, *others)
    coming.until("early.weights").expect().arrive(HUB, *others).until("early.weights", times=2)
    return reads(lambda: coming.finish(HUB))


def changed(name: str, change: Callable[[Path], None], role: str = "weights") -> list[str]:
    """A file is changed after it was loaded."""
    hub = copied(name)
    coming = Coming().expect().arrive(hub).until("early.weights")
    change(getattr(model_files.find(hub), role).path)
    return coming.outcome(hub)


def exchange(path: Path) -> None:
    """The same bytes and the same time, in another file."""
    real = Path(os.path.realpath(path))
    shutil.copy2(real, real.with_name("new"))
    real.with_name("new").rename(real)


def exchanged() -> int:
    hub = copied("exchanged")
    coming = Coming().expect().arrive(hub).until("early.weights")
    exchange(model_files.find(hub).weights.path)
    return reads(lambda: coming.finish(hub))


def at_the_top() -> int:
    """The weights lie in no folder of their repo, as in that of many fine-tunes."""
    hub = copied("top")
    files = model_files.find(hub, must_be_verified=True)
    top = files.weights.path.parents[1] / "model_last.safetensors"
    real = Path(os.path.realpath(files.weights.path))
    top.symlink_to(os.path.relpath(real, top.parent))
    stats = real.stat()
    coming = Coming().expect(Expected({**NAMES, "weights": (SPEECH, top.name)}))
    coming.arrive(hub, "config", "vocabulary", "vocoder_config", "vocoder_weights")
    coming.arrivals.put(Arrived(str(real), SPEECH, (top.name,), stats.st_size, stats.st_mtime_ns))
    coming.until("early.weights").arrivals.put(None)
    return reads(lambda: coming.work.finish(replace(files, weights=replace(files.weights, path=top))))


def damaged_config() -> list[str]:
    hub = copied("damaged")
    for record in hub.glob("*/.cas"):
        shutil.rmtree(record)
    config = model_files.find(hub).config
    assert config
    config.path.write_text("model: {backbone: DiT}")
    coming = Coming().expect().arrive(hub)
    coming.work._thread.join(60)
    coming.arrivals.put(None)
    try:
        coming.work.finish(model_files.find(hub))
    except Exception as error:
        return [type(error).__name__, str(error), *coming.done()]
    return []


def no_device() -> list[str]:
    def choose() -> str:
        raise NoGpu("no GPU today")

    coming = Coming(choose).expect().arrive(HUB)
    coming.work._thread.join(60)
    return coming.outcome(HUB)


def not_what_came() -> list[str]:
    coming = Coming().expect().arrive(HUB, later=1)
    coming.work._thread.join(60)
    return [*coming.outcome(HUB), *coming.done()]


def interrupted() -> str:
    """The main thread waits for a step that does not end; a signal is handled all the same."""

    class Told(Exception):
        pass

    def tell(*_: object) -> None:
        raise Told

    coming = Coming(lambda: time.sleep(1000) or "cpu")  # type: ignore[func-returns-value]
    signal.signal(signal.SIGALRM, tell)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        coming.finish(HUB)
    except Told:
        return "handled"
    return "not handled"


def main() -> None:
    answer = {
        "in order": in_order(OnGpu),
        "in order, on a processor": in_order(EarlyWork),
        "into the memory": into_the_memory(),
        "all at once": all_at_once(),
        "another version": another_version(),
        "freed": freed(),
        "begun anew": begun_anew(),
        "vocoder of a second version": vocoder_of_a_second_version(),
        "weights touched": changed("touched", os.utime),
        "vocoder touched": changed("vocoder", os.utime, "vocoder_weights"),
        "config touched": changed("config", os.utime, "config"),
        "exchanged": exchanged(),
        "at the top": at_the_top(),
        "damaged config": damaged_config(),
        "no device": no_device(),
        "not what came": not_what_came(),
        "nothing expected": Coming().arrive(HUB).outcome(HUB),
        "interrupted": interrupted(),
    }
    print(json.dumps(answer), file=sys.__stdout__)


if __name__ == "__main__":
    sys.stdout = sys.stderr
    main()
