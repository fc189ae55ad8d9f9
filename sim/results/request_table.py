"""The request table: one flat row per request and system."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from sim.providers import bills
from sim.results import metrics
from sim.results.pricing import Price
from sim.results.records import Floats, Ints, Records
from sim.results.tables import RequestColumns

if TYPE_CHECKING:
    from sim.result import Result

TWIN = "/no-cache"
"""Added to a system's name for the rows of its twin."""


BLOCK = 1 << 17
"""Rows of a block, which is a row group in the file."""


def columns(blocks: Iterable[RequestColumns]) -> RequestColumns:
    """Columns of the whole table; what a system does not have is NaN, or None for text."""
    parts: list[Any] = list(blocks)
    table = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return cast(RequestColumns, table)


def blocks(result: Result) -> Iterator[RequestColumns]:
    """The table a block at a time: a system, then its twin, each in the order of the trace."""
    names = result.trace.request_ids
    for name, run in result.runs.items():
        for system, records in ((name, run.records), (name + TWIN, run.twin)):
            table: Any = rows(system, records, run.price, names or np.arange(len(records)))
            for first in range(0, len(records), BLOCK):
                block = {key: column[first : first + BLOCK] for key, column in table.items()}
                yield cast(RequestColumns, block)


def request_usd(records: Records, price: Price | None) -> Floats | None:
    """What each request costs, USD; None where only time has a price, or nothing has.

    A hosted API bills what its client did not wait for, too. Where tokens have a price list only completed
    requests are paid, as in the summary: how much of a reply was given up is not in the records.
    """
    if records.hosted is not None:
        return bills.request_usd(records)
    if price is None or price.pricing != "tokens":
        return None
    paid = price.token_bill_usd(
        records.input_tokens, records.cache_read_input_tokens, records.output_tokens
    )
    return np.where(records.completed, paid[0] + paid[1], np.nan)


def rows(system: str, records: Records, price: Price | None, names: Sequence[str] | Ints) -> RequestColumns:
    """The rows of ``records``, whose requests are called ``names``."""
    n = len(records)
    hits = records.cache_read_input_tokens
    cost = request_usd(records, price)
    tier = np.array(records.tier or [None] * n, dtype=object)
    if records.engine is not None:
        first = next(iter(records.hit_tokens_by_tier), "gpu")
        tier[(hits > 0) & (tier == np.array(None))] = first
    return {
        "system": np.full(n, system, dtype=object),
        "request_id": names if isinstance(names, np.ndarray) else np.array(names, dtype=object),
        "session_id": records.session,
        "turn": records.turn,
        "tenant": records.tenant,
        "arrival_s": records.arrival_s,
        "scheduled_s": records.scheduled_s,
        "first_token_s": records.first_token_s,
        "finished_s": records.finished_s,
        "input_tokens": records.input_tokens,
        "cache_read_input_tokens": hits,
        "cache_creation_input_tokens": records.cache_creation_input_tokens,
        "output_tokens": records.output_tokens,
        "ttft_ms": metrics.ttft_s(records) * 1e3,
        "tpot_ms": metrics.tpot_s(records) * 1e3,
        "e2el_ms": metrics.e2el_s(records) * 1e3,
        "queue_time_ms": metrics.queue_time_s(records) * 1e3,
        "replica": records.replica,
        "preemptions": records.preemptions,
        "retries": records.retries,
        "tier": tier,
        "cost_usd": np.full(n, np.nan) if cost is None else cost,
        "status": records.status,
    }
