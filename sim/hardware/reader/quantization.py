"""What a checkpoint's quantisation makes of each matrix."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sim.hardware.model import Layer, Model
from sim.hardware.reader.fields import Fields
from sim.hardware.weights import Weight


@dataclass(frozen=True)
class Quantization:
    """Which matrices lie in which format; the rest is as served."""

    is_none: bool = True
    kv_dtype: str | None = None

    def applied(self, model: Model, value_bytes: int) -> Model:
        """``model`` with the bytes of every weight."""

        def sized(weight: Weight) -> Weight:
            return replace(weight, bytes=weight.each * value_bytes)

        return replace(
            model,
            layers=tuple(
                Layer(tuple(map(sized, layer.weights)), layer.caches, layer.shared)
                for layer in model.layers
            ),
            embedding=sized(model.embedding),
            head=None if model.head is None else sized(model.head),
            others=tuple(map(sized, model.others)),
            vision=tuple(map(sized, model.vision)),
        )


def quantization(f: Fields) -> Quantization:
    """What ``quantization_config`` says."""
    return Quantization()
