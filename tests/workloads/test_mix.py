"""Mixes of classes: one trace of several, with nothing lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from sim import load_config, run
from tests.refusing import Cli
from workloads.checking import check
from workloads.errors import InputError
from workloads.registry import WorkloadConfig
from workloads.trace import NONE, Trace

CHAT = {"kind": "chat", "arrival": {"rate_per_s": 0.5}, "think_time_s": 5, "tenants": 2}
AGENT = {
    "kind": "agent",
    "arrival": {"rate_per_s": 0.1},
    "calls": 4,
    "subagents": {"share": 0.5, "calls": 2},
}


def _mix(classes: dict[str, Any], **settings: Any) -> Trace:
    config = {"kind": "mix", "duration_s": 300, "classes": classes} | settings
    trace: Trace = TypeAdapter[Any](WorkloadConfig).validate_python(config).build(1, Path())
    check(trace)
    check(trace.by_message)
    return trace


def _requests(trace: Trace, chosen: list[int]) -> list[Any]:
    """What is known of some requests, numbers of segments, sessions and tenants aside."""
    content = trace.content
    return sorted(
        (
            [content.end[node] for node in content.path(trace.reply[i])],
            trace.output_tokens[i],
            trace.arrival_s[i] or -1.0,
            trace.think_s[i],
            trace.turn[i],
            i in trace.tool_turns,
            trace.session[i] in trace.parents,
            trace.follower[i] != NONE,
        )
        for i in chosen
    )


def test_classes_are_there_side_by_side() -> None:
    """Each as it is alone; models and priorities as given; no content, session or tenant in common."""
    alone = [_mix({"a": {"workload": CHAT}}), _mix({"b": {"workload": AGENT}})]
    both = _mix(
        {
            "a": {"workload": CHAT, "model": "small", "priority": 3},
            "b": {"workload": AGENT, "model": "large"},
        }
    )
    assert both.models is not None and len(both) == len(alone[0]) + len(alone[1])
    of = [[i for i, model in enumerate(both.models) if model == name] for name in ("small", "large")]
    for one, mine in zip(alone, of, strict=True):
        assert _requests(both, mine) == _requests(one, list(range(len(one))))
        assert len({both.session[i] for i in mine}) == len(set(one.session))
        assert len({both.tenant[i] for i in mine}) == len(set(one.tenant))
    for column in (both.session, both.tenant, [both.content.path(prompt)[0] for prompt in both.prompt]):
        assert not {column[i] for i in of[0]} & {column[i] for i in of[1]}
    assert {both.priority[i] for i in of[0]} == {3} and {both.priority[i] for i in of[1]} == {0}
    starts = [both.arrival_s[i] or 0.0 for i in range(len(both)) if both.arrival_s[i] is not None]
    assert starts == sorted(starts) and both.drawn_starts


def test_a_faster_mix() -> None:
    """Starts come at half their time."""
    one, twice = _mix({"a": {"workload": CHAT}}), _mix({"a": {"workload": CHAT}}, arrival={"speed": 2})
    halves = [None if at is None else at / 2 for at in one.arrival_s]
    assert halves == twice.arrival_s and one.think_s == twice.think_s


def test_a_longer_mix_begins_as_a_shorter_one() -> None:
    """Classes are drawn apart, so none moves another one."""
    classes = {"a": {"workload": CHAT}, "b": {"workload": AGENT}}
    short, long = _mix(classes), _mix(classes, duration_s=500)
    for name in ("output_tokens", "arrival_s", "think_s", "session", "tenant", "turn"):
        assert getattr(long, name)[: len(short)] == getattr(short, name)


def test_a_mix_with_a_recorded_trace(tmp_path: Path) -> None:
    """Through a run and its resolved configuration, from another folder."""
    (tmp_path / "t.jsonl").write_text(
        '{"timestamp": 5000, "input_length": 700, "output_length": 9, "hash_ids": [1, 2]}\n'
        '{"timestamp": 9000, "input_length": 700, "output_length": 9, "hash_ids": [1, 3]}\n'
    )
    classes = {
        "chat": {"workload": {**CHAT, "sessions": 5}},
        "log": {"workload": {"kind": "trace", "path": "t.jsonl"}},
    }
    config = {"name": "t", "workload": {"kind": "mix", "classes": classes}}
    systems = {"c": {"kind": "cache", "cache": {"kind": "block", "block_size": 16}}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config | {"systems": systems}))
    loaded = load_config(tmp_path / "c.yaml")
    result = run(loaded)
    assert "log: t.jsonl: format mooncake, by" in result.trace.notes[0]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "c.yaml").write_text(loaded.to_yaml())
    again = run(load_config(tmp_path / "elsewhere" / "c.yaml"))
    assert again.trace.prompt == result.trace.prompt


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"classes": {}}, "at least 1"),
        ({"classes": {"a": {"workload": {"kind": "chat"}}}}, "arrival"),
        (
            {"classes": {"a": {"workload": CHAT, "model": "x"}, "b": {"workload": CHAT}}},
            "only a have a model",
        ),
        ({"classes": {"a": {"workload": {"kind": "mix", "classes": {}}}}}, "mix"),
    ],
)
def test_mixes_that_cannot_be(settings: dict[str, Any], said: str) -> None:
    """Named, with what is allowed."""
    with pytest.raises(ValidationError, match=said):
        _mix(**settings)


def test_a_closed_loop_in_a_mix() -> None:
    """Is refused: it would have no end to wait for."""
    chat = CHAT | {"arrival": {"concurrency": 2}, "sessions": 3}
    with pytest.raises(InputError, match=r"workload.classes.a: a closed loop; allowed in a mix: "):
        _mix({"a": {"workload": chat}})


def test_the_message_names_the_class(cli_here: Cli, tmp_path: Path) -> None:
    """And the key in it."""
    classes = {"support": {"workload": {**CHAT, "turn": 5}}}
    config = {"name": "t", "workload": {"kind": "mix", "duration_s": 9, "classes": classes}}
    systems = {"c": {"kind": "cache", "cache": {"kind": "block", "block_size": 16}}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config | {"systems": systems}))
    done = cli_here("check", tmp_path / "c.yaml")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "support" in done.stderr and "unknown key 'turn' (did you mean 'turns'?)" in done.stderr
