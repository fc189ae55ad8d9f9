"""A profile from datasheet figures alone: what the hardware could do at best, not what it does."""

from __future__ import annotations

from sim.hardware.catalogue import Gpu, Model
from sim.hardware.profile import Coefficients, Profile


def roofline(
    model: Model, gpu: Gpu, mfu: float = 1.0, mbu: float = 1.0, tensor_parallel: int = 1
) -> Profile:
    """The roofline of ``model`` on ``tensor_parallel`` GPUs together, marked as not calibrated.

    Per iteration: the layers' and the output head's weights are read once (``floor``) or their
    products take 2 FLOP per weight and token (``token``), whichever is longer; the output head is
    applied once per sequence; attention takes 4 FLOP per head, head size and (new, earlier) token
    pair in each layer; every decode reads its whole KV. ``mfu`` and ``mbu`` are the fractions of the
    datasheet's compute and bandwidth that are reached (S. Williams et al., "Roofline", CACM 2009).
    Several GPUs share weights, heads and KV evenly, KV as far as it has heads; what they tell each
    other takes no time here, so this stays a lower bound.
    """
    flop_per_s = gpu.bf16_tflops * 1e12 * mfu * (2 / model.bytes_per_value) * tensor_parallel
    bytes_per_s = gpu.memory_bandwidth_gb_per_s * 1e9 * mbu * tensor_parallel
    pair_flop = 4 * model.num_hidden_layers * model.num_attention_heads * model.head_dim
    copies = max(1, tensor_parallel // model.num_key_value_heads)  # of a KV head that several GPUs need
    kv_s = model.kv_bytes_per_token * copies / bytes_per_s
    several = f"{tensor_parallel} x " if tensor_parallel > 1 else ""
    weights = model.layer_params + model.head_params
    return Profile(
        schema="kvprofile/1",
        id=f"{several}{gpu.name}, {model.name}, {model.dtype}, roofline",
        calibrated=False,
        source=f"datasheet roofline, mfu {mfu:g}, mbu {mbu:g}; GPU: {gpu.source.strip()}",
        coefficients=Coefficients(
            floor=weights * model.bytes_per_value / bytes_per_s,
            token=2 * model.layer_params / flop_per_s,
            sequence=2 * model.head_params / flop_per_s,
            pair=pair_flop / flop_per_s,
            prefill_kv=kv_s,
            decode_kv=kv_s,
        ),
    )
