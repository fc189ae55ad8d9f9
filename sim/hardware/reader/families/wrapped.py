"""Models of several parts: the decoder in ``text_config``, with towers beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from sim.hardware.model import Model
from sim.hardware.reader.families import vision
from sim.hardware.reader.fields import Fields
from sim.hardware.reader.parts import Served, Weights
from sim.hardware.reader.served import NESTED

Reader = Callable[[Fields, Served], Model]
Tower = Callable[[Fields, int], Weights]


@dataclass(frozen=True)
class Parts:
    """What stands in ``text_config`` if it does not say, and the tower."""

    decoder: str
    tower: Tower
    tied: bool | None = None
    """What ``tie_word_embeddings`` is where neither part says it; None: as the decoder's class has it."""
    absent: bool = False
    """Whether a file without ``vision_config`` has no tower; else it has the class's default one."""
    audio: Tower | None = None
    """What stands for ``audio_config``; a file that has one is refused where there is none."""
    towers: Mapping[str, Tower] | None = None
    """By the tower's own ``model_type``, where it may be one of several."""


PARTS = {
    "mistral3": Parts("mistral", vision.pixtral),
    "llava": Parts(
        "llama", vision.clip, towers={"pixtral": vision.pixtral_llava, "clip_vision_model": vision.clip}
    ),
    "llava_next": Parts("llama", vision.clip_next, towers={"clip_vision_model": vision.clip_next}),
    "gemma3": Parts("gemma3_text", vision.siglip),
    "llama4": Parts("llama4_text", vision.llama4),
    "qwen2_vl": Parts("qwen2", vision.qwen2, tied=False),
    "qwen2_5_vl": Parts("qwen2", vision.qwen2_5, tied=False),
    "qwen3_vl": Parts("qwen3_vl_text", vision.qwen3),
    "qwen3_vl_moe": Parts("qwen3_vl_moe_text", vision.qwen3),
    "qwen3_5": Parts("qwen3_5_text", vision.qwen3_5),
    "qwen3_5_moe": Parts("qwen3_5_moe_text", vision.qwen3_5),
    "gemma4": Parts("gemma4_text", vision.gemma4, absent=True, audio=vision.gemma4_audio),
    "minimax_m3_vl": Parts("minimax_m3", vision.clip, absent=True),
    "kimi_k3": Parts("kimi_linear", vision.moonvit, absent=True),
    "kimi_k25": Parts("kimi_k2", vision.moonvit, absent=True),
}


def read(f: Fields, served: Served, parts: Parts, families: Mapping[str, Reader]) -> Model:
    """The decoder with the tower's weights; keys of the decoder may also stand at the top."""
    nested = next((key for key in NESTED if key in f), None)
    text = f if nested is None else f.sub(nested)
    name = text.text("model_type") if nested else parts.decoder
    decoder = families.get(name or parts.decoder)
    if decoder is None:
        text.refuse("model_type", ", ".join(sorted(families)))
    tied = f.raw.get("tie_word_embeddings", parts.tied)
    raw = {"model_type": parts.decoder, **text.raw}
    if nested is None:
        raw["model_type"] = parts.decoder
    if tied is not None:
        raw.setdefault("tie_word_embeddings", tied)
    model = decoder(Fields(raw, text.where, text.prefix), served)
    if "audio_config" in f:
        if parts.audio is None:
            f.refuse("audio_config", "none (towers for sound are not modelled in this family)")
        model = replace(model, vision=parts.audio(f.sub("audio_config"), model.hidden_size))
    if "vision_config" not in f and parts.absent:
        return replace(model, dense=None)
    v = f.sub("vision_config") if "vision_config" in f else Fields({}, f.where, "vision_config.")
    tower = parts.tower
    if parts.towers is not None and "model_type" in v:
        known = parts.towers.get(v.text("model_type"))
        if known is None:
            v.refuse("model_type", ", ".join(parts.towers))
        tower = known
    return replace(model, dense=None, vision=(*model.vision, *tower(v, model.hidden_size)))
