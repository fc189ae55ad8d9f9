"""A Hugging Face config.json as a `Model`: what its class is, as what data types it is served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sim.hardware.dense import MOST_PARAMS, DenseDecoder
from sim.hardware.model import Model
from sim.hardware.reader.families import FAMILIES
from sim.hardware.reader.fields import Fields
from sim.hardware.reader.quantization import NONE, quantization
from sim.hardware.reader.served import NESTED, served_types
from workloads.documents import read_json
from workloads.errors import InputError

MTP = {
    "deepseek_v3", "deepseek_v32", "glm4_moe", "glm_moe_dsa", "mimo",
    "qwen3_next", "qwen3_5", "qwen3_5_moe",
}  # fmt: skip
"""Families with a module for multi-token prediction that is a layer like the last one
(`sim.hardware.draft`)."""
QUANT_FILES = {
    "hf_quant_config.json": "modelopt",
    "quantize_config.json": "gptq",
    "quant_config.json": "awq",
}
"""What lies beside a config.json that says nothing of its quantisation, and who writes it: ModelOpt, and
early AutoGPTQ and AutoAWQ."""


def read_file(path: Path, dtype: str = "auto", kv_cache_dtype: str = "auto") -> Model:
    """The model of the config.json at ``path``, with what a file beside it says of its quantisation."""
    raw = read_json(path, "a Hugging Face config.json")
    for name, method in QUANT_FILES.items():
        beside = path.with_name(path.name.replace("config.json", name))
        if beside != path and beside.is_file() and "quantization_config" not in raw:
            written = read_json(beside, "what a tool that quantises writes")
            raw["quantization_config"] = {"quant_method": method, **written}
    own = path.stem.removesuffix("config").rstrip("_-.")  # OWNER--NAME_config.json in a common folder
    raw.setdefault("name", raw.get("_name_or_path") or own or path.parent.name or path.name)
    return read(raw, str(path), dtype, kv_cache_dtype)


def read(raw: Mapping[str, Any], where: str, dtype: str = "auto", kv_cache_dtype: str = "auto") -> Model:
    """The model that the configuration ``raw`` describes; ``where`` names it in errors.

    ``dtype`` and ``kv_cache_dtype`` are vLLM's options. InputError for what is not modelled.
    """
    f = Fields(raw, where)
    family = FAMILIES.get(f.text("model_type"))
    if family is None:
        f.refuse("model_type", ", ".join(sorted(FAMILIES)) + _part(f))
    name = f.text("name", "model")
    if not name.isprintable():
        raise InputError(f"{where}: name ({name!r}) must be printable")
    format_ = quantization(f)
    served = served_types(f, format_, dtype, kv_cache_dtype)
    model = family(f, served)
    model = format_.applied(model, served.value_bytes)
    for weight in (weight for layer in model.layers for weight in layer.weights):
        if weight.used > weight.count:
            raise InputError(
                f"{where}: {weight.used} experts per token; allowed: at most all {weight.count}"
            )
    if not model.kv_bytes_per_token:
        raise InputError(f"{where}: no layer has attention; allowed: models that keep KV of their tokens")
    if model.params > MOST_PARAMS:
        raise InputError(f"{where}: {model.params:.3g} parameters; at most {MOST_PARAMS:.0e}")
    dense = model.dense.model_copy(update={"name": name}) if model.dense and format_ is NONE else None
    has_mtp = f.text("model_type") in MTP and raw.get("num_nextn_predict_layers") != 0
    return replace(model, name=name, dense=dense, has_mtp=has_mtp)


def _part(f: Fields) -> str:
    """What can be done about a model of several parts of which only the decoder is known."""
    for part in NESTED:
        if part in f and (kind := f.sub(part).text("model_type")) in FAMILIES:
            return (
                f"; its {part} is a {kind}: in a config.json of its own it is read, without the other parts"
            )
    return ""


def of_dense(shape: DenseDecoder) -> Model:
    """The plain decoder ``shape`` as a `Model`, in its own data type."""
    model = FAMILIES["llama"](
        Fields({**shape.model_dump(), "model_type": "llama"}, shape.name),
        served := served_types(Fields({"dtype": shape.dtype}, shape.name), NONE, shape.dtype, "auto"),
    )
    return replace(NONE.applied(model, served.value_bytes), name=shape.name, dense=shape)
