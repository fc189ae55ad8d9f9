"""The page: well formed, self-contained, escaped, the same every time."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from reports.html import render
from sim.result import Result

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Checks that tags are balanced, and collects attributes and visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for key, value in attrs:
            assert value is not None, (tag, key)
            assert not key.startswith("on"), (tag, key)
            if key == "id":
                self.ids.append(value)
            if key in ("src", "href", "srcset", "poster", "data", "action"):
                self.sources.append(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.text += data


@pytest.mark.parametrize("name", ["everything", "one_request", "single_turns"])
def test_well_formed_and_self_contained(pages: dict[str, str], name: str) -> None:
    html = pages[name]
    assert html.startswith("<!DOCTYPE html>\n<html lang=")
    page = Page(html)
    assert page.tags.count("h1") == 1
    assert page.tags.count("svg") == page.tags.count("figure") >= 4 and "img" not in page.tags
    assert all(source.startswith("#") and source[1:] in page.ids for source in page.sources)
    assert len(page.ids) == len(set(page.ids)), "figures do not share ids"
    assert not re.search(r"https?://|url\((?!#)|@import|<link", html)
    assert not re.search(r"\b(nan|NaN|None|inf|undefined)\b", page.text)
    headings = re.findall(r'<h2 id="([^"]*)"', html)
    assert [source[1:] for source in page.sources if source[1:] in headings] == headings, "contents"


def test_it_says_what_matters(everything: Result, pages: dict[str, str]) -> None:
    text = " ".join(Page(pages["everything"]).text.split())
    assert (
        "Uncalibrated. Times, GPU time and dollars by the hour of by-the-hour, by-the-token, no-cache"
        in text
    )
    assert "Caching computes " in text
    assert "Caching saves no prompt tokens" in text
    for part in (
        "All systems",
        "Claims",
        "How to read this",
        "Configuration",
        "TTFT",
        "TPOT",
        "Hit rate, by tokens",
    ):
        assert part in text
    for claim in everything.summary()["claims"]:
        assert f"Source: {claim['source']}" in text
        for condition in claim["conditions"]:
            assert condition in text
    assert "kv_blocks:" in text, "defaults are filled in"


def test_without_times_there_is_no_banner(build: Callable[..., Result]) -> None:
    result = build("  replay: {kind: cache, cache: {kind: block}}\n")
    html = render(result)
    assert 'role="note"' not in html
    assert "<h2>Claims" not in html


def test_hostile_text_is_escaped(everything: Result) -> None:
    name, evil = '<img src=x onerror="alert(1)">', "<script>alert(1)</script>\"'&"
    run = everything.runs["by-the-hour"]
    run_with_note = type(run)(run.records, run.twin, run.price, run.calibrated, [evil], 1.0, 1.0)
    config = everything.config.model_copy(update={"claims": []})
    measure = replace(everything.measure, windows={name: everything.measure.windows["by-the-hour"]})
    result = Result(config, everything.trace, {name: run_with_note}, measure, 0.0)
    summary: Any = result.summary()
    assert list(summary["systems"]) == [name]
    claim = {
        "system": name,
        "quantity": evil,
        "source": evil,
        "claimed_saved": 0.5,
        "derived_saved": None,
        "holds": False,
        "conditions": [evil],
    }
    html = render(result, summary | {"claims": [claim]})
    page = Page(html)
    assert "<img src=x" not in html and "<script>alert" not in html
    assert page.tags.count("script") == page.tags.count("figure") + 1, (
        "the data of figures, and the page's own"
    )
    assert page.text.count("<script>alert(1)</script>") >= 4
    assert name in page.text


def test_same_run_same_page(one_request: Result, pages: dict[str, str]) -> None:
    for run in one_request.runs.values():
        run.simulation_s *= 2
    assert render(one_request) == pages["one_request"], "wall-clock times are not in it"
    assert render(one_request, one_request.summary()) == pages["one_request"]


def test_light_imports() -> None:
    code = (
        "import sys, reports.html, reports.console; "
        "print([m for m in ('pandas', 'matplotlib.pyplot', 'torch', 'scipy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
