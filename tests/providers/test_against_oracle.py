"""Random traces: the rules engine against a naive list of prefixes, request by request."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sim.providers.schema import Rules
from tests.oracles.naive_provider import NaiveBreakpoints, NaiveGrid, Prompt, replied_by
from tests.providers.script import SLOW, made, read, script, send, written
from workloads.trace import Trace

LENGTHS = {"system": 40, "a": 7, "b": 11, "c": 30, "d": 3}
TTL_S = 100.0
prompts = st.lists(st.sampled_from("abcd"), min_size=1, max_size=7)
requests = st.lists(
    st.tuples(prompts, st.integers(0, 60).map(lambda tenths: tenths / 2), st.integers(0, 2)),
    min_size=1,
    max_size=25,
)
"""(messages after the system message, pause before the request in s, session)."""
Drawn = list[tuple[list[str], float, int]]


def _laid_out(drawn: Drawn) -> tuple[Trace, list[tuple[Prompt, float, float]]]:
    """The trace, and (prompt, time, time from which it is readable): 1 s later, or with a longer prompt."""
    rows: list[tuple[str, float]] = []
    sent: list[tuple[Prompt, float, int]] = []
    at = 0.0
    for messages, pause, session in drawn:
        at += pause
        names = ["system", *messages]
        rows.append((" ".join(names), at))
        sent.append((tuple((name, LENGTHS[name]) for name in names), at, session))
    trace = script(LENGTHS, *rows, sessions=[session for _, _, session in sent])
    return trace, [
        (prompt, at, min(at + 1, by)) for (prompt, at, _), by in zip(sent, replied_by(sent), strict=True)
    ]


def _breakpoints(minimum: int, lookback: int) -> Rules:
    lifetimes = [{"name": "x", "seconds": TTL_S, "write_mult": 1.25}]
    return made(
        "breakpoint",
        min_tokens=minimum,
        lookback=lookback,
        max_writes=4,
        over_limit="latest",
        lifetimes=lifetimes,
    )


def _marks(strategy: str, prompt: Prompt) -> list[int]:
    n = len(prompt)
    return {
        "last": [n],
        "system": [1],
        "window": [n - i for i in range(3) if n - i > 0],
        "all": sorted({1, n - 1}),
    }[strategy]


@given(
    drawn=requests,
    minimum=st.sampled_from([0, 45, 60]),
    lookback=st.sampled_from([1, 2, 20]),
    strategy=st.sampled_from(["last", "system", "window", "all"]),
)
@settings(max_examples=300)
def test_breakpoints(drawn: Drawn, minimum: int, lookback: int, strategy: str) -> None:
    """Every read and every write of every request; first tokens come after one second."""
    trace, sent = _laid_out(drawn)
    done = send(
        trace,
        _breakpoints(minimum, lookback),
        SLOW,
        mode="explicit",
        marks=strategy,
        window=3,
    )
    oracle = NaiveBreakpoints(TTL_S, minimum, lookback)
    expected = [oracle.serve(prompt, _marks(strategy, prompt), at, visible) for prompt, at, visible in sent]
    assert list(zip(read(done), written(done), strict=True)) == expected


@given(drawn=requests, minimum=st.sampled_from([0, 45, 60]), step=st.sampled_from([1, 8, 16]))
@settings(max_examples=300)
def test_grid(drawn: Drawn, minimum: int, step: int) -> None:
    """Every read of every request, token by token."""
    trace, sent = _laid_out(drawn)
    lifetimes = [{"name": "x", "seconds": TTL_S}]
    grid = made("grid", min_tokens=minimum, granularity=step, lifetimes=lifetimes)
    oracle = NaiveGrid(TTL_S, minimum, step)
    assert read(send(trace, grid, SLOW)) == [oracle.serve(*request) for request in sent]
