"""The registry: which ``model_type`` is read by which function. What is not here is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from sim.hardware.model import Model
from sim.hardware.reader.families import dense, qwen
from sim.hardware.reader.fields import Fields
from sim.hardware.reader.parts import Served

Reader = Callable[[Fields, Served], Model]

FAMILIES: dict[str, Reader] = {
    **{name: partial(dense.read, shape=shape) for name, shape in dense.SHAPES.items()},
    "qwen2": qwen.qwen2,
    "qwen3": qwen.qwen3,
    "mimo": qwen.mimo,
}
