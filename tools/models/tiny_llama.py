"""A tiny llama with made-up weights as a GGUF file that llama.cpp loads and runs: 0.1 MB."""

from pathlib import Path

import numpy as np

from tools.models.gguf import write_gguf

_WIDTH, _INNER, _HEADS = 32, 64, 2
_TOKENS = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *map(chr, range(97, 123))]
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6  # llama.cpp's enum llama_token_type


def write_tiny_llama(path: Path, seed: int = 0) -> None:
    """Write the model, its matrices as Q8_0.

    Keys and names of tensors: llama.cpp, src/llama-arch.cpp.

    Args:
        path: the file to write; its folder is made if it is missing.
        seed: decides the weights.

    Raises:
        OSError: the file cannot be written.
    """
    random = np.random.default_rng(seed)
    shapes = {
        "token_embd": (len(_TOKENS), _WIDTH),
        "output": (len(_TOKENS), _WIDTH),
        "blk.0.attn_q": (_WIDTH, _WIDTH),
        "blk.0.attn_k": (_WIDTH, _WIDTH),
        "blk.0.attn_v": (_WIDTH, _WIDTH),
        "blk.0.attn_output": (_WIDTH, _WIDTH),
        "blk.0.ffn_gate": (_INNER, _WIDTH),
        "blk.0.ffn_up": (_INNER, _WIDTH),
        "blk.0.ffn_down": (_WIDTH, _INNER),
    }
    matrices = {f"{name}.weight": random.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}
    norms = ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm")
    write_gguf(
        path,
        {**matrices, **{f"{name}.weight": np.ones(_WIDTH, np.float32) for name in norms}},
        frozenset(matrices),
        {
            "llama.vocab_size": len(_TOKENS),
            "llama.context_length": 128,
            "llama.embedding_length": _WIDTH,
            "llama.block_count": 1,
            "llama.feed_forward_length": _INNER,
            "llama.attention.head_count": _HEADS,
            "llama.attention.head_count_kv": _HEADS,
            "llama.attention.layer_norm_rms_epsilon": 1e-5,
            "llama.rope.dimension_count": _WIDTH // _HEADS,
            "tokenizer.ggml.model": "llama",
            "tokenizer.ggml.tokens": _TOKENS,
            "tokenizer.ggml.scores": [0.0] * len(_TOKENS),
            "tokenizer.ggml.token_type": [_UNKNOWN, _CONTROL, _CONTROL, *[_BYTE] * 256, *[_NORMAL] * 26],
            "tokenizer.ggml.bos_token_id": 1,
            "tokenizer.ggml.eos_token_id": 2,
            "tokenizer.ggml.unknown_token_id": 0,
        },
    )
