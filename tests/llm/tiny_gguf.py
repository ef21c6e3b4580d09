"""A language model of a few kilobytes with random weights, as a GGUF file.

The layout is that of the GGUF specification, version 3: magic, version, counts, metadata,
descriptions of tensors, padding, data. The architecture is llama's with one layer; a token is
a byte.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

UINT32, FLOAT32, STRING, ARRAY, INT32 = 4, 6, 8, 9, 5
ALIGNMENT = 32
WIDTH, HIDDEN, HEADS = 32, 64, 2
UNKNOWN, CONTROL, BYTE = 2, 3, 6
"""Types of tokens."""


def write_model(path: Path, seed: int = 0) -> Path:
    """Write the model; equal seeds give equal files."""
    special = [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)]
    tokens = special + [(f"<0x{byte:02X}>", BYTE) for byte in range(256)]
    metadata: list[tuple[str, int, Any]] = [
        ("general.architecture", STRING, "llama"),
        ("llama.context_length", UINT32, 4096),
        ("llama.embedding_length", UINT32, WIDTH),
        ("llama.block_count", UINT32, 1),
        ("llama.feed_forward_length", UINT32, HIDDEN),
        ("llama.attention.head_count", UINT32, HEADS),
        ("llama.attention.layer_norm_rms_epsilon", FLOAT32, 1e-5),
        ("tokenizer.ggml.model", STRING, "llama"),
        ("tokenizer.ggml.tokens", STRING, [text for text, _ in tokens]),
        ("tokenizer.ggml.scores", FLOAT32, [0.0] * len(tokens)),
        ("tokenizer.ggml.token_type", INT32, [kind for _, kind in tokens]),
        ("tokenizer.ggml.bos_token_id", UINT32, 1),
        ("tokenizer.ggml.eos_token_id", UINT32, 2),
    ]
    rng = np.random.default_rng(seed)
    shapes = {
        "token_embd.weight": (len(tokens), WIDTH),
        "output.weight": (len(tokens), WIDTH),
        "blk.0.attn_q.weight": (WIDTH, WIDTH),
        "blk.0.attn_k.weight": (WIDTH, WIDTH),
        "blk.0.attn_v.weight": (WIDTH, WIDTH),
        "blk.0.attn_output.weight": (WIDTH, WIDTH),
        "blk.0.ffn_gate.weight": (HIDDEN, WIDTH),
        "blk.0.ffn_up.weight": (HIDDEN, WIDTH),
        "blk.0.ffn_down.weight": (WIDTH, HIDDEN),
    }
    tensors = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    norms = ("output_norm.weight", "blk.0.attn_norm.weight", "blk.0.ffn_norm.weight")
    tensors |= {name: np.ones(WIDTH) for name in norms}

    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    for name, kind, value in metadata:
        head += text(name) + typed(kind, value)
    data = b""
    for name, tensor in tensors.items():
        head += text(name) + struct.pack("<I", tensor.ndim)
        head += struct.pack(f"<{tensor.ndim}Q", *reversed(tensor.shape))
        head += struct.pack("<IQ", 0, len(data))  # 0: 32-bit floats
        data += padded(tensor.astype("<f4").tobytes())
    path.write_bytes(padded(head) + data)
    return path


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def typed(kind: int, value: Any) -> bytes:
    if isinstance(value, list):
        items = b"".join(plain(kind, item) for item in value)
        return struct.pack("<IIQ", ARRAY, kind, len(value)) + items
    return struct.pack("<I", kind) + plain(kind, value)


def plain(kind: int, value: Any) -> bytes:
    if kind == STRING:
        return text(value)
    return struct.pack({UINT32: "<I", INT32: "<i", FLOAT32: "<f"}[kind], value)


def padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % ALIGNMENT)
