"""Figures of a run as pure functions of its records; names and definitions as in vLLM's results."""

from __future__ import annotations

from math import inf
from typing import Any, cast, get_args

import numpy as np

from sim.providers import bills
from sim.results.itl import TokenGaps
from sim.results.pricing import Price
from sim.results.records import Floats, Ints, Records
from sim.results.request_log import ABORTED, NAN, REJECTED, TIMED_OUT
from sim.results.step_log import StepLog
from sim.results.summary import CacheFigures, Figures, Latencies, SavedFigure, Saving, SpecDecode
from sim.results.summary_cost import CostFigures
from sim.results.window import WHOLE, Window

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


def distribution(values_s: Floats, name: str) -> dict[str, float | None]:
    """mean, median, std (population) and percentiles (linear) of ``values_s`` in ms; null if empty."""
    values = values_s[~np.isnan(values_s)] * 1e3
    keys = ["mean", "median", "std", *(f"p{p}" for p in PERCENTILES)]
    if not len(values):
        return {f"{key}_{name}_ms": None for key in keys}
    quantiles = np.percentile(values, PERCENTILES)
    figures = [values.mean(), np.median(values), values.std(), *quantiles]
    return {f"{key}_{name}_ms": float(v) for key, v in zip(keys, figures, strict=True)}


def gap_distribution(steps: list[StepLog]) -> dict[str, float | None]:
    """The same figures of all gaps between tokens, pooled over requests (``itl``)."""
    gaps = TokenGaps(steps)
    keys = ["mean", "median", "std", *(f"p{p}" for p in PERCENTILES)]
    if not gaps.count:
        return {f"{key}_itl_ms": None for key in keys}
    quantiles = [gaps.percentile(p) for p in PERCENTILES]
    figures = [gaps.mean, quantiles[0], gaps.std, *quantiles]  # the first one is the median
    return {f"{key}_itl_ms": v * 1e3 for key, v in zip(keys, figures, strict=True)}


def latencies(records: Records) -> Latencies:
    """The five times of vLLM's results, each with mean, median, deviation and percentiles."""
    figures = {
        **distribution(ttft_s(records), "ttft"),
        **distribution(tpot_s(records), "tpot"),
        **gap_distribution(records.steps),
        **distribution(e2el_s(records), "e2el"),
        **distribution(queue_time_s(records), "queue_time"),
    }
    return cast(Latencies, figures)


def peak_output_tokens_per_s(steps: list[StepLog], start_s: float) -> int | None:
    """Most output tokens in one second, seconds counted from ``start_s``. O(seconds that runs last)."""
    seconds, tokens = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for log in steps:
        if not log.end_s:
            continue
        n = np.array(log.iterations)
        first, slope = np.array(log.first_s), np.array(log.slope_s)
        end = np.array(log.end_s)
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
        given = given * np.array(log.decodes)[run]
        given[last] += np.array(log.first_tokens)
        busy, where = np.unique(second, return_inverse=True)
        seconds.append(busy)
        tokens.append(np.bincount(where, weights=given).astype(np.int64))
    busy, where = np.unique(np.concatenate(seconds), return_inverse=True)
    return int(np.bincount(where, weights=np.concatenate(tokens)).max()) if len(busy) else None


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


def peak_concurrent_requests(records: Records) -> int | None:
    """Most requests in the system within one second, each counted in every second that it touches."""
    done = ~np.isnan(records.finished_s)
    if not done.any():
        return None
    start = records.arrival_s.min()
    first = (records.arrival_s[done] - start).astype(np.int64)
    last = (records.finished_s[done] - start).astype(np.int64)
    ones = np.ones(len(first), np.int64)
    _, where = np.unique(np.concatenate([first, last + 1]), return_inverse=True)
    return int(np.cumsum(np.bincount(where, weights=np.concatenate([ones, -ones]))).max())


def summarise(everything: Records, price: Price | None, window: Window = WHOLE) -> Figures:
    """The entry of a system in summary.json; a figure that cannot be computed is None.

    As in vLLM's results, figures count the requests that completed; the others are counted by how they
    ended. Requests count that arrive in ``window``.
    """
    records = everything.measured(window)
    sessions = records if window.is_whole else everything.started(window)
    arrived = everything.arrived(window)
    ended = everything.status[arrived]
    engine = records.engine
    timed = bool(np.isfinite(records.finished_s).any())
    completed = len(records)
    inputs, outputs = int(records.input_tokens.sum()), int(records.output_tokens.sum())
    duration: float | None = None
    if timed and completed:
        start_s = window.start_s if window.start_s > 0 else float(records.arrival_s.min())
        duration = (float(records.finished_s.max()) if window.end_s == inf else window.end_s) - start_s

    def per_s(amount: int) -> float | None:
        return amount / duration if duration else None

    start = max(window.start_s, float(everything.arrival_s.min()))
    in_time = records  # of a part of a run, throughput is what ends in its time
    if not window.is_whole:
        ends = (everything.finished_s > window.start_s) & (everything.finished_s <= window.end_s)
        in_time = everything.only(everything.completed & ends)
    served_inputs, served_outputs = int(in_time.input_tokens.sum()), int(in_time.output_tokens.sum())
    return {
        "duration": duration,
        "sessions": len(np.unique(sessions.session)),
        "completed": completed,
        "failed": len(ended) - completed,
        "rejected": int((ended == REJECTED).sum()),
        "timed_out": int((ended == TIMED_OUT).sum()),
        "aborted": int((ended == ABORTED).sum()),
        "retried": int((everything.retries[arrived] > 0).sum()),
        "total_input_tokens": inputs,
        "total_output_tokens": outputs,
        "computed_prompt_tokens": int(records.computed_tokens.sum()),
        "request_throughput": per_s(len(in_time)),
        "request_goodput": None,
        "output_throughput": per_s(served_outputs),
        "total_token_throughput": per_s(served_inputs + served_outputs),
        "max_output_tokens_per_s": peak_output_tokens_per_s(records.steps, start),
        "max_concurrent_requests": peak_concurrent_requests(records),
        **latencies(records),
        "engine_iterations": engine.iterations if engine else None,
        "gpu_busy_seconds": records.gpu_busy_s if engine else None,
        "extrapolated_seconds": engine.extrapolated_s if engine and records.whole else None,
        **drafts(records),
        "cache": cache_figures(records),
        "cost": cost_figures(records, price, duration, sessions),
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


def cache_figures(records: Records) -> CacheFigures:
    """The ``cache`` object: what was asked, found, evicted. Rates are weighted as their names say."""
    engine = records.engine
    whole = engine if records.whole else None
    queries = int(records.input_tokens.sum())
    hits = int(records.cache_read_input_tokens.sum())
    blocks, found = records.query_blocks, records.hit_blocks
    lost = records.hits_lost_to_isolation_tokens
    return {
        "prefix_cache_queries_tokens": queries,
        "prefix_cache_hits_tokens": hits,
        "prefix_cache_hit_rate": hits / queries if queries else None,
        "prefix_cache_queries_blocks": blocks,
        "prefix_cache_hits_blocks": found,
        "prefix_cache_hit_rate_blocks": found / blocks if blocks and found is not None else None,
        "prefix_cache_hits_tokens_by_tier": records.hit_tokens_by_tier or None,
        "hits_lost_to_isolation_tokens": None if lost is None else int(lost.sum()),
        "request_hit_rate": float((records.cache_read_input_tokens > 0).mean()) if queries else None,
        "preempted_queries_tokens": whole.preempted_queries_tokens if whole else None,
        "preempted_hits_tokens": whole.preempted_hits_tokens if whole else None,
        "recomputed_tokens": whole.recomputed_tokens if whole else None,
        "abandoned_tokens": whole.abandoned_tokens if whole else None,
        "evicted_blocks": records.evicted_blocks,
        "evicted_tokens": records.evicted_tokens,
        "num_preemptions": engine.num_preemptions if engine else None,
        "kv_block_lifetime_s": None,
        "kv_block_idle_before_evict_s": None,
        "kv_block_reuse_gap_s": None,
        "kv_cache_usage_perc": whole.max_used_blocks / whole.capacity_blocks if whole else None,
    }


def cost_figures(
    records: Records, price: Price | None, duration_s: float | None, sessions: Records | None = None
) -> CostFigures:
    """The ``cost`` object. ``saved_usd_by_cache`` is filled in where it follows from token prices.

    ``sessions``: the requests of the sessions that start in the time of ``records``; by default these.
    """
    if records.hosted is not None and len(records.hosted.calls):
        return bills.cost_figures(records, sessions if sessions is not None and len(sessions) else records)
    gpu_s = sum(records.gpus) * duration_s if duration_s is not None else None
    figures: CostFigures = {
        "pricing": "provider" if records.hosted else price.pricing if price else None,
        "cost_usd_total": None,
        "cost_usd_per_request": None,
        "cost_usd_per_1m_input_tokens": None,
        "cost_usd_per_1m_output_tokens": None,
        "saved_usd_by_cache": None,
        "gpu_seconds": gpu_s,
        "cost_usd_busy": None,
    }
    if price is None or not len(records):
        return figures
    inputs, outputs = int(records.input_tokens.sum()), int(records.output_tokens.sum())
    if price.gpu_hour_usd is not None:
        assert gpu_s is not None and records.engine is not None
        total = for_input = for_output = gpu_s / 3600 * price.gpu_hour_usd
        figures["cost_usd_busy"] = records.gpu_busy_s / 3600 * price.gpu_hour_usd
    else:
        tokens = records.input_tokens, records.cache_read_input_tokens, records.output_tokens
        paid_input, paid_output = price.token_bill_usd(*tokens)
        for_input, for_output = float(paid_input.sum()), float(paid_output.sum())
        total = for_input + for_output
        nothing = np.zeros_like(records.input_tokens)
        full_input, _ = price.token_bill_usd(records.input_tokens, nothing, records.output_tokens)
        figures["saved_usd_by_cache"] = float(full_input.sum()) - for_input
    figures["cost_usd_total"] = total
    figures["cost_usd_per_request"] = total / len(records)
    figures["cost_usd_per_1m_input_tokens"] = for_input / inputs * 1e6
    figures["cost_usd_per_1m_output_tokens"] = for_output / outputs * 1e6
    return figures


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
