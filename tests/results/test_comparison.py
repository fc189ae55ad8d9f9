"""Systems side by side: the order, the baseline, and whether a difference holds."""

from __future__ import annotations

from typing import Any

import pytest

from reports import comparison as page
from sim.results.comparison import Compare, compare
from sim.results.intervals import Repetitions
from sim.results.summary_system import FIGURES
from sim.studies.metric import metric


def _summary(**ttft_ms: float | None) -> Any:
    """Systems of which only the mean TTFT is known."""
    entry = {"duration": 1.0, "failed": 0, "cache": {}, "cost": {"pricing": None}, "warnings": []}
    return {
        "systems": {name: {**entry, "mean_ttft_ms": value} for name, value in ttft_ms.items()},
        "intervals": None,
    }


def _repetitions(**values: list[float]) -> Repetitions:
    flats = {name: [{"mean_ttft_ms": value} for value in of_one] for name, of_one in values.items()}
    return Repetitions("seeds", flats, flats)


def test_a_difference_that_holds() -> None:
    """Runs that rise and fall together: a second more each time is no chance, however they vary."""
    repeated = _repetitions(a=[100, 200, 300, 400], b=[118, 216, 325, 423], c=[150, 260, 350, 470])
    found = compare(_summary(b=270.5, a=250.0, c=307.5), Compare(), repeated)
    assert [row["system"] for row in found["rows"]] == ["a", "b", "c"]
    assert (found["by"], found["baseline"], found["winner"]) == ("mean_ttft_ms", "b", "a")
    best = found["rows"][0]
    assert best["difference_ratio"] == pytest.approx(250 / 270.5 - 1)
    low, high = best["difference_ratio_interval"] or (0.0, 0.0)
    assert low < high < 0
    assert best["interval"] is not None and best["interval"][1] - best["interval"][0] > 200
    summary = _summary(b=270.5, a=250.0, c=307.5) | {"comparison": found}
    assert page.sentence(summary).startswith("a has the lowest TTFT mean: 250 ± 210 ms, ")
    assert page.sentence(summary).endswith("less than b.")


def test_a_difference_that_does_not_hold() -> None:
    """The best of three by luck: it is told with those that it does not differ from."""
    repeated = _repetitions(a=[10, 20, 30], b=[21, 11, 31], c=[60, 72, 80])
    summary = _summary(a=20.0, b=21.0, c=70.7)
    summary["comparison"] = found = compare(summary, Compare(baseline="c"), repeated)
    assert (found["winner"], found["tied"]) == (None, ["a", "b"])
    assert page.sentence(summary) == (
        "a and b have the lowest TTFT mean (20 ± 25 ms for a); no difference between them holds, and a "
        "differs from the other."
    )
    everything = _repetitions(a=[10, 20, 30], b=[21, 11, 31])
    summary = _summary(a=20.0, b=21.0)
    summary["comparison"] = compare(summary, Compare(), everything)
    assert page.sentence(summary).startswith("No difference in TTFT mean holds between the 2 systems")


def test_many_systems_take_more_to_win() -> None:
    """What differs from one other at 95 % may be the best of twenty by chance."""
    pair = {"a": [1.0, 2.0, 3.0, 4.0], "b": [1.7, 3.4, 3.8, 5.6]}
    values = {"a": 2.5, "b": 3.625}
    assert compare(_summary(**values), Compare(), _repetitions(**pair))["winner"] == "a"
    others = {f"s{i}": [10.0, 11.0, 12.0, 13.0] for i in range(18)}
    many = compare(
        _summary(**values, **dict.fromkeys(others, 11.5)), Compare(), _repetitions(**pair, **others)
    )
    assert many["winner"] is None and many["tied"] == ["a", "b"]


def test_without_intervals_nothing_holds() -> None:
    summary = _summary(a=2.0, b=None)
    summary["comparison"] = found = compare(summary, Compare(), None)
    assert found["by"] == "completed"
    found = summary["comparison"] = compare(summary, Compare(by="mean_ttft_ms"), None)
    assert (found["winner"], found["tied"]) == (None, [])
    assert [row["value"] for row in found["rows"]] == [2.0, None]
    assert "cannot be told" in page.sentence(summary)


def test_more_may_be_better() -> None:
    """Hit rates, throughput and goodput; names may leave out what they are part of."""
    asked = Compare(by="prefix_cache_hit_rate")
    assert asked.by == "cache.prefix_cache_hit_rate"
    summary = _summary(a=1.0, b=1.0)
    for name, rate in (("a", 0.2), ("b", 0.7)):
        summary["systems"][name]["cache"] = {"prefix_cache_hit_rate": rate}
    found = compare(summary, asked, None)
    assert found["higher_is_better"] and found["rows"][0]["system"] == "b"
    with pytest.raises(
        ValueError, match=r"called 'ttft' \(did you mean 'mean_ttft_ms' or 'median_ttft_ms'"
    ):
        Compare(by="ttft")
    with pytest.raises(ValueError, match=r"no figure of summary\.json is called 'hits'"):
        Compare(by="hits")


def test_what_systems_may_be_ranked_by() -> None:
    """Numbers, in the direction in which sweeps and searches rank them too; no text and no tables."""
    for figure in FIGURES:
        assert (
            metric(figure, "here").higher_is_better
            == compare(_summary(a=1.0, b=2.0), Compare(by=figure), None)["higher_is_better"]
        )
    for high in ("cache.prefix_cache_hits_blocks", "max_output_tokens_per_s", "request_goodput"):
        assert compare(_summary(a=1.0, b=2.0), Compare(by=high), None)["higher_is_better"]
    for none in ("cost.pricing", "cache.prefix_cache_hits_tokens_by_tier", "cost.bill"):
        with pytest.raises(ValueError, match="no figure"):
            Compare(by=none)
