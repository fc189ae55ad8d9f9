"""A served run, request by request: the result of a benchmark, or a table of requests."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.results.records import Floats, Ints
from sim.results.request_table import TWIN
from workloads.content import ROOT
from workloads.errors import InputError
from workloads.formats.files import find_file
from workloads.formats.jsonl import Row, digits, whole
from workloads.formats.reader import rows
from workloads.schema import MOST_S
from workloads.shown import nearest, shown
from workloads.trace import Trace

BENCH = "input_lens"
"""A list that only detailed results of ``vllm bench serve`` have."""
ALLOWED = (
    "allowed: a result of `vllm bench serve --save-result --save-detailed`, or a row for each request with "
    "arrival_s, input_tokens, output_tokens, first_token_s and finished_s (or last_token_s)"
)


@dataclass(slots=True)
class MeasuredRun:
    """Requests as columns, in the order of the file; times of those that failed are NaN."""

    path: Path
    names: list[str] | None
    """The file's own names of the requests, where it has them."""
    arrival_s: Floats | None
    """From the first one, s; None if the file does not say."""
    input_tokens: Ints
    output_tokens: Ints
    ttft_s: Floats
    e2e_s: Floats
    hit_tokens: Ints | None = None
    """Prompt tokens found in the cache, where the file says so."""
    gaps_s: list[Floats] | None = None
    """Of each request the gaps between what the client received, where the file has them."""
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.input_tokens)

    @property
    def completed(self) -> NDArray[np.bool_]:
        """Which requests were answered to the end."""
        return ~np.isnan(self.e2e_s)

    @property
    def tpot_s(self) -> Floats:
        """Time per output token after the first, s; NaN for one token."""
        others = self.output_tokens - 1
        out = np.full(len(self), np.nan)
        np.divide(self.e2e_s - self.ttft_s, others, out=out, where=others > 0)
        return out

    def lengths(self) -> Trace:
        """The requests as a trace of their own: every prompt is new content."""
        trace = Trace(origin=self.path.name, lengths_only=True, request_ids=self.names)
        arrival = np.zeros(len(self)) if self.arrival_s is None else self.arrival_s
        sizes = zip(self.input_tokens.tolist(), self.output_tokens.tolist(), arrival.tolist(), strict=True)
        for tokens, output, at in sizes:
            prompt = trace.content.append(ROOT, tokens)
            trace.add(prompt=prompt, output_tokens=max(output, 1), arrival_s=at)
        self.notes.append(f"{self.path.name}: no --trace, so every prompt is taken as new: no hits")
        return trace

    def only(self, order: Ints) -> MeasuredRun:
        """The requests with these numbers, in this order."""
        take = order.tolist()
        return MeasuredRun(
            self.path,
            None if self.names is None else [self.names[i] for i in take],
            None if self.arrival_s is None else self.arrival_s[order],
            self.input_tokens[order],
            self.output_tokens[order],
            self.ttft_s[order],
            self.e2e_s[order],
            None if self.hit_tokens is None else self.hit_tokens[order],
            None if self.gaps_s is None else [self.gaps_s[i] for i in take],
            self.notes,
        )


def read(path: Path, system: str | None = None) -> MeasuredRun:
    """The run in the file ``path``; InputError names file, row, field, value and what is allowed.

    ``system`` is one of several in a table of ours.
    """
    path = find_file(path, Path())
    found = rows(path)
    first = next(found, None)
    if first is None:
        raise InputError(f"{path}: no requests; {ALLOWED}")
    where, _, row = first
    if BENCH in row:
        if system is not None:
            raise InputError(f"--system {system}: goes with a table of requests, not with {path}")
        run = _bench(path, where, row)
        if next(found, None) is not None:
            raise InputError(f"{path}: several results; allowed: one (--append-result adds to a file)")
    elif "mean_ttft_ms" in row and "arrival_s" not in row:
        raise InputError(f"{where}: {BENCH} is missing: saved without --save-detailed; {ALLOWED}")
    else:
        run = _table(path, [(where, row), *((where, row) for where, _, row in found)], system)
    if not run.completed.any():
        raise InputError(f"{path}: no request was answered to the end; {ALLOWED}")
    if failed := int((~run.completed).sum()):
        run.notes.append(f"{path.name}: {failed:,} of {len(run):,} requests failed and are left out")
    return run


# -- vllm bench serve --------------------------------------------------------------------------------


def _bench(path: Path, where: str, row: Row) -> MeasuredRun:
    count = len(_list(row, BENCH, where, None))
    columns = {key: _list(row, key, where, count) for key in (BENCH, "output_lens", "ttfts", "itls")}
    errors = row.get("errors") or [""] * count
    if not isinstance(errors, list) or len(errors) != count:
        raise InputError(f"{where}: errors = {shown(errors)}; allowed: a list of {count} entries")
    starts = None
    if row.get("start_times"):
        given = _list(row, "start_times", where, count)
        starts = _from_first([_time({"start_times": at}, "start_times", where) for at in given])
    sent = [whole({BENCH: value}, BENCH, where) for value in columns[BENCH]]
    got, ttft, e2e, gaps = [], [], [], []
    for i, (output, first, between) in enumerate(
        zip(columns["output_lens"], columns["ttfts"], columns["itls"], strict=True)
    ):
        at = f"{where}: request {i}"
        tokens = whole({"output_lens": output}, "output_lens", at, 0)
        got.append(tokens)
        if errors[i] or not tokens:
            ttft.append(np.nan)
            e2e.append(np.nan)
            gaps.append(np.zeros(0))
            continue
        ttft.append(_time({"ttfts": first}, "ttfts", at))
        gaps.append(_gaps(between, at))
        e2e.append(ttft[-1] + float(gaps[-1].sum()))
    return MeasuredRun(
        path, None, starts, np.array(sent), np.array(got), np.array(ttft), np.array(e2e), gaps_s=gaps
    )


def _list(row: Row, key: str, where: str, count: int | None) -> list[Any]:
    value = row.get(key)
    if not isinstance(value, list) or (count is not None and len(value) != count):
        wanted = "a list" if count is None else f"a list of {count} entries, one for each request"
        said = f"{key} is missing" if key not in row else f"{key} = {shown(value)}"
        raise InputError(f"{where}: {said}; allowed: {wanted} (--save-detailed)")
    return value


def _gaps(value: object, where: str) -> Floats:
    if not isinstance(value, list) or not all(_is_time(gap) for gap in value):
        raise InputError(f"{where}: itls = {shown(value)}; allowed: a list of times, 0 to {MOST_S:.0e} s")
    return np.array(value, float)


def _from_first(times: Iterable[float]) -> Floats:
    at = np.array(list(times), float)
    return np.asarray(at - at.min())


# -- tables ------------------------------------------------------------------------------------------


def _table(path: Path, found: list[tuple[str, Row]], system: str | None) -> MeasuredRun:
    found = _of_system(path, found, system)
    names, hits = [], []
    columns: dict[str, list[float]] = {key: [] for key in ("arrival", "ttft", "e2e")}
    sent, got = [], []
    for where, row in found:
        name = next((str(row[key]) for key in ("request_id", "id") if row.get(key) is not None), None)
        names.append(name)
        arrival = _time(row, "arrival_s", where)
        sent.append(_whole(row, "input_tokens", where))
        got.append(_whole(row, "output_tokens", where, 0))
        hit = row.get("cache_read_input_tokens")
        hits.append(None if hit is None else _whole(row, "cache_read_input_tokens", where, 0))
        last = "last_token_s" if "last_token_s" in row else "finished_s"
        columns["arrival"].append(arrival)
        if str(row.get("status", "completed")) != "completed" or not got[-1]:
            columns["ttft"].append(np.nan)
            columns["e2e"].append(np.nan)
            continue
        first_s, last_s = _time(row, "first_token_s", where), _time(row, last, where)
        if not arrival <= first_s <= last_s:
            raise InputError(
                f"{where}: arrival_s = {arrival:g}, first_token_s = {first_s:g}, {last} = {last_s:g}; "
                "allowed: in this order"
            )
        columns["ttft"].append(first_s - arrival)
        columns["e2e"].append(last_s - arrival)
    named = all(name is not None for name in names) and len(set(names)) == len(names)
    return MeasuredRun(
        path,
        [str(name) for name in names] if named else None,
        _from_first(columns["arrival"]),
        np.array(sent),
        np.array(got),
        np.array(columns["ttft"]),
        np.array(columns["e2e"]),
        np.array(hits) if all(hit is not None for hit in hits) else None,
    )


def _of_system(path: Path, found: list[tuple[str, Row]], system: str | None) -> list[tuple[str, Row]]:
    """The rows of one system; those of its twin without a cache are another's."""
    names = list(dict.fromkeys(str(row.get("system", "")) for _, row in found))
    if system is None:
        names = [name for name in names if not name.endswith(TWIN)] or names
        if len(names) > 1:
            raise InputError(f"{path}: several systems; allowed: --system with one of {', '.join(names)}")
        system = names[0]
    elif system not in names:
        raise InputError(f"--system {system}: not in {path}; {nearest(system, list(names))}")
    return [(where, row) for where, row in found if str(row.get("system", "")) == system]


def _time(row: Row, key: str, where: str) -> float:
    value = row.get(key)
    if value is None:
        raise InputError(f"{where}: {key} is missing; {ALLOWED}")
    if isinstance(value, str):  # of a table that has no types
        with suppress(ValueError):
            value = float(value)
    if not _is_time(value):
        raise InputError(f"{where}: {key} = {shown(value)}; allowed: 0 to {MOST_S:.0e} s")
    return float(value)


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MOST_S


def _whole(row: Row, key: str, where: str, least: int = 1) -> int:
    if row.get(key) is None:
        raise InputError(f"{where}: {key} is missing; {ALLOWED}")
    return whole({key: digits(row[key])}, key, where, least)
