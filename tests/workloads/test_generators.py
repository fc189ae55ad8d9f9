"""What every generator keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import TypeAdapter

from sim import load_config, run
from workloads.base import Workload
from workloads.checking import check
from workloads.generators.generated import Generated
from workloads.registry import GeneratedWorkload, WorkloadConfig
from workloads.shapes import shapes_of, write
from workloads.trace import NONE, Trace

ARRIVAL = {"rate_per_s": 0.5}
SHORT: dict[str, dict[str, Any]] = {
    "chat": {"kind": "chat", "think_time_s": 5},
    "chat with all parts": {
        "kind": "chat", "think_time_s": 5, "document_tokens": 900, "first_user_tokens": 300,
        "reasoning_tokens": {"distribution": "exponential", "mean": 400}, "tenants": 3,
        "branching": {"regenerate": 0.2, "edit": 0.1},
    },
    "agent": {
        "kind": "agent", "calls": {"distribution": "uniform", "low": 2, "high": 9}, "tool_time_s": 1,
        "think_time_s": 5, "system_prompt": {"tokens": 2000}, "task_tokens": 500, "result_tokens": 200,
        "compaction": {"at_tokens": 4000, "summary_tokens": 300}, "user_share": 0.2, "rewritten_share": 0.1,
        "subagents": {"share": 0.1, "calls": 3, "task_tokens": 500},
    },
    "rag": {"kind": "rag", "think_time_s": 5, "retrieved": 3},
    "rag before the history": {"kind": "rag", "think_time_s": 5, "place": "before", "order": "fixed"},
    "rag with its documents kept": {"kind": "rag", "think_time_s": 5, "retrieved": 2, "kept": True},
    "batch": {"kind": "batch", "input_tokens": 300},
    "long_documents": {"kind": "long_documents", "think_time_s": 5},
    "bursts": {"kind": "chat", "think_time_s": 5, "arrival": {"process": "gamma", "rate_per_s": 1}},
    "clients": {"kind": "chat", "think_time_s": 5, "arrival": {"process": "clients", "rate_per_s": 1}},
    "fitted": {"kind": "fitted", "path": "shapes.parquet"},
}  # fmt: skip
"""A short workload of every kind."""


@pytest.fixture(autouse=True, scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What the fitted workload draws from."""
    path = tmp_path_factory.mktemp("fitted") / "shapes.parquet"
    write(shapes_of(_workload("agent").build(1, Path())), path)
    SHORT["fitted"]["path"] = str(path)


def _workload(name: str, **settings: Any) -> Workload:
    config = {"arrival": ARRIVAL, "duration_s": 120} | SHORT[name] | settings
    if config.get("sessions"):
        del config["duration_s"]
    workload: Workload = TypeAdapter[Any](WorkloadConfig).validate_python(config)
    return workload


def _build(name: str, seed: int = 1, **settings: Any) -> Trace:
    trace = _workload(name, **settings).build(seed, Path())
    check(trace)
    check(trace.by_message)
    return trace


def _columns(trace: Trace, upto: int) -> list[Any]:
    """All that can be said of the first requests, their content by its place and length."""
    content = trace.content
    paths = [[content.end[node] for node in content.path(reply)] for reply in trace.reply[:upto]]
    names = ("output_tokens", "arrival_s", "think_s", "session", "turn", "tenant", "priority")
    return [paths, *(getattr(trace, name)[:upto] for name in names)]


def test_every_generator_is_here() -> None:
    """So that nothing is left out below."""
    assert {SHORT[name]["kind"] for name in SHORT} == {
        get_args(kind.model_fields["kind"].annotation)[0] for kind in get_args(GeneratedWorkload)
    }


@pytest.mark.parametrize("name", SHORT)
def test_a_seed_is_a_trace(name: str) -> None:
    """The same one every time, another one for another seed."""
    one, again, other = _build(name), _build(name), _build(name, seed=2)
    assert _columns(one, len(one)) == _columns(again, len(again))
    assert one.content.parent == again.content.parent and one.tool_turns == again.tool_turns
    assert one.arrival_s != other.arrival_s


@pytest.mark.parametrize("name", SHORT)
def test_a_longer_run_begins_as_a_shorter_one(name: str) -> None:
    """So that a run can be lengthened until it shows a steady state."""
    short, long = _build(name), _build(name, duration_s=240)
    assert len(long) > len(short)
    assert _columns(long, len(short)) == _columns(short, len(short))


@pytest.mark.parametrize("name", SHORT)
def test_the_content_tree_stays_small(name: str) -> None:
    """A few segments a request, however long conversations are."""
    trace = _build(name, duration_s=600)
    assert len(trace.content) < 9 * len(trace)


@pytest.mark.parametrize("name", SHORT)
def test_closed_loop(name: str) -> None:
    """So many sessions at a time."""
    trace = _build(name, arrival={"concurrency": 3}, sessions=20)
    assert trace.concurrency == 3
    assert all(at in (0.0, None) for at in trace.arrival_s)
    waits = {after for after in trace.follower if after != NONE}
    assert all((at is None) == (i in waits) for i, at in enumerate(trace.arrival_s))


@pytest.mark.parametrize("name", {settings["kind"]: name for name, settings in SHORT.items()}.values())
def test_a_run_has_a_steady_window(tmp_path: Path, name: str) -> None:
    """Generated traffic goes through an engine and a cache, and is measured where it is steady."""
    workload = {"arrival": {"rate_per_s": 1}, "duration_s": 400} | SHORT[name]
    engine = {"kind": "engine", "model": "llama-3.1-8b", "hardware": "h200", "replicas": 2}
    cache = "block" if name == "fitted" else "message"  # shapes do not tell messages apart
    systems = {"engine": engine, "cache": {"kind": "cache", "cache": {"kind": cache}}}
    config = {"name": "t", "workload": workload, "systems": systems}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    loaded = load_config(tmp_path / "c.yaml")
    assert isinstance(loaded.workload, Generated)
    result = run(loaded)
    assert result.summary()["window"]["chosen"] == "found"
