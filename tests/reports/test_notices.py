"""What a page says before its figures: once each, and only of what it concerns."""

from __future__ import annotations

from typing import Any

from reports import notices, validity
from reports.html import render
from sim.result import Result
from tests.reports.test_html import Page


def test_a_note_of_several_systems_stands_once(everything: Result, pages: dict[str, str]) -> None:
    summary = everything.summary()
    shared, own = notices.sorted_notes(summary)
    assert shared and set(own) == set(summary["systems"])
    text = Page(pages["everything"]).text
    for whom, note in shared:
        assert text.count(note) == 1 and f"{whom}: {note}" in text
        assert not any(note in notes for notes in own.values())
    told = [note for entry in summary["systems"].values() for note in entry["notes"]]
    kept = [note for _, note in shared] + [note for notes in own.values() for note in notes]
    assert set(told) == set(kept), "none is lost"


def test_whom_a_note_concerns(everything: Result) -> None:
    summary: Any = everything.summary()
    for number, (name, entry) in enumerate(summary["systems"].items()):
        entry["notes"] = ["of all", *["of two"] * (number < 2), f"of {name}"]
    shared, own = notices.sorted_notes(summary)
    assert shared == [("All systems", "of all"), ("by-the-hour, by-the-token", "of two")]
    assert own == {name: [f"of {name}"] for name in summary["systems"]}


def test_uncalibrated_is_said_once_with_its_error(everything: Result, pages: dict[str, str]) -> None:
    """One banner names the systems; the sign beside a system's name is the only other one."""
    text = " ".join(Page(pages["everything"]).text.split())
    assert text.count("Uncalibrated. Times, GPU time") == 1
    assert "Bills of hosted APIs are exact" in text
    summary: Any = everything.summary()
    for entry in summary["systems"].values():
        entry["notes"] = ["an iteration is typically 11% off"] if entry["calibrated"] is False else []
    assert notices.typical(summary) == ", an iteration typically 11 % off"
    summary["systems"]["by-the-hour"]["notes"] = ["typically 3.5% off"]
    assert notices.typical(summary) == ", an iteration typically 3.5 to 11 % off"


def test_many_warnings_are_folded_behind_their_number(everything: Result) -> None:
    summary: Any = everything.summary()
    summary["warnings"] = []
    for part in ("systems", "no_cache"):
        for entry in summary[part].values():
            entry["warnings"] = []
    names = list(summary["systems"])
    for name in names[:3]:
        summary["systems"][name]["warnings"] = ["5.0% of the requests get no reply (5 aborted)"]
    summary["no_cache"][names[0]]["warnings"] = ["overloaded: more arrives than is served"]
    said = "4 warnings about 3 systems: requests without a reply (3), overloaded (1)"
    assert notices.counted(summary) == said
    lines = validity.warnings(summary)
    assert lines[1] == f"{names[0]} without cache: overloaded: more arrives than is served"
    assert validity.of_system(summary, names[1]) == ["5.0% of the requests get no reply (5 aborted)"]
    page = render(everything, summary)
    assert f'<details class="banner" role="alert">\n<summary>{said}</summary>' in page
    assert page.count("&#9888;") == 3, "a sign beside each of these systems in the table"


def test_texts_that_differ_in_one_number_are_told_once() -> None:
    """With its range; where two differ the ranges would not belong together, and names are no numbers."""
    said = [
        ("a", "extrapolated: 1.3% of the time"),
        ("b", "extrapolated: 0.9% of the time"),
        ("a", "12,213 blocks, 4 % off"),
        ("b", "9,999 blocks, 4 % off"),
        ("a", "from 0.2 to 0.3 s"),
        ("b", "from 0.1 to 0.9 s"),
        ("a", "kernels on h100_sxm of 0.24.0"),
        ("b", "kernels on h200_sxm of 0.24.0"),
        ("c", "extrapolated: 11.0% of the time"),
    ]
    assert notices.merged(said) == {
        "extrapolated: 0.9 to 11.0% of the time": ["a", "b", "c"],
        "9,999 to 12,213 blocks, 4 % off": ["a", "b"],
        "from 0.2 to 0.3 s": ["a"],
        "from 0.1 to 0.9 s": ["b"],
        "kernels on h100_sxm of 0.24.0": ["a"],
        "kernels on h200_sxm of 0.24.0": ["b"],
    }


def test_what_part_is_measured(everything: Result) -> None:
    """All of a run that is asked for whole is called that, not a part from 0 s to the end."""
    summary: Any = everything.summary()
    window = summary["window"]
    window |= {"chosen": "given", "start_s": 0.0, "end_s": None, "outside_ratio": 0.0}
    assert validity.measured(summary) == "Figures are of all requests (as the configuration says)."
    window |= {"start_s": 1312.4, "outside_ratio": 0.44}
    assert validity.measured(summary) == (
        "Figures are of the requests that arrive from 1,312 s to the end: 56.0% of all (as the "
        "configuration says)."
    )


def test_warnings_at_the_terminal(everything: Result) -> None:
    """Each once with whom it concerns; a system and its twin are named together."""
    summary: Any = everything.summary()
    summary["warnings"] = ["too short"]
    names = list(summary["systems"])
    for place, name in enumerate(names):
        summary["systems"][name]["warnings"] = [f"{20 + place} requests are few"]
        summary["no_cache"][name]["warnings"] = ["7 requests are few"]
    summary["systems"][names[1]]["warnings"] += ["overloaded: 3 and 4"]
    summary["no_cache"][names[1]]["warnings"] += ["overloaded: 3 and 4"]
    summary["systems"][names[2]]["warnings"] += ["overloaded: 5 and 6"]
    assert validity.together(summary) == [
        "Too short",
        f"All systems with and without cache: 7 to {19 + len(names)} requests are few",
        f"{names[1]} with and without cache: overloaded: 3 and 4",
        f"{names[2]}: overloaded: 5 and 6",
    ]
    assert len(validity.warnings(summary)) == 4 + 2 * len(names), "the page has them one by one"
