"""The source's worked examples, with their exact numbers (configs/spec)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sim import Result, load_config, run
from tests.refusing import Cli
from workloads.trace import Trace


def _run(root: Path, name: str) -> Result:
    return run(load_config(root / "configs" / "spec" / f"{name}.yaml"))


def _computed(result: Result, system: str) -> list[int]:
    tokens: list[int] = result.runs[system].records.computed_tokens.tolist()
    return tokens


def test_1_two_turns(root: Path) -> None:
    """Turn 2 has 75 tokens: 20 are computed without the reply cached, 11 in an engine, 10 at best."""
    result = _run(root, "1-two-turns")
    assert result.trace.input_tokens == [55, 75]
    assert _computed(result, "reply-not-cached") == [55, 20]
    assert _computed(result, "reply-cached") == [55, 11]
    assert _computed(result, "ideal") == [55, 10]
    assert result.runs["ideal"].twin.computed_tokens.tolist() == [55, 75]


def test_2_a_bill(root: Path) -> None:
    """Exact to a hundredth of a micro-dollar: 0.0012, then 0.0019 without and 0.00037 with cache."""
    table = _run(root, "2-a-bill").requests().set_index(["system", "request_id"])["cost_usd"]
    in_micro = (table * 1e6).round(2)
    assert in_micro["api"].tolist() == [1200.0, 370.0]
    assert in_micro["api/no-cache"].tolist() == [1200.0, 1900.0]
    saved = 1 - table["api", 1] / table["api/no-cache", 1]
    assert round(saved, 3) == 0.805


def test_3_latency(root: Path) -> None:
    """190 tokens against 20: proportionality gives 89.5 %, where the source says 90."""
    run = _run(root, "3-latency").runs["proportional"]
    with_cache = (run.records.first_token_s - run.records.arrival_s)[1]
    without = (run.twin.first_token_s - run.twin.arrival_s)[1]
    assert with_cache == pytest.approx(0.020, abs=1e-12)
    assert without == pytest.approx(0.190, abs=1e-12)
    assert round(1 - with_cache / without, 3) == 0.895


def test_4_ten_turns(root: Path) -> None:
    """5,500 tokens against 1,000: 81.8 % of the tokens and 73.6 % of the bill, not 95 and 90."""
    summary: Any = _run(root, "4-ten-turns").summary()
    saved = summary["savings"]["ten-turns"]
    assert saved["computed_prompt_tokens"]["without"] == 5500
    assert saved["computed_prompt_tokens"]["with"] == 1000
    assert round(saved["computed_prompt_tokens"]["saved_ratio"], 3) == 0.818
    assert round(saved["cost_usd_total"]["saved_ratio"], 3) == 0.736
    time, cost = summary["claims"]
    assert (time["claimed_saved"], round(time["derived_saved"], 3), time["holds"]) == (0.95, 0.818, False)
    assert (cost["claimed_saved"], round(cost["derived_saved"], 3), cost["holds"]) == (0.9, 0.736, False)
    assert "from 39 turns on" in time["conditions"][0]  # 1 - 2/40 = 0.95
    assert "81.8% if time goes with tokens and 74.0%" in time["conditions"][1]
    assert "no share of attention" in time["conditions"][1]
    assert "even if they were free the bill would fall by 81.8% only" in cost["conditions"][0]
    assert "stays below 90.0%, however many turns" in cost["conditions"][1]


def test_4_prints_figure_claim_and_condition(root: Path, cli_here: Cli) -> None:
    """The run of example 4 itself says what follows, what was claimed, and when that would hold."""
    done = cli_here("run", root / "configs/spec/4-ten-turns.yaml")
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.replace("│", " ").split())
    for said in ("81.8", "95", "39 turns", "73.6", "90", "however many turns"):
        assert said in text


def _distinct_prompt_tokens(trace: Trace) -> int:
    content = trace.content
    nodes = {node for prompt in trace.prompt for node in content.path(prompt)} - set(trace.reply)
    return sum(content.end[node] - content.end[content.parent[node]] for node in nodes)


def test_6_the_tree(root: Path) -> None:
    """Shared nodes are computed once: 71 tokens, those of the tree's distinct messages."""
    result = _run(root, "6-the-tree")
    assert result.trace.input_tokens == [55, 54, 77]
    assert _computed(result, "ideal") == [55, 4, 12]
    assert sum(_computed(result, "ideal")) == _distinct_prompt_tokens(result.trace) == 71
    assert _computed(result, "block-1") == [55, 4, 13]  # the reply's last token has no KV
    assert _computed(result, "engine") == [55, 4, 13]
    assert _computed(result, "block-16") == [55, 54 - 48, 77 - 64]  # whole blocks only
