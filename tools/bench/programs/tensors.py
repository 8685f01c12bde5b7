"""What tells the tensors of one model from those of another."""

from __future__ import annotations

import hashlib
from typing import Any

Digests = dict[str, list[str]]
"""Name of a tensor -> its dtype, the digest of its bytes, and that of its bytes in float16."""


def digests(model: Any) -> Digests:
    """Return the digests of a network's parameters and persistent buffers."""
    import torch

    def digest(tensor: Any) -> str:
        data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        return hashlib.sha256(data).hexdigest()

    return {
        name: [str(tensor.dtype), digest(tensor), digest(tensor.to(torch.float16))]
        for name, tensor in model.state_dict().items()
    }
