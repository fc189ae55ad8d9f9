"""The figures of a run, added up over its pieces: no more than one of them has to be in memory.

Whatever the pieces, the figures are the same to the last digit: counts are whole numbers, sums of floats
are exact until they are rounded once (``exact.py``), and percentiles are the values themselves
(``spread.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from sim.providers import bills
from sim.results import exact, metrics
from sim.results.itl import Gaps
from sim.results.pricing import Price, cost_figures
from sim.results.records import Floats, Records
from sim.results.request_log import ABORTED, REJECTED, TIMED_OUT
from sim.results.spread import Buckets, Spread
from sim.results.summary_cost import CostFigures
from sim.results.summary_system import Figures
from sim.results.window import WHOLE, Window

if TYPE_CHECKING:
    from sim.results.slo import Slo

LATENCIES: dict[str, Callable[[Records], Floats]] = {
    "ttft": metrics.ttft_s,
    "tpot": metrics.tpot_s,
    "e2el": metrics.e2el_s,
    "queue_time": metrics.queue_time_s,
}


def head_of(records: Records) -> Records:
    """What ``records`` say of the run, without its requests and steps."""
    return replace(records.only(np.zeros(len(records), bool)), steps=[], work=[])


def summarise(
    records: Records, price: Price | None, window: Window = WHOLE, slo: Slo | None = None
) -> Figures:
    """The entry of a system in summary.json, of records that are in memory: a run in one piece."""
    tally, counted = Tally(window, price, slo), records.measured(window)
    tally.add(records, counted)
    tally.settle()
    tally.look(counted)
    return tally.figures(head_of(records))


class Tally:
    """What the figures of one run in one window are made of.

    As in vLLM's results, figures count the requests that completed; the others are counted by how they
    ended. Requests count that arrive in the window. Like a `Spread` it looks at all pieces twice.
    """

    def __init__(self, window: Window, price: Price | None, slo: Slo | None = None) -> None:
        self.window = window
        self._price = price
        self._slo = slo
        self._counts = dict.fromkeys(COUNTS, 0)
        self._sums = dict.fromkeys(SUMS, 0)
        self._earliest_s = inf  # of all requests
        self._first_s = inf  # of those counted
        self._last_s = -inf
        self._hosted: tuple[Records, Records] | None = None
        self._lost = False
        self._spreads = {name: Spread(metrics.PERCENTILES) for name in LATENCIES}
        self._gaps = Gaps(metrics.PERCENTILES)
        self._tokens = Buckets()
        self._changes = Buckets()

    @property
    def completed(self) -> int:
        """Requests that count."""
        return self._counts["completed"]

    def add(self, everything: Records, records: Records) -> None:
        """The first look at a piece: all of it, and what figures are made of (`Records.measured`)."""
        arrived, completed = everything.arrived(self.window), everything.completed
        ended, in_time = everything.status[arrived], self._in_time(everything, completed)
        hits, engine = records.cache_read_input_tokens, records.engine
        served_outputs = int(everything.output_tokens[in_time].sum())
        self._note(
            sessions=len(np.unique(everything.session[everything.started(self.window)])),
            arrived=len(ended),
            completed=len(records),
            rejected=int((ended == REJECTED).sum()),
            timed_out=int((ended == TIMED_OUT).sum()),
            aborted=int((ended == ABORTED).sum()),
            retried=int((everything.retries[arrived] > 0).sum()),
            inputs=int(records.input_tokens.sum()),
            outputs=int(records.output_tokens.sum()),
            hits=int(hits.sum()),
            hit_requests=int((hits > 0).sum()),
            served=int(in_time.sum()),
            served_tokens=int(everything.input_tokens[in_time].sum()) + served_outputs,
            served_outputs=served_outputs,
            good=0 if self._slo is None else self._slo.good(everything, self.window),
            preemptions=int(records.preemptions.sum()),
            iterations=sum(int(log.table["iterations"].sum()) for log in records.work) if engine else 0,
        )
        if records.block_tokens is not None:
            self._note(
                query_blocks=int((records.input_tokens // records.block_tokens).sum()),
                hit_blocks=int((hits // records.block_tokens).sum()),
            )
        if (lost := records.hits_lost_to_isolation_tokens) is not None:
            self._note(lost=int(lost.sum()))
        self._sums["busy"] += exact.total(
            [log.busy_s * gpus for log, gpus in zip(records.work, records.gpus, strict=True)]
        )
        self._sums["engine_busy"] += exact.total([log.busy_s for log in records.work])
        if records.hosted is not None and len(records.hosted.calls):
            assert self._hosted is None, "a hosted API is one piece"
            sessions = everything.answered(self.window)
            self._hosted = records, sessions if len(sessions) else records
        elif self._price is not None and self._price.input_usd_per_1m is not None:
            self._pay(records, self._price)
        self._earliest_s = min(self._earliest_s, float(everything.arrival_s.min(initial=inf)))
        self._first_s = min(self._first_s, float(records.arrival_s.min(initial=inf)))
        finished = records.finished_s[~np.isnan(records.finished_s)]
        self._last_s = max(self._last_s, float(finished.max(initial=-inf)))
        for name, of in LATENCIES.items():
            self._spreads[name].add(of(records) * 1e3)
        self._gaps.add(records.steps)

    def settle(self) -> None:
        """All pieces have been seen once."""
        for spread in self._spreads.values():
            spread.settle()
        self._gaps.settle()

    def look(self, records: Records) -> None:
        """The second look at a piece: at what figures are made of."""
        for name, of in LATENCIES.items():
            self._spreads[name].look(of(records) * 1e3)
        self._gaps.look(records.steps)
        start_s = max(self.window.start_s, self._earliest_s)
        metrics.output_tokens_by_second(self._tokens, records.steps, start_s)
        if len(records):
            metrics.requests_by_second(self._changes, records, self._first_s)

    def merge(self, other: Tally) -> None:
        """What ``other`` has seen the first time."""
        self._note(**other._counts)
        for name in SUMS:
            self._sums[name] += other._sums[name]
        self._earliest_s = min(self._earliest_s, other._earliest_s)
        self._first_s = min(self._first_s, other._first_s)
        self._last_s = max(self._last_s, other._last_s)
        for name, spread in self._spreads.items():
            spread.merge(other._spreads[name])
        self._gaps.merge(other._gaps)

    def bare(self) -> Tally:
        """What the second look at a piece needs to know."""
        out = Tally(self.window, self._price, self._slo)
        out._earliest_s, out._first_s = self._earliest_s, self._first_s
        out._spreads = {name: spread.bare() for name, spread in self._spreads.items()}
        out._gaps = self._gaps.bare()
        return out

    def merge_second(self, other: Tally) -> None:
        """What ``other`` has seen the second time."""
        for name, spread in self._spreads.items():
            spread.merge_second(other._spreads[name])
        self._gaps.merge_second(other._gaps)
        self._tokens.merge(other._tokens)
        self._changes.merge(other._changes)

    def figures(self, run: Records) -> Figures:
        """The entry in summary.json; a figure that cannot be computed is None.

        ``run`` is what is known of the run as a whole.
        """
        count, window, head = self._counts, self.window, self._head(run)
        duration: float | None = None
        if self._last_s > -inf and count["completed"]:
            start_s = window.start_s if window.start_s > 0 else self._first_s
            duration = (self._last_s if window.end_s == inf else window.end_s) - start_s

        def per_s(amount: int) -> float | None:
            return amount / duration if duration else None

        latencies: dict[str, Any] = {}
        for name in ("ttft", "tpot", "itl", "e2el", "queue_time"):
            if name == "itl":
                latencies |= metrics.spread_figures(self._gaps, name, ms=1e3)
            else:
                latencies |= metrics.spread_figures(self._spreads[name], name)
        engine = head.engine
        figures = {
            "duration": duration,
            "sessions": count["sessions"],
            "completed": count["completed"],
            "failed": count["arrived"] - count["completed"],
            **{name: count[name] for name in ("rejected", "timed_out", "aborted", "retried")},
            "total_input_tokens": count["inputs"],
            "total_output_tokens": count["outputs"],
            "computed_prompt_tokens": count["inputs"] - count["hits"],
            "request_throughput": per_s(count["served"]),
            "request_goodput": per_s(count["good"]) if self._slo is not None else None,
            "output_throughput": per_s(count["served_outputs"]),
            "total_token_throughput": per_s(count["served_tokens"]),
            "max_output_tokens_per_s": self._tokens.highest,
            "max_concurrent_requests": self._changes.highest_sum,
            **latencies,
            "engine_iterations": engine.iterations if engine else None,
            "gpu_busy_seconds": exact.value(self._sums["busy"]) if engine else None,
            "extrapolated_seconds": engine.extrapolated_s if engine and head.whole else None,
            **metrics.drafts(head),
            "cache": metrics.cache_figures(head, count),
            "cost": self._cost(head, duration),
        }
        return cast(Figures, figures)

    def _note(self, **counts: int) -> None:
        for name, count in counts.items():
            self._counts[name] += count

    def _in_time(self, everything: Records, completed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Of a part of a run, throughput is what ends in its time."""
        window = self.window
        if window.is_whole:
            return completed
        ends = (everything.finished_s > window.start_s) & (everything.finished_s <= window.end_s)
        return np.asarray(completed & ends)

    def _pay(self, records: Records, price: Price) -> None:
        """Add up what tokens cost, and what all input would without a cache."""
        inputs, outputs = records.input_tokens, records.output_tokens
        paid_input, paid_output = price.token_bill_usd(inputs, records.cache_read_input_tokens, outputs)
        full_input, _ = price.token_bill_usd(inputs, np.zeros_like(inputs), outputs)
        for name, paid in (("input", paid_input), ("output", paid_output), ("full_input", full_input)):
            self._sums[name] += exact.total(paid)

    def _head(self, run: Records) -> Records:
        """The counters of the run in the window."""
        count, whole = self._counts, self.window.is_whole
        if whole and count["arrived"] == count["completed"]:
            return run
        head = replace(run, query_blocks=None, hit_blocks=None)  # they count all requests
        if not whole:
            head.count_in(self.window)
            if head.engine is not None:
                busy_s = exact.value(self._sums["engine_busy"])
                head.engine = replace(head.engine, iterations=count["iterations"], busy_s=busy_s)
                if not head.whole:
                    head.engine.num_preemptions = count["preemptions"]
        if run.block_tokens is not None:
            head.query_blocks, head.hit_blocks = count["query_blocks"], count["hit_blocks"]
        return head

    def _cost(self, head: Records, duration_s: float | None) -> CostFigures:
        if self._hosted is not None:
            return bills.cost_figures(*self._hosted)
        gpu_s = sum(head.gpus) * duration_s if duration_s is not None else None
        figures = cost_figures(self._price, self._counts, self._sums, gpu_s)
        if head.hosted:
            figures["pricing"] = "provider"
        return figures


COUNTS = (
    "sessions", "arrived", "completed", "rejected", "timed_out", "aborted", "retried", "inputs", "outputs",
    "hits", "hit_requests", "served", "served_tokens", "served_outputs", "good", "preemptions",
    "iterations", "query_blocks", "hit_blocks", "lost",
)  # fmt: skip
"""Whole numbers that add up over pieces."""
SUMS = ("busy", "engine_busy", "input", "output", "full_input")
"""Sums of seconds and dollars, exact (``exact.py``)."""
