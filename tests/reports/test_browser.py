"""The page in a real browser: it fits, sorts, folds, tells values, turns dark, and asks nobody."""

from __future__ import annotations

import csv
import io
import json
import re
import struct
from pathlib import Path
from typing import Any

import pytest

from reports import units
from sim.result import Result
from tests.reports.browser import chromium, drive

pytestmark = pytest.mark.browser

FITS = """
  results.needed = document.documentElement.scrollWidth;
  results.width = innerWidth;
  results.charts = [...document.querySelectorAll("svg.chart")].map(c => c.getBoundingClientRect().width);
  results.first = document.querySelector("svg.chart").getBoundingClientRect().top + scrollY;
"""


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_sticks_out(pages: dict[str, str], tmp_path: Path, width: int) -> None:
    """No page is wider than its window; the first figure is at most a screen and a half down."""
    seen = drive(tmp_path, pages["everything"], FITS, width)
    assert seen["said"] == []
    assert seen["needed"] <= seen["width"] == width
    assert len(seen["charts"]) == pages["everything"].count("<figure ")
    assert all(300 < shown <= 640 for shown in seen["charts"])
    assert seen["first"] <= 1.5 * 900


DRIVEN = """
  const rows = () => [...document.querySelector("table.sorts tbody").rows];
  const heads = [...document.querySelectorAll("table.sorts")][0].tHead.rows[0].cells;
  const names = () => rows().map(row => row.cells[0].querySelector(".name").textContent);
  const cells = column => rows().map(row => row.cells[column].textContent.trim());
  results.ranked = names();
  results.headings = [...heads].map(head => head.textContent);
  const hits = results.headings.indexOf("hit rate, by tokens");
  heads[hits].click();
  results.up = [names(), cells(hits), heads[hits].getAttribute("aria-sort")];
  heads[hits].click();
  results.down = [names(), cells(hits), heads[hits].getAttribute("aria-sort")];
  heads[0].dispatchEvent(new KeyboardEvent("keydown", {key: "Enter", bubbles: true}));
  results.named = names();

  const cards = [...document.querySelectorAll("details.card")];
  const open = () => cards.filter(card => card.open).length;
  results.folded = [open()];
  document.getElementById("fold").click();
  results.folded.push(open());
  document.getElementById("fold").click();
  results.folded.push(open());
  location.hash = "#system-hosted";
  await new Promise(done => setTimeout(done, 100));
  results.unfolded = cards.filter(c => c.open).map(c => c.id);

  const ground = () => getComputedStyle(document.body).backgroundColor;
  const bar = document.querySelector("svg.chart [style*='--blue']");
  const blue = () => { const style = getComputedStyle(bar); return style.stroke + style.fill; };
  results.modes = [[ground(), blue()]];
  document.getElementById("mode").click();
  results.modes.push([ground(), blue()]);
  document.getElementById("mode").click();
  results.modes.push([ground(), blue()]);

  results.tips = {};
  results.files = {};
  let saved = "";
  globalThis.Blob = class { constructor(parts) { saved = parts.join(""); } };
  URL.createObjectURL = () => "#";
  for (const figure of document.querySelectorAll("figure")) {
    const chart = figure.querySelector("svg"), name = figure.dataset.name;
    const [panel] = JSON.parse(figure.querySelector("script").textContent), series = panel.series[0];
    chart.scrollIntoView();
    const box = chart.getBoundingClientRect();
    const scaled = (log, [low, high], v) =>
      log ? Math.log(v / low) / Math.log(high / low) : (v - low) / (high - low);
    const last = series.x.length - 1, bars = series.boxes.length;
    const [px, py] = series.places.length ? series.places[last] : [series.x[last], series.y[last]];
    const x = bars ? series.boxes[last][0] + series.boxes[last][2] / 2 : px;
    const y = bars ? series.boxes[last][1] + series.boxes[last][3] / 2 : py;
    const [left, top, width, height] = panel.box;
    const at = {
      clientX: box.left + box.width * (left + width * scaled(panel.x_log, panel.x_ends, x)),
      clientY: box.top + box.height * (top + height * (1 - scaled(panel.y_log, panel.y_ends, y))),
      bubbles: true,
    };
    const tip = document.getElementById("tip");
    chart.dispatchEvent(new PointerEvent("pointermove", at));
    const lines = [...tip.children].map(line => line.textContent);
    results.tips[name] = [tip.hidden, lines, panel.series.map(s => s.name)];
    chart.dispatchEvent(new PointerEvent("pointerleave", at));
    results.tips[name].push(tip.hidden);
    figure.querySelector("button.csv").click();
    results.files[name] = saved;
  }
  results.requests = performance.getEntriesByType("resource").map(entry => entry.name);
"""


@pytest.fixture(scope="module")
def driven(pages: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return drive(tmp_path_factory.mktemp("driven"), pages["everything"], DRIVEN)


def test_it_says_nothing_and_asks_nobody(driven: dict[str, Any]) -> None:
    assert driven["said"] == [] and driven["requests"] == []


def test_the_table_sorts(driven: dict[str, Any], everything: Result) -> None:
    """Ranked at first; ascending by a click, descending by another, by Enter too; rows stay whole."""
    summary = everything.summary()
    compared = summary["comparison"]
    assert compared is not None
    assert driven["ranked"] == [row["system"] for row in compared["rows"]]
    for key, descending in (("up", False), ("down", True)):
        names, cells, state = driven[key]
        rates = [summary["systems"][name]["cache"]["prefix_cache_hit_rate"] or 0.0 for name in names]
        assert rates == sorted(rates, reverse=descending) and len(set(rates)) > 1
        assert state == ("descending" if descending else "ascending")
        for rate, cell in zip(rates, cells, strict=True):
            assert cell.startswith(units.percent(rate).rstrip("%")[:2])
    assert driven["named"] == sorted(driven["ranked"])


def test_parts_fold(driven: dict[str, Any]) -> None:
    none, every, again = driven["folded"]
    assert (none, again) == (0, 0) and every >= 8
    assert driven["unfolded"] == ["system-hosted"], "a link opens what it leads to"


def test_light_and_dark(driven: dict[str, Any], pages: dict[str, str], tmp_path: Path) -> None:
    """The button turns page and figures; before anybody touches it the system's choice counts."""
    light, dark, back = driven["modes"]
    assert light[0] == back[0] == "rgb(255, 255, 255)" and light == back
    assert dark[0] == "rgb(18, 22, 28)" and dark[1] != light[1]
    ground = "results.ground = getComputedStyle(document.body).backgroundColor;"
    seen = drive(tmp_path, pages["one_request"], ground, 1280, "--blink-settings=preferredColorScheme=0")
    assert seen["ground"] == dark[0]


def test_pointing_tells_values(driven: dict[str, Any]) -> None:
    """Over a point of each figure: the name of its series and both values; nothing when one leaves."""
    for name, (hidden, lines, series, gone) in driven["tips"].items():
        assert not hidden and gone, name
        assert lines[0] in series and len(lines) >= 2, name


def test_files_are_what_summary_json_says(driven: dict[str, Any], everything: Result) -> None:
    """The CSV of figures against the summary: ranking with intervals, GPU time, dollars of the bill."""
    summary: Any = everything.summary()
    files = {name: list(csv.DictReader(io.StringIO(text))) for name, text in driven["files"].items()}
    assert all(rows for rows in files.values())
    (ranking,) = (rows for name, rows in files.items() if name.startswith("ranked-by"))
    compared = summary["comparison"]
    figure = compared["rows"][0]["value"]
    x = list(ranking[0])[1]
    values = {row["series"]: float(row[x]) for row in ranking}
    known = {row["system"]: row["value"] for row in compared["rows"] if row["value"] is not None}
    assert values == pytest.approx(known, rel=1e-5) and figure is not None
    time = files["gpu-time"]
    hours = next(key for key in time[0] if key.startswith("GPU-hours"))
    busy = {row["y"]: float(row[hours]) * 3600 for row in time if row["series"] == "busy"}
    for name, seconds in busy.items():
        assert seconds == pytest.approx(summary["systems"][name]["gpu_busy_seconds"], rel=1e-5)
    dollars = files["dollars-per-1-000-sessions"]
    for row in summary["side_by_side"]:
        paid = sum(
            float(line["dollars per 1,000 sessions"]) for line in dollars if line["y"] == row["system"]
        )
        assert paid == pytest.approx(row["usd_per_1000_sessions"], rel=1e-4)


def test_it_is_drawn(pages: dict[str, str], tmp_path: Path) -> None:
    page, picture = tmp_path / "page.html", tmp_path / "page.png"
    page.write_text(pages["everything"], "utf-8")
    chromium(tmp_path, page, "--window-size=1200,3000", f"--screenshot={picture}")
    data = picture.read_bytes()
    assert struct.unpack(">II", data[16:24]) == (1200, 3000)
    assert len(data) > 100_000, "an empty page compresses to a few kilobytes"


def test_data_is_json(pages: dict[str, str]) -> None:
    for text in pages.values():
        for data in re.findall(r'<script type="application/json">(.*?)</script>', text, re.S):
            assert all(panel["series"] for panel in json.loads(data))
