"""KV that must be brought in: from lower tiers, and from the replica that prefilled it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.caches.tiered import TieredConfig
from sim.engine.events import Clock
from sim.engine.link import Link, LinkSpeed
from sim.engine.vllm.config import SchedulerOptions
from sim.fleet.fleet import Fleet
from sim.hardware.coefficients import Coefficients
from tests.caches.cases import QUICK
from tests.engine.driving import ONE_SECOND, check_always
from tests.engine.fleets import GB, any_fleet, tiers_of
from tests.engine.test_against_oracle import Case
from workloads.content import ROOT
from workloads.generators.script import ScriptWorkload
from workloads.trace import Trace

BOTH = pytest.mark.parametrize("fast_forward", [True, False])


def _options(case: Case | None = None) -> SchedulerOptions:
    tokens, seqs = (64, 64) if case is None else (case.max_num_batched_tokens, case.max_num_seqs)
    return SchedulerOptions(tokens, seqs, async_scheduling=False)


def _tiered(
    trace: Trace,
    blocks: int,
    *,
    host: int | None = None,
    disk: int | None = None,
    write: str = "write_through",
    gb_per_s: float = 1.0,
    latency_ms: float = 0.0,
    block_size: int = 1,
    options: SchedulerOptions | None = None,
    **fleet: Any,
) -> tuple[Fleet, dict[str, int]]:
    hits: dict[str, int] = {}
    tiers = tiers_of(
        host, disk, block_size=block_size, write=write, gb_per_s=gb_per_s, latency_ms=latency_ms
    )
    made = any_fleet(
        trace, blocks, options or _options(), block_size=block_size, tiers=tiers, hits=hits, **fleet
    )
    return made, hits


def _apart(trace: Trace, blocks: int, *, options: SchedulerOptions | None = None, **fleet: Any) -> Fleet:
    return any_fleet(trace, blocks, options or _options(), **{"link": LinkSpeed(gb_per_s=1.0), **fleet})


def _trace(*requests: tuple[float, str, int]) -> Trace:
    """Requests (arrival in s, one message per letter, output tokens); a message has eight tokens."""
    trace = Trace()
    known: dict[str, int] = {"": ROOT}
    for arrival_s, messages, output_tokens in requests:
        for i in range(len(messages)):
            if messages[: i + 1] not in known:
                known[messages[: i + 1]] = trace.content.append(known[messages[:i]], 8)
        trace.add(prompt=known[messages], output_tokens=output_tokens, arrival_s=arrival_s)
    return trace


# -- tiers ---------------------------------------------------------------------------------------------


@BOTH
def test_a_load_takes_bytes_over_bandwidth_and_a_latency(fast_forward: bool) -> None:
    """Seven of eight tokens are on the host: 7 s and half a second on the way, then one is computed."""
    trace = _trace((0.0, "a", 1), (10.0, "bc", 1), (20.0, "a", 1))
    fleet, hits = _tiered(trace, 16, host=None, fast_forward=fast_forward, latency_ms=500.0)
    records = check_always(fleet).run()
    assert records.cache_read_input_tokens.tolist() == [0, 0, 7]
    assert hits == {"host": 7}
    assert records.scheduled_s.tolist() == [0.0, 10.0, 27.5]
    assert records.finished_s.tolist() == [1.0, 11.0, 28.5]
    assert records.tier == [None, None, "host"]
    assert records.engine is not None and records.engine.loaded_tokens == 7


@BOTH
def test_loads_queue_for_the_link_and_nobody_waits_behind_them(fast_forward: bool) -> None:
    """Two loads of 7 s one after the other; a new prompt behind them is computed at once."""
    trace = _trace(
        (0.0, "a", 1), (1.0, "b", 1), (2.0, "cde", 1), (10.0, "a", 1), (10.0, "b", 1), (10.0, "f", 2)
    )
    fleet, _ = _tiered(trace, 26, fast_forward=fast_forward)
    records = check_always(fleet).run()
    assert records.cache_read_input_tokens.tolist() == [0, 0, 0, 7, 7, 0]
    assert records.scheduled_s[3:].tolist() == [17.0, 24.0, 10.0]
    assert records.finished_s[5] == 12.0


@BOTH
def test_what_is_loading_holds_its_memory(fast_forward: bool) -> None:
    """The 8 blocks of the loading request leave 8 of 16: a prompt of 16 waits until it is through."""
    trace = _trace((0.0, "a", 1), (5.0, "bc", 1), (10.0, "a", 1), (11.0, "de", 1))
    fleet, _ = _tiered(trace, 16, fast_forward=fast_forward)
    records = check_always(fleet).run()
    assert records.scheduled_s.tolist() == [0.0, 5.0, 17.0, 18.0]


@BOTH
def test_tiers_load_beside_each_other(fast_forward: bool) -> None:
    """One token is left on the GPU, five are on the host, nine on the disk: all are there after 9 s."""
    trace = _trace((0.0, "ab", 1), (30.0, "cd", 1), (60.0, "ab", 1))
    fleet, hits = _tiered(trace, 17, host=22, disk=100, fast_forward=fast_forward)
    records = check_always(fleet).run()
    assert hits == {"host": 5, "disk": 9} and records.cache_read_input_tokens[2] == 15
    assert records.scheduled_s[2] == 69.0 and records.tier[2] == "disk"


@BOTH
def test_what_a_preempted_request_brings_back_is_no_hit(fast_forward: bool) -> None:
    """18 blocks for two requests of up to 13: the second loses four to the host, and loads them again."""
    trace = _trace((0.0, "a", 6), (0.0, "b", 6))
    fleet, hits = _tiered(trace, 18, host=100, write="write_back", fast_forward=fast_forward)
    records = check_always(fleet).run()
    assert records.preemptions.tolist() == [0, 1]
    assert records.engine is not None and records.engine.loaded_tokens == 4
    assert hits == {} and records.tier == [None, None]


def test_transfers_queue_and_latencies_overlap() -> None:
    """Two of a second each, half a second on the way: there after 1.5 and 2.5 s, not after 3."""
    link = Link(Clock(), LinkSpeed(gb_per_s=1.0, latency_ms=500.0))
    assert [link.transfer(GB) for _ in range(2)] == [1.5, 2.5]
    assert link.bytes == 2 * GB


@st.composite
def _scripts(draw: Any) -> tuple[Trace, int]:
    prompts = draw(st.lists(st.text("abcd", min_size=1, max_size=4), min_size=1, max_size=8))
    requests = [
        {"prompt": list(prompt), "reply": "reply", "at_s": 1000.0 * i} for i, prompt in enumerate(prompts)
    ]
    lengths = {"a": 2, "b": 3, "c": 4, "d": 6, "reply": 2}
    workload = ScriptWorkload.model_validate({"kind": "script", "messages": lengths, "requests": requests})
    trace = workload.build(0, Path())
    return trace, max(p + 1 for p in trace.input_tokens) + draw(st.integers(0, 8))


@QUICK
@given(
    _scripts(),
    st.integers(1, 12),
    st.sampled_from([None, 4, 12]),
    st.sampled_from(["write_through", "write_through_selective", "write_back"]),
    st.booleans(),
)
def test_one_at_a_time_finds_what_a_replay_finds(
    script: tuple[Trace, int], host: int, disk: int | None, write: str, fast_forward: bool
) -> None:
    """With nobody else about, hits in every tier are those of the tiers without times."""
    trace, blocks = script
    fleet, hits = _tiered(trace, blocks, host=host, disk=disk, write=write, fast_forward=fast_forward)
    records = check_always(fleet).run()
    names = ["gpu", "host", "disk"][: 2 if disk is None else 3]
    tiers = [
        {"name": name, "capacity_blocks": size}
        for name, size in zip(names, [blocks, host, disk], strict=False)
    ]
    config = {"kind": "tiered", "tiers": tiers, "block_size": 1, "write": write}
    replay = TieredConfig.model_validate(config).replay(trace, "cache")
    want: dict[str, int] = {}
    for at, request in trace.instant_order():
        served = replay.serve(request, at)
        assert records.cache_read_input_tokens[request] == served.hit_tokens
        for name, tokens in served.tiers:
            want[name] = want.get(name, 0) + tokens
    want.pop("gpu", None)
    assert hits == want


# -- prefill and decode apart -------------------------------------------------------------------------


@BOTH
def test_a_request_goes_over_the_link(fast_forward: bool) -> None:
    """Prefill 0 to 1, eight tokens over the link until 9.25, then one token a second."""
    trace = _trace((0.0, "a", 4))
    link = LinkSpeed(gb_per_s=1.0, latency_ms=250.0)
    fleet = _apart(trace, 16, fast_forward=fast_forward, link=link)
    records = check_always(fleet).run()
    assert (records.scheduled_s[0], records.first_token_s[0]) == (0.0, 1.0)
    assert records.finished_s[0] == 12.25
    assert records.steps[1].gaps_s == [9.25]  # between the first token and the second, which is elsewhere
    assert records.replica[0] == 1
    assert records.engine is not None and records.engine.scheduled_tokens == 8 + 3


@BOTH
def test_the_decoder_asks_for_what_it_has_not(fast_forward: bool) -> None:
    """The second prompt shares eight tokens, which the decoder still has: eight travel, not sixteen."""
    trace = _trace((0.0, "a", 2), (20.0, "ab", 2))
    records = check_always(_apart(trace, 40, fast_forward=fast_forward)).run()
    assert records.cache_read_input_tokens.tolist() == [0, 8]
    assert records.engine is not None and records.engine.loaded_tokens == 16
    assert records.finished_s.tolist() == [10.0, 30.0]


@BOTH
def test_a_preempted_request_computes_its_prompt_again(fast_forward: bool) -> None:
    """Only the two prompts of 8 tokens travel, though 20 blocks hold no two requests of 13."""
    trace = _trace((0.0, "a", 6), (0.0, "b", 6))
    fleet = _apart(trace, 20, fast_forward=fast_forward, link=LinkSpeed(gb_per_s=8.0))
    records = check_always(fleet).run()
    assert records.preemptions.tolist() == [0, 1]
    assert records.engine is not None and records.engine.loaded_tokens == 16


@BOTH
def test_what_is_loaded_joins_the_batch_at_once(fast_forward: bool) -> None:
    """The second is prefilled at 21 and there at 29, in the middle of the first one's reply."""
    trace = _trace((0.0, "a", 30), (20.0, "b", 3))
    records = check_always(_apart(trace, 60, fast_forward=fast_forward)).run()
    assert records.finished_s.tolist() == [38.0, 31.0]


@BOTH
def test_who_loads_is_load(fast_forward: bool) -> None:
    """While the first KV is on its way to one decoder, the other one is the least loaded."""
    trace = _trace((0.0, "a", 6), (1.0, "b", 6))
    records = check_always(_apart(trace, 30, decoders=2, fast_forward=fast_forward)).run()
    assert records.replica.tolist() == [1, 2]


@BOTH
def test_one_token_needs_no_decoder(fast_forward: bool) -> None:
    """The first token is the last one, and nothing travels."""
    records = check_always(_apart(_trace((0.0, "a", 1)), 16, fast_forward=fast_forward)).run()
    assert (records.finished_s[0], records.replica[0]) == (1.0, 0)
    assert records.engine is not None and records.engine.loaded_tokens == 0


@BOTH
def test_decodes_are_not_delayed_by_prefills(fast_forward: bool) -> None:
    """The point of it: while prompts of 100 s are computed, the decoder gives a token a second."""
    slow_prefill = Coefficients(step=1.0, prefill=99.0)
    trace = _trace((0.0, "a", 50), (100.0, "b", 1), (101.0, "c", 1))
    common: dict[str, Any] = {"fast_forward": fast_forward, "coefficients": slow_prefill}
    together = any_fleet(trace, 60, _options(), **common).run()
    apart = _apart(trace, 60, link=LinkSpeed(gb_per_s=8.0), decode_coefficients=ONE_SECOND, **common).run()
    assert together.finished_s[0] == 100 + 49 + 2 * 99
    assert apart.finished_s[0] == 100 + 1 + 49
