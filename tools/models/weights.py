"""Made-up weights with the statistics of trained ones, so that compression and deduplication work as on real models."""

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Shapes = Mapping[str, tuple[str, tuple[int, ...]]]
"""Tensor name -> (dtype as in safetensors, shape)."""

ITEM_SIZES = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8}
BLOCK = 1 << 22
"""The most elements that are made at once: 16 MiB of float32."""


@dataclass(frozen=True)
class Recipe:
    """What decides the values: equal recipes give equal values (with one version of numpy).

    Attributes:
        seed: any integer; decides all values.
        changed_fraction: how much of all bytes belongs to tensors drawn anew, 0 to 1; whole tensors change,
            and as many as fit.
        nudge: relative standard deviation of a small change to every float, such as 1e-3.
        change_seed: decides which tensors are drawn anew, and their values and the nudges.
    """

    seed: int
    changed_fraction: float = 0.0
    nudge: float = 0.0
    change_seed: int = 1


class Weights(Mapping[str, Array]):
    """Tensors that are made each time they are read, each from the recipe and its own name alone.

    BF16 tensors are arrays of their bits (uint16), as numpy has no such type.

    Args:
        shapes: the tensors' dtypes and shapes.
        recipe: decides the values.

    Raises:
        ValueError: a dtype is not one of `ITEM_SIZES`.
    """

    def __init__(self, shapes: Shapes, recipe: Recipe) -> None:
        unknown = {dtype for dtype, _ in shapes.values()} - ITEM_SIZES.keys()
        if unknown:
            raise ValueError(f"cannot make {', '.join(sorted(unknown))}, only {', '.join(ITEM_SIZES)}")
        self.shapes = shapes
        self.recipe = recipe
        self.changed = frozenset(_changed_names(shapes, recipe))

    def __getitem__(self, name: str) -> Array:
        """Make one tensor and return it in its shape."""
        whole = np.concatenate(list(self.blocks(name)))
        return whole.reshape(self.shapes[name][1])

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, in the order of `shapes`."""
        return iter(self.shapes)

    def __len__(self) -> int:
        """Return the number of the tensors."""
        return len(self.shapes)

    def blocks(self, name: str) -> Iterator[Array]:
        """Make one tensor and yield it flattened, at most `BLOCK` elements at a time."""
        dtype, shape = self.shapes[name]
        seed, change = self.recipe.seed, self.recipe.change_seed
        drawn = ("changed", seed, change) if name in self.changed else ("values", seed)
        values = _generator(*drawn, name)
        nudges = _generator("nudges", seed, change, name)
        mean, deviation = _statistics(name, shape, values)
        left = math.prod(shape)
        while True:
            count = min(left, BLOCK)
            if dtype == "I64":
                yield values.integers(0, 1 << 16, count)
            else:
                block = values.standard_normal(count, np.float32)
                block *= deviation
                block += mean
                if self.recipe.nudge:
                    block *= 1 + np.float32(self.recipe.nudge) * nudges.standard_normal(count, np.float32)
                yield _cast(block, dtype)
            left -= count
            if not left:
                return


def nbytes(dtype: str, shape: tuple[int, ...]) -> int:
    """Return the length of a tensor's data in bytes."""
    return ITEM_SIZES[dtype] * math.prod(shape)


def _changed_names(shapes: Shapes, recipe: Recipe) -> Iterator[str]:
    sizes = {name: nbytes(*spec) for name, spec in shapes.items()}
    left = recipe.changed_fraction * sum(sizes.values())
    for name in sorted(sizes, key=lambda name: _digest("choice", recipe.change_seed, name)):
        if sizes[name] <= left:
            left -= sizes[name]
            yield name


def _digest(*what: str | int) -> bytes:
    return hashlib.sha256("\0".join(map(str, what)).encode()).digest()


def _generator(*what: str | int) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(int.from_bytes(_digest(*what))))


def _statistics(name: str, shape: tuple[int, ...], generator: np.random.Generator) -> tuple[float, float]:
    """Return mean and deviation: 1/sqrt(fan-in) up to a factor for matrices, as initialised; gains stay near 1."""
    spread = float(np.exp(generator.normal(0, 0.4)))
    if len(shape) > 1:
        return 0.0, spread / math.sqrt(max(math.prod(shape[1:]), 1))
    gain = name.endswith(("weight", "gamma"))
    return (1.0 if gain else 0.0), 0.05 * spread


def _cast(block: NDArray[np.float32], dtype: str) -> Array:
    if dtype == "F16":
        return block.astype(np.float16)
    if dtype == "BF16":
        bits = block.view(np.uint32)
        return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)  # to the nearest, ties to even
    return block
