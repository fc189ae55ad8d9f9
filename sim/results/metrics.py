"""What figures are made of, as pure functions of records; names and definitions as in vLLM's results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np

from sim.results.itl import Gaps
from sim.results.records import Floats, Ints, Records
from sim.results.request_log import NAN
from sim.results.spread import Buckets, Spread, median, percentile
from sim.results.step_log import StepLog
from sim.results.summary import SavedFigure, Saving
from sim.results.summary_system import CacheFigures, Figures, SpecDecode

PERCENTILES = (50, 90, 95, 99)


def ttft_s(records: Records) -> Floats:
    """Time to first token per request, s; NaN where there is none."""
    return records.first_token_s - records.arrival_s


def e2el_s(records: Records) -> Floats:
    """Arrival to last token per request, s."""
    return records.finished_s - records.arrival_s


def queue_time_s(records: Records) -> Floats:
    """Arrival to first admission per request, s."""
    return records.scheduled_s - records.arrival_s


def tpot_s(records: Records) -> Floats:
    """Time per output token after the first, s: (e2el - ttft) / (output - 1); NaN for one token."""
    after_first = records.finished_s - records.first_token_s
    others = records.output_tokens - 1
    out = np.full(len(records), NAN)
    np.divide(after_first, others, out=out, where=others > 0)
    return out


def spread_figures(spread: Spread | Gaps, name: str, ms: float = 1.0) -> dict[str, float | None]:
    """What a latency called ``name`` comes to; ``ms``: milliseconds of one of its units."""
    keys = ["mean", "median", "std", *(f"p{p}" for p in PERCENTILES)]
    if not spread.count:
        return {f"{key}_{name}_ms": None for key in keys}
    ordered = spread.ordered()
    quantiles = [percentile(ordered, spread.count, p) for p in PERCENTILES]
    figures = [spread.mean, median(ordered, spread.count), spread.std, *quantiles]
    return {f"{key}_{name}_ms": value * ms for key, value in zip(keys, figures, strict=True)}


def output_tokens_by_second(tokens: Buckets, steps: list[StepLog], start_s: float) -> None:
    """Add the output tokens of each second, counted from ``start_s``, to ``tokens``."""
    for log in steps:
        if not len(log):
            continue
        runs = log.table
        n, first, slope = runs["iterations"], runs["first_s"], runs["slope_s"]
        end = runs["end_s"]
        begin = end - (first * n + slope * (n * (n - 1) // 2))
        opening = np.maximum(begin + first - start_s, 0).astype(np.int64)  # second of a run's first token
        spans = np.maximum(end - start_s, 0).astype(np.int64) - opening + 1
        run = np.repeat(np.arange(len(n)), spans)
        second = opening[run] + np.arange(len(run)) - np.repeat(np.cumsum(spans) - spans, spans)
        upto = _iterations_before(start_s + second + 1, begin[run], first[run], slope[run], n[run])
        last = np.zeros(len(run), bool)
        last[np.cumsum(spans) - 1] = True
        upto[last] = n  # whatever the rounding of its end
        given = np.diff(upto, prepend=0)
        given[np.cumsum(spans) - spans] = upto[np.cumsum(spans) - spans]
        given = given * runs["decodes"][run]
        given[last] += runs["first_tokens"]
        tokens.add(second, given)


def _iterations_before(time_s: Floats, begin: Floats, first: Floats, slope: Floats, n: Ints) -> Ints:
    """How many of a run's ``n`` iterations, of ``first`` s and then ``slope`` longer each, end earlier."""

    def end_s(count: Ints) -> Floats:
        return begin + first * count + slope * (count * (count - 1) // 2)

    half = first - slope / 2  # begin + half * k + slope / 2 * k^2 = time
    left = np.maximum(time_s - begin, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        linear = left / first
        square = (np.sqrt(half * half + 2 * slope * left) - half) / slope
    guess = np.where(slope > 0, square, linear)
    count = np.clip(np.nan_to_num(guess, posinf=0), 0, n).astype(np.int64)
    for _ in range(2):  # a rounding either way
        count = np.where((count > 0) & (end_s(count) >= time_s), count - 1, count)
        count = np.where((count < n) & (end_s(count + 1) < time_s), count + 1, count)
    exact: Ints = count
    return exact


def requests_by_second(changes: Buckets, records: Records, start_s: float) -> None:
    """Add to ``changes`` by how many the requests in the system change in each second from ``start_s``."""
    done = ~np.isnan(records.finished_s)
    first = (records.arrival_s[done] - start_s).astype(np.int64)
    last = (records.finished_s[done] - start_s).astype(np.int64)
    ones = np.ones(len(first), np.int64)
    changes.add(np.concatenate([first, last + 1]), np.concatenate([ones, -ones]))


def cache_figures(head: Records, count: Mapping[str, int]) -> CacheFigures:
    """The ``cache`` object: what was asked, found, evicted. Rates are weighted as their names say.

    ``head`` has the counters of the run, and ``count`` what a `Tally` counts by request.
    """
    engine = head.engine
    whole = engine if head.whole else None
    queries, hits = count["inputs"], count["hits"]
    blocks, found = head.query_blocks, head.hit_blocks
    lost = count["lost"] if head.hits_lost_to_isolation_tokens is not None else None
    return {
        "prefix_cache_queries_tokens": queries,
        "prefix_cache_hits_tokens": hits,
        "prefix_cache_hit_rate": hits / queries if queries else None,
        "prefix_cache_queries_blocks": blocks,
        "prefix_cache_hits_blocks": found,
        "prefix_cache_hit_rate_blocks": found / blocks if blocks and found is not None else None,
        "prefix_cache_hits_tokens_by_tier": head.hit_tokens_by_tier or None,
        "hits_lost_to_isolation_tokens": lost,
        "request_hit_rate": count["hit_requests"] / count["completed"] if queries else None,
        "preempted_queries_tokens": whole.preempted_queries_tokens if whole else None,
        "preempted_hits_tokens": whole.preempted_hits_tokens if whole else None,
        "recomputed_tokens": whole.recomputed_tokens if whole else None,
        "abandoned_tokens": whole.abandoned_tokens if whole else None,
        "evicted_blocks": head.evicted_blocks,
        "evicted_tokens": head.evicted_tokens,
        "num_preemptions": engine.num_preemptions if engine else None,
        "kv_block_lifetime_s": None,
        "kv_block_idle_before_evict_s": None,
        "kv_block_reuse_gap_s": None,
        "kv_cache_usage_perc": whole.max_used_blocks / whole.capacity_blocks if whole else None,
    }


def drafts(records: Records) -> SpecDecode:
    """What came of speculative decoding; nothing where there was none, or where it is not known."""
    engine = records.engine
    if engine is None or not engine.spec_decode_num_drafts or not records.whole:
        return {}
    count, accepted = engine.spec_decode_num_drafts, engine.spec_decode_num_accepted_tokens
    return {
        "spec_decode_num_drafts": count,
        "spec_decode_num_draft_tokens": engine.spec_decode_num_draft_tokens,
        "spec_decode_num_accepted_tokens": accepted,
        "spec_decode_mean_acceptance_length": 1 + accepted / count,
    }


def savings(without: Figures, with_cache: Figures) -> dict[SavedFigure, Saving]:
    """For each figure: without and with the cache, the difference, and that as a share of without."""
    all_before, all_after = _with_cost(without), _with_cost(with_cache)
    names: tuple[SavedFigure, ...] = get_args(SavedFigure)
    out: dict[SavedFigure, Saving] = {}
    for name in names:
        before, after = all_before[name], all_after[name]
        saved = None if before is None or after is None else before - after
        ratio = saved / before if saved is not None and before else None
        out[name] = {"without": before, "with": after, "saved": saved, "saved_ratio": ratio}
    return out


def _with_cost(figures: Figures) -> dict[str, Any]:
    """The figures of a system and of its cost by name."""
    return {**figures["cost"], **figures}
