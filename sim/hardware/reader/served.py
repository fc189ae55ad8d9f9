"""In which data types an engine serves a checkpoint: vLLM's options dtype and kv_cache_dtype."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.hardware.dense import BYTES_PER_VALUE
from sim.hardware.reader.fields import Fields
from sim.hardware.reader.parts import Served
from workloads.errors import InputError
from workloads.shown import nearest

if TYPE_CHECKING:
    from sim.hardware.reader.quantization import Quantization

DTYPES = ("auto", "half", "float16", "bfloat16", "float", "float32")
KV_BYTES = {**BYTES_PER_VALUE, "fp8": 1, "fp8_e4m3": 1, "fp8_e5m2": 1, "fp8_ds_mla": 1, "int8": 1}
LONG = {"half": "float16", "float": "float32"}
FP8_ONLY = ("deepseek_v4", "deepseek_ref")
"""Models whose cache vLLM keeps in fp8 and in nothing else."""
FP8_KV = {"fp8", "fp8_e4m3", "fp8_e5m2", "fp8_ds_mla"}


def served_types(f: Fields, format_: Quantization, dtype: str, kv_cache_dtype: str) -> Served:
    """What the engine makes of the checkpoint's data type and the two options.

    ``dtype: auto``: as the file says, but 16 bit in place of 32 (vLLM's ``_resolve_auto_dtype``).
    ``kv_cache_dtype: auto``: as the checkpoint's quantisation says, else as ``dtype``.
    """
    own = f.text(f.get("dtype", "torch_dtype"))
    if not own:
        own = next(
            (f.sub(part).text(f.sub(part).get("dtype", "torch_dtype")) for part in NESTED if part in f), ""
        )
    own = (own or "bfloat16").removeprefix("torch.")
    if own not in BYTES_PER_VALUE:
        f.refuse(f.get("dtype", "torch_dtype"), ", ".join(BYTES_PER_VALUE))
    if dtype == "auto" and "serve_dtype" in f:  # a model of ours, measured in this type
        dtype = f.text("serve_dtype")
    if dtype == "auto":
        dtype = "bfloat16" if BYTES_PER_VALUE[own] > 2 else own
    dtype = LONG.get(dtype, dtype)
    if dtype not in BYTES_PER_VALUE:
        raise InputError(f"dtype = {dtype!r}; {nearest(dtype, list(DTYPES))}")
    if kv_cache_dtype == "auto":
        only = "fp8" if f.text("model_type") in FP8_ONLY else dtype
        kv_cache_dtype = format_.kv_dtype or only
    if kv_cache_dtype not in KV_BYTES:
        raise InputError(
            f"kv_cache_dtype = {kv_cache_dtype!r}; {nearest(kv_cache_dtype, ['auto', *KV_BYTES])}"
        )
    return Served(dtype, BYTES_PER_VALUE[dtype], kv_cache_dtype, KV_BYTES[kv_cache_dtype])


NESTED = ("text_config", "llm_config")
"""Where configurations of several parts have their decoder."""
