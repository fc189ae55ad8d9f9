"""Tables of the catalogues, and of what fits: for ``python -m sim models``, ``gpus`` and ``memory``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from reports import units
from sim.hardware.gpu import GIB, Gpu
from sim.hardware.model import Model
from sim.studies.fitting import Fit, Fitting


def models(found: Iterable[tuple[str, Model, str]]) -> RenderableType:
    """One line per model of the catalogue: (name, model, source)."""
    headings = ("name", "params", "active", "weights", "GiB", "KV B/\ntoken", "context")
    entries = list(found)
    rows = [
        (
            name,
            _count(model.params),
            _count(model.active_params),
            model.dtype if model.quantization == "none" else model.quantization,
            _gib(model.weight_bytes)
            if model.weight_bytes < 1000 * GIB
            else f"{model.weight_bytes / GIB:,.0f}",
            f"{model.kv_bytes_per_token:,}",
            f"{model.max_position_embeddings:,}",
        )
        for name, model, _ in entries
    ]
    return _sourced(
        "Models: sizes as served, KV of every token in full-attention layers",
        headings,
        rows,
        [source for _, _, source in entries],
    )


def gpus(found: Iterable[tuple[str, Gpu]]) -> RenderableType:
    """One line per GPU of the catalogue."""
    headings = ("name", "or", "GiB", "of CUDA", "GB/s", "TFLOPS", "checked")
    entries = list(found)
    rows = [
        (
            name,
            ", ".join(gpu.aliases),
            _gib(gpu.memory_bytes),
            _gib(gpu.cuda_memory_bytes),
            f"{gpu.memory_bandwidth_gb_per_s:,.0f}",
            f"{gpu.bf16_tflops:,.0f}",
            "yes" if gpu.checked else "no",
        )
        for name, gpu in entries
    ]
    return _sourced(
        "GPUs: GiB as nvidia-smi and as CUDA report them, dense bf16 TFLOPS",
        headings,
        rows,
        [gpu.source for _, gpu in entries],
    )


def memory(fitting: Fitting, error: str) -> RenderableType:
    """What of a model fits on a GPU; ``error`` says how far such estimates are off."""
    model, gpu, context = fitting.model, fitting.gpu, fitting.context_tokens
    out = Table(
        title=Text(units.printable(f"{model.name} on {gpu.name}, {fitting.engine.kind}"), style="bold"),
        title_justify="left",
        pad_edge=False,
    )
    for heading in ("GPUs", "KV in", "share", "weights", "reserved", "for KV", "KV tokens", "sessions"):
        out.add_column(heading, justify="left" if heading == "KV in" else "right", no_wrap=True)
    for way in fitting.ways:
        out.add_row(*map(Text, _way(way)))
    weights = model.dtype if model.quantization == "none" else model.quantization
    first, more = fitting.ways[0].budget.share, len({way.budget.share for way in fitting.ways}) > 1
    lines = [
        f"GiB on each GPU; KV tokens of all requests; sessions of {context:,} tokens that share nothing",
        f"{_count(model.params)} parameters, weights {weights}, {model.kv_bytes_per_token:,} bytes of KV "
        f"per token; longest context {model.max_position_embeddings:,}",
        f"the engine's share: {first}{', less with more GPUs' if more else ''}; reserved of it: "
        "activations at the default batch limits, memory outside of PyTorch, CUDA graphs, as far as they "
        "count within",
        *([_too_large(fitting.ways[-1])] if any(not way.kv_tokens for way in fitting.ways) else []),
        f"estimate: {error}",
        f"GPU: {gpu.source}",
    ]
    return Group(out, *(Text(units.printable(f"- {line}")) for line in lines))


def _too_large(most: Fit) -> str:
    """How many GPUs the weights would have to be split over, by the way with the ``most`` of them."""
    room = most.budget.usable - most.budget.reserved
    said = "none: the model does not fit"
    if room <= 0:
        return said
    needed = ceil(most.budget.weights * most.tensor_parallel / room)
    return f"{said}: its weights fill the shares of {needed:,} GPUs"


def _way(way: Fit) -> tuple[str, ...]:
    budget = way.budget
    start = (
        str(way.tensor_parallel),
        way.model.kv_cache_dtype,
        _gib(budget.usable),
        _gib(budget.weights),
        _gib(budget.reserved),
    )
    if not way.kv_tokens:
        return (*start, "none", "", "")
    return (*start, _gib(budget.kv), f"{way.kv_tokens:,}", f"{way.sessions:,}")


def _sourced(
    title: str, headings: Sequence[str], rows: Sequence[tuple[str, ...]], sources: Sequence[str]
) -> RenderableType:
    """A table whose rows have the numbers of their sources below it; only what else a thing is called is
    folded, so that a name can be copied."""
    out = Table(
        title=Text(title, style="bold"), title_justify="left", box=box.SIMPLE, padding=0,
        show_edge=False, pad_edge=False,
    )  # fmt: skip
    out.add_column("", justify="right", no_wrap=True)
    for heading in headings:
        is_text = heading in ("name", "or", "weights", "checked")
        out.add_column(
            heading, justify="left" if is_text else "right", overflow="fold", no_wrap=heading != "or"
        )
    for i, row in enumerate(rows, 1):
        out.add_row(*map(Text, (str(i), *map(units.printable, row))))
    return Group(out, *(Text(units.printable(f"[{i}] {source}")) for i, source in enumerate(sources, 1)))


def _gib(size: float) -> str:
    return f"{size / GIB:,.1f}"


def _count(parameters: float) -> str:
    for unit, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if parameters >= unit:
            return f"{parameters / unit:.3g}{suffix}"
    return f"{parameters:,.0f}"
