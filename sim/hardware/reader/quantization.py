"""What a checkpoint's quantisation makes of each matrix: quantization_config and hf_quant_config.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sim.hardware.model import Layer, Model
from sim.hardware.reader import formats
from sim.hardware.reader.fields import Fields
from sim.hardware.reader.formats import MODELOPT, Format
from sim.hardware.reader.modules import WRAPPERS, Modules, parts
from sim.hardware.reader.served import FP8_KV, NESTED
from sim.hardware.weights import Weight


@dataclass(frozen=True)
class Quantization:
    """Which matrices lie in which format; the rest is as served.

    Embeddings, output heads, routers, norms and towers never are quantised: no engine serves them so.
    """

    name: str = "none"
    rules: tuple[tuple[Modules | None, Format], ...] = ()
    """Modules (None: all) and their format; the first that fits counts."""
    left_out: Modules = field(default_factory=lambda: Modules(()))
    listed: Mapping[str, Format] = field(default_factory=dict)
    """Formats of modules by name (mixed precision)."""
    kv_dtype: str | None = None
    """What the KV cache holds if nothing else is asked for."""

    def of(self, weight: Weight) -> Format | None:
        """The format of ``weight``; None if it is as served."""
        if not weight.linear or not (self.rules or self.listed):
            return None
        for name in parts(weight.name.removeprefix("model.")):
            if name in self.listed:
                return self.listed[name]
        if weight.name in self.left_out:
            return None
        return next((kind for some, kind in self.rules if some is None or weight.name in some), None)

    def applied(self, model: Model, value_bytes: int) -> Model:
        """``model`` with the bytes of every weight."""

        def sized(weight: Weight) -> Weight:
            kind = self.of(weight)
            if kind is None:
                return replace(weight, bytes=weight.each * value_bytes)
            size = kind.bytes(weight.outputs, weight.inputs) + weight.bias * value_bytes
            return replace(weight, bytes=size, compute=kind.compute)

        def plain(weight: Weight) -> Weight:
            return replace(weight, bytes=weight.each * value_bytes)

        return replace(
            model,
            layers=tuple(
                Layer(tuple(map(sized, layer.weights)), layer.caches, layer.shared)
                for layer in model.layers
            ),
            embedding=plain(model.embedding),
            head=None if model.head is None else plain(model.head),
            others=tuple(map(plain, model.others)),
            vision=tuple(map(plain, model.vision)),
            quantization=self.name,
        )


NONE = Quantization()
METHODS = (
    "fp8", "fbgemm_fp8", "modelopt", "modelopt_fp4", "awq", "gptq", "auto-round", "compressed-tensors",
    "mxfp4", "bitsandbytes",
)  # fmt: skip
KEYS = ("quantization_config", "compression_config")
"""Where a file says it; the second is what early compressed-tensors wrote."""


def quantization(f: Fields) -> Quantization:
    """What ``quantization_config`` says, at the top or in the part that describes the decoder."""
    holders = [f, *(f.sub(part) for part in NESTED if part in f)]
    found = next(((holder, key) for key in KEYS for holder in holders if key in holder), None)
    if found is None:
        return NONE
    holder, key = found
    q = holder.sub(key)
    if "quantization" in q:  # as hf_quant_config.json has it
        q = Fields({**q.raw, **q.sub("quantization").raw}, q.where, q.prefix)
    method = q.text("quant_method").lower().removesuffix("_marlin").replace("auto_round", "auto-round")
    if not method and (q.flag("load_in_4bit") or q.flag("load_in_8bit")):
        method = "bitsandbytes"
    if not method and ("quant_algo" in q or "modelopt" in str(q.raw.get("producer"))):
        method = "modelopt"
    if method == "fp8" and "quantized_layers" in q:
        base = _left_out(q, "modules_to_not_convert", "ignored_layers")  # others are about the mixture
        return replace(_fp8(f, q), left_out=base, listed=_listed(q), name="fp8, mixed")
    if method == "fp8":
        return _fp8(f, q)
    if method == "fbgemm_fp8":
        return Quantization("fp8", _all(formats.FP8_CHANNEL), _left_out(q))
    if method.startswith("modelopt"):
        return _modelopt(q)
    if method == "awq":
        return _groups(q, "awq", q.flag("zero_point", True))
    if method == "gptq":
        return _gptq(q)
    if method == "auto-round":
        return _auto_round(q)
    if method == "compressed-tensors":
        return _compressed(q)
    if method == "mxfp4":
        return Quantization("mxfp4", ((EXPERTS, formats.MXFP4),), _left_out(q))
    if method == "bitsandbytes":
        kind = formats.NF4 if q.flag("load_in_4bit") else formats.BNB_INT8
        return Quantization("bitsandbytes", _all(kind), _left_out(q, "llm_int8_skip_modules"))
    return q.refuse("quant_method", ", ".join(METHODS))


EXPERTS = Modules(["experts"])
"""Routed experts (shared ones have names of their own)."""


def _all(kind: Format) -> tuple[tuple[Modules | None, Format], ...]:
    return ((None, kind),)


LEFT_OUT = ("modules_to_not_convert", "ignored_layers", "exclude_modules", "ignore")


def _left_out(q: Fields, *keys: str, more: Iterable[str] = ()) -> Modules:
    names = list(more)
    for key in keys or LEFT_OUT:
        value = q.raw.get(key) or []
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            q.refuse(key, "a list of names")
        names += value
    return Modules(names)


def _fp8(f: Fields, q: Fields) -> Quantization:
    """Blocks of 128 x 128 with a scale each, or one scale per matrix; DeepSeek V4's experts in 4 bits."""
    block = _block(q, "weight_block_size")
    kind = formats.FP8_TENSOR
    if block:
        scale_bytes = 1 if q.text("scale_fmt") == "ue8m0" and "expert_dtype" in f else 4
        kind = Format(8, "8", group=block[1], rows=block[0], scale_bytes=scale_bytes)
    rules = _all(kind)
    if f.text("expert_dtype") == "fp4":
        rules = ((EXPERTS, formats.MXFP4), *rules)
    return Quantization("fp8", rules, _left_out(q), kv_dtype=_kv_dtype(q))


def _block(q: Fields, key: str) -> list[Any]:
    """Rows and columns that share a scale; empty where the key is absent."""
    block = q.numbers(key)
    if len(block) not in (0, 2) or 0 in block:
        q.refuse(key, "two numbers above 0")
    return block


def _listed(q: Fields) -> dict[str, Format]:
    listed = q.sub("quantized_layers")
    found = {}
    for name in listed.raw:
        layer = listed.sub(name)
        algo = layer.text("quant_algo").upper()
        if algo not in MODELOPT:
            layer.refuse("quant_algo", ", ".join(MODELOPT))
        found[WRAPPERS.sub("", name)] = _regrouped(MODELOPT[algo], layer)
    return found


def _regrouped(kind: Format, q: Fields) -> Format:
    group = q.whole("group_size", kind.group or 1)
    return replace(kind, group=group) if kind.group and kind.rows == 1 else kind


def _modelopt(q: Fields) -> Quantization:
    algo = q.text("quant_algo").upper()
    kv_dtype = _kv_dtype(q)
    if algo == "MIXED_PRECISION":
        return Quantization("mixed", (), _left_out(q), listed=_listed(q), kv_dtype=kv_dtype)
    if algo not in MODELOPT:
        q.refuse("quant_algo", ", ".join([*MODELOPT, "MIXED_PRECISION"]))
    return Quantization(algo.lower(), _all(_regrouped(MODELOPT[algo], q)), _left_out(q), kv_dtype=kv_dtype)


def _kv_dtype(q: Fields) -> str | None:
    """fp8 if the checkpoint's scheme for the cache is 8-bit floats, else as served."""
    scheme = q.raw.get("kv_cache_scheme") or q.raw.get("kv_cache_quant_algo")
    if isinstance(scheme, Mapping):
        return "fp8" if scheme.get("num_bits") == 8 and scheme.get("type") == "float" else None
    return "fp8" if isinstance(scheme, str) and scheme.lower() in FP8_KV else None


def _groups(q: Fields, name: str, zeros: bool) -> Quantization:
    """AWQ and GPTQ: whole numbers of few bits, scales and zero points for groups of inputs."""
    bits = q.whole(q.get("bits", "w_bit"), 4)
    if bits not in (2, 3, 4, 8):
        q.refuse(q.get("bits", "w_bit"), "2, 3, 4, 8")
    size = q.raw.get(q.get("group_size", "q_group_size"))
    group = 0 if size in (None, -1) else q.whole(q.get("group_size", "q_group_size"))
    index = 4 if name == "gptq" else 0  # g_idx, there even where it counts up
    kind = Format(bits, group=group, zero_bits=bits if zeros else 0, index_bytes=index)
    return Quantization(f"{name} {bits} bit", _all(kind), _left_out(q))


def _gptq(q: Fields) -> Quantization:
    """GPTQ, with what GPTQModel writes under ``dynamic``: modules by expression, ``-:`` left out, others
    with bits and group size of their own."""
    if q.flag("lm_head"):
        q.refuse("lm_head", "false (a quantised output head is not modelled)")
    base = _groups(q, "gptq", True)
    if "dynamic" not in q:
        return base
    own: list[tuple[Modules | None, Format]] = []
    skipped = []
    dynamic = q.sub("dynamic")
    for pattern in dynamic.raw:
        if pattern.startswith("-:"):
            skipped.append(f"re:{pattern[2:]}")
        else:
            some = Modules([f"re:{pattern.removeprefix('+:')}"])
            other = Fields({**q.raw, **dynamic.sub(pattern).raw}, q.where, f"{dynamic.prefix}{pattern}.")
            own.append((some, _groups(other, "gptq", True).rules[0][1]))
    return replace(base, rules=(*own, *base.rules), left_out=_left_out(q, *LEFT_OUT, more=skipped))


def _auto_round(q: Fields) -> Quantization:
    """Intel's AutoRound in one of the layouts of AWQ and GPTQ; ``extra_config`` tells single modules."""
    if q.text("data_type", "int") != "int":
        q.refuse("data_type", "int")
    base = _groups(q, "auto-round", True)
    if "extra_config" not in q:
        return base
    single = q.sub("extra_config")
    skipped, listed = [], {}
    for name in single.raw:
        own = Fields({**q.raw, **single.sub(name).raw}, q.where, f"{single.prefix}{name}.")
        if own.whole("bits") >= 16:
            skipped.append(name)
        else:
            listed[WRAPPERS.sub("", name)] = _groups(own, "auto-round", True).rules[0][1]
    return replace(base, listed=listed, left_out=_left_out(q, *LEFT_OUT, more=skipped))


def _compressed(q: Fields) -> Quantization:
    """compressed-tensors: groups of modules with a scheme each; Linear stands for all of them."""
    if "sparsity_config" in q:
        sparsity = q.sub("sparsity_config")
        if sparsity.text("format", "dense") != "dense":
            sparsity.refuse("format", "dense (sparse weights are not modelled)")
    groups = q.sub("config_groups")
    if not groups.raw:
        q.refuse("config_groups", "at least one group")
    rules: list[tuple[Modules | None, Format]] = []
    for key in groups.raw:
        group = groups.sub(key)
        targets = _targets(group)
        rules.append((None if "Linear" in targets else Modules(targets), _scheme(group, q)))
    rules.sort(key=lambda rule: rule[0] is None)
    name = " and ".join(dict.fromkeys(_named(kind) for _, kind in rules))
    return Quantization(name, tuple(rules), _left_out(q), kv_dtype=_kv_dtype(q))


def _targets(group: Fields) -> list[Any]:
    targets = group.raw.get("targets") or ["Linear"]
    if not isinstance(targets, list) or not all(isinstance(name, str) for name in targets):
        group.refuse("targets", "a list of names")
    return targets


def _named(kind: Format) -> str:
    known = {formats.MXFP4: "mxfp4", formats.NVFP4: "nvfp4", formats.NVFP4_WEIGHTS: "w4a16_nvfp4"}
    return known.get(kind, f"w{kind.bits:g}a{kind.compute}")


def _scheme(group: Fields, q: Fields) -> Format:
    weights = group.sub("weights")
    bits, floats = weights.whole("num_bits", 8), weights.text("type", "int") == "float"
    activations = group.raw.get("input_activations")
    layout = group.text("format") or q.text("format")
    if bits == 4 and floats:
        if layout.startswith("mxfp4"):
            return formats.MXFP4
        return formats.NVFP4 if activations else formats.NVFP4_WEIGHTS
    strategy = weights.text("strategy", "channel")
    size = 0 if strategy in ("channel", "tensor") else weights.whole("group_size", 128)
    zeros = 0 if weights.flag("symmetric", True) else bits
    if strategy == "block":
        block = _block(weights, "block_structure") or [128, 128]
        return Format(bits, "8", group=block[-1], rows=block[0], scale_bytes=4)
    if strategy == "tensor":
        return replace(formats.FP8_TENSOR, bits=bits)
    return Format(bits, "8" if activations and bits == 8 else "16", group=size, zero_bits=zeros)
