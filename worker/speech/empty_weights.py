"""Networks whose parameters have no storage until a file's tensors take their place, and memory for those tensors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

# Made-up weights take the memory of the largest parameter, and a warm-up with them the time of all, before a config is
# compared with the tensors of the weights. F5-TTS has 6 million numbers in its largest, and 337 million in all.
_MOST_IN_ONE, _MOST = 2**28, 2**32


@contextlib.contextmanager
def empty_weights() -> Iterator[None]:
    """Make the parameters of modules within the block on the meta device, and fill none; buffers are made as usual.

    So does accelerate's `init_empty_weights(include_buffers=False)`, but for the filling: torch fills parameters on the
    meta device, too, where trunc_normal_ imports torch._dynamo and with it sympy: 1 s of nothing.

    Other threads must not make modules meanwhile: the methods of torch that make parameters are exchanged for all.

    Raises:
        ValueError: the parameters are larger than those of any network of F5-TTS.
    """
    register = nn.Module.register_parameter
    total = 0

    def register_empty(module: Any, name: str, parameter: Any) -> None:
        nonlocal total
        register(module, name, parameter)
        if parameter is not None:
            size = parameter.numel()
            total += size
            if size > _MOST_IN_ONE or total > _MOST:
                raise ValueError(
                    f"a parameter of {size:,} numbers, {total:,} with those before it: at most {_MOST_IN_ONE:,} are "
                    f"allowed in one, and {_MOST:,} in all"
                )
            empty = parameter.to("meta")
            module._parameters[name] = type(parameter)(empty, requires_grad=parameter.requires_grad)

    fill = {name: value for name, value in vars(nn.init).items() if name.endswith("_") and not name.startswith("_")}
    nn.Module.register_parameter = register_empty
    vars(nn.init).update(dict.fromkeys(fill, _unfilled))
    try:
        yield
    finally:
        nn.Module.register_parameter = register
        vars(nn.init).update(fill)


def memory_for(model: Any, dtype: Any) -> dict[str, Any]:
    """Take memory for the parameters of a network from the system, for a CPU, and return it as tensors by name.

    The system gives memory away when it is first written to, which is most of the time that it takes to copy weights:
    0.58 of 0.68 s for the 337 million numbers of v1 Base as float32 (two cores of an AMD EPYC). So this writes zeros.

    Args:
        model: the network; its own parameters stay as they are.
        dtype: of the numbers.
    """
    return {name: torch.zeros(parameter.shape, dtype=dtype) for name, parameter in model.named_parameters()}


def _unfilled(tensor: Any, *_: object, **__: object) -> Any:
    return tensor
