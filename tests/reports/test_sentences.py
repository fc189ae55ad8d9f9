"""The plain sentence about a system, and the words about claims."""

from __future__ import annotations

import copy
from typing import Any

from reports.rows import compare
from reports.sentences import claim_figures, claim_verdict, sentence
from sim.result import Result


def test_an_engine_by_the_hour(everything: Result) -> None:
    text = sentence(everything.summary(), "by-the-hour")
    assert text.startswith("Caching computes ")
    assert "fewer prompt tokens" in text
    assert "the median TTFT falls from " in text
    assert "GPU busy time falls by " in text
    assert "the bill for the GPU-hours held " in text


def test_a_replay_says_that_it_has_no_times(everything: Result) -> None:
    text = sentence(everything.summary(), "replay")
    assert text.endswith("; a replay has no times.")
    assert "bill" not in text
    assert "the bill at token prices falls from $" in sentence(everything.summary(), "priced-replay")


def test_it_is_honest_when_nothing_is_saved(everything: Result) -> None:
    text = sentence(everything.summary(), "no-cache")
    assert text.startswith("Caching saves no prompt tokens: all ")
    assert "the median TTFT does not change" in text
    assert "GPU busy time does not change" in text
    assert "falls" not in text


def test_it_is_honest_when_things_get_worse(everything: Result) -> None:
    summary: Any = copy.deepcopy(everything.summary())
    times = summary["savings"]["by-the-hour"]["p50_ttft_ms"]
    times.update({"without": 10.0, "with": 12.0, "saved": -2.0, "saved_ratio": -0.2})
    assert "the median TTFT rises from 10.0 ms to 12.0 ms" in sentence(summary, "by-the-hour")
    row = next(row for row in compare(summary, "by-the-hour") if row.label == "TTFT p50")
    assert (row.saved, row.saved_share, row.gain) == ("-2.00 ms", "-20.0%", -1)


def test_the_noise_of_additions_is_no_change(everything: Result) -> None:
    summary: Any = copy.deepcopy(everything.summary())
    times = summary["savings"]["by-the-hour"]["mean_tpot_ms"]
    times.update({"without": 3.0, "with": 3.0 - 4e-16, "saved": 4e-16, "saved_ratio": 1.3e-16})
    row = next(row for row in compare(summary, "by-the-hour") if row.label == "TPOT mean")
    assert (row.saved, row.saved_share, row.gain) == ("0 ms", "0%", 0)


def test_claims(everything: Result) -> None:
    claims = everything.summary()["claims"]
    assert [claim_verdict(claim) for claim in claims] == ["holds", "does not hold", "not decided"]
    assert claim_figures(claims[1]).startswith("saving in computed prompt tokens: 99.0% claimed, ")
    assert "no figure can be derived" in claim_figures(claims[2])
