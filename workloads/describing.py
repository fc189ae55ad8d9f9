"""What a trace is: its size, lengths, times, and how much of its prompts was seen before."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from workloads.content import ROOT
from workloads.trace import NONE, Trace

PERCENTILES = (10, 50, 90, 99)
Floats = NDArray[np.float64]


@dataclass(slots=True)
class Spread:
    """Mean, percentiles (linear) and maximum of something."""

    mean: float
    percentiles: dict[int, float]
    max: float


@dataclass(slots=True)
class Description:
    """Figures of a trace; None where the trace cannot tell them."""

    origin: str
    requests: int
    sessions: int
    span_s: float
    """From the first to the last arrival, if every reply took no time."""
    rate_per_s: float | None
    """Requests by span."""
    input_tokens: int
    output_tokens: int
    input: Spread
    output: Spread
    turns: Spread
    """Requests of a session."""
    gap_s: Spread | None
    """Between the arrivals of consecutive requests."""
    turn_gap_s: Spread | None
    """Between the arrivals of consecutive requests of a session."""
    think_s: Spread | None
    """Between a reply and the next turn, where turns wait."""
    gap_cv: float | None
    """Standard deviation of the gaps by their mean: 1 for Poisson arrivals."""
    ideal_hit_tokens: int | None
    """Prompt tokens that an earlier prompt or reply has at the same place behind the same content."""
    ideal_hit_rate: float | None
    """Their share of all prompt tokens: what an unlimited cache of single tokens would find."""
    hits_between_sessions: float | None
    """Share of these tokens last seen in another session."""
    reuse_s: dict[int, float]
    """Seconds since the same content was last used, percentiles over these tokens."""
    heads: list[tuple[int, float]]
    """The most common beginnings of prompts as (tokens, share of the requests), up to five."""
    notes: list[str] = field(default_factory=list)
    reuse_curve: tuple[Floats, Floats] | None = None
    """Seconds since last use, ascending, and the share of prompt tokens reused within them."""

    @property
    def spreads(self) -> dict[str, Spread]:
        """What lengths and times the trace has, by their names in a table."""
        named = {
            "input tokens": self.input,
            "output tokens": self.output,
            "turns of a session": self.turns,
            "gap between requests, s": self.gap_s,
            "gap between turns, s": self.turn_gap_s,
            "think time, s": self.think_s,
        }
        return {name: spread for name, spread in named.items() if spread is not None}


def describe(trace: Trace) -> Description:
    """The figures of ``trace``. O(segments of all prompts)."""
    order = trace.instant_order()
    times = np.array([at for at, _ in order])
    span = float(times[-1] - times[0])
    gaps = np.diff(times)
    reuse = _Reuse(trace, order)
    last: dict[int, float] = {}
    turn_gaps = []
    for at, request in order:
        session = trace.session[request]
        if session in last:
            turn_gaps.append(at - last[session])
        last[session] = at
    thinks = [trace.think_s[after] for after in trace.follower if after != NONE]
    inputs = trace.input_tokens
    return Description(
        origin=trace.origin,
        requests=len(trace),
        sessions=len(last),
        span_s=span,
        rate_per_s=len(trace) / span if span else None,
        input_tokens=sum(inputs),
        output_tokens=sum(trace.output_tokens),
        input=_required(inputs),
        output=_required(trace.output_tokens),
        turns=_required(list(Counter(trace.session).values())),
        gap_s=spread(gaps),
        turn_gap_s=spread(turn_gaps),
        think_s=spread(thinks),
        gap_cv=float(gaps.std() / gaps.mean()) if len(gaps) and gaps.mean() else None,
        ideal_hit_tokens=None if trace.lengths_only else reuse.tokens,
        ideal_hit_rate=None if trace.lengths_only else reuse.tokens / sum(inputs),
        hits_between_sessions=reuse.elsewhere / reuse.tokens if reuse.tokens else None,
        reuse_s=reuse.percentiles(),
        heads=_heads(trace),
        notes=trace.notes,
        reuse_curve=reuse.curve(sum(inputs)),
    )


def spread(values: list[float] | list[int] | Floats) -> Spread | None:
    """Of any values; None if there are none."""
    if not len(values):
        return None
    found = np.percentile(values, PERCENTILES).tolist()
    return Spread(float(np.mean(values)), dict(zip(PERCENTILES, found, strict=True)), float(np.max(values)))


def _required(values: list[int]) -> Spread:
    found = spread(values)
    assert found is not None
    return found


class _Reuse:
    """How long ago the tokens of every prompt were last used, and by which session."""

    def __init__(self, trace: Trace, order: list[tuple[float, int]]) -> None:
        content = trace.content
        used_s: list[float | None] = [None] * len(content)
        user = [NONE] * len(content)
        ages: list[float] = []
        weights: list[int] = []
        self.tokens = self.elsewhere = 0
        for at, request in order:
            segment, session = trace.prompt[request], trace.session[request]
            while segment != ROOT:
                since = used_s[segment]
                if since is not None:
                    length = content.end[segment] - content.end[content.parent[segment]]
                    ages.append(at - since)
                    weights.append(length)
                    self.tokens += length
                    self.elsewhere += length * (user[segment] != session)
                used_s[segment], user[segment] = at, session
                segment = content.parent[segment]
            segment = trace.reply[request]
            while segment != trace.prompt[request]:
                used_s[segment], user[segment] = at, session
                segment = content.parent[segment]
        by_age = np.argsort(ages, kind="stable")
        self._ages = np.array(ages, dtype=np.float64)[by_age]
        self._weights = np.cumsum(np.array(weights, dtype=np.float64)[by_age])

    def percentiles(self) -> dict[int, float]:
        """Of the ages, each token counted once."""
        if not self.tokens:
            return {}
        places = np.searchsorted(self._weights, [self.tokens * p / 100 for p in PERCENTILES])
        return dict(
            zip(PERCENTILES, self._ages[np.minimum(places, len(self._ages) - 1)].tolist(), strict=True)
        )

    def curve(self, input_tokens: int) -> tuple[Floats, Floats] | None:
        """Ages, and the share of all prompt tokens that were used within each."""
        return (self._ages, self._weights / input_tokens) if self.tokens else None


def _heads(trace: Trace) -> list[tuple[int, float]]:
    """The most common first segments that more than one request has."""
    content = trace.content
    first = list(range(len(content)))
    for segment in sorted(range(1, len(content)), key=content.end.__getitem__):
        above = content.parent[segment]
        first[segment] = segment if above == ROOT else first[above]
    count = Counter(first[prompt] for prompt in trace.prompt)
    return [(content.end[head], many / len(trace)) for head, many in count.most_common(5) if many > 1]
