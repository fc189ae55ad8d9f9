"""What the public traces hold: hits at published capacities and lifetimes, curves, fits, descriptions.

The published integers are those of the files beside the traces; that the simulator gives them is asserted
by ``tests/sim/test_curve.py``, ``tests/caches`` and ``tests/workloads/test_claude_code.py``.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from reports.workload_figures import GENERATORS, curve_of, workload_of
from sim import load_config
from sim.caches.mooncake_estimate import PUBLISHED
from sim.experiment import load_trace
from sim.studies.curve import blocks_of, exact
from sim.studies.curve_sampled import difference, sampled
from tests.docs.examples import ROOT
from tests.docs.made import MOONCAKE, SESSIONS, Cells, Made, Sentences, Table, percent
from workloads.cli_making import _hit_rates
from workloads.describing import describe
from workloads.dividing import part_of
from workloads.fitting import CAPACITIES_TOKENS, Fit, Kind, fit
from workloads.formats.guessed import GuessedTrace
from workloads.formats.mooncake import MooncakeTrace
from workloads.shapes import linked
from workloads.trace import Trace

VALIDATION, WORKLOADS = "docs/validation.md", "docs/workloads.md"
TEST_OF_CURVE, TEST_OF_SESSIONS = "tests/sim/test_curve.py", "tests/workloads/test_claude_code.py"
SEEDS = {MOONCAKE: 5, SESSIONS: 3}
"""Draws of a fit."""
HALVINGS = 3


@cache
def conversations() -> Trace:
    """Mooncake's conversation trace."""
    return MooncakeTrace(kind="trace", format="mooncake", path=MOONCAKE, block_size=512).build(0, ROOT)


@cache
def guessed(path: Path) -> Trace:
    """A trace whose format its fields tell."""
    return GuessedTrace(kind="trace", format="guess", path=path).build(0, ROOT)


def _published(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def _whole_blocks() -> Cells:
    found = _published(MOONCAKE.with_name("expected_hits.json"))
    tokens = found["hit_tokens_by_capacity_blocks"]

    def cells(capacity: str, hits: dict[str, int]) -> list[str | None]:
        numbers = [
            hits["lru_tail_first"],
            tokens[capacity]["lru_tail_first"],
            hits["lru_head_first"],
            tokens[capacity]["lru_head_first"],
            *(hits[policy] for policy in ("fifo", "lfu", "belady")),
        ]
        return [capacity if capacity == "infinite" else f"{int(capacity):,}", *(f"{n:,}" for n in numbers)]

    return [cells(capacity, hits) for capacity, hits in found["capacity_blocks"].items()]


def _single_tokens() -> Cells:
    found = _published(MOONCAKE.with_name("expected_hits.json"))
    assert {row["capacity_tokens"]: row["published"] for row in found["figure_9"]} == PUBLISHED

    def cells(row: Any) -> list[str | None]:
        out: list[str | None] = [f"{row['capacity_tokens']:,}", f"{row['published']:.4f}"]
        for unit in ("block", "token"):
            hits = row[f"estimate_hit_tokens_{unit}_capacity"]
            ratio = hits / found["input_tokens"]
            out += [f"{hits:,}", f"{ratio:.4f}", f"{row['published'] - ratio:+.4f}"]
        return out

    return [cells(row) for row in found["figure_9"]]


def _lifetimes() -> Cells:
    found = _published(SESSIONS.with_name("expected_stats.json"))["ttl_sweep_main_requests"]["ttl"]
    names = {"60s": "60 s", "5min": "5 min", "10min": "10 min", "1h": "1 h", "infinite": "endless"}
    return [
        [
            name,
            f"{found[key]['hit_tokens']:,}",
            *(
                f"{found[key][ratio]:.4f}"
                for ratio in (
                    "token_hit_ratio",
                    "relative_input_price_write_1_25",
                    "relative_input_price_write_2_0",
                )
            ),
        ]
        for key, name in names.items()
    ]


def _pool() -> Cells:
    found = _published(SESSIONS.with_name("expected_stats.json"))["lru_pool_first_40_sessions"]
    return [[None, *(f"{hits['block_hits']:,}" for hits in found["capacity_blocks"].values())]]


def _samples() -> Cells:
    """Mean and largest error of a sampled curve, in points."""
    traces = conversations(), load_trace(load_config(ROOT / "configs/quickstart.yaml"))
    rows: Cells = [[str(rate)] for rate in (0.2, 0.1, 0.05, 0.01)]
    for blocks in map(blocks_of, traces):
        truth = exact(blocks)
        for row in rows:
            error = difference(sampled(blocks, float(str(row[0])))[0], truth)
            row += [f"{100 * error.mean:.2f}", f"{100 * error.largest:.2f}"]
    return rows


@cache
def fitted(path: Path, kind: Kind = "fitted") -> Fit:
    """A generator like a trace, and what its draws come to."""
    return fit(guessed(path), SEEDS[path], "fitted", _hit_rates, kind)


def _fits() -> Cells:
    """Hit rates of a trace, and in the mean of its draws."""
    rows: Cells = []
    for path in SEEDS:
        found = fitted(path)
        rows.append([None, *(f"{rate:.3f}" for rate in found.recorded), ""])
        mean = np.mean(found.drawn, axis=0)
        rows.append([None, *(f"{rate:.3f}" for rate in mean), f"{found.largest_gap:.3f}"])
    return rows


def _independent() -> dict[str, str]:
    """How far draws with independent lengths and gaps are off."""
    chat, agent = fitted(MOONCAKE, "chat"), fitted(SESSIONS, "agent")
    return {"chat": f"{chat.largest_gap:.3f}", "agent": f"{agent.largest_gap:.2f}"}


def _in_poissons_process() -> dict[str, str]:
    """The largest gap where the sessions of a trace, and of its draws, start by a process."""
    arrival = {"process": "poisson", "rate_per_s": 0.01}
    settings = {"kind": "trace", "format": "guess", "path": SESSIONS, "arrival": arrival}
    trace = GuessedTrace.model_validate(settings).build(0, ROOT)
    return {"gap": f"{fit(trace, SEEDS[SESSIONS], 'fitted', _hit_rates).largest_gap:.3f}"}


def _held_out() -> dict[str, str]:
    """Draws fitted to a random half of the sessions against the other half, and the halves themselves."""
    out: dict[str, str] = {}
    for name, path in (("chats", MOONCAKE), ("agents", SESSIONS)):
        gaps = [_halved(guessed(path), seed) for seed in range(HALVINGS)]
        for kind, found in zip(("draws", "halves"), zip(*gaps, strict=True), strict=True):
            out |= {f"{kind}_{name}_least": f"{min(found):.3f}", f"{kind}_{name}_most": f"{max(found):.3f}"}
    return out


def _halved(trace: Trace, seed: int) -> tuple[float, float]:
    """Largest gaps to the hit rates of the half that is held out: of draws, and of the other half."""
    by_content = len(set(trace.session)) == len(trace)
    order = [request for _, request in trace.instant_order()]
    sessions = np.array(linked(trace, order) if by_content else trace.session)
    names = np.unique(sessions)
    chosen = np.random.default_rng(seed).permutation(names)[: len(names) // 2]
    kept = np.isin(sessions, chosen)
    found = fit(part_of(trace, kept), SEEDS[SESSIONS], "fitted", _hit_rates)
    other = np.array(_hit_rates(part_of(trace, ~kept), None, CAPACITIES_TOKENS))
    drawn, fitted_half = np.array(found.drawn), np.array(found.recorded)
    return float(np.abs(drawn - other).max()), float(np.abs(fitted_half - other).max())


def _last_turns() -> dict[str, str]:
    """Least and most that a cache finds of clients that send their last turns only."""
    [settings] = [more for label, more in GENERATORS["chat"] if label == "the last 2 turns only"]
    _, rates = curve_of(workload_of("chat", settings))
    return {"least": f"{100 * min(rates):.0f}", "most": percent(max(rates), 0)}


def _described() -> dict[str, str]:
    found = describe(guessed(SESSIONS))
    assert found.ideal_hit_rate is not None
    return {"seen": percent(found.ideal_hit_rate, 2), "p50": f"{found.reuse_s[50]:.0f} s"}


def _segments() -> dict[str, str]:
    """Segments of the content tree, those of replies left out, and of a prompt's path on average."""
    trace = conversations()
    content = trace.content
    paths = [len(content.path(prompt)) for prompt in trace.prompt]
    blocks = sum(-(-tokens // 512) for tokens in trace.input_tokens)
    return {
        "blocks": f"{blocks:,}",
        "segments": f"{len(content) - len(trace):,}",
        "each": f"{sum(paths) / len(paths):.1f}",
    }


FIT = "python -m workloads fit conversation_trace.jsonl fitted.yaml --seeds 5"
MADE: dict[str, Made] = {
    "Mooncake, whole blocks": Table(VALIDATION, TEST_OF_CURVE, _whole_blocks, MOONCAKE),
    "Mooncake, single tokens": Table(VALIDATION, TEST_OF_CURVE, _single_tokens, MOONCAKE),
    "sampled curves": Table(VALIDATION, "python -m sim curve CONFIG", _samples, MOONCAKE),
    "lifetimes": Table(VALIDATION, TEST_OF_SESSIONS, _lifetimes, SESSIONS),
    "pool": Table(VALIDATION, TEST_OF_SESSIONS, _pool, SESSIONS),
    "fits": Table(WORKLOADS, FIT, _fits, SESSIONS, slow=True),
    "fits, independent": Sentences(
        WORKLOADS,
        FIT,
        _independent,
        (
            "misses its curve by up to {chat} (at 50 M tokens), an agent fitted to the coding agents by "
            "{agent} (at 1 M)",
        ),
        SESSIONS,
        slow=True,
    ),
    "fits, Poisson": Sentences(
        WORKLOADS,
        "--set arrival.process=poisson --set arrival.rate_per_s=0.01",
        _in_poissons_process,
        ("the gap is up to {gap}, at 1 M tokens",),
        SESSIONS,
        slow=True,
    ),
    "fits, held out": Sentences(
        WORKLOADS,
        "tests/docs/makers/traces.py",
        _held_out,
        (
            "draws are off by {draws_chats_least} to {draws_chats_most} (conversation trace, three "
            "halvings) and {draws_agents_least} to {draws_agents_most} (coding",
            "The halves themselves differ by {halves_chats_least} to {halves_chats_most} and "
            "{halves_agents_least} to {halves_agents_most}: with few",
        ),
        SESSIONS,
        slow=True,
    ),
    "last turns": Sentences(
        WORKLOADS,
        "python -m tests.docs.pictures generators",
        _last_turns,
        ("Clients that send the last two turns only get {least} to {most} whatever the size",),
    ),
    "coding sessions": Sentences(
        WORKLOADS,
        "python -m workloads describe ../shared/data/claude_code_sessions/sessions.jsonl.gz",
        _described,
        (
            "--figure workloads.png`: {seen} of the input tokens were seen before, half of them within "
            "{p50} (",
        ),
        SESSIONS,
        slow=True,
    ),
    "content tree": Sentences(
        "docs/architecture.md",
        "Mooncake conversation trace",
        _segments,
        ("({blocks} blocks of 512 tokens) is {segments} segments, {each} per prompt",),
        MOONCAKE,
    ),
}
