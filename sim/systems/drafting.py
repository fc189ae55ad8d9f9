"""Speculative decoding between an engine's options, its model, its cache and its memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from sim.caches import EngineCache
from sim.caches.replay import BlockConfig
from sim.engine.config import Engine
from sim.engine.vllm.speculative_config import Speculative
from sim.hardware import catalogue
from sim.hardware.draft import Draft, multi_token_prediction
from sim.hardware.model import Model
from workloads.errors import InputError


def speculative_of(engine: Engine) -> Speculative | None:
    """The ``speculative`` options of ``engine``."""
    return engine.speculative if engine.kind == "vllm" else None


def common(engines: Sequence[Engine], key: str) -> Speculative | None:
    """The options that all ``engines`` of a system have; InputError if they differ."""
    first, *others = map(speculative_of, engines)
    if any(options != first for options in others):
        raise InputError(
            f"{key}.pools: engine.speculative differs between pools; allowed: the same in all of them"
        )
    return first


def draft_of(engine: Engine, model: Model | None, key: str, folder: Path) -> Draft | None:
    """The model that drafts for ``model``; None if there is none, or what it drafts for is not known."""
    options = speculative_of(engine)
    if options is None or model is None:
        return None
    if options.method == "mtp":
        if not model.has_mtp:
            raise InputError(
                f"{key}.engine.speculative.method = 'mtp': {model.name} has no module for multi-token "
                "prediction that is modelled here; allowed: eagle, eagle3, draft_model, ngram"
            )
        return multi_token_prediction(model)
    if options.model is None:
        return None
    where = f"{key}.engine.speculative.model"
    draft = catalogue.model(options.model, folder, where)
    if options.method == "draft_model" and draft.vocab_size and draft.vocab_size != model.vocab_size:
        raise InputError(
            f"{where}: {draft.name} has a vocabulary of {draft.vocab_size:,}; allowed: that of "
            f"{model.name} ({model.vocab_size:,}), whose tokens it is to guess"
        )
    return Draft(draft)


def with_drafts(cache: EngineCache, options: Speculative | None, key: str) -> EngineCache:
    """``cache`` with what vLLM does to hits beside drafts of the EAGLE and MTP kinds."""
    if not isinstance(cache, BlockConfig):
        return cache
    needs = options is not None and options.needs_next_token
    if cache.lookahead_hashes and not needs:
        raise InputError(
            f"{key}.cache.lookahead_hashes = True goes with engine.speculative of method eagle, eagle3 or "
            "mtp; allowed there, and in a replay (kind: cache)"
        )
    if not needs or cache.eagle or cache.lookahead_hashes:
        return cache
    assert options is not None
    if not options.disable_lookahead_block_hashes:
        return cache.model_copy(update={"lookahead_hashes": True})
    if not cache.is_engines_own:
        raise InputError(
            f"{key}.engine.speculative.disable_lookahead_block_hashes = True with a cache that is not "
            "vLLM's; allowed: eviction: lru and cache_reply: true"
        )
    return cache.model_copy(update={"eagle": True})


def approximations(
    options: Speculative, cache: EngineCache, latencies: Collection[str], *, travels: bool
) -> list[str]:
    """What is not as in an engine; ``latencies``: kinds of ``latency``; ``travels``: KV goes over links."""
    notes = []
    mean = 1 + sum(options.rates)
    if options.needs_next_token and (travels or not isinstance(cache, BlockConfig)):
        notes.append(
            "with drafts of the EAGLE and MTP kinds a hit loses its last block where KV travels; here it "
            "does not, so hits are up to a block too long"
        )
    if options.method != "ngram" and {"constant", "linear"} & set(latencies):
        notes.append("drafts take no time: the latency that is given does not say how long they take")
    elif options.method != "ngram" and set(latencies) != {"roofline"}:
        notes.append("drafts take the time of a roofline, whatever the times of the model itself rest on")
    notes.append(
        f"drafts are accepted at random, {mean:.2f} tokens per step on average as given, whatever the text"
    )
    return notes
