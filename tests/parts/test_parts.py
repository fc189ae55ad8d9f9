"""Parts of a fleet that never meet leave the same bytes as the fleet as a whole."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sim.result as result_module
from reports import reuse, validity
from sim.results import sample
from tests.parts.dividing import CHAT, FLEET, alone, divided, experiment
from tests.sim.small import write_small_mooncake


@pytest.mark.parametrize(
    "counts", [(2, 7), pytest.param((1, 16), marks=pytest.mark.slow)], ids=["2 and 7", "1 and 16"]
)
def test_parts_of_a_fleet(counts: tuple[int, ...], tmp_path: Path) -> None:
    """16 replicas, little memory: blocks are evicted and requests preempted."""
    config = experiment(tmp_path, {**CHAT, "sessions": 100}, fleet={**FLEET, "replicas": 16})
    whole = alone(config)
    for parts in counts:
        said: list[str] = []
        folder = tmp_path / f"{parts}"
        assert divided(config, folder, parts, said) == whole
        groups = "16 replicas, each with its own sessions: 16 groups that never meet"
        assert said == [f"fleet: {groups}, in {parts} parts"]
        assert len(list(folder.iterdir())) == 2 * parts


def test_a_window_is_found(tmp_path: Path) -> None:
    """Figures of a steady part need the counters of all replicas at its edges."""
    chat = {**CHAT, "sessions": 1200, "turns": 2}
    config = experiment(tmp_path, chat, fleet={**FLEET, "memory": {"kv_blocks": 60}})
    whole = alone(config)
    assert b'"chosen": "found"' in whole["summary.json"] and b'"intervals": {' in whole["summary.json"]
    assert divided(config, tmp_path / "parts", 3) == whole


def test_a_mix_of_chats(tmp_path: Path) -> None:
    """Sessions of several classes are numbered by their start, whoever makes them."""
    long = {**CHAT, "tenants": 2, "user_tokens": 300, "arrival": {"process": "uniform", "rate_per_s": 10}}
    classes = {"short": {"workload": CHAT}, "long": {"workload": long, "priority": 1}}
    workload = {"kind": "mix", "classes": classes, "arrival": {"speed": 1.7}}
    config = experiment(tmp_path, workload, fleet=FLEET)
    assert divided(config, tmp_path / "parts", 3) == alone(config)


def test_one_session(tmp_path: Path) -> None:
    """A single long one is no traffic that goes on: the whole run is measured, without intervals."""
    chat = {**CHAT, "sessions": 1, "turns": 250, "think_time_s": 0.1}
    config = experiment(tmp_path, chat, fleet={**FLEET, "memory": {"kv_blocks": 4000}})
    assert divided(config, tmp_path / "parts", 2) == alone(config)


@pytest.mark.parametrize("few", [False, True])
def test_the_report(few: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It draws the same requests; of a large run the same sample of its sessions."""
    if few:
        monkeypatch.setattr(sample, "DRAWN", 100)
        monkeypatch.setattr(result_module, "DRAWN", 100)
        monkeypatch.setattr(validity, "DRAWN", 100)
        monkeypatch.setattr(reuse, "DRAWN", 100)
    config = experiment(tmp_path, {**CHAT, "sessions": 150}, fleet=FLEET)
    whole = alone(config, report=True)
    assert divided(config, tmp_path / "parts", 3, report=True) == whole
    assert (b"drawn from the requests of some sessions, about 100" in whole["report.html"]) == few


FAILURES = st.lists(
    st.builds(
        lambda replica, at_s, for_s: {"replica": replica, "at_s": at_s, "back_s": at_s + for_s},
        st.integers(0, 5),
        st.floats(0.1, 4),
        st.floats(0.1, 4),
    ),
    max_size=2,
    unique_by=lambda failure: failure["replica"],
)
DRAFTS = {"method": "ngram", "num_speculative_tokens": 2}
CACHES: list[dict[str, Any]] = [
    {"cache": {"kind": "block", "block_size": 16}},
    {"cache": {"kind": "block", "block_size": 16}, "tenants": "salted"},
    {"cache": {"kind": "block", "block_size": 16, "eviction": "lfu"}},
    {
        "cache": {
            "kind": "tiered",
            "block_size": 16,
            "tiers": [{"name": "gpu"}, {"name": "host", "capacity_blocks": 500, "gb_per_s": 20}],
        }
    },
    {"cache": {"kind": "radix"}, "engine": {"kind": "sglang"}},
    {"cache": {"kind": "message"}},
    {"engine": {"speculative": {**DRAFTS, "acceptance_rate": 0.5}}},
    {"pools": [{"replicas": 4}, {"replicas": 2, "hardware": "h100"}]},
]
HARDSHIPS: list[dict[str, Any]] = [
    {},
    {"max_queued_requests": 2, "retries": {"max_retries": 1}},
    {"deadline_s": {"distribution": "uniform", "low": 0.05, "high": 2}, "retries": {}},
]
ARRIVALS: list[dict[str, Any]] = [
    {"process": "poisson", "rate_per_s": 20},
    {"process": "uniform", "rate_per_s": 200},
    {"process": "profile", "rates_per_s": [20, 1, 60], "step_s": 1},
]


ANY = given(
    arrival=st.sampled_from(ARRIVALS),
    cache=st.sampled_from(CACHES),
    hardships=st.sampled_from(HARDSHIPS),
    failures=FAILURES,
    points=st.sampled_from([1, 3, 100]),
    parts=st.integers(1, 6),
    seed=st.integers(0, 99),
)


@settings(max_examples=3)
@ANY
def test_any_fleet_behind_a_session_router(**drawn: Any) -> None:
    """Caches, full queues, deadlines, retries, replicas that die: the parts agree with the whole."""
    _agree(**drawn)


@pytest.mark.slow
@settings(max_examples=40)
@ANY
def test_many_fleets_behind_a_session_router(**drawn: Any) -> None:
    """The same over more of them."""
    _agree(**drawn)


def _agree(
    *,
    arrival: dict[str, Any],
    cache: dict[str, Any],
    hardships: dict[str, Any],
    failures: list[dict[str, Any]],
    points: int,
    parts: int,
    seed: int,
) -> None:
    system = {**FLEET, "replicas": 6, **cache, **hardships, "failures": failures}
    system["router"] = {"kind": "session", "points": points}
    folder = Path(tempfile.mkdtemp())
    try:
        config = experiment(folder, {**CHAT, "arrival": arrival}, fleet=system).with_seed(seed)
        assert divided(config, folder / "parts", parts) == alone(config)
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("router", ["round_robin", "random"])
def test_single_requests_in_turn_or_by_chance(router: str, tmp_path: Path) -> None:
    """Nothing waits for a reply, so the router's choices follow from the arrivals."""
    config = experiment(tmp_path, {**CHAT, "turns": 1, "sessions": 200}, fleet={**FLEET, "router": router})
    said: list[str] = []
    assert divided(config, tmp_path / "parts", 3, said) == alone(config)
    assert said[0].endswith("in 3 parts")


@pytest.mark.parametrize("router", ["session", "round_robin"])
def test_a_recorded_trace(router: str, tmp_path: Path) -> None:
    """It is read whole in every part; the parts become one run again."""
    write_small_mooncake(tmp_path / "small.jsonl")
    workload = {"kind": "trace", "path": "small.jsonl"}
    system = {**FLEET, "router": router, "memory": {"kv_blocks": 3000}}
    config = experiment(tmp_path, workload, fleet=system)
    said: list[str] = []
    assert divided(config, tmp_path / "parts", 3, said) == alone(config)
    assert said[0].endswith("in 3 parts")


WHOLE: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"router": "least_loaded"}, {}, "the router least_loaded looks at what each replica does"),
    ({"router": "kv_aware"}, {}, "the router kv_aware looks at what each replica does"),
    ({"router": "round_robin"}, {}, "turns wait for replies, and the router round_robin goes by the order"),
    ({"router": "random", "failures": [{"replica": 1, "at_s": 1}]}, {"turns": 1}, "what a replica loses"),
    (
        {"router": "random", "max_queued_requests": 2, "retries": {}},
        {"turns": 1},
        "sends each try to another replica",
    ),
    ({"replicas": 1}, {}, "one replica serves every request"),
    ({}, {"arrival": {"process": "closed_loop", "concurrency": 9}}, "in closed loop a session starts when"),
    ({"sample_s": 1.0}, {}, "record_steps and sample_s look at all replicas at once"),
    ({"data_parallel": 2}, {}, "the ranks of a data parallel replica"),
    (
        {"failures": [{"replica": i, "at_s": 1} for i in range(4)]},
        {},
        "sessions of replicas that fail go to",
    ),
]


@pytest.mark.parametrize(("system", "workload", "why"), WHOLE, ids=[why[:40] for _, _, why in WHOLE])
def test_what_stays_whole_says_why(
    system: dict[str, Any], workload: dict[str, Any], why: str, tmp_path: Path
) -> None:
    """Nothing is approximated: run and twin are a job each, with the same bytes."""
    config = experiment(tmp_path, {**CHAT, **workload}, fleet={**FLEET, **system})
    said: list[str] = []
    assert divided(config, tmp_path / "parts", 4, said) == alone(config)
    assert said[0].startswith("fleet: stays whole: ") and why in said[0]
    assert len(list((tmp_path / "parts").iterdir())) == 2


def test_other_kinds_of_systems(tmp_path: Path) -> None:
    """A replay and a hosted API are jobs of their own beside a fleet."""
    replay = {"kind": "cache", "cache": {"kind": "block", "block_size": 16, "capacity_blocks": 300}}
    hosted = {"kind": "provider", "provider": "anthropic", "model": "claude-opus-5"}
    config = experiment(tmp_path, CHAT, fleet=FLEET, replay=replay, hosted=hosted)
    assert divided(config, tmp_path / "parts", 2) == alone(config)
    assert len(list((tmp_path / "parts").iterdir())) == 2 * 2 + 2 + 2
