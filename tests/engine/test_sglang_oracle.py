"""SGLang's scheduler and its naive models on small random traces, step by step and event by event."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from sim.caches.radix_eviction import POLICIES as EVICTION
from tests.caches.cases import QUICK, THOROUGH, request_lists, trace_of
from tests.caches.recorded import single_blocks
from tests.engine.driving import check_always
from tests.engine.driving_sglang import sglang_fleet, steps_of
from tests.oracles.naive_radix import NaiveRadix
from tests.oracles.naive_sglang import NaiveSglang, NaiveStep, run_to_the_end
from tests.oracles.naive_sglang_overlap import NaiveOverlap, OverlapStep, run_overlapped
from tests.oracles.naive_vllm import NaiveRequest

SALTS = st.sampled_from([None, None, None, "salt"])


@dataclass
class Case:
    """Requests in order of arrival, and the engine that serves them."""

    requests: list[NaiveRequest]
    page_size: int
    pages: int
    chunk: int
    max_prefill: int
    max_running: int
    eviction: str = "lru"
    caching: bool = True
    options: dict[str, Any] = field(default_factory=dict)


@st.composite
def cases(draw: Any, most: int = 6) -> Case:
    """Memory holds the largest request and little more, so that many cases evict and retract.

    Half have replies that are long beside what an admission expects of them. A third have prompts of many
    tokens, which share more than the 32 from which on lpm holds requests back.
    """
    policy = draw(st.sampled_from(["fcfs", "lpm", "lpm", "dfs-weight"]))
    salts = SALTS if policy != "dfs-weight" else st.none()
    requests = draw(request_lists(most=most, arrivals=st.integers(0, 12), salts=salts))
    stretch, longer = draw(st.sampled_from([1, 1, 12])), draw(st.sampled_from([1, 5]))
    for request in requests:
        request.prompt = [token for token in request.prompt for _ in range(stretch)]
        request.output = [token for token in request.output for _ in range(longer)]
        request.priority = draw(st.integers(0, 2))
    size = draw(st.integers(1, 4))
    asked = draw(st.sampled_from([None, None, 9 * longer, 60]))
    longest = [max(len(r.output), asked or 0) for r in requests]
    needed = max(
        -(-len(r.prompt) // size) - (-(out + 1) // size) + 1
        for r, out in zip(requests, longest, strict=True)
    )
    chunks = draw(st.sampled_from([-1, 1, 2, 3, 8, 64]))
    return Case(
        requests,
        size,
        needed + draw(st.integers(0, 8)),
        -1 if chunks < 0 else chunks * size,
        draw(st.sampled_from([1, 4, 16, 16384])),
        draw(st.sampled_from([1, 2, 3, 100, 100])),
        draw(st.sampled_from(["lru", "lru", *EVICTION])),
        draw(st.sampled_from([True] * 7 + [False])),
        {
            "schedule_policy": policy,
            "schedule_conservativeness": draw(st.sampled_from([0.2, 0.2, 1.0, 1.4])),
            "ignore_eos": draw(st.sampled_from([False, False, False, True])),
            "max_new_tokens": asked,
            "retraction_policy": draw(st.sampled_from(["length", "length", "priority"])),
        },
    )


def _oracle(case: Case, overlap: bool) -> tuple[list[NaiveStep], NaiveSglang]:
    options, size = case.options, case.page_size
    engine = (NaiveOverlap if overlap else NaiveSglang)(
        NaiveRadix(case.pages * size, size, case.eviction),
        chunk=None if case.chunk < 0 else case.chunk,
        max_prefill=case.max_prefill,
        max_running=case.max_running,
        policy=options["schedule_policy"],
        conservativeness=options["schedule_conservativeness"],
        ignore_eos=options["ignore_eos"],
        retract_by_priority=options["retraction_policy"] == "priority",
        caching=case.caching,
    )
    room = {r.id: (case.pages - -(-len(r.prompt) // size) - 1) * size - 1 for r in case.requests}
    asked = options["max_new_tokens"]
    limits = {r.id: min(asked or len(r.output), room[r.id]) for r in case.requests}
    if isinstance(engine, NaiveOverlap):
        return list(run_overlapped(engine, case.requests, limits)), engine
    return run_to_the_end(engine, case.requests, max_new=limits), engine


def _fleet(case: Case, **more: Any) -> Any:
    trace = trace_of(case.requests)
    return sglang_fleet(
        trace,
        pages=case.pages,
        page_size=case.page_size,
        eviction=case.eviction,
        caching=case.caching,
        chunked_prefill_size=case.chunk,
        max_prefill_tokens=case.max_prefill,
        max_running_requests=case.max_running,
        **case.options,
        **more,
    )


def _agree(case: Case, overlap: bool) -> None:
    want, engine = _oracle(case, overlap)
    ids, size = [request.id for request in case.requests], case.page_size
    way = {"disable_overlap_schedule": not overlap}
    fleet = _fleet(case, record_steps=True, **way)
    records = check_always(fleet).run()
    got = [
        NaiveStep(
            [(ids[i], tokens) for i, tokens in step.sched],
            [(ids[i], cached) for i, cached in step.new],
            [(ids[i], cached) for i, cached in step.resumed],
            [ids[i] for i in step.preempted],
            [(ids[owner], index) for owner, index in single_blocks(step.evicted)],  # type: ignore[misc]
            step.free * size,
            step.running,
            step.waiting,
            [ids[i] for i in step.finished],
        )
        for step in steps_of(fleet)
    ]
    for step in want:
        step.evicted = _single_pages(step.evicted, size)
    for mine, theirs in zip(steps_of(fleet), want, strict=True):
        if isinstance(theirs, OverlapStep):
            assert (mine.scheduled_s, mine.end_s) == (theirs.at, theirs.start + 1)
    assert got == [NaiveStep(*(getattr(step, name) for name in NaiveStep.__match_args__)) for step in want]
    gone = {name for name, status in zip(ids, records.status, strict=True) if status == "aborted"}
    assert gone == set(engine.aborted)
    for fast_forward in (False, True):
        evicted: list[tuple[int, int, int]] = []
        again = check_always(
            _fleet(
                case, fast_forward=fast_forward, evicted=lambda *run, log=evicted: log.append(run), **way
            )
        ).run()
        for name in (
            "scheduled_s",
            "first_token_s",
            "finished_s",
            "cache_read_input_tokens",
            "preemptions",
        ):
            assert getattr(again, name).tolist() == getattr(records, name).tolist(), name
        pages: list[Any] = [(ids[owner], index) for owner, index in single_blocks(evicted)]
        assert pages == [page for step in want for page in step.evicted]
    event(f"retractions: {min(3, sum(len(step.retracted) for step in want))}")
    event(f"evictions: {min(3, sum(len(step.evicted) for step in want))}")


def _single_pages(runs: list[tuple[str, int, int]], size: int) -> Any:
    return [(owner, i) for owner, start, to in runs for i in range(to // size - 1, start // size - 1, -1)]


@settings(QUICK, max_examples=300)
@given(cases(), st.booleans())
def test_random_traces(case: Case, overlap: bool) -> None:
    """Batches in order, hits at every admission, retractions, evicted pages in order, free memory."""
    _agree(case, overlap)


@pytest.mark.slow
@settings(THOROUGH, max_examples=10_000)
@given(cases(most=12), st.booleans())
def test_random_traces_thoroughly(case: Case, overlap: bool) -> None:
    """The same on many more and longer traces."""
    _agree(case, overlap)
