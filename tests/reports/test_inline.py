"""Figures inside a page: the numbers beside them are those drawn, colours follow the page, ids differ."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from reports import canvas, figures, overlay, plotted
from reports.canvas import Picture
from reports.inline import image
from reports.looks import of
from sim.result import Result
from sim.results import metrics


def _panels(picture: Picture) -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = json.loads(image(picture).data)
    return panels


def test_lines_are_those_drawn(everything: Result) -> None:
    run = everything.runs["by-the-hour"]
    (panel,) = _panels(Picture(figures.ttft("by-the-hour", run), ""))
    assert panel["x_log"] and not panel["y_log"] and panel["y_ends"] == [0, 1.02]
    without, after = panel["series"]
    assert [without["name"][:13], after["name"][:10]] == ["without cache", "with cache"]
    for series, records in ((without, run.twin), (after, run.records)):
        times = metrics.ttft_s(records) * 1e3
        assert series["x"][-1] == pytest.approx(times.max(), rel=1e-5)
        assert [series["y"][0], series["y"][-1]] == [0, 1]


def test_bars_have_the_names_of_their_places(everything: Result) -> None:
    run = everything.runs["replay"]
    (panel,) = _panels(Picture(figures.prompt_tokens("replay", run), ""))
    computed, cached = panel["series"]
    assert computed["x"] == cached["x"] == ["1", "2", "3"]
    for turn, read, rest in zip((1, 2, 3), cached["y"], computed["y"], strict=True):
        of_turn = run.records.turn == turn
        assert read == pytest.approx(run.records.cache_read_input_tokens[of_turn].mean(), rel=1e-5)
        assert rest == pytest.approx(run.records.computed_tokens[of_turn].mean(), rel=1e-5)
    assert [box[1] for box in cached["boxes"]] == computed["y"], "cached stands on computed"


def test_texts_are_shown_as_they_are_drawn() -> None:
    """Places are cut to two decimals; what a reader sees of a figure is not: 0.689 would become 0.68."""
    figure, axes = canvas.new("held 0.197 GPU-hours", "hours", "")
    axes.plot([0, 1 / 3], [0, 1])
    axes.set_xticks([0.0, 0.025, 0.125])
    axes.text(0.1, 0.5, "$0.689")
    svg = str(image(Picture(figure, "")).svg)
    shown = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert {"0.025", "0.125", "$0.689", "held 0.197 GPU-hours"} <= set(shown)
    assert not re.search(r"<path [^>]*\d\.\d{3}", svg)


def test_intervals_are_kept(everything: Result) -> None:
    summary = everything.summary()
    compared = summary["comparison"]
    assert compared is not None
    rows: list[Any] = [row for row in compared["rows"] if row["value"] is not None]
    for row in rows:
        row["interval"] = (row["value"] * 0.9, row["value"] * 1.2)
    (panel,) = _panels(Picture(overlay.ranking(summary, of(summary)), ""))
    assert [series["name"] for series in panel["series"]] == [row["system"] for row in rows]
    for series, row in zip(panel["series"], rows, strict=True):
        assert series["x"][0] == pytest.approx(row["value"], rel=1e-5)
        assert (series["low"][0], series["high"][0]) == pytest.approx(row["interval"], rel=1e-5)


def test_colours_follow_the_page_and_ids_are_its_own(everything: Result) -> None:
    one, other = (
        image(Picture(figures.prompt_tokens(name, everything.runs[name]), ""))
        for name in ("replay", "no-cache")
    )
    assert one.key != other.key
    for picture in (one, other):
        assert "var(--orange)" in picture.svg and "currentColor" in picture.svg
        assert not re.search("#(ffffff|000000|e69f00|0072b2)", str(picture.svg).lower())
        assert all(name.startswith(picture.key) for name in re.findall(r'id="([^"]*)"', picture.svg))
        assert "xmlns" not in picture.svg and "font-family" not in picture.svg
    again = image(Picture(figures.prompt_tokens("replay", everything.runs["replay"]), ""))
    assert again == one, "the same figure gives the same bytes"


def test_every_line_of_the_data_is_found_in_the_svg(everything: Result) -> None:
    picture = image(Picture(figures.computed_over_time(everything.runs, of(everything.summary())), ""))
    groups = set(re.findall(r'id="([^"]*)"', picture.svg))
    for panel in json.loads(picture.data):
        assert {f"{picture.key}-{series['gid']}" for series in panel["series"]} <= groups


def test_names_cannot_leave_the_data() -> None:
    figure, axes = canvas.new("</script><b>", "x", "y")
    axes.plot([1, 2], [3, 4], label="</script>&")
    made = image(Picture(figure, ""))
    assert "<" not in made.data and json.loads(made.data)[0]["series"][0]["name"] == "</script>&"
    assert "<b>" not in made.svg


def test_what_has_no_label_is_no_data() -> None:
    figure, axes = canvas.new("t", "x", "y")
    axes.axhline(1, color=canvas.LINE)
    axes.plot([1, 2], [3, float("nan")], label="a")
    (panel,) = plotted.panels(figure)
    assert [(series.name, series.y) for series in panel.series] == [("a", [3.0, None])]
