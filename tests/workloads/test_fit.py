"""Generators fitted to traces: what is drawn is like the trace, and says how much."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from pyarrow import parquet
from pydantic import TypeAdapter

from sim import load_config, run
from sim.caches.ideal import IdealConfig
from tests.refusing import Cli, refused
from tests.workloads.other_files import ALL
from workloads.checking import check
from workloads.cli_making import _hit_rates
from workloads.distributions import counts, quantiles
from workloads.errors import InputError
from workloads.fitting import fit, ks_distance
from workloads.formats.own import write as write_own
from workloads.generators.fitted import FittedWorkload
from workloads.registry import FORMATS, WorkloadConfig
from workloads.shapes import read, shapes_of, write
from workloads.trace import NONE, Trace

CHAT: dict[str, Any] = {"kind": "chat", "sessions": 60, "arrival": {"rate_per_s": 1}}
AGENT: dict[str, Any] = {"kind": "agent", "sessions": 25, "arrival": {"rate_per_s": 0.1}, "calls": 9}


def _build(config: dict[str, Any], seed: int = 1) -> Trace:
    trace: Trace = TypeAdapter[Any](WorkloadConfig).validate_python(config).build(seed, Path())
    return trace


def _ideal(trace: Trace) -> int:
    cache = IdealConfig(kind="ideal").replay(trace, "cache")
    return sum(cache.serve(request, at).hit_tokens for at, request in trace.instant_order())


def _record(trace: Trace) -> None:
    """Give every request the time at which it would come if nothing took time."""
    for at, request in trace.instant_order():
        trace.arrival_s[request] = at
    trace.follower = array("q", [NONE]) * len(trace)
    trace.think_s = array("d", [0.0]) * len(trace)


def _fitted(**settings: Any) -> FittedWorkload:
    return FittedWorkload.model_validate({"kind": "fitted", "path": "x", **settings})


@pytest.mark.parametrize(
    "config",
    [
        CHAT,
        CHAT | {"reasoning_tokens": 50},
        CHAT | {"habits": {"history": "window"}, "turns": 9},
        CHAT | {"document_tokens": 500},
        CHAT | {"branching": {"edit": 0.5}},
        AGENT,
        AGENT | {"rewritten_share": 0.5, "subagents": {"share": 0.1}},
    ],
)
def test_every_shape_once_is_the_trace_again(config: dict[str, Any]) -> None:
    """Lengths, gaps and turns are those of the trace; so are the hits of an unlimited cache."""
    trace = _build(config)
    shapes = shapes_of(trace)
    drawn = _fitted(sessions=len(shapes.sessions), arrival={"rate_per_s": 1}).draw(shapes, 5)
    check(drawn)
    assert sorted(drawn.input_tokens) == sorted(trace.input_tokens)
    assert sorted(drawn.output_tokens) == sorted(trace.output_tokens)
    if not trace.parents:  # sub-agents then start by themselves
        assert sorted(drawn.think_s) == pytest.approx(sorted(trace.think_s), abs=1e-6)
    assert _ideal(drawn) == _ideal(trace)


def test_shapes_of_sessions_that_nobody_names() -> None:
    """A chat whose sessions are not told is put together again by its content."""
    trace = _build(CHAT | {"sessions": 40})
    named = shapes_of(trace)
    _record(trace)
    trace.session = list(range(len(trace)))
    found = shapes_of(trace)
    assert found.by_content and not named.by_content
    assert [len(shape.calls) for shape in found.sessions] == [len(shape.calls) for shape in named.sessions]
    assert found.heads == named.heads == [(NONE, 870)]


def test_more_sessions_than_there_are_shapes() -> None:
    """Each shape is used as often as another, or once more; a longer run begins as a shorter one does."""
    shapes = shapes_of(_build(CHAT | {"sessions": 10}))
    long = _fitted(sessions=25, arrival={"rate_per_s": 1}).draw(shapes, 3)
    short = _fitted(sessions=12, arrival={"rate_per_s": 1}).draw(shapes, 3)
    assert long.input_tokens[: len(short)] == short.input_tokens
    twice = _fitted(sessions=20, arrival={"rate_per_s": 1}).draw(shapes, 4)
    assert len(twice) == 2 * sum(len(shape.calls) for shape in shapes.sessions)


def test_service_times_of_then() -> None:
    """Gaps are from a reply on; for replays they are from start to start."""
    trace = _build(CHAT)
    trace.api_s = [0.5] * len(trace)
    _record(trace)
    shapes = shapes_of(trace)
    starts = {"process": "replayed", "at_s": shapes.starts_s}
    after = _fitted(arrival=starts).draw(shapes, 1)
    whole = _fitted(arrival=starts, gaps="start_to_start").draw(shapes, 1)
    took = np.array(whole.think_s) - np.array(after.think_s)
    waits = np.array([at is None for at in after.arrival_s])
    assert np.allclose(took[waits], np.minimum(0.5, np.array(whole.think_s)[waits]))
    assert not took[~waits].any()


def test_shapes_are_read_as_they_were_written(tmp_path: Path) -> None:
    """All but the starts, which are the configuration's."""
    shapes = shapes_of(_build(AGENT))
    write(shapes, tmp_path / "s.parquet")
    again = read(tmp_path / "s.parquet")
    assert (again.sessions, again.heads) == (shapes.sessions, shapes.heads)


def test_files_that_are_no_shapes(tmp_path: Path) -> None:
    """Each is named, with what is allowed."""
    (tmp_path / "x.parquet").write_text("hello")
    with pytest.raises(
        InputError, match=r"x.parquet: cannot be read .*; allowed: a file of session shapes"
    ):
        read(tmp_path / "x.parquet")
    with pytest.raises(InputError, match=r"no session shapes of version 1; allowed"):
        read(ALL["prefixsim"](tmp_path))
    shapes = shapes_of(_build(CHAT))
    shapes.sessions[0].calls[0].kept = 2.0
    write(shapes, tmp_path / "y.parquet")
    with pytest.raises(InputError, match=r"y.parquet: shapes that contradict themselves"):
        read(tmp_path / "y.parquet")


@pytest.mark.parametrize(
    "about",
    ["[]", '{"version": 1}', '{"version": 1, "heads": 3}', '{"version": 1, "heads": [[1]]}']
    + [f'{{"version": 1, "heads": [{head}]}}' for head in ("[0, 9]", '["a", 9]', "[-1, 0]", "[-1, 1.5]")],
)
def test_shapes_whose_heads_are_none(tmp_path: Path, about: str) -> None:
    """A head is an earlier one or none, and where it ends."""
    write(shapes_of(_build(CHAT)), tmp_path / "s.parquet")
    table = parquet.read_table(tmp_path / "s.parquet")
    parquet.write_table(table.replace_schema_metadata({"prefixsim_shapes": about}), tmp_path / "s.parquet")
    with pytest.raises(InputError, match=r"s.parquet: (no session shapes|shapes that contradict)"):
        read(tmp_path / "s.parquet")


@pytest.mark.parametrize(
    "column", [{"grown": 1.5}, {"resent": "x"}, {"resent": None}, {"session": -1}, {"head": 10**6}]
)
def test_shapes_with_a_strange_column(tmp_path: Path, column: dict[str, Any]) -> None:
    """Numbers that are whole where they are to be, and none missing."""
    write(shapes_of(_build(CHAT)), tmp_path / "s.parquet")
    table = parquet.read_table(tmp_path / "s.parquet")
    rows = [row | column for row in table.to_pylist()]
    strange = pa.Table.from_pylist(rows).replace_schema_metadata(table.schema.metadata)
    parquet.write_table(strange, tmp_path / "s.parquet")
    with pytest.raises(InputError, match=r"s.parquet: (no session shapes|shapes that contradict)"):
        read(tmp_path / "s.parquet")


def test_traces_of_lengths_cannot_be_fitted(tmp_path: Path) -> None:
    """Nothing is known of what they share."""
    path = ALL["azure"](tmp_path)
    config = {"kind": "trace", "format": "azure", "path": path}
    trace = FORMATS["azure"].model_validate(config).build(0, tmp_path)
    with pytest.raises(InputError, match="lengths only"):
        shapes_of(trace)


def test_arrivals_are_those_of_the_trace() -> None:
    """Poisson's where the gaps are like that, gamma with the spread where not, together, or listed."""

    def arrival(kind: Any = "fitted", **settings: Any) -> dict[str, Any]:
        trace = _build(CHAT | {"sessions": 4000, "turns": 1} | settings)
        found: dict[str, Any] = fit(trace, 1, kind, lambda one, size, at: [0.0] * len(at)).workload
        arrivals: dict[str, Any] = found["arrival"]
        return arrivals

    poisson = arrival()
    assert poisson["process"] == "poisson" and poisson["rate_per_s"] == pytest.approx(1, rel=0.05)
    bursts = arrival(arrival={"process": "gamma", "rate_per_s": 2, "cv": 3})
    assert bursts["process"] == "gamma" and bursts["cv"] == pytest.approx(3, rel=0.1)
    assert arrival(arrival={"concurrency": 5}) == {"process": "closed_loop", "concurrency": 4000}
    assert len(arrival("replayed")["at_s"]) == 4000


def test_kolmogorov_smirnov() -> None:
    """The largest difference of the shares of values up to each value."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        one, other = rng.integers(0, 9, 30).astype(float), rng.integers(1, 12, 50).astype(float)
        expected = max(abs((one <= value).mean() - (other <= value).mean()) for value in range(13))
        assert ks_distance(one, other) == pytest.approx(expected)
    assert ks_distance(np.array([]), np.array([])) == 0 and ks_distance(np.array([]), np.array([1.0])) == 1


def test_the_command(tool: Cli, tmp_path: Path) -> None:
    """A configuration that runs as it is, a table and a figure."""
    path = ALL["claude_code"](tmp_path)
    said = tool("fit", path, "f.yaml", "--seeds", "2", "--figure", "f.png").stdout
    assert "largest gap at these capacities, 2 seeds:" in said
    assert "Kolmogorov-Smirnov distances: input tokens 0.000" in said
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    result = run(load_config(tmp_path / "f.yaml"))
    assert len(result.trace) == 6
    assert yaml.safe_load((tmp_path / "f.yaml").read_text())["workload"]["path"] == "f.sessions.parquet"


def test_bad_input_of_the_command(tool: Cli, tmp_path: Path) -> None:
    """One message, and nothing half-written."""
    path = ALL["claude_code"](tmp_path)
    refused(tool, tmp_path, "fit", path, "g.yaml", "--arrival", "x", said=("allowed: fitted, replayed",))
    refused(tool, tmp_path, "fit", path, "g.yaml", "--kind", "x", said=("allowed: fitted, chat, agent",))
    refused(tool, tmp_path, "fit", ALL["azure"](tmp_path), "g.yaml", said=("lengths only",))
    refused(tool, tmp_path, "fit", path, "nowhere/g.yaml", said=("nowhere/g.yaml: cannot be written: no",))
    (tmp_path / "folder").mkdir()
    (tmp_path / "h.sessions.parquet").mkdir()
    for out, named in (
        ("folder", "folder: cannot be written: a folder"),
        ("h.yaml", "h.sessions.parquet is"),
    ):
        refused(tool, tmp_path, "fit", path, out, "--seeds", "1", said=(named,))
    for png in ("folder", "no/f.png", "f.doc"):
        figure = ("--seeds", "1", "--figure", png)
        refused(tool, tmp_path, "fit", path, "g.yaml", *figure, said=(f"{png}: cannot be written",))


@pytest.mark.parametrize("kind", ["chat", "agent"])
def test_short_configurations(tool: Cli, tmp_path: Path, kind: Any) -> None:
    """Distributions of a chat's sessions, from which a chat like it is drawn; they run as they are."""
    trace = _build(CHAT | {"sessions": 2000})
    found = fit(trace, 1, "fitted", lambda one, size, at: [0.0] * len(at), kind)
    assert len(found.distances) == 5 and max(found.distances.values()) < 0.05
    write_own(trace, tmp_path / "t.parquet")
    said = tool("fit", "t.parquet", "f.yaml", "--kind", kind, "--seeds", "1").stdout
    assert "drawn independently of each other" in said and not list(tmp_path.glob("*.sessions.*"))
    drawn = load_config(tmp_path / "f.yaml").workload.build(3, tmp_path)
    assert len(drawn) == pytest.approx(len(trace), rel=0.1)
    assert sum(drawn.output_tokens) == pytest.approx(sum(trace.output_tokens), rel=0.1)
    assert _ideal(drawn) / sum(drawn.input_tokens) == pytest.approx(
        _ideal(trace) / sum(trace.input_tokens), abs=0.02
    )


def test_distributions() -> None:
    """Quantiles, whole numbers with their weights, one number."""
    assert quantiles([5.0, 5.0]) == 5.0 and quantiles([]) == 1.0
    assert quantiles([0, 10, 20])["values"][::25] == [0, 5, 10, 15, 20]
    assert counts([1, 1, 2]) == {"distribution": "mixture", "parts": [1, 2], "weights": [2, 1]}
    assert counts(list(range(100)))["distribution"] == "quantiles" and counts([3, 3]) == 3.0


WITHIN = 0.03


def test_the_conversation_trace(shared_data: Path) -> None:
    """LRU curves within 0.03 at 1, 3, 10 and 50 million tokens, several seeds."""
    path = shared_data / "mooncake" / "conversation_trace.jsonl"
    config = {"kind": "trace", "format": "mooncake", "path": path}
    found = fit(FORMATS["mooncake"].model_validate(config).build(0, Path()), 3, "fitted", _hit_rates)
    assert found.recorded == pytest.approx([0.0543, 0.1387, 0.2908, 0.3707], abs=1e-4)
    assert len(found.drawn) == 3 and found.largest_gap < WITHIN


def test_the_recorded_agents(shared_data: Path) -> None:
    """The same for the recorded sessions of Claude Code."""
    path = shared_data / "claude_code_sessions" / "sessions.jsonl.gz"
    config = {"kind": "trace", "format": "claude_code_compact", "path": path}
    trace = FORMATS["claude_code_compact"].model_validate(config).build(0, Path())
    found = fit(trace, 2, "fitted", _hit_rates)
    assert found.recorded == pytest.approx([0.2097, 0.4050, 0.7670, 0.9592], abs=1e-4)
    assert len(found.drawn) == 2 and found.largest_gap < WITHIN
