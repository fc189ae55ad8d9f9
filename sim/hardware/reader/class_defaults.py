"""Heads that a file leaves out, as the classes of transformers 5.24 fill them in.

Llama's own rule (as many KV heads as heads, head_dim = hidden / heads) is that of few classes: a Gemma has
heads of 256 whatever its width, a Mistral 8 KV heads. Files written by these classes name both; files that
were edited or written by other tools may not.
"""

from __future__ import annotations


def _heads(kv_heads: int | None, head_dim: int | None = None) -> dict[str, int]:
    found = {"num_key_value_heads": kv_heads, "head_dim": head_dim}
    return {key: size for key, size in found.items() if size is not None}


HEADS: dict[str, dict[str, int]] = {
    "dots1": _heads(32),
    "ernie4_5": _heads(2, 128),
    "ernie4_5_moe": _heads(4),
    "exaone": _heads(8),
    "exaone4": _heads(32),
    "gemma": _heads(16, 256),
    "gemma2": _heads(4, 256),
    "gemma3_text": _heads(4, 256),
    "glm": _heads(2, 128),
    "glm4": _heads(2, 128),
    "glm4_moe": _heads(8),
    "gpt_oss": _heads(8, 64),
    "helium": _heads(20, 128),
    "jamba": _heads(8),
    "llama4_text": _heads(8, 128),
    "minimax": _heads(8),
    "minimax_m2": _heads(8, 128),
    "ministral": _heads(8),
    "ministral3": _heads(8, 128),
    "mistral": _heads(8),
    "mixtral": _heads(8),
    "nemotron_h": _heads(8, 128),
    "phimoe": _heads(8),
    "qwen2": _heads(32),
    "qwen2_5_vl_text": _heads(8),
    "qwen2_moe": _heads(16),
    "qwen2_vl_text": _heads(8),
    "qwen3": _heads(32, 128),
    "qwen3_5_moe_text": _heads(2, 256),
    "qwen3_5_text": _heads(4, 256),
    "qwen3_moe": _heads(4),
    "qwen3_next": _heads(2, 256),
    "qwen3_vl_moe_text": _heads(16),
    "qwen3_vl_text": _heads(32, 128),
    "seed_oss": _heads(8, 128),
    "smollm3": _heads(4),
    "stablelm": _heads(32),
    "starcoder2": _heads(2),
    "step3p5": _heads(8, 128),
}
"""By ``model_type``; what is in none of these is Llama's rule."""
