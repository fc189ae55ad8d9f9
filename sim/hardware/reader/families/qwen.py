"""Qwen 2, 2.5, 3: windows only if asked for, and then only in the upper layers."""

from __future__ import annotations

from dataclasses import replace

from sim.hardware.model import Model
from sim.hardware.reader.assemble import SLIDING, layer_count, window
from sim.hardware.reader.families.dense import QWEN2, Shape, read
from sim.hardware.reader.fields import Fields
from sim.hardware.reader.parts import Served

QWEN2_SHAPE = Shape(bias=True, out_bias=False, bias_key="no bias", defaults=QWEN2)
QWEN3_SHAPE = Shape(qk_norm="head", defaults={**QWEN2, "head_dim": 128})
MIMO_SHAPE = replace(QWEN2_SHAPE, bias_key="attention_bias")


def qwen2(f: Fields, served: Served) -> Model:
    """q, k and v have biases, and no key says so."""
    return read(with_windows(f), served, QWEN2_SHAPE)


def qwen3(f: Fields, served: Served) -> Model:
    """No biases, q and k normed head by head, a head size of 128 whatever the width."""
    return read(with_windows(f), served, QWEN3_SHAPE)


def mimo(f: Fields, served: Served) -> Model:
    """Xiaomi's MiMo 7B is a Qwen2 (its draft layer is not part of the model)."""
    return read(with_windows(f), served, MIMO_SHAPE)


def with_windows(f: Fields) -> Fields:
    """The same with ``layer_types`` that say which layers have the window.

    ``sliding_window`` counts only with ``use_sliding_window``, from layer ``max_window_layers`` on.
    """
    f = f.absent(sliding_window=4096)
    if not f.flag("use_sliding_window") or window(f) is None:
        return Fields({**f.raw, "sliding_window": None, "layer_types": None}, f.where, f.prefix)
    if "layer_types" in f:
        return f
    count, first = layer_count(f), f.whole("max_window_layers", 28, least=0)
    kinds = [SLIDING[0] if i >= first else SLIDING[1] for i in range(count)]
    return Fields({**f.raw, "layer_types": kinds}, f.where, f.prefix)
