"""The worker's imports in less time: a cold start waits for them once the model is restored.

F5-TTS, Vocos and the RunPod SDK import at their start what only training, other vocoders or a command line use:
transformers, librosa, datasets, wandb, paramiko, 3,800 modules in all. Within `lean()` this is put off until something
uses it. This module is the one place that says what is put off, and why:

- PACKAGES: a package whose `__init__` runs when somebody asks for a name that only it defines. Its modules are imported
  without it.
- MODULES: a module that is looked for at the first use of one of its names. Where it is not installed, that use fails
  with an ImportError that says so.

Nothing is faked, so it does not matter what was imported before, or is imported later: a module that is there already
is taken, and outside of `lean()` every import is the usual one.

`hurried()` adds what makes all imports of a start faster. torch and the rest make a million objects, none of which is
garbage, and Python's garbage collector looks at all of them again and again: a fifth of the time. The RunPod SDK asks
py-cpuinfo for the processor's name, which forks, and sleeps for a second to measure the processor's clock.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGES: Mapping[str, str] = {
    "f5_tts.model": "it imports the trainer: accelerate, datasets, ema_pytorch, wandb",
    "x_transformers": "it imports a dozen models, of which F5-TTS uses the rotary embedding",
    "runpod.cli": "the SDK takes from it the reader of ~/.runpod/config.toml; it imports paramiko",
}
"""Packages whose modules are imported without their `__init__`, and what that would import."""

MODULES: Mapping[str, str] = {
    "einx": "x_transformers: attention biases; it imports torch._dynamo, sympy and triton",
    "loguru": "x_transformers: warnings to those who train",
    "librosa": "f5_tts.model.modules: the spectrogram for BigVGAN, which is not supported here",
    "encodec": "vocos.feature_extractors: features of EnCodec",
    "scipy": "vocos.spectral_ops: heads that invert an MDCT; torchdiffeq: SciPy's solvers",
    "huggingface_hub": "vocos.pretrained: downloads",
    "tomlkit": "runpod.cli.groups.config: `runpod config` writes a file",
}
"""Modules that are looked for at their first use, and who names them for what."""

_CPUINFO = "cpuinfo"


@contextlib.contextmanager
def hurried() -> Iterator[None]:
    """Import within the block what is used alone, without garbage collection, and without py-cpuinfo.

    The objects that the block makes are frozen: the garbage collector never looks at them later, either.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        with lean(), _named_processor():
            yield
    finally:
        gc.freeze()
        if collecting:
            gc.enable()


@contextlib.contextmanager
def lean() -> Iterator[None]:
    """Put off within the block what PACKAGES and MODULES name, except what is imported already.

    The modules that are imported within the block keep what was put off for them; sys.modules does not. Another thread
    that imports one of MODULES meanwhile gets a module of this kind, too.
    """
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        # No lock: of two threads in such a block, one may wait for a module that the other one imports.
        if not any(isinstance(other, _Finder) for other in sys.meta_path):
            for name in [name for name, module in list(sys.modules.items()) if isinstance(module, _ModuleOnUse)]:
                sys.modules.pop(name, None)


class _Finder(MetaPathFinder):
    """Finds the packages and modules that are put off; all others are left to those who come next."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        if fullname in PACKAGES:
            spec = PathFinder.find_spec(fullname, path)
            if spec is not None and spec.loader is not None:
                spec.loader = _PackageLoader(spec.loader)
            return spec
        root = fullname.partition(".")[0]
        # A submodule of a package that was really imported is really imported, too.
        if root in MODULES and (root == fullname or isinstance(sys.modules.get(root), _ModuleOnUse)):
            return ModuleSpec(fullname, _ModuleLoader(), is_package=True)
        return None


class _PackageLoader(Loader):
    def __init__(self, real: Any) -> None:
        self._real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _PackageOnUse(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__
        module.__spec__.loader = module.__loader__ = self._real


class _PackageOnUse(ModuleType):
    """A package whose `__init__` has not run. It becomes an ordinary one when a name is missing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__all__":  # what the import system looks for
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        self.__class__ = ModuleType  # type: ignore[assignment]  # its __init__ uses it as any package's does
        try:
            self.__spec__.loader.exec_module(self)  # type: ignore[union-attr]
        except BaseException:
            self.__class__ = _PackageOnUse
            raise
        return getattr(self, name)


class _ModuleLoader(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _ModuleOnUse(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


class _ModuleOnUse(ModuleType):
    """In the place of a module while others are imported that name it. Each of its names is one of `_NameOnUse`."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return _NameOnUse(self.__name__, name)


class _NameOnUse:
    """A function, class or module of a module that is imported when it is called, or when something of it is."""

    def __init__(self, module: str, name: str) -> None:
        self.__module, self.__name = module, name

    def __call__(self, *words: Any, **named: Any) -> Any:
        return self.__found()(*words, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__found(), name)

    def __repr__(self) -> str:
        return f"<{self.__module}.{self.__name}, imported when it is used>"

    def __found(self) -> Any:
        root = self.__module.partition(".")[0]
        what = f"{self.__module}.{self.__name}"
        if isinstance(sys.modules.get(root), _ModuleOnUse):
            raise ImportError(f"{what} is used while others are imported: worker/imports.py puts {root} off")
        try:
            module = importlib.import_module(self.__module)
        except ImportError as error:
            raise ImportError(
                f"{what} is used and cannot be imported ({error}). The worker does without {root} ({MODULES[root]}): "
                "install it for this use"
            ) from error
        return getattr(module, self.__name)


@contextlib.contextmanager
def _named_processor() -> Iterator[None]:
    """Stand in for py-cpuinfo with a module that knows the processor's name, which is all that the SDK asks for.

    Where py-cpuinfo is imported already, nothing is done.
    """
    if _CPUINFO in sys.modules:
        yield
        return
    quick = ModuleType(_CPUINFO)
    vars(quick)["get_cpu_info"] = lambda: {"brand_raw": _processor()}
    sys.modules[_CPUINFO] = quick
    try:
        yield
    finally:
        del sys.modules[_CPUINFO]


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or "unknown"
