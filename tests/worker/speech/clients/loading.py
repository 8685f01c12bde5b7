"""Run in the worker's environment: loads copies of a hub cache, each spoilt in its own way, and tells the errors.

Arguments: the hub cache, and a folder for the copies.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from worker.speech import f5, model_files, networks

HUB, COPIES = (Path(word) for word in sys.argv[1:])

Spoil = Callable[[Path], None]


def flip(path: Path) -> None:
    """One bit in the middle; the size stays."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def weights(hub: Path) -> Path:
    return model_files.find(hub).weights.path


def config(hub: Path) -> Path:
    found = model_files.find(hub).config
    assert found
    return found.path


def forget(hub: Path) -> None:
    """As a cache that huggingface_hub filled."""
    for record in hub.glob("*/.cas"):
        shutil.rmtree(record)


def exchange(hub: Path) -> None:
    """The snapshot's link goes, and a file of somebody else's comes."""
    path = weights(hub)
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)


def other_width(hub: Path) -> None:
    forget(hub)
    path = config(hub)
    path.write_text(path.read_text().replace('"dim": 64', '"dim": 128'))


def large(hub: Path) -> None:
    """Made-up weights of it would take gigabytes."""
    forget(hub)
    path = config(hub)
    path.write_text(path.read_text().replace('"dim": 64', '"dim": 8192'))


def no_config(hub: Path) -> None:
    forget(hub)
    config(hub).write_text("model: {backbone: DiT}")


def no_pickle(hub: Path) -> None:
    forget(hub)
    model_files.find(hub).vocoder_weights.path.write_bytes(b"not a zip")


def code_in_config(hub: Path) -> None:
    """Whatever it names would leave a file; so would the pickle, if it came to that."""
    forget(hub)
    files = model_files.find(hub)
    named = "{class_path: subprocess.Popen, init_args: {args: [touch, %s]}}" % (hub.parent / "ran")
    files.vocoder_config.path.write_text(f"feature_extractor: {named}\nbackbone: {named}\nhead: {named}\n")


def secret_in_config(hub: Path) -> None:
    forget(hub)
    config(hub).write_text(config(hub).read_text().replace('"dim": 64', '"dim": "${oc.env:PATH}"'))


class Touch:
    """A pickle of it runs a command where it is loaded as pickles are by default."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.path}",)


def pickled(make: Callable[[Path], object]) -> Spoil:
    """The vocoder's weights are a pickle of something."""

    def spoil(hub: Path) -> None:
        forget(hub)
        torch.save(make(hub.parent / "ran"), model_files.find(hub).vocoder_weights.path)

    return spoil


def cut(hub: Path) -> None:
    forget(hub)
    os.truncate(weights(hub), 1_000_000)


CASES: dict[str, tuple[Spoil, bool]] = {
    "as it was": (lambda hub: None, True),
    "weights changed": (lambda hub: flip(weights(hub)), False),
    "weights cut": (lambda hub: os.truncate(weights(hub), 1_000_000), False),
    "weights touched": (lambda hub: os.utime(weights(hub)), False),
    "vocoder changed": (lambda hub: flip(model_files.find(hub).vocoder_weights.path), False),
    "vocoder config changed": (lambda hub: flip(model_files.find(hub).vocoder_config.path), False),
    "config changed": (lambda hub: flip(config(hub)), False),
    "no record, none wanted": (forget, False),
    "no record": (forget, True),
    "exchanged": (exchange, True),
    "weights gone": (lambda hub: weights(hub).unlink(), False),
    "model gone": (lambda hub: shutil.rmtree(hub / "models--charactr--vocos-mel-24khz"), False),
    "of another width": (other_width, False),
    "too large": (large, False),
    "config without a network": (no_config, False),
    "no pickle": (no_pickle, False),
    "code in the vocoder's config": (code_in_config, False),
    "a variable in the config": (secret_in_config, False),
    "code in a pickle": (pickled(lambda ran: {"head.out.bias": Touch(ran)}), False),
    "a pickle of a list": (pickled(lambda ran: [torch.zeros(1)]), False),
    "a pickle of words": (pickled(lambda ran: {"head.out.bias": "x"}), False),
    "a pickle without names": (pickled(lambda ran: {1: torch.zeros(1)}), False),
    "a sparse pickle": (pickled(lambda ran: {"head.out.bias": torch.zeros(1026).to_sparse()}), False),
    "cut and unknown": (cut, False),
}


def attempt(hub: Path, must_be_verified: bool) -> list[str]:
    try:
        f5.load(model_files.find(hub, must_be_verified=must_be_verified), "cpu")
    except Exception as error:
        assert not (hub.parent / "ran").exists()
        return [type(error).__name__, str(error)]
    return ["loaded", ""]


def changed_while_read(hub: Path) -> list[str]:
    """The file is written to after it was opened."""
    load_file = networks.load_file

    def late(path: str, device: str) -> Any:
        tensors = load_file(path, device=device)
        flip(Path(path))
        return tensors

    networks.load_file = late
    try:
        return attempt(hub, True)
    finally:
        networks.load_file = load_file


def fault_of_the_machine(hub: Path, error: Exception) -> list[str]:
    """The weights cannot be read, and are as they should be."""

    def fail(path: str, device: str) -> Any:
        raise error

    load_file, networks.load_file = networks.load_file, fail
    try:
        return attempt(hub, True)
    finally:
        networks.load_file = load_file


def named_by_the_environment(hub: Path) -> list[str]:
    """The config is elsewhere."""
    forget(hub)
    elsewhere = hub.parent / "tiny.yaml"
    shutil.move(os.path.realpath(config(hub)), elsewhere)
    without = attempt(hub, False)
    os.environ["CAS_F5_CONFIG"] = str(elsewhere)
    named = attempt(hub, False)
    del os.environ["CAS_F5_CONFIG"]
    return [*without, *named]


def main() -> None:
    def copy(name: str) -> Path:
        return Path(shutil.copytree(HUB, COPIES / name / "hub", symlinks=True))

    answer = {}
    for name, (spoil, must_be_verified) in CASES.items():
        hub = copy(name)
        spoil(hub)
        answer[name] = attempt(hub, must_be_verified)
    answer["changed while it was read"] = changed_while_read(copy("late"))
    no_memory = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 7 bytes.")
    answer["no memory"] = fault_of_the_machine(copy("memory"), no_memory)
    answer["the disk fails"] = fault_of_the_machine(copy("disk"), OSError(errno.EIO, "Input/output error"))
    answer["named by the environment"] = named_by_the_environment(copy("elsewhere"))
    print(json.dumps(answer), file=sys.__stdout__)


if __name__ == "__main__":
    sys.stdout = sys.stderr
    main()
