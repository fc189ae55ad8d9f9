"""Full queues, deadlines, failures: small models with the exact outcome, and conservation at random."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.engine.plan import Failure, Hardships
from sim.engine.routers import ROUTERS
from sim.records import Records
from tests.caches.cases import QUICK, trace_of
from tests.engine.driving import ONE_SECOND, check_always, fleet_of
from tests.engine.driving_sglang import sglang_fleet
from tests.engine.test_against_oracle import Case, cases
from tests.engine.test_fast_forward import CLOSE, REALISTIC
from workloads.content import ROOT
from workloads.trace import NONE, Trace

WAYS: dict[str, dict[str, bool]] = {
    "runs": {},
    "single steps": {"fast_forward": False},
    "general scheduler": {"record_steps": True},
}
EVERY_WAY = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def _trace(*requests: tuple[float | None, int, int], same: bool = False) -> Trace:
    """Requests (arrival in s, prompt tokens, output tokens); None follows the one before at once."""
    trace = Trace()
    prompt = trace.content.append(ROOT, requests[0][1])
    for i, (arrival_s, tokens, output_tokens) in enumerate(requests):
        trace.add(
            prompt=prompt if same else trace.content.append(ROOT, tokens),
            output_tokens=output_tokens,
            arrival_s=arrival_s,
            follows=NONE if arrival_s is not None else i - 1,
        )
    return trace


def _run(trace: Trace, hardships: Hardships, way: dict[str, bool], **engine: Any) -> Records:
    return check_always(fleet_of(trace, hardships=hardships, **{"blocks": 50, **way, **engine})).run()


@EVERY_WAY
def test_a_full_queue_rejects(way: dict[str, bool]) -> None:
    """One runs, one waits, the third is turned away; its follow-up still comes, at once."""
    trace = _trace((0.0, 16, 5), (0.5, 16, 5), (0.6, 16, 5), (None, 16, 5))
    records = _run(trace, Hardships(max_queued_requests=1), way, max_num_seqs=1)
    assert records.status.tolist() == ["completed", "completed", "rejected", "rejected"]
    assert records.arrival_s.tolist() == [0.0, 0.5, 0.6, 0.6]
    assert records.finished_s[:2].tolist() == [5.0, 10.0]
    assert np.isnan(records.finished_s[2:]).all() and (records.replica[2:] == -1).all()


@EVERY_WAY
def test_a_deadline_while_waiting(way: dict[str, bool]) -> None:
    """It leaves the queue at its deadline without having cost anything; the one behind moves up."""
    trace = _trace((0.0, 16, 5), (0.5, 16, 5), (0.6, 16, 2))
    records = _run(trace, Hardships(deadline_s=[99, 3, 99]), way, max_num_seqs=1)
    assert records.status.tolist() == ["completed", "timed_out", "completed"]
    assert records.finished_s[2] == 7.0
    assert records.engine is not None and records.engine.abandoned_tokens == 0
    assert records.engine.scheduled_tokens == 16 + 4 + 16 + 1


@EVERY_WAY
def test_a_deadline_while_running_frees_at_the_end_of_the_iteration(way: dict[str, bool]) -> None:
    """The request is given up at 3.5, in its fourth iteration; the other one is scheduled at 4."""
    trace = _trace((0.0, 16, 50), (0.5, 16, 2), (None, 16, 1))
    records = _run(trace, Hardships(deadline_s=[3.5, 99, 99]), way, max_num_seqs=1)
    assert records.status.tolist() == ["timed_out", "completed", "completed"]
    assert records.scheduled_s[1:].tolist() == [4.0, 6.0]
    assert records.engine is not None and records.engine.abandoned_tokens == 16 + 3


@EVERY_WAY
def test_a_deadline_that_is_just_kept(way: dict[str, bool]) -> None:
    """The last token at the very deadline counts; a millisecond less and it does not."""
    kept = _run(_trace((0.0, 16, 5)), Hardships(deadline_s=[5.0]), way)
    missed = _run(_trace((0.0, 16, 5)), Hardships(deadline_s=[4.999]), way)
    assert (kept.status[0], missed.status[0]) == ("completed", "timed_out")
    assert missed.engine is not None and missed.engine.abandoned_tokens == 16 + 4


@EVERY_WAY
def test_a_blocked_head_that_gives_up_lets_the_next_one_in(way: dict[str, bool]) -> None:
    """The second needs more blocks than are free; when it leaves at 3.2 the third fits at 4."""
    trace = _trace((0.0, 32, 9), (0.5, 64, 2), (0.6, 16, 2))
    records = _run(trace, Hardships(deadline_s=[99, 2.7, 99]), way, blocks=5)
    assert records.scheduled_s[2] == 4.0


@EVERY_WAY
def test_a_dead_replicas_requests_are_retried_elsewhere(way: dict[str, bool]) -> None:
    """Replica 0 dies at 2.5 with one running and one waiting; both start anew on replica 1."""
    trace = _trace((0.0, 16, 9), (0.0, 16, 9), (1.0, 16, 3), (9.5, 16, 2))
    hardships = Hardships(failures=(Failure(0, 2.5, 9.0),))
    records = _run(trace, hardships, way, replicas=2, max_num_seqs=1, router=ROUTERS["least_loaded"])
    assert records.status.tolist() == ["completed"] * 4
    assert records.retries.tolist() == [1, 0, 1, 0]
    assert records.replica.tolist() == [1, 1, 1, 0]
    assert records.scheduled_s.tolist() == [9.0, 0.0, 18.0, 9.5]
    assert records.engine is not None and records.engine.abandoned_tokens == 16 + 2


@EVERY_WAY
@pytest.mark.parametrize(("back_s", "hit"), [(8.0, 0), (None, 48)])
def test_it_comes_back_cold(way: dict[str, bool], back_s: float | None, hit: int) -> None:
    """Replica 0 had the prompt cached; after its return it has not. Replica 1 keeps its own."""
    trace = _trace((0.0, 64, 1), (0.0, 64, 1), (10.0, 64, 1), same=True)
    hardships = Hardships(failures=(Failure(0, 5.0, back_s),))
    records = _run(trace, hardships, way, replicas=2)
    assert records.replica.tolist() == [0, 1, 0 if back_s else 1]
    assert records.cache_read_input_tokens.tolist() == [0, 0, hit]


@EVERY_WAY
def test_with_nobody_alive_requests_wait_or_are_rejected(way: dict[str, bool]) -> None:
    """The first is served by the returned replica; after the last failure nobody comes back."""
    trace = _trace((1.0, 16, 2), (11.0, 16, 2))
    failures = (Failure(0, 0.5, 5.0), Failure(0, 10.0, None))
    records = _run(trace, Hardships(failures=failures), way)
    assert records.status.tolist() == ["completed", "rejected"]
    assert (records.scheduled_s[0], records.retries[0]) == (5.0, 0)
    waits = Hardships(failures=(Failure(0, 0.5, 5.0),), deadline_s=[2.0, 99.0])
    assert _run(trace, waits, way).status.tolist() == ["timed_out", "completed"]


@EVERY_WAY
def test_closed_loop_keeps_so_many_sessions(way: dict[str, bool]) -> None:
    """Two at a time; a session's place is taken when its last request ends."""
    trace = _trace((0.0, 16, 3), (None, 16, 2), (0.0, 16, 2), (0.0, 16, 4))
    trace.concurrency = 2
    records = _run(trace, Hardships(), way)
    assert records.arrival_s.tolist() == [0.0, 3.0, 0.0, 2.0]
    assert records.finished_s.tolist() == [3.0, 5.0, 2.0, 6.0]


def _hardships(rng: random.Random, requests: int, replicas: int, last_s: float) -> Hardships:
    failures: list[Failure] = []
    for replica in range(replicas):
        at = 0.0
        while rng.random() < 0.6:
            at += rng.uniform(0, last_s)
            back = None if rng.random() < 0.2 else at + rng.uniform(0, last_s / 2)
            failures.append(Failure(replica, at, back))
            if back is None:
                break
            at = back
    return Hardships(
        max_queued_requests=rng.choice([None, 1, 2, 5]),
        deadline_s=rng.choice([None, [rng.uniform(0, last_s) for _ in range(requests)]]),
        failures=tuple(failures),
    )


def _sglang_everything_ends_once(case: Case, seed: int) -> None:
    """SGLang's replicas: runs of decode steps against single steps, invariants at every instant."""
    rng = random.Random(seed)
    for request in case.requests:
        request.arrival = rng.uniform(0, 0.3)
    replicas = rng.choice([1, 1, 2, 3])
    hardships = _hardships(rng, len(case.requests), replicas, 0.3)
    router = ROUTERS[rng.choice(list(ROUTERS))]
    runs = []
    for fast_forward in (True, False):
        trace = trace_of(case.requests)
        largest = max(p + o for p, o in zip(trace.input_tokens, trace.output_tokens, strict=True))
        fleet = sglang_fleet(
            trace,
            pages=-(-largest // case.block_size) + 2 + seed % 5,
            page_size=case.block_size,
            chunked_prefill_size=case.block_size * (1 + seed % 3),
            max_running_requests=case.max_num_seqs,
            caching=case.caching,
            coefficients=REALISTIC,
            replicas=replicas,
            router=router,
            hardships=hardships,
            fast_forward=fast_forward,
        )
        runs.append(check_always(fleet).run())
    _same(*runs)


def _same(one: Records, other: Records) -> None:
    for name in ("status", "retries", "cache_read_input_tokens", "replica", "preemptions"):
        assert (getattr(one, name) == getattr(other, name)).all(), name
    for name in ("arrival_s", "scheduled_s", "finished_s"):
        want = pytest.approx(getattr(other, name), nan_ok=True, **CLOSE)
        assert getattr(one, name) == want, name


def _everything_ends_once(case: Case, seed: int) -> None:
    """Records.check() and every replica's check() run inside; here the three ways are compared."""
    rng = random.Random(seed)
    closed = rng.random() < 0.25
    # In closed loop times are whole seconds, so that ties are ties in every way. One replica: what one
    # hands to another whose iteration ends at that instant meets it before or after (docs/models.md).
    coefficients, last_s = (ONE_SECOND, 25.0) if closed else (REALISTIC, 0.3)
    for request in case.requests:
        request.arrival = rng.uniform(0, last_s)
    replicas = 1 if closed else rng.choice([1, 1, 2, 3])
    hardships = _hardships(rng, len(case.requests), replicas, last_s)
    router = ROUTERS[rng.choice(list(ROUTERS))]
    concurrency = rng.randint(1, 4) if closed else None
    runs = []
    for way in WAYS.values():
        trace = trace_of(case.requests)
        trace.concurrency = concurrency
        records = _run(
            trace,
            hardships,
            way,
            blocks=case.blocks,
            block_size=case.block_size,
            max_num_batched_tokens=case.max_num_batched_tokens,
            max_num_seqs=case.max_num_seqs,
            caching=case.caching,
            coefficients=coefficients,
            replicas=replicas,
            router=router,
        )
        runs.append(records)
    for other in runs[1:]:
        _same(runs[0], other)


@QUICK
@given(cases(), st.integers(0, 1 << 30))
def test_everything_ends_once(case: Case, seed: int) -> None:
    """Random hardships in tiny memories: no request and no block is lost, however it is run."""
    _everything_ends_once(case, seed)


@QUICK
@given(cases(), st.integers(0, 1 << 30))
def test_everything_ends_once_in_sglang(case: Case, seed: int) -> None:
    """The same with SGLang's scheduler, which can also give a request up itself."""
    _sglang_everything_ends_once(case, seed)


@pytest.mark.slow
@settings(parent=QUICK, max_examples=1500)
@given(cases(), st.integers(0, 1 << 30))
def test_everything_ends_once_thoroughly(case: Case, seed: int) -> None:
    """The same, many more."""
    _everything_ends_once(case, seed)
    _sglang_everything_ends_once(case, seed)
