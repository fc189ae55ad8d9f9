"""KV that SGLang's replicas bring in: one small exact example per rule, one second per iteration.

A message has eight tokens; a link of 1 GB/s carries a token a second.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sim import load_config, run
from sim.engine.link import LinkSpeed
from sim.engine.sglang.config import SglangEngine
from sim.fleet.fleet import Fleet
from sim.fleet.plan import Failure, Hardships
from sim.results.records import Records
from tests.engine.driving import check_always
from tests.engine.driving_sglang import steps_of
from tests.engine.fleets import any_fleet, tiers_of
from tests.engine.test_loading import _trace
from workloads.trace import Trace

BOTH = pytest.mark.parametrize("fast_forward", [True, False])
TIGHT = {"schedule_conservativeness": 0.01}
"""Next to nothing is reserved for the replies of running requests."""


def _options(**options: Any) -> SglangEngine:
    known = {"chunked_prefill_size": 64, "max_running_requests": 64, "disable_overlap_schedule": True}
    return SglangEngine(kind="sglang", **{**known, **options})


def _tiered(
    trace: Trace,
    pages: int,
    *,
    host: int | None = None,
    disk: int | None = None,
    write: str = "write_through",
    page_size: int = 1,
    engine: dict[str, Any] | None = None,
    **fleet: Any,
) -> tuple[Fleet, dict[str, int]]:
    hits: dict[str, int] = {}
    tiers = tiers_of(host, disk, write=write, block_size=page_size)
    options = _options(**(engine or {}))
    made = any_fleet(trace, pages, options, block_size=page_size, tiers=tiers, hits=hits, **fleet)
    return check_always(made), hits


def _apart(trace: Trace, pages: int, *, engine: dict[str, Any] | None = None, **fleet: Any) -> Records:
    options = _options(**(engine or {}))
    made = any_fleet(trace, pages, options, **{"link": LinkSpeed(gb_per_s=1.0), **fleet})
    return check_always(made).run()


# -- tiers ---------------------------------------------------------------------------------------------


@BOTH
def test_what_lies_below_is_loaded_and_then_in_the_tree(fast_forward: bool) -> None:
    """Seven of eight tokens are on the host: there at 47, then one is computed; the next one hits."""
    trace = _trace((0.0, "a", 1), (20.0, "bc", 1), (40.0, "a", 1), (60.0, "a", 1))
    fleet, hits = _tiered(trace, 19, fast_forward=fast_forward)
    records = fleet.run()
    assert records.cache_read_input_tokens.tolist() == [0, 0, 7, 7]
    assert hits == {"host": 7} and records.tier == [None, None, "host", None]
    assert records.scheduled_s.tolist() == [0.0, 20.0, 47.0, 60.0]
    assert records.engine is not None and records.engine.loaded_tokens == 7


@BOTH
def test_the_tree_comes_first(fast_forward: bool) -> None:
    """Eight tokens of "ab" are in the tree, "b" is on the host only: seven are loaded."""
    trace = _trace((0.0, "ab", 1), (20.0, "ac", 1), (40.0, "cde", 1), (60.0, "a", 1), (80.0, "ab", 1))
    fleet, hits = _tiered(trace, 26, fast_forward=fast_forward)
    records = fleet.run()
    assert records.cache_read_input_tokens[3:].tolist() == [7, 15]
    assert hits == {"host": 7 + 7}


@BOTH
def test_pages_are_loaded_whole(fast_forward: bool) -> None:
    """Pages of 4: the second page holds the last token of the prompt, so one page is loaded."""
    trace = _trace((0.0, "a", 1), (20.0, "bc", 1), (40.0, "a", 1))
    fleet, hits = _tiered(trace, 6, page_size=4, fast_forward=fast_forward)
    records = fleet.run()
    assert records.cache_read_input_tokens.tolist() == [0, 0, 4]
    assert hits == {"host": 4} and records.scheduled_s[2] == 44.0


@BOTH
def test_nobody_waits_behind_a_load(fast_forward: bool) -> None:
    """The second prompt is computed while the first one's KV is on its way; both then decode together."""
    trace = _trace((0.0, "a", 1), (20.0, "bcde", 1), (40.0, "a", 2), (40.0, "d", 12))
    fleet, _ = _tiered(trace, 35, fast_forward=fast_forward)
    records = fleet.run()
    assert records.scheduled_s[2:].tolist() == [47.0, 40.0]
    assert records.finished_s[2:].tolist() == [49.0, 53.0]


@BOTH
def test_what_is_loading_holds_its_pages(fast_forward: bool) -> None:
    """Its 8 pages leave 11 of 19: a prompt of 16 waits until it is through."""
    trace = _trace((0.0, "a", 1), (20.0, "bc", 1), (40.0, "a", 1), (41.0, "de", 1))
    fleet, _ = _tiered(trace, 19, fast_forward=fast_forward)
    assert fleet.run().scheduled_s.tolist() == [0.0, 20.0, 47.0, 48.0]


@BOTH
def test_the_last_one_is_not_aborted_for_what_loads(fast_forward: bool) -> None:
    """The decode is short of pages while a load holds some: it comes back, and both complete."""
    trace = _trace((0.0, "a", 1), (20.0, "bc", 1), (40.0, "d", 11), (41.0, "a", 1))
    fleet, _ = _tiered(trace, 20, fast_forward=fast_forward, engine=TIGHT)
    records = fleet.run()
    assert records.status.tolist() == ["completed"] * 4
    assert records.preemptions.tolist() == [0, 0, 1, 0]


@BOTH
def test_a_load_that_nobody_waits_for(fast_forward: bool) -> None:
    """The client leaves at 43; a replica that dies at 82 loses its load, and the request starts anew."""
    trace = _trace((0.0, "a", 1), (20.0, "bc", 1), (40.0, "a", 1), (80.0, "a", 1))
    hardships = Hardships(deadline_s=[99, 99, 3, 99], failures=(Failure(0, 82.0, 90.0),))
    fleet, _ = _tiered(trace, 19, fast_forward=fast_forward, hardships=hardships)
    records = fleet.run()
    assert records.status.tolist() == ["completed", "completed", "timed_out", "completed"]
    assert records.retries.tolist() == [0, 0, 0, 1]
    assert records.cache_read_input_tokens[3] == 0 and records.scheduled_s[3] == 90.0


# -- prefill and decode apart -------------------------------------------------------------------------


@BOTH
def test_a_request_joins_the_decodes_without_a_prefill(fast_forward: bool) -> None:
    """Prefill 0 to 1, eight tokens over the link until 9, then one token a second."""
    records = _apart(_trace((0.0, "a", 4)), 20, fast_forward=fast_forward)
    assert (records.scheduled_s[0], records.first_token_s[0], records.finished_s[0]) == (0.0, 1.0, 12.0)
    assert records.engine is not None and records.engine.scheduled_tokens == 8 + 3
    assert records.replica[0] == 1


def test_its_steps_are_decodes() -> None:
    """The decoder computes the last known token with the first step, as any decode does."""
    options = _options()
    fleet = any_fleet(_trace((0.0, "a", 3)), 20, options, link=LinkSpeed(gb_per_s=1.0), record_steps=True)
    check_always(fleet).run()
    decoder = fleet.replicas[1]
    assert [step.sched for step in steps_of(fleet)] == [[(0, 8)]]
    assert decoder.recorder is not None  # type: ignore[attr-defined]
    steps = decoder.recorder.records  # type: ignore[attr-defined]
    assert [(step.scheduled_s, step.sched, step.new) for step in steps] == [
        (9.0, [(0, 1)], [(0, 8)]),
        (10.0, [(0, 1)], []),
    ]


@BOTH
def test_what_the_decoder_has_does_not_travel(fast_forward: bool) -> None:
    """The second prompt shares eight tokens with the first; of the third nothing is missing."""
    trace = _trace((0.0, "a", 2), (20.0, "ab", 2), (40.0, "ab", 2))
    records = _apart(trace, 60, fast_forward=fast_forward)
    assert records.engine is not None and records.engine.loaded_tokens == 16
    assert records.finished_s.tolist() == [10.0, 30.0, 42.0]


@BOTH
def test_a_retracted_request_computes_its_prompt_again(fast_forward: bool) -> None:
    """Only the two prompts of 8 tokens travel, though 27 pages hold no two requests of 15."""
    trace = _trace((0.0, "a", 8), (0.5, "b", 8))
    link = LinkSpeed(gb_per_s=8.0)
    records = _apart(trace, 27, fast_forward=fast_forward, link=link, engine=TIGHT)
    assert records.preemptions.sum() == 1
    assert records.engine is not None and records.engine.loaded_tokens == 16


@BOTH
def test_the_batch_has_so_many_places(fast_forward: bool) -> None:
    """The second one's KV is there at 17, its place at the end of the first one."""
    trace = _trace((0.0, "a", 20), (0.0, "b", 2))
    records = _apart(trace, 60, fast_forward=fast_forward, engine={"max_running_requests": 1})
    assert records.finished_s.tolist() == [28.0, 29.0]


# -- by the public way ----------------------------------------------------------------------------------


def test_a_configuration_with_everything(tmp_path: Path) -> None:
    """Tiers, and prefill and decode apart, each with deadlines, failures and recorded steps."""
    system = {
        "kind": "engine",
        "model": "llama-3-8b",
        "hardware": "h200",
        "engine": {"kind": "sglang"},
        "memory": {"kv_blocks": 600},
        "deadline_s": {"distribution": "constant", "value": 20},
        "retries": {"max_retries": 1, "backoff_s": 1},
        "failures": [{"replica": 0, "at_s": 7, "back_s": 9}],
        "record_steps": True,
    }
    host = {"name": "host", "capacity_blocks": 5000, "gb_per_s": 20}
    tiered = {"kind": "tiered", "cache": "radix", "block_size": 16, "tiers": [{"name": "gpu"}, host]}
    pools = [{"role": "prefill"}, {"role": "decode", "replicas": 2}]
    config = {
        "name": "everything",
        "workload": {
            "kind": "chat",
            "sessions": 80,
            "arrival": {"process": "poisson", "rate_per_s": 10},
            "turns": {"distribution": "geometric", "mean": 4},
            "think_time_s": {"distribution": "exponential", "mean": 5},
            "system_prompt": {"tokens": 200},
            "user_tokens": {"distribution": "lognormal", "mean": 300, "sigma": 0.5},
            "reply_tokens": {"distribution": "lognormal", "mean": 100, "sigma": 0.5},
        },
        "systems": {
            "tiers": {**system, "cache": tiered},
            "apart": {
                **system,
                "cache": {"kind": "radix", "page_size": 16},
                "pools": pools,
                "failures": [{"replica": 1, "at_s": 7, "back_s": 9}],
                "kv_link": {"gb_per_s": 20},
            },
        },
    }
    (tmp_path / "everything.yaml").write_text(json.dumps(config))
    result = run(load_config(tmp_path / "everything.yaml"))
    for name, one in result.runs.items():
        records = one.records
        assert records.completed.mean() > 0.9, name
        assert records.engine is not None and records.engine.loaded_tokens > 0, name
        assert records.retries.sum() > 0 and records.step_rows, name
    assert result.runs["tiers"].records.hit_tokens_by_tier["host"] > 0
    assert any("HiCache" in note for note in result.summary()["systems"]["tiers"]["notes"])
