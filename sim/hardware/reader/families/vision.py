"""Towers that turn images into tokens: their weights lie beside the decoder's in the GPU's memory."""

from __future__ import annotations

from collections.abc import Sequence

from sim.hardware.reader.assemble import layer_count
from sim.hardware.reader.fields import Fields
from sim.hardware.reader.parts import Weights, linear, mlp, vector


def blocks(
    prefix: str,
    count: int,
    hidden: int,
    ffn: int,
    *,
    inner: int = 0,
    bias: bool = True,
    out_bias: bool | None = None,
    mlp_bias: bool | None = None,
    matrices: int = 2,
    norms: int = 4,
) -> Weights:
    """``count`` layers of attention of width ``inner`` and feed-forward, ``norms`` vectors in each."""
    inner = inner or hidden
    found: list[Weights] = []
    for i in range(count):
        name = f"{prefix}blocks.{i}."
        found.append(
            (
                linear(f"{name}attn.qkv", hidden, 3 * inner, bias),
                linear(f"{name}attn.proj", inner, hidden, bias if out_bias is None else out_bias),
                *mlp(f"{name}mlp.", hidden, ffn, matrices, bias if mlp_bias is None else mlp_bias),
                vector(f"{name}norms", hidden, norms),
            )
        )
    return tuple(weight for block in found for weight in block)


def qwen3(v: Fields, hidden: int, deepstack: Sequence[int] = (8, 16, 24)) -> Weights:
    """Qwen3-VL: mergers also behind some layers inside (``deepstack``)."""
    width, merge = v.whole("hidden_size", 1152), v.whole("spatial_merge_size", 2) ** 2
    patch = v.whole("in_channels", 3) * v.whole("temporal_patch_size", 2) * v.whole("patch_size", 16) ** 2
    wide, out = merge * width, v.whole("out_hidden_size", hidden)
    deep = v.numbers("deepstack_visual_indexes") if "deepstack_visual_indexes" in v else deepstack
    merger = (
        linear("visual.merger.linear_fc1", wide, wide, True),
        linear("visual.merger.linear_fc2", wide, out, True),
    )
    found = (
        linear("visual.patch_embed", patch, width, True),
        linear("visual.pos_embed", width, v.whole("num_position_embeddings", 2304)),
        *blocks("visual.", layer_count(v, "depth", 27), width, v.whole("intermediate_size", 4304)),
        *merger,
        vector("visual.merger.norm", width, 2),
    )
    return (*found, *(weight for _ in deep for weight in (*merger, vector("visual.merger.norm", wide, 2))))


def qwen3_5(v: Fields, hidden: int) -> Weights:
    """Qwen3.5: the same without mergers inside."""
    return qwen3(v, hidden, ())


def qwen2_5(v: Fields, hidden: int) -> Weights:
    """Qwen2.5-VL: gated feed-forwards with biases."""
    width, merge = v.whole("hidden_size", 1280), v.whole("spatial_merge_size", 2) ** 2
    patch = v.whole("in_channels", 3) * v.whole("temporal_patch_size", 2) * v.whole("patch_size", 14) ** 2
    wide = merge * width
    return (
        linear("visual.patch_embed", patch, width),
        *blocks(
            "visual.",
            layer_count(v, "depth", 32),
            width,
            v.whole("intermediate_size", 3420),
            matrices=3,
            norms=2,
        ),
        vector("visual.merger.ln_q", width),
        linear("visual.merger.mlp.0", wide, wide, True),
        linear("visual.merger.mlp.2", wide, v.whole("out_hidden_size", hidden), True),
    )


def qwen2(v: Fields, hidden: int) -> Weights:
    """Qwen2-VL: ``hidden_size`` is what it gives the decoder, ``embed_dim`` its own width."""
    width, merge = v.whole("embed_dim", 1280), v.whole("spatial_merge_size", 2) ** 2
    patch = v.whole("in_channels", 3) * v.whole("temporal_patch_size", 2) * v.whole("patch_size", 14) ** 2
    wide, ffn = merge * width, round(width * v.number("mlp_ratio", 4))
    return (
        linear("visual.patch_embed", patch, width),
        *blocks("visual.", layer_count(v, "depth", 32), width, ffn),
        vector("visual.merger.ln_q", width, 2),
        linear("visual.merger.mlp.0", wide, wide, True),
        linear("visual.merger.mlp.2", wide, v.whole("hidden_size", hidden), True),
    )


def siglip(v: Fields, hidden: int) -> Weights:
    """SigLIP, as in Gemma 3, with a projector of one matrix."""
    width, size, patch = v.whole("hidden_size", 768), v.whole("image_size", 224), v.whole("patch_size", 16)
    return (
        linear("vision_tower.patch_embedding", 3 * patch**2, width, True),
        linear("vision_tower.position_embedding", width, (size // patch) ** 2),
        *blocks(
            "vision_tower.",
            layer_count(v, "num_hidden_layers", 12),
            width,
            v.whole("intermediate_size", 3072),
        ),
        vector("vision_tower.post_layernorm", width, 2),
        linear("multi_modal_projector.mm_input_projection", width, hidden),
        vector("multi_modal_projector.mm_soft_emb_norm", width),
    )


def pixtral(v: Fields, hidden: int) -> Weights:
    """Pixtral, as in Mistral Small 3.1 and 3.2, with a merger of 2 x 2 patches."""
    width = v.whole("hidden_size", 1024)
    return (
        *_pixtral(v),
        vector("multi_modal_projector.norm", width),
        linear("multi_modal_projector.patch_merger", 4 * width, width),
        linear("multi_modal_projector.linear_1", width, hidden),
        linear("multi_modal_projector.linear_2", hidden, hidden),
    )


def pixtral_llava(v: Fields, hidden: int) -> Weights:
    """Pixtral 12B, a LLaVA by its class: LLaVA's projector and no merger."""
    width = v.whole("hidden_size", 1024)
    return (
        *_pixtral(v),
        linear("multi_modal_projector.linear_1", width, hidden, True),
        linear("multi_modal_projector.linear_2", hidden, hidden, True),
    )


def _pixtral(v: Fields) -> Weights:
    width, patch = v.whole("hidden_size", 1024), v.whole("patch_size", 16)
    return (
        linear("vision_tower.patch_conv", v.whole("num_channels", 3) * patch**2, width),
        vector("vision_tower.ln_pre", width),
        *blocks(
            "vision_tower.", layer_count(v, "num_hidden_layers", 24), width,
            v.whole("intermediate_size", 4096), bias=False, matrices=3, norms=2,
        ),
    )  # fmt: skip


def clip_next(v: Fields, hidden: int) -> Weights:
    """LLaVA-NeXT: the same with a learned end of each row of patches."""
    return (*clip(v, hidden), vector("image_newline", hidden))


def clip(v: Fields, hidden: int) -> Weights:
    """CLIP, as in LLaVA, with a projector of two matrices."""
    width, size, patch = v.whole("hidden_size", 768), v.whole("image_size", 224), v.whole("patch_size", 32)
    return (
        linear("vision_tower.patch_embedding", 3 * patch**2, width),
        linear("vision_tower.position_embedding", width, (size // patch) ** 2 + 1),
        vector("vision_tower.class_embedding", width, 5),
        *blocks(
            "vision_tower.",
            layer_count(v, "num_hidden_layers", 12),
            width,
            v.whole("intermediate_size", 3072),
        ),
        linear("multi_modal_projector.linear_1", width, hidden, True),
        linear("multi_modal_projector.linear_2", hidden, hidden, True),
    )


def llama4(v: Fields, hidden: int) -> Weights:
    """Llama 4's tower; pixel shuffle makes one token of four patches."""
    width, size, patch = v.whole("hidden_size", 768), v.whole("image_size", 448), v.whole("patch_size", 14)
    ffn, into = v.whole("intermediate_size", 5632), v.whole("projector_input_dim", 4096)
    out = v.whole("projector_output_dim", 4096)
    return (
        linear("vision_model.patch_embedding", 3 * patch**2, width),
        linear("vision_model.positional_embedding", width, (size // patch) ** 2 + 1),
        vector("vision_model.class_embedding", width, 5),
        *blocks("vision_model.", layer_count(v, "num_hidden_layers", 34), width, ffn),
        linear("vision_model.vision_adapter.fc1", ffn, into),
        linear("vision_model.vision_adapter.fc2", into, out),
        linear("multi_modal_projector.linear_1", v.whole("vision_output_dim", 7680), hidden),
    )


def moonvit(v: Fields, hidden: int) -> Weights:
    """Kimi K2.5's and K3's tower (MoonViT), with a projector of two matrices."""
    width, patch = v.whole("vt_hidden_size", 1152), v.whole("patch_size", 14)
    bias = v.flag("linear_bias", True)
    rows = v.whole("init_pos_emb_height", 64) * v.whole("init_pos_emb_width", 64)
    norms = 2 if v.text("norm_type") == "rmsnorm" else 4
    return (
        linear("vision_tower.patch_embed", 3 * patch**2, width, v.flag("patch_embed_proj_bias", True)),
        linear("vision_tower.pos_emb", width, rows),
        *blocks(
            "vision_tower.", layer_count(v, "vt_num_hidden_layers", 27), width,
            v.whole("vt_intermediate_size", 4304),
            inner=v.whole("qkv_hidden_size", width), bias=v.flag("attn_bias", True), mlp_bias=bias,
            norms=norms,
        ),
        vector("vision_tower.final_layernorm", width, 2),
        vector("mm_projector.pre_norm", width, 2),
        linear("mm_projector.linear_1", 4 * width, 4 * width, True),
        linear("mm_projector.linear_2", 4 * width, hidden, True),
    )  # fmt: skip


def gemma4(v: Fields, hidden: int) -> Weights:
    """Gemma 4's tower: a table of positions for each axis, gated feed-forwards, no biases."""
    width, size = v.whole("hidden_size", 768), v.whole("head_dim", 64)
    inner = v.whole("num_attention_heads", 12) * size
    count = layer_count(v, "num_hidden_layers", 16)
    return (
        linear("vision_tower.patch_embedder", 3 * v.whole("patch_size", 16) ** 2, width),
        linear(
            "vision_tower.position_embedding_table", width, 2 * v.whole("position_embedding_size", 10240)
        ),
        *blocks(
            "vision_tower.",
            count,
            width,
            v.whole("intermediate_size", 3072),
            inner=inner,
            bias=False,
            matrices=3,
        ),
        vector("vision_tower.qk_norms", size, 2 * count),
        vector("vision_tower.standardize", width, 2 if v.flag("standardize") else 0),
        linear("embed_vision.embedding_projection", width, hidden),
    )


def gemma4_audio(a: Fields, hidden: int) -> Weights:
    """Gemma 4's tower for sound, a conformer: two feed-forwards around attention and a convolution."""
    width, out = a.whole("hidden_size", 1024), a.whole("output_proj_dims", 1536)
    kernel = a.whole("conv_kernel_size", 5)
    found = [
        linear("audio_tower.output_proj", width, out, True),
        linear("embed_audio.embedding_projection", out, hidden),
    ]
    for i in range(layer_count(a, "num_hidden_layers", 12)):
        name = f"audio_tower.layers.{i}."
        found += [
            *mlp(f"{name}feed_forward1.", width, 4 * width, 2),
            *mlp(f"{name}feed_forward2.", width, 4 * width, 2),
            linear(f"{name}attn.qkv", width, 3 * width),
            linear(f"{name}attn.relative_k_proj", width, width),
            linear(f"{name}attn.post", width, width),
            linear(f"{name}lconv1d.linear_start", width, 2 * width),
            linear(f"{name}lconv1d.linear_end", width, width),
            linear(f"{name}lconv1d.depthwise", kernel, width),
            vector(f"{name}norms", width, 9),
        ]
    return tuple(found)
