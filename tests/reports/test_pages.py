"""The pages of studies: each is whole, answers first, and stands in the same frame."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from html import unescape
from pathlib import Path

import pytest

from reports import breakeven, calibration_page, compare, curve, description
from reports.frame import NARROW, Part, contents, rows, slug, study
from sim.config import load_config
from sim.hardware.profile import load
from sim.providers import breakeven as offers
from sim.result import Result
from sim.studies import compare as compared
from sim.studies import curve_sampled
from tests.reports.browser import fitting
from tests.reports.conftest import WORKLOAD
from tests.reports.test_html import Page
from workloads.describing import describe

ROOT = Path(__file__).parents[2]
CONFIG = """\
name: small
workload:
{workload}systems:
  tail: {{kind: cache, cache: {{kind: block, capacity_blocks: 60}}}}
  fleet:
    kind: engine
    memory: {{kv_blocks: 100}}
    replicas: 2
    latency: {{kind: constant, iteration_s: 0.1}}
"""


@pytest.fixture(scope="module")
def studies(
    everything: Result, pages: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """A page of each kind that needs no long run."""
    folder = tmp_path_factory.mktemp("studies")
    workload = WORKLOAD.format(sessions=5, turns=4, system_tokens=100, reply_tokens=40)
    (folder / "config.yaml").write_text(CONFIG.format(workload=workload))
    found = curve_sampled.study(load_config(folder / "config.yaml"), None, None, lambda *_: None)
    for name, factor in (("before", 1.0), ("after", 1.5)):
        summary = everything.summary()
        summary["systems"]["by-the-hour"]["mean_ttft_ms"] = 10.0 * factor
        (folder / name).mkdir()
        (folder / name / "summary.json").write_text(json.dumps(summary))
    both = compared.compare([folder / "before", folder / "after"], [], ["by-the-hour: mean_ttft_ms > 1.2x"])
    profile = load(sorted((ROOT / "sim/hardware/profiles").glob("*.yaml"))[0])
    some = offers.offers(["anthropic", "gemini"], datetime(2026, 11, 24, tzinfo=UTC))
    return {
        "curve": curve.render(found),
        "breakeven": breakeven.render(some),
        "compare": compare.render(both),
        "describe": description.render(describe(everything.trace)),
        "calibration": calibration_page.render(profile, []),
        "run": pages["everything"],
    }


ANSWERS = {
    "curve": "A cache of [0-9,]+ tokens finds 90%.* KV memory of fleet, 3,200, would find [0-9.]+%",
    "breakeven": "A cache write pays for itself from the second to the third request",
    "compare": r"1 condition holds: by-the-hour: mean_ttft_ms > 1\.2x: 15\.0 ms for by-the-hour in .*after",
    "describe": r"[0-9.]+% of the prompt tokens were seen before, in 12 requests of 4 sessions\.",
    "calibration": r"On \d+ iterations that it never saw the profile is \d+\.\d% off on average",
    "run": "In this run by-the-hour has the highest hit rate by tokens: 66.7%",
}


@pytest.mark.parametrize("name", ANSWERS)
def test_each_answers_first(studies: dict[str, str], name: str) -> None:
    """One heading, the answer right below it, contents that lead somewhere, nothing from outside."""
    text = studies[name]
    page = Page(text)
    assert page.tags.count("h1") == 1
    answer = re.search(r'<p class="answer">(.*?)</p>', text, re.S)
    assert answer is not None and text.index(answer[0]) < text.index("<nav") < text.index("<h2")
    assert re.match(ANSWERS[name], unescape(answer[1]).replace("\u00a0", " "))
    assert page.sources and all(source[1:] in page.ids for source in page.sources)
    assert not re.search(r"https?://|url\((?!#)|@import|<link", text)


def test_a_table_stands_beside_one_figure_if_it_is_narrow(studies: dict[str, str]) -> None:
    assert '<div class="beside">' in studies["curve"] and '<div class="beside">' not in studies["breakeven"]
    part = Part("Title", headings=["a"] * NARROW, rows=rows([["b"] * NARROW]))
    assert not part.beside


def test_gains_and_losses_of_runs_have_colours(studies: dict[str, str]) -> None:
    (row,) = re.findall(r"<tr>(?:(?!</tr>).)*mean ttft ms.*?</tr>", studies["compare"], re.S)[:1]
    assert "<td>10.0\u00a0ms</td>" in row and '<td class="loss">15.0\u00a0ms  1.50 x</td>' in row


def test_texts_of_others_are_escaped() -> None:
    evil = "<script>alert(1)</script>"
    part = Part(evil, evil, headings=[evil], rows=rows([[evil]]), notes=[evil], fold=evil)
    text = study(
        subject=evil, about=evil, parts=[part, Part(evil)], notes=[evil], failures=[(evil, evil)],
        folded=evil, name=evil, answer=evil, definitions=[(evil, evil)], configuration=evil,
        uncalibrated=[evil],
    )  # fmt: skip
    assert "<script>alert" not in text and text.count("&lt;script&gt;alert") >= 16
    assert contents(text)[0] == ("failed", "Failed")
    assert slug(evil) == "script-alert-1-script"


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 400])
def test_no_page_is_wider_than_its_window(studies: dict[str, str], tmp_path: Path, width: int) -> None:
    seen = fitting(tmp_path, studies, width)
    assert seen.pop("said") == []
    assert seen.keys() == studies.keys()
    for name, of in seen.items():
        assert of["needed"] <= of["width"], name
        assert of["first"] is None or of["first"] <= 1.5 * 900, name
