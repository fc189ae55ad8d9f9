"""The importer of coding-agent sessions: a small file of our own, and the published figures."""

from __future__ import annotations

import gzip
import json
import random
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml

from sim import InputError, Result, load_config, run
from sim.results.pricing import Price
from tests.refusing import Cli
from workloads.checking import check
from workloads.formats.claude_code_compact import ClaudeCodeTrace
from workloads.trace import Trace

Row = dict[str, Any]
WORKLOAD = {"kind": "trace", "format": "claude_code_compact"}
SESSION = {"id": "s", "block_size": 64, "hash_id_scope": "local"}
PARTIAL = 9999
"""The id of every partial block in the small file: if it were kept, it would hit."""
CACHES: dict[str, Row] = {
    "infinite": {},
    **{f"ttl-{i}": {"eviction": "ttl", "ttl_s": ttl_s} for i, ttl_s in enumerate((0.5, 5, 20, 100))},
    **{f"lru-{blocks}": {"capacity_blocks": blocks} for blocks in (7, 20, 40, 60)},
}
LIFETIMES_S = {"60s": 60, "5min": 300, "10min": 600, "1h": 3600, "infinite": None}


def _call(
    t: float, ids: list[int], rest: int, keep: bool = False, as_runs: bool = True, **more: Any
) -> Row:
    """A model call on the whole blocks ``ids`` and ``rest`` tokens, which have an id if ``keep``."""
    written = [*ids, PARTIAL] if keep and rest else ids
    runs: list[list[int]] = []
    for i in written:
        if runs and i == sum(runs[-1]):
            runs[-1][1] += 1
        else:
            runs.append([i, 1])
    row = {"t": t, "type": "n", "in": 64 * len(ids) + rest, "out": 5, **more}
    return row | ({"hash_runs": runs} if as_runs else {"hash_ids": written})


def _agent(name: str, t: float, duration_ms: float, calls: list[Row]) -> Row:
    return {"type": "subagent", "agent_id": name, "t": t, "duration_ms": duration_ms, "requests": calls}


def _small_sessions() -> list[Row]:
    """Four sessions with edits and missing api_time, one with two sub-agents; every way to write ids."""
    rng = random.Random(7)
    sessions = []
    for number in range(4):
        keep, as_runs = number % 2 == 1, number < 2
        ids, fresh, t = list(range(1, 6)), 6, 0
        entries: list[Row] = []
        for turn in range(12):
            if turn and rng.random() < 0.3:  # history edited: everything behind the edit is new
                ids = ids[: rng.randint(1, len(ids))]
                fresh += 1
            grow = rng.randint(0, 4)
            ids, fresh = ids + list(range(fresh, fresh + grow)), fresh + grow
            api = {} if rng.random() < 0.3 else {"api_time": 2.5}
            entries.append(_call(float(t), ids, rng.choice([0, 0, 1, 63]), keep, as_runs, **api))
            if number == 1 and turn in (3, 4):
                calls = [_call(s, [1, 2, 500, 501 + s], 9, keep, as_runs) for s in range(0, 9, 4)]
                entries.append(_agent(f"a{turn}", t + 10.5, 10_250, calls))
            t += rng.choice([0, 1, 5, 20, 90])
        sessions.append(SESSION | {"id": f"s_{number}", "requests": entries})
    return sessions


class Expected(NamedTuple):
    """A call as the reference sees it, in the order of the trace."""

    at_s: float
    session: int
    place: int
    ids: list[int]
    tokens: int
    name: str


def _expected(sessions: list[Row], subagents: bool) -> list[Expected]:
    calls = []
    for number, session in enumerate(sorted(sessions, key=lambda s: s["id"])):
        rows: list[tuple[float, Row, str]] = []
        turn = 0
        for entry in session["requests"]:
            if entry["type"] != "subagent":
                turn += 1
                rows.append((entry["t"], entry, f"{session['id']}/{turn}"))
            elif subagents:
                start, name = (
                    entry["t"] - entry["duration_ms"] / 1000,
                    f"{session['id']}/{entry['agent_id']}",
                )
                inner = enumerate(entry["requests"], start=1)
                rows += [(start + row["t"], row, f"{name}/{i}") for i, row in inner]
        for place, (at_s, row, name) in enumerate(rows):
            runs = row.get("hash_runs") or [[i, 1] for i in row["hash_ids"]]
            ids = [first + i for first, count in runs for i in range(count)]
            calls.append(Expected(at_s, number, place, ids[: row["in"] // 64], row["in"], name))
    return sorted(calls)


def _naive_hits(
    calls: list[Expected],
    capacity_blocks: int | None = None,
    ttl_s: float | None = None,
    eviction: str = "lru",
) -> list[int]:
    """Hit blocks of every call, id by id: LRU (released tail first) or a lifetime."""
    used: OrderedDict[tuple[int, int], float] = OrderedDict()
    hits = []
    for call in calls:
        keys, hit = [(call.session, i) for i in call.ids], 0
        while hit < len(keys) and keys[hit] in used:
            if ttl_s is not None and call.at_s - used[keys[hit]] > ttl_s:
                break
            hit += 1
        hits.append(hit)
        for key in reversed(keys):
            used[key] = call.at_s
            used.move_to_end(key)
        while capacity_blocks is not None and len(used) > capacity_blocks:
            used.popitem(last=False)
    return hits


def _write(folder: Path, sessions: list[Row]) -> Path:
    with gzip.open(folder / "t.gz", "wt") as file:
        file.writelines(json.dumps(session) + "\n" for session in sessions)
    return folder / "t.gz"


def _build(path: Path, **settings: Any) -> Trace:
    trace = ClaudeCodeTrace.model_validate(WORKLOAD | {"path": str(path)} | settings).build(3, path.parent)
    check(trace)
    return trace


def _run(folder: Path, workload: Row, caches: dict[str, Row]) -> Result:
    systems = {name: {"kind": "cache", "cache": {"kind": "ids", **cache}} for name, cache in caches.items()}
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump({"name": "t", "workload": WORKLOAD | workload, "systems": systems}))
    return run(load_config(config))


@pytest.mark.parametrize("subagents", ["include", "exclude"])
def test_small_file_against_a_reference(tmp_path: Path, subagents: str) -> None:
    """Order, names, lengths and the hits of every call, with lifetimes and with little room."""
    sessions = _small_sessions()
    path = _write(tmp_path, [sessions[i] for i in (2, 0, 3, 1)])
    calls = _expected(sessions, subagents == "include")
    result = _run(tmp_path, {"path": path.name, "subagents": subagents}, CACHES)
    trace = result.trace
    check(trace)
    assert trace.request_ids == [call.name for call in calls]
    assert trace.arrival_s == [call.at_s for call in calls]
    assert trace.session == [call.session for call in calls]
    assert trace.input_tokens == [call.tokens for call in calls]
    assert trace.named_blocks == [len(call.ids) for call in calls]
    assert trace.lines == [(2, 4, 1, 3)[call.session] for call in calls]
    totals = set()
    for name, cache in CACHES.items():
        expected, records = _naive_hits(calls, **cache), result.runs[name].records
        assert records.cache_read_input_tokens.tolist() == [64 * hit for hit in expected]
        assert records.hit_blocks == sum(expected)
        totals.add(sum(expected))
    assert len(totals) > 6, "the small file does not tell the caches apart"


def _chain() -> Row:
    """Main calls at 0, 10, 30, 70, 75 s; the second has no api_time. One sub-agent ends at 40 s."""
    times = [(0.0, 4.0, 0.0), (10.0, None, 6.0), (30.0, 3.0, 26.0), (70.0, 8.0, 37.0), (75.0, 1.0, 0.0)]
    entries = [
        _call(t, list(range(1, i + 3)), 7, api_time=api_s, think_time=think_s)
        for i, (t, api_s, think_s) in enumerate(times)
    ]
    del entries[1]["api_time"]
    entries.insert(3, _agent("x", 40.0, 8500, [_call(0.0, [900], 3)]))
    return SESSION | {"requests": entries}


def test_closed_loop(tmp_path: Path) -> None:
    """A think time counts only after a call with api_time; after others the difference of t does."""
    trace = _build(_write(tmp_path, [_chain()]), loop="closed")
    assert trace.request_ids == ["s/1", "s/2", "s/3", "s/x/1", "s/4", "s/5"]
    assert trace.arrival_s == [0.0, None, None, 31.5, None, None]
    assert list(trace.think_s) == [0.0, 6.0, 20.0, 0.0, 37.0, 0.0]  # 20, not the recorded 26
    assert list(trace.follower) == [1, 2, 4, -1, 5, -1]
    session = _chain()
    del session["requests"][4]["think_time"]  # computed then: 70 - (30 + 3)
    assert _build(_write(tmp_path, [session]), loop="closed").think_s[4] == 37.0


def test_turns_and_replies(tmp_path: Path) -> None:
    """Turns count main calls; a sub-agent counts its own. A reply of 0 tokens counts as 1."""
    session = _chain()
    session["requests"][0]["out"] = 0
    trace = _build(_write(tmp_path, [session]))
    assert trace.arrival_s == [0.0, 10.0, 30.0, 31.5, 70.0, 75.0]
    assert trace.turn == [1, 2, 3, 1, 4, 5]
    assert trace.output_tokens == [1, 5, 5, 5, 5, 5]


def test_sessions_limit_and_arrivals(tmp_path: Path) -> None:
    """The first sessions by file order, numbered by id, each from a start of its own."""
    path = _write(tmp_path, [_chain() | {"id": name} for name in "cab"])
    arrival = {"process": "uniform", "rate_per_s": 0.001}
    trace = _build(path, sessions=2, subagents="exclude", arrival=arrival)
    assert trace.request_ids is not None
    assert (trace.request_ids[0], trace.request_ids[5]) == ("a/1", "c/1")
    assert trace.arrival_s == [0.0, 10.0, 30.0, 70.0, 75.0, 1000.0, 1010.0, 1030.0, 1070.0, 1075.0]
    drawn = _build(
        path, arrival={"process": "poisson", "rate_per_s": 1.0}, subagents="exclude", loop="closed"
    )
    assert len({at_s for at_s in drawn.arrival_s if at_s}) == 3
    with pytest.raises(InputError, match=r"sessions = 4; allowed: at most 3"):
        _build(path, sessions=4)


@pytest.mark.parametrize(("scope", "shared"), [("local", 0), ("global", 128)])
def test_scope_of_ids(tmp_path: Path, scope: str, shared: int) -> None:
    """Local ids mean nothing to another session."""
    trace = _build(_write(tmp_path, [_chain() | {"id": name, "hash_id_scope": scope} for name in "ab"]))
    both = set(trace.content.path(trace.prompt[0])) & set(trace.content.path(trace.prompt[1]))
    assert max([trace.content.end[segment] for segment in both], default=0) == shared


R = "requests"
ABSENT = object()
BAD: list[tuple[tuple[Any, ...], Any, str]] = [
    (("id",), ABSENT, "t.gz:2: id = None; allowed: printable text"),
    (("id",), "first", "t.gz:2: id = 'first', as in line 1; allowed: once"),
    (("block_size",), ABSENT, "t.gz:2: session s: block_size = None; allowed: a whole number"),
    (("block_size",), 32, "t.gz:2: session s: block_size = 32; allowed: 64, as in the first session"),
    (("hash_id_scope",), "team", "hash_id_scope = 'team'; allowed: local, global, or absent"),
    ((R,), {}, "session s: requests = {}; allowed: a list of objects"),
    ((R, 1), 5, "session s, request 2: 5; allowed: an object"),
    ((R, 1, "type"), "x", "session s, request 2: type = 'x'; allowed: n, s, and subagent"),
    ((R, 1, "t"), ABSENT, "session s, request 2: t = None; allowed: a number of at least 0"),
    ((R, 1, "t"), -1.0, "request 2: t = -1.0; allowed: a number of at least 0"),
    ((R, 2, "t"), 5.0, "request 3: t = 5.0; allowed: at least 10.0, that of the call before"),
    ((R, 1, "in"), "9", "request 2: in = '9'; allowed: a whole number of at least 1"),
    ((R, 1, "out"), -3, "request 2: out = -3; allowed: a whole number of at least 0"),
    ((R, 1, "api_time"), -3, "request 2: api_time = -3; allowed: a number of at least 0"),
    ((R, 4, "api_time"), -3, "request 5: api_time = -3; allowed: a number of at least 0"),
    ((R, 1, "think_time"), True, "request 2: think_time = True; allowed: a number of at least 0"),
    ((R, 1, "hash_runs"), ABSENT, "request 2: hash_runs = None; allowed: a list of [first, count]"),
    ((R, 1, "hash_runs"), [[1, 2]], "request 2: hash_runs has 2 ids for in = 199; allowed: 3 to 4"),
    ((R, 1, "hash_runs"), [[1, 5]], "request 2: hash_runs has 5 ids for in = 199; allowed: 3 to 4"),
    ((R, 1, "hash_runs"), [[-1, 3]], "request 2: hash_runs contains [-1, 3]; allowed: [first, count]"),
    ((R, 1, "hash_runs"), [[1, 3], 4], "request 2: hash_runs contains 4; allowed: [first, count]"),
    ((R, 1, "hash_ids"), [], "request 2: hash_ids and hash_runs; allowed: one of the two"),
    ((R, 1), _call(10.0, [1, -2, 3], 0, as_runs=False), "request 2: hash_ids contains -2; allowed"),
    ((R, 3, "duration_ms"), "1 s", "request 4: duration_ms = '1 s'; allowed: a number of at least 0"),
    ((R, 3, "duration_ms"), 40001, "request 4: duration_ms = 40001; allowed: at most its end"),
    ((R, 3, "agent_id"), 7, "request 4: agent_id = 7; allowed: printable text"),
    ((R, 4), _agent("x", 40.0, 1, []), "request 5: agent_id = 'x' for the second time; allowed: once"),
    ((R, 3, R, 0, "in"), 0, "request 4, call 1: in = 0; allowed: a whole number of at least 1"),
    ((R, 3, R, 0, "type"), "subagent", "request 4, call 1: type = 'subagent'; allowed: n, s"),
]


@pytest.mark.parametrize(("place", "value", "said"), BAD, ids=[said[:50] for _, _, said in BAD])
def test_bad_session(tmp_path: Path, place: tuple[Any, ...], value: Any, said: str) -> None:
    """Every problem is named by file, line, session, request, field, value and what is allowed."""
    bad = _chain()
    at: Any = bad
    for step in place[:-1]:
        at = at[step]
    if value is ABSENT:
        del at[place[-1]]
    else:
        at[place[-1]] = value
    with pytest.raises(InputError) as error:
        _build(_write(tmp_path, [_chain() | {"id": "first"}, bad]))
    assert said in str(error.value)


def test_no_calls(tmp_path: Path) -> None:
    """A file without a single call is no trace."""
    with pytest.raises(InputError, match="no requests; allowed"):
        _build(_write(tmp_path, [_chain() | {"requests": []}]))


def test_truncated_file(cli_here: Cli, tmp_path: Path) -> None:
    """A download that broke off: one line of explanation and exit code 2."""
    (tmp_path / "broken.gz").write_bytes(_write(tmp_path, _small_sessions()).read_bytes()[:-30])
    systems = {"a": {"kind": "cache", "cache": {"kind": "ids"}}}
    config = {"name": "t", "workload": WORKLOAD | {"path": "broken.gz"}, "systems": systems}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    done = cli_here("check", tmp_path / "c.yaml")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "broken.gz: cannot be read after line" in done.stderr


@pytest.fixture(scope="module")
def recorded(shared_data: Path) -> Path:
    """The recorded sessions."""
    path = shared_data / "claude_code_sessions" / "sessions.jsonl.gz"
    if not path.is_file():
        pytest.skip("the recorded sessions (../shared/data/claude_code_sessions) are not on this machine")
    return path


@pytest.fixture(scope="module")
def published(recorded: Path) -> Row:
    """Their statistics, sections 4 to 8 of the data's description."""
    stats: Row = json.loads(recorded.with_name("expected_stats.json").read_text())
    return stats


def test_recorded_all_calls(root: Path, recorded: Path, published: Row) -> None:
    """Sections 4 and 5, all calls, through configs/claude-code.yaml."""
    result = run(load_config(root / "configs/claude-code.yaml", [f"workload.path={recorded}"]))
    trace, shape, ideal = result.trace, published["shape"], published["ideal_all_requests"]
    check(trace)
    assert len(set(trace.session)) == shape["sessions"] == 357
    assert len(trace) == shape["requests"] == 24_015
    assert sum(trace.input_tokens) == shape["input_tokens"] == 2_762_927_520
    assert sum(trace.output_tokens) == shape["output_tokens"] + 18  # 18 replies of 0 tokens count as 1
    assert len(trace.content) < 4 * len(trace), "segments, not one node per id"
    records = result.runs["infinite"].records
    assert (records.hit_blocks, records.query_blocks) == (ideal["block_hits"], ideal["blocks"])
    assert records.cache_read_input_tokens.sum() == ideal["hit_tokens"]
    hits = np.bincount(records.session, records.cache_read_input_tokens // 64)
    ratios = hits / np.bincount(records.session, records.input_tokens // 64)
    expected = ideal["per_session_block_ratio"]
    for percentile, key in ((0, "min"), (25, "p25"), (50, "p50"), (75, "p75"), (100, "max")):
        assert round(float(np.percentile(ratios, percentile)), 4) == expected[key]


def test_recorded_lifetimes(tmp_path: Path, recorded: Path, published: Row) -> None:
    """Sections 5 and 6, main calls: hits for every lifetime, and the relative price of input."""
    lifetimes = {
        name: {"eviction": "ttl", "ttl_s": ttl} if ttl else {} for name, ttl in LIFETIMES_S.items()
    }
    result = _run(tmp_path, {"path": str(recorded), "subagents": "exclude"}, lifetimes)
    sweep, ideal = published["ttl_sweep_main_requests"], published["ideal_main_requests"]
    assert len(result.trace) == ideal["requests"] == 23_682
    assert sum(result.trace.input_tokens) == ideal["input_tokens"]
    for name in LIFETIMES_S:
        records, expected = result.runs[name].records, sweep["ttl"][name]
        assert records.cache_read_input_tokens.sum() == expected["hit_tokens"]
        assert (records.hit_blocks, records.query_blocks) == (expected["block_hits"], ideal["blocks"])
        for write, key in ((1.25, "1_25"), (2.0, "2_0")):
            price = Price(input_usd_per_1m=write, cached_input_usd_per_1m=0.1)
            tokens = (records.input_tokens, records.cache_read_input_tokens, records.output_tokens)
            relative = price.token_bill_usd(*tokens)[0].sum() * 1e6 / ideal["input_tokens"]
            assert round(relative, 6) == expected[f"relative_input_price_write_{key}"]
    assert ideal["hit_tokens"] == result.runs["infinite"].records.cache_read_input_tokens.sum()
    assert ideal["block_hits"] == result.runs["infinite"].records.hit_blocks


def test_recorded_shared_pool(tmp_path: Path, recorded: Path, published: Row) -> None:
    """Section 8: one LRU pool for the main calls of the first 40 sessions."""
    pool = published["lru_pool_first_40_sessions"]
    sizes = pool["capacity_blocks"]
    caches = {f"c-{size}": {} if size == "infinite" else {"capacity_blocks": int(size)} for size in sizes}
    result = _run(tmp_path, {"path": str(recorded), "subagents": "exclude", "sessions": 40}, caches)
    assert len(result.trace) == pool["requests"] == 3275
    assert sum(result.trace.input_tokens) == pool["input_tokens"]
    for size, expected in sizes.items():
        records = result.runs[f"c-{size}"].records
        assert (records.hit_blocks, records.query_blocks) == (expected["block_hits"], pool["blocks"])
        assert records.cache_read_input_tokens.sum() == expected["hit_tokens"]
