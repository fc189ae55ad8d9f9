"""Full queues, deadlines, failures: small models with the exact outcome, and conservation at random."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.fleet.plan import Failure, Hardships
from sim.fleet.routers import ROUTERS
from sim.hardware.coefficients import Coefficients
from sim.results.records import Records
from tests.caches.cases import QUICK, trace_of
from tests.engine.comparing import REALISTIC, same_records
from tests.engine.driving import ONE_SECOND, check_always, fleet_of
from tests.engine.driving_sglang import sglang_fleet
from tests.engine.test_against_oracle import Case, cases
from workloads.clients import Retries
from workloads.content import ROOT
from workloads.trace import NONE, Trace

WAYS: dict[str, dict[str, Any]] = {
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
@pytest.mark.parametrize(("deadline_s", "status"), [(7.0, "completed"), (6.0, "timed_out")])
def test_a_deadline_is_that_of_one_try(way: dict[str, bool], deadline_s: float, status: str) -> None:
    """The third is turned away at 0.6, comes back at 5.6 and would end at 12: by the deadline of its second
    try, or at 11.6 too late, but not by that of its first."""
    trace = _trace((0.0, 16, 5), (0.5, 16, 5), (0.6, 16, 2))
    again = Retries(max_retries=1, backoff_s=5.0)
    hardships = Hardships(max_queued_requests=1, deadline_s=[99, 99, deadline_s], retries=again)
    records = _run(trace, hardships, way, max_num_seqs=1)
    assert records.status.tolist() == ["completed", "completed", status]
    assert records.scheduled_s.tolist() == [0.0, 5.0, 10.0] and records.retries.tolist() == [0, 0, 1]


@EVERY_WAY
def test_what_a_client_sees_later(way: dict[str, bool]) -> None:
    """With 0.25 s per request replies begin and end that much later, and follow-ups are sent then.

    Ended at 5 in the replica, a reply is seen at 5.25: kept by that deadline, missed by one of 5.
    """
    late = Coefficients(step=1.0, request=0.25)
    trace = _trace((0.0, 16, 5), (None, 16, 2))
    records = _run(trace, Hardships(deadline_s=[5.25, 99]), way, coefficients=late)
    assert records.status.tolist() == ["completed", "completed"]
    assert records.first_token_s.tolist() == [1.25, 6.5]
    assert records.arrival_s.tolist() == [0.0, 5.25] and records.finished_s.tolist() == [5.25, 7.5]
    records = _run(trace, Hardships(deadline_s=[5.0, 99]), way, coefficients=late)
    assert records.status.tolist() == ["timed_out", "completed"]
    assert records.first_token_s[0] == 1.25 and records.arrival_s.tolist() == [0.0, 5.0]


@EVERY_WAY
def test_what_a_client_sees_steps_later(way: dict[str, bool]) -> None:
    """Half a step later, where a step takes 1 s; a reply of one token has no steps to go by."""
    late = Coefficients(step=1.0, request=0.25, depth=0.5)
    records = _run(_trace((0.0, 16, 5), (None, 16, 1)), Hardships(), way, coefficients=late)
    assert records.first_token_s.tolist() == [1.75, 7.0]
    assert records.arrival_s.tolist() == [0.0, 5.75] and records.finished_s.tolist() == [5.75, 7.0]


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
    records = _run(
        trace, hardships, way, replicas=2, max_num_seqs=1, router=ROUTERS["least_loaded"]().router
    )
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
    # What it had found before counts for nothing.
    lost = _run(
        _trace((0.0, 64, 1), (5.0, 64, 9), same=True), Hardships(failures=(Failure(0, 7.5, None),)), way
    )
    assert lost.status.tolist() == ["completed", "rejected"]
    assert lost.cache_read_input_tokens.tolist() == [0, 0] and np.isnan(lost.scheduled_s[1])
    waits = Hardships(failures=(Failure(0, 0.5, 5.0),), deadline_s=[2.0, 99.0])
    assert _run(trace, waits, way).status.tolist() == ["timed_out", "completed"]


@EVERY_WAY
def test_who_was_given_up_is_not_retried(way: dict[str, bool]) -> None:
    """The client leaves at 2.2 and the replica fails at 2.5, both in the iteration that ends at 3."""
    hardships = Hardships(deadline_s=[2.2], failures=(Failure(0, 2.5, 5.0),))
    records = _run(_trace((0.0, 16, 9)), hardships, way)
    assert (records.status[0], records.retries[0]) == ("timed_out", 0)
    assert records.engine is not None and records.engine.scheduled_tokens == 16 + 2


@EVERY_WAY
def test_preemptions_before_and_after_a_failure_count(way: dict[str, bool]) -> None:
    """Five blocks for two requests of up to five: the second is preempted at 1, and again at 6."""
    trace = _trace((0.0, 2, 4), (0.0, 2, 4))
    hardships = Hardships(failures=(Failure(0, 2.5, 5.0),))
    records = _run(trace, hardships, way, blocks=5, block_size=1)
    assert records.retries.tolist() == [1, 1]
    assert records.preemptions.tolist() == [0, 2]


@EVERY_WAY
def test_closed_loop_keeps_so_many_sessions(way: dict[str, bool]) -> None:
    """Two at a time; a session's place is taken when its last request ends."""
    trace = _trace((0.0, 16, 3), (None, 16, 2), (0.0, 16, 2), (0.0, 16, 4))
    trace.concurrency = 2
    records = _run(trace, Hardships(), way)
    assert records.arrival_s.tolist() == [0.0, 3.0, 0.0, 2.0]
    assert records.finished_s.tolist() == [3.0, 5.0, 2.0, 6.0]


def _hardships(
    rng: random.Random, requests: int, replicas: int, last_s: float, whole: bool = False
) -> Hardships:
    """Anything up to ``last_s``; ``whole`` seconds are also the ends of iterations."""

    def draw(most_s: float) -> float:
        return float(rng.randint(1, int(most_s))) if whole else rng.uniform(0, most_s)

    failures: list[Failure] = []
    for replica in range(replicas):
        at = 0.0
        while rng.random() < 0.6:
            at += draw(last_s)
            back = None if rng.random() < 0.2 else at + draw(last_s / 2)
            failures.append(Failure(replica, at, back))
            if back is None:
                break
            at = back
    return Hardships(
        max_queued_requests=rng.choice([None, 1, 2, 5]),
        deadline_s=rng.choice([None, [draw(last_s) for _ in range(requests)]]),
        failures=tuple(failures),
    )


class Situation:
    """What happens to ``case`` under ``seed``: arrivals, hardships, replicas, router, times."""

    def __init__(self, case: Case, seed: int) -> None:
        rng = random.Random(seed)
        # Whole seconds: replicas often end together, and other things happen when they do.
        whole = rng.random() < 0.5
        closed = whole and rng.random() < 0.5
        last_s = 25.0 if whole else 0.3
        self._requests = case.requests
        for request in case.requests:
            request.arrival = rng.randint(0, 12) if whole else rng.uniform(0, last_s)
        replicas = rng.choice([1, 2, 2, 3])
        self.engine: dict[str, Any] = {
            "coefficients": ONE_SECOND if whole else REALISTIC,
            "replicas": replicas,
            "hardships": _hardships(rng, len(case.requests), replicas, last_s, whole),
            "router": ROUTERS[rng.choice(list(ROUTERS))]().router,
            "caching": case.caching,
            "max_num_seqs": case.max_num_seqs,
            "block_size": case.block_size,
        }
        self._concurrency = rng.randint(1, 4) if closed else None

    def trace(self) -> Trace:
        """A trace of its own for every run."""
        trace = trace_of(self._requests)
        trace.concurrency = self._concurrency
        return trace


def _everything_ends_once(case: Case, seed: int) -> None:
    """Records.check() and every replica's check() run inside; here the three ways are compared."""
    situation = Situation(case, seed)
    limits: dict[str, Any] = {"blocks": case.blocks, "max_num_batched_tokens": case.max_num_batched_tokens}
    one, *others = (
        check_always(fleet_of(situation.trace(), **limits, **situation.engine, **way)).run()
        for way in WAYS.values()
    )
    for other in others:
        same_records(one, other)


def _sglang_everything_ends_once(case: Case, seed: int) -> None:
    """SGLang's replicas: runs of decode steps against single steps, invariants at every instant."""
    situation = Situation(case, seed)
    engine = dict(situation.engine)
    size = engine["page_size"] = engine.pop("block_size")
    engine["max_running_requests"] = engine.pop("max_num_seqs")
    trace = situation.trace()
    largest = max(p + o for p, o in zip(trace.input_tokens, trace.output_tokens, strict=True))
    pages = -(-largest // size) + 2 + seed % 5
    chunk = size * (1 + seed % 3)
    one, other = (
        check_always(
            sglang_fleet(
                situation.trace(),
                pages=pages,
                chunked_prefill_size=chunk,
                fast_forward=fast_forward,
                **engine,
            )
        ).run()
        for fast_forward in (True, False)
    )
    same_records(one, other)


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
