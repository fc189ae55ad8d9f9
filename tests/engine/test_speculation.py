"""Speculative decoding against the schedules of vLLM 0.33.0: every field of every step."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.engine.vllm.config import Policy, SchedulerOptions
from sim.engine.vllm.speculation import Speculation, tokens_per_step
from tests.caches.cases import QUICK, request_lists, trace_of
from tests.caches.recorded import EXCERPTS, read_rows
from tests.engine.driving_steps import Drive
from tests.engine.test_stepping_recorded import as_recorded, drive_of, idle, recorded_trace
from tests.oracles.naive_vllm import NaiveRequest
from workloads.content import ROOT
from workloads.trace import Trace

FOLDER = EXCERPTS / "speculative"
TRACES = {"short-s3": EXCERPTS / "short-s3", "ends-s4": FOLDER / "ends-s4"}
CONFIGS: dict[tuple[str, str], dict[str, Any]] = {
    (trace, config["name"]): config["args"]
    for trace in TRACES
    for config in json.loads((FOLDER / trace / "index.json").read_text())["configs"]
}


@dataclass(frozen=True)
class RecordedSpeculation(Speculation):
    """Accepts what was accepted in the recording."""

    recorded: tuple[tuple[int, ...], ...] = ()

    def accepted(self, index: int, output_tokens: int) -> list[int]:
        accepted = list(self.recorded[index])
        return accepted + [0] * (output_tokens - len(accepted))


def _drive(folder: Path, args: dict[str, Any], accepted: dict[str, list[int]]) -> Drive:
    trace = recorded_trace(folder, 1 << 30)
    assert trace.request_ids is not None
    drafts, method = args["num_speculative_tokens"], args["method"]
    eagle = method in ("eagle", "mtp")
    lookahead = int(eagle and not args["disable_lookahead_block_hashes"])
    speculation = RecordedSpeculation(
        drafts,
        lookahead_tokens=0 if method == "ngram" else drafts,
        draft_slots=int(method == "draft_model"),
        hash_lookahead_tokens=lookahead,
        max_model_len=args["max_model_len"],
        recorded=tuple(tuple(accepted[name]) for name in trace.request_ids),
    )
    drops = eagle and not lookahead
    groups = args["groups"].split(",") if drops or args["groups"] != "full" else None
    return drive_of(trace, args, groups, eagle=drops, speculation=speculation)


@pytest.mark.parametrize(("trace", "name"), CONFIGS)
def test_recorded_schedule(trace: str, name: str) -> None:
    """All steps and requests of each recording in this repository."""
    args = CONFIGS[trace, name]
    steps, rows = (read_rows(FOLDER / trace / f"{name}.{kind}.jsonl.gz") for kind in ("steps", "req"))
    drive = _drive(TRACES[trace], args, {row["id"]: row["accepted"] for row in rows})
    records, ids = drive.run(), drive.trace.request_ids
    assert ids is not None and len(rows) == len(ids)
    number = [r.step if args["async_sched"] else int(r.scheduled_s) for r in records]
    at = dict(zip(number, records, strict=True))
    spec = [0, 0, 0]
    for want in steps:
        step = want["step"]
        spec = [a + b for a, b in zip(spec, want.pop("spec"), strict=True)]
        for field in ("sched", "new", "resumed"):
            want[field] = list(want[field].items())
        assert want == (as_recorded(at[step], step, ids) if step in at else idle(step, args["blocks"] - 1))
    assert number[-1] == steps[-1]["step"]
    totals, log = drive.replica.totals, drive.log
    assert spec == [
        totals.spec_decode_num_drafts,
        totals.spec_decode_num_draft_tokens,
        totals.spec_decode_num_accepted_tokens,
    ]
    for row in rows:
        i = ids.index(row["id"])
        assert row["hit"] == log.hit_tokens[i] and row["preempt"] == log.preemptions[i]
        assert log.first_token_s[i] == at[row["first"]].end_s
        assert log.finished_s[i] == at[row["done"]].end_s
        assert row["used_blocks"] == at[row["done"]].used_blocks


def _speculating(rates: list[float], **options: Any) -> SchedulerOptions:
    return SchedulerOptions(speculation=Speculation(len(rates), acceptance_rates=tuple(rates)), **options)


def _alone(output_tokens: int, requests: int = 1) -> Trace:
    trace = Trace()
    for _ in range(requests):
        prompt = trace.content.append(ROOT, 100)
        reply = trace.content.append(prompt, output_tokens)
        trace.add(prompt=prompt, reply=reply, output_tokens=output_tokens, arrival_s=0.0)
    return trace


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("rates", [[0.0], [1.0, 1.0], [0.8], [0.9, 0.6, 0.4, 0.1]])
def test_time_per_token_is_that_of_theory(rates: list[float], asynchronous: bool) -> None:
    """A step of one second gives 1 + the sum of the rates tokens on average, within 4 standard errors."""
    output, requests = 2001, 30
    drive = Drive(
        _alone(output, requests), _speculating(rates, async_scheduling=asynchronous), blocks=10_000
    )
    drive.run()
    totals = drive.replica.totals
    mean = tokens_per_step(rates)
    chances = [1.0, *rates, 0.0]
    spread = sum((chances[i] - chances[i + 1]) * (1 + i - mean) ** 2 for i in range(len(rates) + 1)) ** 0.5
    verified = totals.spec_decode_num_drafts
    measured = 1 + totals.spec_decode_num_accepted_tokens / verified
    assert abs(measured - mean) <= 4 * spread / verified**0.5
    steps = [f - s for f, s in zip(drive.log.finished_s, drive.log.first_token_s, strict=True)]
    tpot = sum(steps) / requests / (output - 1)
    assert tpot == pytest.approx(1 / mean, rel=4 * spread / mean / verified**0.5 + 1e-3)
    if rates[-1] in (0.0, 1.0):
        assert steps == [-(-(output - 1) // round(mean))] * requests


def test_drafts_of_a_request_are_its_own() -> None:
    """What is accepted does not depend on other requests, or on the cache."""
    speculation = Speculation(3, acceptance_rates=(0.8, 0.5, 0.2), seed=7)
    assert speculation.accepted(4, 200)[:50] == speculation.accepted(4, 50)
    assert speculation.accepted(5, 50) != speculation.accepted(4, 50)
    assert replace(speculation, seed=8).accepted(4, 50) != speculation.accepted(4, 50)
    many = speculation.accepted(0, 100_000)
    for i, rate in enumerate(speculation.acceptance_rates):
        assert sum(a > i for a in many) / len(many) == pytest.approx(rate, abs=0.01)


@settings(QUICK, max_examples=60)
@given(
    requests=request_lists(most=6, longest=12, arrivals=st.integers(0, 8)),
    rates=st.lists(st.floats(0, 1), min_size=1, max_size=4).map(lambda r: sorted(r, reverse=True)),
    lookahead=st.booleans(),
    spare=st.integers(0, 6),
    budget=st.integers(5, 24),
    asynchronous=st.booleans(),
    policy=st.sampled_from(["fcfs", "priority"]),
)
def test_nothing_is_lost(
    requests: list[NaiveRequest],
    rates: list[float],
    lookahead: bool,
    spare: int,
    budget: int,
    asynchronous: bool,
    policy: Policy,
) -> None:
    """In tiny memories too: invariants at every instant, every token once, every block given back."""
    trace, drafts = trace_of(requests), len(rates)
    speculation = Speculation(
        drafts,
        lookahead_tokens=drafts if lookahead else 0,
        draft_slots=int(lookahead),
        hash_lookahead_tokens=int(lookahead),
        acceptance_rates=tuple(rates),
    )
    options = SchedulerOptions(
        max_num_batched_tokens=max(budget, speculation.least_tokens),
        max_num_seqs=4,
        policy=policy,
        async_scheduling=asynchronous,
        speculation=speculation,
    )
    longest = max(len(r.prompt) + len(r.output) for r in requests) + 3 * drafts + 2
    drive = Drive(
        trace,
        options,
        blocks=-(-longest // 2) + spare,
        block_size=2,
        lookahead=int(lookahead),
    )
    records = drive.run(check=True)
    totals, log = drive.replica.totals, drive.log
    outputs = sum(trace.output_tokens)
    needed = sum(trace.input_tokens) - sum(log.hit_tokens) + outputs - len(trace)
    assert totals.scheduled_tokens == needed + totals.recomputed_tokens + totals.surplus_tokens
    assert totals.scheduled_tokens == sum(tokens for r in records for _, tokens in r.sched)
    assert sorted(i for r in records for i in r.finished) == list(range(len(trace)))
    accepted = totals.spec_decode_num_accepted_tokens
    assert 0 <= accepted <= totals.spec_decode_num_draft_tokens
