"""What the importers make of every public trace, held against the descriptions that come with the data.

Counts are exact. Ratios and rounded figures are compared to as many digits as are published.

Here: Mooncake's section 2, Azure's table, section 4 of the Claude Code sessions. Elsewhere:

- Mooncake, hits of each policy and capacity (section 4): caches/test_ids.py, test_eviction_policies.py;
  the published curve (section 5): sim/test_curve.py.
- Claude Code sessions, ideal hits, lifetimes, prices, shared pool (5, 6, 8): test_claude_code.py;
  what no trace keeps, and think times (7): test_published_sessions.py.
- Text logs, billed sessions, measured runs, the traces of the engine recordings:
  test_published_runs.py.

Without statistics: model_configs, whose numbers are held in hardware/test_published_models.py, and
conformance/hybrid. The table of totals of conformance is about engines, not about its traces: each of
its requests is compared in caches/test_recorded.py, caches/test_radix_recorded.py, caches/test_groups.py
and engine/test_recorded.py.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.workloads.published import at, raw, read, sessions, times
from workloads.describing import Description, describe
from workloads.shapes import common_tokens
from workloads.trace import Trace

PERCENTILES = (10, 50, 90, 99)


@pytest.fixture(scope="module")
def conversation(mooncake_file: Path) -> Trace:
    """One hour of Kimi's requests."""
    return read("mooncake", mooncake_file)


@pytest.fixture(scope="module")
def described(conversation: Trace) -> Description:
    """What ``describe`` says of it."""
    return describe(conversation)


@pytest.fixture(scope="module")
def agents(shared_data: Path) -> Trace:
    """357 sessions of Claude Code."""
    return read("claude_code_compact", shared_data / "claude_code_sessions" / "sessions.jsonl.gz")


@pytest.fixture(scope="module")
def main_calls(shared_data: Path) -> Trace:
    """The same without their sub-agents."""
    path = shared_data / "claude_code_sessions" / "sessions.jsonl.gz"
    return read("claude_code_compact", path, subagents="exclude")


class TestMooncake:
    """Section 2 of its description."""

    def test_times(self, conversation: Trace, described: Description) -> None:
        """Span, rate, ticks of 3 s."""
        assert len(conversation) == described.requests == 12_031
        assert round(described.span_s, 1) == 3537.0 and described.rate_per_s is not None
        assert round(described.rate_per_s, 2) == 3.40
        ticks = sorted(set(times(conversation)))
        assert len(ticks) == 1180
        gaps = [round((after - before) * 1000) for before, after in pairwise(ticks)]
        assert (min(gaps), max(gaps)) == (2997, 3003)

    def test_lengths(self, conversation: Trace, described: Description) -> None:
        """Of prompts and replies."""
        assert (described.input_tokens, min(conversation.input_tokens)) == (144_793_823, 891)
        assert (round(described.input.mean), described.input.max) == (12_035, 126_195)
        assert [round(value) for value in described.input.percentiles.values()] == [
            964,
            6909,
            27_367,
            85_400,
        ]
        assert (described.output_tokens, round(described.output.mean, 1)) == (4_122_048, 342.6)
        assert [round(value) for value in at(conversation.output_tokens, 50, 90, 99)] == [350, 597, 1118]
        assert described.output.max == 2000

    def test_blocks(self, conversation: Trace) -> None:
        """References, distinct blocks, those that come once, the first block of all."""
        content, size = conversation.content, 512
        uses: Counter[int] = Counter()
        for prompt in conversation.prompt:
            uses.update(content.path(prompt))
        blocks = {
            segment: -(-content.end[segment] // size) - content.end[content.parent[segment]] // size
            for segment in uses
        }
        assert sum(blocks[segment] * count for segment, count in uses.items()) == 288_500
        assert sum(blocks.values()) == 182_790
        once = sum(blocks[segment] for segment, count in uses.items() if count == 1)
        assert round(once / 182_790, 3) == 0.758
        assert len({content.path(prompt)[0] for prompt in conversation.prompt}) == 1

    def test_names_of_blocks(self, mooncake_file: Path) -> None:
        """The file's ids are dense, and one a block, the last one partial; no trace keeps their numbers."""
        rows = raw(mooncake_file)
        assert {block for row in rows for block in row["hash_ids"]} == set(range(182_790))
        assert all(len(row["hash_ids"]) == -(-row["input_length"] // 512) for row in rows)

    def test_reuse(self, conversation: Trace, described: Description) -> None:
        """Requests that match, and the ideal hit ratio in four ways."""
        content, known = conversation.content, set[int]()
        matched = []
        for prompt in conversation.prompt:
            path = content.path(prompt)
            matched.append(max((content.end[segment] for segment in path if segment in known), default=0))
            known.update(path)
        hits = np.array(matched)
        blocks, inputs = -(-hits // 512), np.array(conversation.input_tokens)
        assert ((blocks >= 1).sum(), (blocks >= 2).sum()) == (12_030, 4658)
        assert blocks.sum() == 105_710 and hits.sum() == described.ideal_hit_tokens == 54_098_411
        assert round(blocks.sum() / 288_500, 4) == 0.3664
        assert described.ideal_hit_rate is not None and round(described.ideal_hit_rate, 4) == 0.3736
        assert round(float((blocks / -(-inputs // 512)).mean()), 4) == 0.3843
        assert round(float((hits / inputs).mean()), 4) == 0.4094


class TestAzure:
    """The table of its description."""

    @pytest.mark.parametrize(
        ("name", "count", "span", "rate", "cv", "longest", "per_second", "inputs", "outputs"),
        [
            (
                "code", 8819, 3435.9, 2.567, 13.15, 217.2, (2.57, 33.8, 67),
                (18_059_974, 2047.8, 1469, 5188, 7436, 7437), (245_896, 27.9, 13, 55, 251, 1899),
            ),
            (
                "conv", 19_366, 3501.7, 5.530, 1.094, 4.3, (5.53, 7.66, 16),
                (22_361_870, 1154.7, 1020, 2734, 4142, 14_050), (4_088_665, 211.1, 129, 424, 601, 1000),
            ),
        ],
    )  # fmt: skip
    def test_the_table(
        self, shared_data: Path, name: str, count: int, span: float, rate: float, cv: float, longest: float,
        per_second: tuple[float, ...], inputs: tuple[float, ...], outputs: tuple[float, ...],
    ) -> None:  # fmt: skip
        """Requests, span, rate, burstiness, lengths."""
        trace = read("azure", shared_data / "azure" / f"AzureLLMInferenceTrace_{name}.csv")
        found = describe(trace)
        assert found.requests == count and found.rate_per_s is not None and found.gap_cv is not None
        assert (round(found.span_s, 1), round(found.rate_per_s, 3)) == (span, rate)
        assert round(found.gap_cv, 2 if cv > 10 else 3) == cv
        assert round(float(np.diff(times(trace)).max()), 1) == longest
        counts = np.bincount(np.array(times(trace)).astype(int))
        digits = 1 if name == "code" else 2
        assert (round(counts.mean(), 2), round(counts.var(), digits), counts.max()) == per_second
        for spread, total, (expected_total, mean, *percentiles, most) in (
            (found.input, found.input_tokens, inputs),
            (found.output, found.output_tokens, outputs),
        ):
            assert (total, round(spread.mean, 1), spread.max) == (expected_total, mean, most)
            assert [round(spread.percentiles[p]) for p in (50, 90, 99)] == percentiles
        assert found.ideal_hit_rate is None

    def test_the_traps(self, shared_data: Path) -> None:
        """Of code completion: minutes without any request, then 632 in one."""
        trace = read("azure", shared_data / "azure" / "AzureLLMInferenceTrace_code.csv")
        minutes = np.bincount((np.array(times(trace)) / 60).astype(int))
        assert minutes.max() == 632 and (minutes == 0).sum() > 1


class TestClaudeCode:
    """Section 4 of its description."""

    def test_shape(self, agents: Trace, main_calls: Trace) -> None:
        """Calls, spans and lengths: percentiles 10, 50, 90, 99, and the greatest."""
        found, chains = describe(agents), sessions(main_calls)
        calls = [len(session) for session in chains]
        assert (len(chains), len(agents), sum(calls)) == (357, 24_015, 23_682)
        assert round(float(np.mean(calls)), 1) == 66.3 and max(calls) == 395
        assert [round(value, 1) for value in at(calls, *PERCENTILES)] == [6.6, 44, 151.8, 316.6]
        spans = [(session[-1][0] - session[0][0]) / 60 for session in chains]
        assert [round(value, 1) for value in at(spans, *PERCENTILES)] == [5.9, 59.9, 294.9, 1455.5]
        assert round(float(np.mean(spans)), 1) == 153.1 and round(max(spans), 1) == 4951.9
        assert round(found.input.mean) == 115_050 and found.input.max == 880_502
        lengths = [43_019, 100_028, 180_916, 499_595]
        assert [round(value) for value in found.input.percentiles.values()] == lengths
        assert round(found.output.mean) == 440 and found.output.max == 16_681
        assert [round(value) for value in found.output.percentiles.values()] == [105, 218, 899, 3719]
        inputs = main_calls.input_tokens
        firsts = [inputs[session[0][1]] for session in chains]
        assert [round(value) for value in at(firsts, *PERCENTILES)] == [15_316, 23_071, 253_931, 718_049]
        assert round(float(np.mean(firsts))) == 90_918 and max(firsts) == 851_858

    def test_new_tokens(self, main_calls: Trace) -> None:
        """Of each turn, and how many turns lose a tenth of the prompt before."""
        new, lost, turns, inputs = [], 0, 0, main_calls.input_tokens
        for session in sessions(main_calls):
            for (_, before), (_, i) in pairwise(session):
                shared = common_tokens(main_calls, before, i) // 64 * 64
                turns += 1
                new.append(inputs[i] - shared)
                lost += shared // 64 < 0.9 * (inputs[before] // 64)
        assert [round(value) for value in at(new, *PERCENTILES)] == [232, 730, 4288, 62_289]
        assert round(float(np.mean(new))) == 3119 and max(new) == 450_542
        assert round(lost / turns, 4) == 0.0193

    def test_service_times(self, agents: Trace) -> None:
        """Where they are known."""
        assert agents.api_s is not None
        took = [seconds for seconds in agents.api_s if seconds is not None]
        assert len(agents) - len(took) == 2020
        assert round(float(np.mean(took)), 2) == 9.65 and round(max(took), 2) == 300.03
        assert [round(value, 2) for value in at(took, *PERCENTILES)] == [3.33, 6.04, 18.07, 60.71]
