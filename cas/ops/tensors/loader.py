"""Load tensors: from the chunks of a version straight into their memory, without touching the disk.

Order of steps:
    1. resolve the reference; choose the files by their names and indexes, and read their headers
    2. check that the framework has the type of every tensor; plan which chunk goes where
    3. import torch in the background; reserve the memory of the tensors
    4. fetch the chunks with as many requests as a restore; decode each into its tensor's memory, and verify it there
    5. give the memory types and shapes

Why in this order: what is wrong with the call shows before the first large byte moves. The import of torch takes a
second and more, in which a link would be idle. Only a device's memory needs torch before chunks can be fetched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cas import events, refs
from cas.errors import InputError
from cas.formats.version_tree import tree_of
from cas.host import Limits
from cas.ops.tensors.files import FileChoice
from cas.ops.tensors.kinds import FRAMEWORKS, check_kinds
from cas.ops.tensors.plan import plan_fetches
from cas.ops.tensors.torch_import import import_torch, is_installed
from cas.parallel import BackgroundCall
from cas.refs.reference import Resolved
from cas.store.fetch import Fetcher
from cas.store.reading import open_to_read
from cas.store.store import Store


def load_tensors(
    reference: str | Resolved,
    store: Store | str | None = None,
    *,
    include: str | Sequence[str] = (),
    names: str | Sequence[str] = (),
    framework: str = "torch",
    device: str = "cpu",
    limits: Limits | None = None,
    on_event: events.Listener = events.log,
) -> dict[str, Any]:
    """Return the tensors of a version's safetensors files by their names, every byte verified.

    The memory that this takes at its peak is that of the tensors and less than 200 MiB, beside torch's own.

    Args:
        reference: `model`, `model:tag`, `model@digest`, `pin:deployment/model`, or what else `cas.resolve` takes; or an
            already resolved version, such as `read_lock` returns: then only chunks are read from the store.
        store: an open store, a URL, or None for the default.
        include: glob patterns of the files to load, by their paths in the repo or in the version (`ORG/NAME/path`);
            all by default. Of a folder with an index, the files that the index names.
        names: glob patterns of the names of the tensors to load; all by default.
        framework: `torch` or `numpy`, which lacks bfloat16 and the 8-bit floats.
        device: where torch puts the tensors, such as `cuda`; `cpu` by default.
        limits: bounds of memory, requests and threads.
        on_event: hears what happens.

    Raises:
        InputError: the reference or an option is no valid one, a pattern matches nothing, no file is a safetensors
            file, two have a tensor of one name, or the framework lacks a tensor's type or is not installed.
        NotFoundError: the store has no such version.
        IntegrityError: a chunk or a manifest is damaged.
        FormatError: the store's format is not known, or a file is no sound safetensors file.
        StoreError: the store cannot be read.
    """
    _check_options(framework, device)
    limits = limits or Limits()
    store = open_to_read(store, on_event)
    on_event(events.Phase("resolve"))
    resolved = reference if isinstance(reference, Resolved) else refs.resolve(store, reference, listen=on_event)
    on_event(events.Resolved(resolved.exact, resolved.manifest.plain_size))
    on_event(events.Phase("plan"))
    choice = FileChoice(store, resolved.exact, tree_of(resolved.manifest), limits)
    files = choice.choose(_patterns(include), _patterns(names))
    check_kinds(((file.path, tensor) for file in files for tensor in file.tensors), framework)
    tensors = [tensor for file in files for tensor in file.tensors]
    fetches = plan_fetches(files)

    from cas.ops.tensors.memory import DeviceMemory, HostMemory  # imports numpy

    torch = BackgroundCall(import_torch) if framework == "torch" else None
    try:
        memory = HostMemory(tensors) if device == "cpu" or not torch else DeviceMemory(torch.result(), device, tensors)
        on_event(events.Phase("fetch", sum(fetch.chunk.size for fetch in fetches)))
        Fetcher(store, limits, on_event).fetch(fetches, memory, limits.budget, memory.memory)
    finally:
        # The end of a process while a thread imports torch would be an abort.
        imported = torch and torch.result()
    if isinstance(memory, DeviceMemory):
        loaded = memory.as_torch()
    else:
        loaded = memory.as_torch(imported) if imported else memory.as_numpy()
    return {tensor.name: value for tensor, value in zip(tensors, loaded, strict=True)}


def _check_options(framework: str, device: str) -> None:
    if framework not in FRAMEWORKS:
        raise InputError(f"framework={framework!r}: write {' or '.join(map(repr, FRAMEWORKS))}")
    if framework == "numpy" and device != "cpu":
        raise InputError(f"device={device!r}: numpy has the memory of the machine alone; leave it out, or use torch")
    if framework == "torch" and not is_installed():
        raise InputError("torch is not installed: install it, or load with framework='numpy'")


def _patterns(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)
