"""The study of client habits: pairs, figures per 1,000 sessions, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sim import load_config, run
from sim.config import Config
from sim.studies.habit_pairs import USUAL, described
from sim.studies.habits import HabitStudy, costs_more, study
from workloads.errors import InputError
from workloads.habits import Habits

TOKEN_PRICE = {"input_usd_per_1m": 10, "cached_input_usd_per_1m": 1, "output_usd_per_1m": 30}
CONFIG: dict[str, Any] = {
    "name": "small",
    "seed": 3,
    "workload": {
        "kind": "chat",
        "sessions": 20,
        "arrival": {"process": "poisson", "rate_per_s": 2},
        "turns": 4,
        "think_time_s": 5,
        "system_prompt": {"tokens": 64},
        "user_tokens": {"distribution": "uniform", "low": 10, "high": 50},
        "reply_tokens": 30,
    },
    "systems": {
        "replay": {"kind": "cache", "cache": {"kind": "block"}, "price": TOKEN_PRICE},
        "gpu": {
            "kind": "engine", "model": "llama-3-8b", "hardware": "h200", "price": {"gpu_hour_usd": 3.5},
        },
        "hosted": {
            "kind": "provider", "provider": "anthropic", "model": "claude-opus-5",
            "rules": {"min_tokens": 0},
        },
    },
    "habit_pairs": {
        "clock": {
            "good": {"system_prompt": "fixed"},
            "bad": {"system_prompt": {"kind": "clock", "tokens": 16}},
        },
        "window": {"bad": {"history": {"kind": "window", "turns": 1}}},
    },
}  # fmt: skip


def _config(folder: Path, **changes: Any) -> Config:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(CONFIG | changes))
    return load_config(path)


def _study(config: Config) -> HabitStudy:
    return study(config, lambda part, done, total: None)


def test_figures_are_those_of_a_run_with_that_habit(tmp_path: Path) -> None:
    """A pair's figures equal an experiment with the habit written into its workload, times 1,000/20."""
    studied = _study(_config(tmp_path))
    written = CONFIG["workload"] | {"habits": {"system_prompt": {"kind": "clock", "tokens": 16}}}
    for side, workload in (("good", CONFIG["workload"]), ("bad", written)):
        summary: Any = run(_config(tmp_path, workload=workload)).summary()
        for system, entry in summary["systems"].items():
            figures = getattr(studied.pairs["clock"], side)[system]
            assert figures["hit_rate"] == entry["cache"]["prefix_cache_hit_rate"]
            assert figures["mean_ttft_ms"] == entry["mean_ttft_ms"]
            assert figures["prompt_tokens"] == entry["total_input_tokens"] * 50
            assert figures["computed_tokens"] == entry["computed_prompt_tokens"] * 50
            assert figures["cost_usd"] == entry["cost"]["cost_usd_total"] * 50
            without = summary["no_cache"][system]["cost"]["cost_usd_total"]
            assert figures["cost_usd_without_cache"] == without * 50
            if system == "hosted":
                written = entry["cost"]["bill"]["cache_write_tokens"].values()
                assert figures["written_tokens"] == sum(written) * 50 > 0
            else:
                assert figures["written_tokens"] is None
            if system == "gpu":
                busy = summary["no_cache"][system]["cost"]["cost_usd_busy"]
                assert figures["cost_usd_busy_without_cache"] == busy * 50
                assert figures["gpu_busy_s"] == entry["gpu_busy_seconds"] * 50
                assert figures["cost_usd_busy"] == entry["cost"]["cost_usd_busy"] * 50


def test_a_clock_costs_the_whole_bill(tmp_path: Path) -> None:
    """Nothing is found behind a clock at the start: all tokens computed, the bill of caching off."""
    compared = _study(_config(tmp_path)).pairs["clock"]
    bad: Any = compared.bad["replay"]
    good: Any = compared.good["replay"]
    more = compared.more("replay")
    assert (bad["hit_rate"], bad["computed_tokens"]) == (0.0, bad["prompt_tokens"])
    assert bad["cost_usd"] == bad["cost_usd_without_cache"]
    assert bad["prompt_tokens"] - good["prompt_tokens"] == 16 * 4 * 1000
    assert more["computed_tokens"] == bad["computed_tokens"] - good["computed_tokens"] > 0
    assert more["gpu_busy_s"] is more["written_tokens"] is None
    assert more["hit_rate"] == -good["hit_rate"]


def test_costs_more_by_hand() -> None:
    """A bill above that of caching off; an equal one is not, nor that of GPUs by the hour, nor none."""
    cases = (
        ("provider", 2.0, True),
        ("tokens", 1.0, False),
        ("gpu_hours", 2.0, False),
        (None, None, False),
    )
    for pricing, usd, expected in cases:
        figures: Any = {"pricing": pricing, "cost_usd": usd, "cost_usd_without_cache": 1.0}
        assert costs_more(figures) is expected


def test_equal_chats_run_once(tmp_path: Path) -> None:
    """Both good habits are the chat as configured: three chats, not four."""
    parts: set[str] = set()
    study(_config(tmp_path), lambda part, done, total: parts.add(part.partition(":")[0]))
    assert parts == {"system_prompt", "clock", "window"}


def test_twins_change_the_workloads_own_habits(tmp_path: Path) -> None:
    """What a pair does not write stays as the workload has it."""
    workload = CONFIG["workload"] | {"habits": {"system_prompt": "clock", "history": "edit"}}
    habit_pairs = {"fields": {"good": {"dynamic_fields": "user"}, "bad": {"dynamic_fields": "system"}}}
    compared = _study(_config(tmp_path, workload=workload, habit_pairs=habit_pairs)).pairs["fields"]
    assert compared.good["replay"]["hit_rate"] == compared.bad["replay"]["hit_rate"] == 0
    assert compared.good["replay"]["prompt_tokens"] == compared.bad["replay"]["prompt_tokens"]


def test_the_usual_pairs_without_twins(tmp_path: Path) -> None:
    """An experiment that names no pairs is compared under all five, each worse than its good habit."""
    own = {name: system for name, system in CONFIG["systems"].items() if name != "hosted"}
    config = _config(tmp_path, habit_pairs={}, workload=CONFIG["workload"] | {"turns": 8}, systems=own)
    studied = _study(config)
    assert (
        list(studied.pairs) == list(USUAL) == ["clock", "fields-in-system", "window", "summarise", "edit"]
    )
    compared: Any
    for compared in studied.pairs.values():
        for system in config.systems:
            assert compared.bad[system]["hit_rate"] < compared.good[system]["hit_rate"]


def test_resolved_config_gives_the_same_study(tmp_path: Path) -> None:
    """The pairs survive being written out, and write only what they change."""
    config = _config(tmp_path, workload=CONFIG["workload"] | {"habits": {"history": "edit"}})
    (tmp_path / "again.yaml").write_text(config.to_yaml())
    again = load_config(tmp_path / "again.yaml")
    assert _study(again).summary() == _study(config).summary()
    assert yaml.safe_load(config.to_yaml())["habit_pairs"]["window"] == {
        "good": {},
        "bad": {"history": {"kind": "window", "turns": 1}},
    }


@pytest.mark.parametrize(
    ("habits", "text"),
    [
        ({}, "as configured"),
        ({"history": "append"}, "history: append"),
        ({"dynamic_fields": {"kind": "user", "kept": True, "tokens": 100}}, "dynamic_fields: user, kept"),
        (
            {"system_prompt": "clock", "history": {"kind": "window", "turns": 2}},
            "system_prompt: clock; history: window, turns 2",
        ),
    ],
)
def test_described(habits: dict[str, Any], text: str) -> None:
    """Habits in short."""
    assert described(Habits.model_validate(habits)) == text


def test_only_chats_have_habits(tmp_path: Path) -> None:
    """A script or a trace has none, with or without habit_pairs of its own."""
    script = {"kind": "script", "messages": {"a": 1}, "requests": [{"prompt": ["a"], "reply": "a"}]}
    with pytest.raises(InputError, match=r"workload.kind = 'script': only generated chats.*allowed: chat"):
        _config(tmp_path, workload=script)
    with pytest.raises(InputError, match="only generated chats have habits"):
        _study(_config(tmp_path, workload=script, habit_pairs={}))


def test_no_other_strategies_are_tried(tmp_path: Path) -> None:
    """A study does not ask what the best placement of marks would have been: that takes most of a run."""
    parts: set[str] = set()
    study(_config(tmp_path), lambda part, done, total: parts.add(part))
    assert parts and not any("strategies" in part for part in parts)
    of_a_run: set[str] = set()
    alone = run(_config(tmp_path), lambda part, done, total: of_a_run.add(part))
    assert "regret" in alone.summary()["systems"]["hosted"]
    assert any("strategies" in part for part in of_a_run)


@pytest.fixture(scope="module")
def project(root: Path) -> HabitStudy:
    """configs/studies/habits.yaml, with fewer sessions."""
    return _study(load_config(root / "configs/studies/habits.yaml", ["workload.sessions=60"]))


SELF_HOSTED = ("blocks", "vllm-h200")
MOVING = ("claude", "gpt-6")
"""One mark, at the end of the prompt."""
BEFORE = ("claude-all", "gpt-6-all")
"""Marks on the system message and before the newest message."""


def test_habits_on_caches_that_find_any_prefix(project: HabitStudy) -> None:
    """Own caches and the older rules of OpenAI: what must show, shows on all of them."""
    pairs = project.pairs
    for system in (*SELF_HOSTED, "gpt-5"):
        hits: Any = {name: both.bad[system]["hit_rate"] for name, both in pairs.items()}
        assert hits["clock-first"] == 0 < hits["clock-last"] < hits["edit-last"]
        fields = pairs["fields-in-system"]
        assert fields.good[system]["prompt_tokens"] == fields.bad[system]["prompt_tokens"]
        assert fields.more(system)["computed_tokens"] > 0
        for name in ("window", "summarise", "summarise-always", "edit-first", "edit-last"):
            assert pairs[name].more(system)["computed_tokens"] > 0
        assert not any(costs_more(both.bad[system]) for both in pairs.values())


@pytest.mark.parametrize("system", [*MOVING, *BEFORE, "claude-system"])
def test_writes_that_are_never_read_cost_more_than_no_caching(project: HabitStudy, system: str) -> None:
    """Marks behind a changing block: nothing is read; the writes come on top of the bill of caching off."""
    for name in ("clock-first", "clock-last", "fields-in-system"):
        bad: Any = project.pairs[name].bad[system]
        assert bad["hit_rate"] == 0 and costs_more(bad)
        per_token = 5e-6 if system.startswith("claude") else 2e-6  # claude-opus-5, gpt-6-sol: input, USD
        extra = bad["written_tokens"] * per_token * 0.25
        assert bad["cost_usd"] - bad["cost_usd_without_cache"] == pytest.approx(extra)
    assert not costs_more(project.pairs["clock-first"].good[system])


def test_fields_behind_the_last_mark(project: HabitStudy) -> None:
    """Fields in the user message are the good place only if the marks stand before it."""
    fields: Any = project.pairs["fields-in-system"].good
    assert fields["claude"]["written_tokens"] == fields["claude"]["prompt_tokens"]
    assert costs_more(fields["claude"]) and fields["claude"]["hit_rate"] == 0
    # The opening is written without a mark, and read.
    assert not costs_more(fields["gpt-6"]) and 0 < fields["gpt-6"]["hit_rate"] < 0.6
    for moving, before in zip(MOVING, BEFORE, strict=True):
        assert not costs_more(fields[before]) and fields[before]["hit_rate"] > 0.7
        assert fields[before]["cost_usd"] < fields[moving]["cost_usd"] * (0.5 if moving == "claude" else 1)


def test_no_marks_and_a_mark_on_the_system_message_alone(project: HabitStudy) -> None:
    """Nowhere: nothing is written or read. On the system message: less is read, whatever the history."""
    for both in project.pairs.values():
        for figures in (both.good, both.bad):
            off = figures["claude-off"]
            assert off["hit_rate"] == off["written_tokens"] == 0
            assert off["cost_usd"] == off["cost_usd_without_cache"]
    good: Any = project.pairs["edit-first"].good
    assert (
        0 < good["claude-system"]["hit_rate"] < good["claude"]["hit_rate"] < good["claude-all"]["hit_rate"]
    )
    edited = project.pairs["edit-first"].bad
    assert edited["claude-system"]["hit_rate"] == good["claude-system"]["hit_rate"]
