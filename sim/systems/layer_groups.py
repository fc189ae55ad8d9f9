"""Groups of layers between a model and a cache: which the engine keeps, and what a block of them holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

from sim.caches import EngineCache, NoCache
from sim.caches.groups.config import require_eagle, require_whole_blocks
from sim.caches.replay import BlockConfig
from sim.engine.config import Engine
from sim.hardware.model import Model


def keeps_groups(engines: Iterable[Engine], *, travels: bool) -> bool:
    """Whether engines can keep several groups of layers: those of vLLM, where no KV travels."""
    return not travels and all(engine.kind == "vllm" for engine in engines)


def with_groups(cache: EngineCache, model: Model) -> EngineCache:
    """``cache`` with the groups of the model's layers, where it says none and they can be served.

    They cannot where vLLM makes the blocks of unlike layers equally large by other numbers of tokens in
    them: with states, and where layers keep unlike bytes per token. One group of full attention stands for
    the model then.
    """
    if not isinstance(cache, BlockConfig | NoCache) or cache.groups is not None:
        return cache
    names, sizes = model.group_names(), {c.token_bytes_per_gpu(1) for la in model.layers for c in la.caches}
    if names == ["full"] or len(sizes) > 1 or any(group.kind == "mamba" for group in model.kv_groups):
        return cache
    try:
        require_whole_blocks(names, cache.block_size)
        if isinstance(cache, BlockConfig):
            if not cache.is_engines_own:
                return cache
            if cache.eagle:
                require_eagle(names)
    except ValueError:
        return cache
    return cache.model_copy(update={"groups": names})


def block_part(model: Model, groups: Sequence[str]) -> Fraction:
    """What a block of one of ``groups`` holds of each of its tokens, as a part of `kv_bytes_per_token`.

    Of 10 layers with full attention and 52 with a window vLLM makes seven groups of up to 10 layers: a
    block is as large as one of the full layers alone, 1. A model of one kind in two groups: 1/2.
    """
    if len(groups) == 1:
        return Fraction(1)
    layers = model.group_layers
    if list(groups) != model.group_names():
        layers = -(-sum(group.layers for group in model.kv_groups) // len(groups))
    return Fraction(layers, model.growing_layers)
