"""The registry: which ``model_type`` is read by which function. What is not here is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from sim.hardware.model import Model
from sim.hardware.reader.families import (
    deepseek_v4,
    dense,
    gemma4,
    granite,
    kimi,
    latent,
    mixtures,
    nas,
    older,
    qwen,
    states,
    windowed,
    wrapped,
)
from sim.hardware.reader.fields import Fields
from sim.hardware.reader.parts import Served

Reader = Callable[[Fields, Served], Model]

DECODERS: dict[str, Reader] = {
    **{name: partial(dense.read, shape=shape) for name, shape in dense.SHAPES.items()},
    "falcon": older.falcon,
    "bloom": older.bloom,
    "gpt_bigcode": older.gpt_bigcode,
    "opt": older.opt,
    "qwen2": qwen.qwen2,
    "qwen2_vl_text": qwen.qwen2,
    "qwen2_5_vl_text": qwen.qwen2,
    "qwen3": qwen.qwen3,
    "qwen3_vl_text": qwen.qwen3,
    "mimo": qwen.mimo,
    "mixtral": mixtures.mixtral,
    "phimoe": mixtures.phimoe,
    "qwen2_moe": mixtures.qwen_moe,
    "qwen3_moe": mixtures.qwen_moe,
    "qwen3_vl_moe_text": mixtures.qwen_moe,
    "olmoe": mixtures.olmoe,
    "granitemoe": mixtures.granitemoe,
    "granitemoeshared": mixtures.granitemoe,
    "ernie4_5_moe": mixtures.ernie,
    "minimax_m2": mixtures.minimax_m2,
    "gpt_oss": windowed.gpt_oss,
    "glm4_moe": mixtures.glm4_moe,
    "dots1": mixtures.glm4_moe,
    "bailing_moe": mixtures.bailing_moe,
    "bailing_moe_v2": mixtures.bailing_moe,
    "llama4_text": windowed.llama4,
    "mimo_v2_flash": windowed.mimo_v2,
    "dbrx": mixtures.dbrx,
    "deepseek_v2": latent.deepseek,
    "deepseek_v3": latent.deepseek,
    "deepseek_v32": latent.deepseek,
    "kimi_k2": latent.deepseek,
    "glm_moe_dsa": latent.deepseek,
    "glm4_moe_lite": latent.deepseek,
    "deepseek_v4": deepseek_v4.deepseek_v4,
    "deepseek_ref": deepseek_v4.deepseek_v4,
    "gemma4_text": gemma4.gemma4,
    "kimi_linear": kimi.kimi_linear,
    "minimax_m3": windowed.minimax_m3,
    "step3p5": windowed.step3,
    "step3p7": windowed.step3,
    "nemotron-nas": nas.nemotron_nas,
    "qwen3_next": states.qwen_hybrid,
    "qwen3_5_text": states.qwen_hybrid,
    "qwen3_5_moe_text": states.qwen_hybrid,
    "nemotron_h": states.nemotron_h,
    "granitemoehybrid": granite.granite_hybrid,
    "jamba": states.jamba,
    "minimax": states.minimax,
    "minimax_text_01": states.minimax,
    "minimax_m1": states.minimax,
}

FAMILIES: dict[str, Reader] = {
    **DECODERS,
    **{
        name: partial(wrapped.read, parts=parts, families=DECODERS) for name, parts in wrapped.PARTS.items()
    },
}
