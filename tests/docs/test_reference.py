"""Every key that a shipped configuration or a page has is in the reference, and every command is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from reports import commands_page, config_page
from reports.config_page import Part, parts
from tests.docs.examples import ROOT, fences

CONFIGS = sorted(path for path in (ROOT / "configs").rglob("*.yaml") if path.parent.name != "axes")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@cache
def found() -> dict[str, Part]:
    """The parts of a configuration; no work of importing this file, which every worker does."""
    return parts()


@cache
def page() -> str:
    """The reference."""
    return config_page.page()


@cache
def rows() -> dict[str, set[str]]:
    """The keys of each section of the page."""
    return {
        part.name: set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE))
        for section in re.split(r"^### ", page(), flags=re.MULTILINE)[1:]
        for part in found().values()
        if section.splitlines()[0].endswith(f"{{ #{part.anchor} }}")
    }


def _missing(value: Any, schema: dict[str, Any], path: str) -> list[str]:
    """Keys of ``value`` that have no row where the page describes ``schema``."""
    if isinstance(value, list):
        return [text for item in value for text in _missing(item, schema.get("items", schema), f"{path}[]")]
    if not isinstance(value, dict):
        return []
    fitting = [part for part in _parts(schema) if _fits(value, part)]
    if not fitting:
        inner = [schema.get("additionalProperties"), *schema.get("patternProperties", {}).values()]
        values = [item for item in inner if isinstance(item, dict)]
        return [
            text
            for key, item in value.items()
            for text in (_missing(item, values[0], f"{path}.{key}") if values else [])
        ]
    absent: list[str] = []
    for key, item in value.items():
        tries: list[list[str]] = [
            _missing(item, part.keys[key], f"{path}.{key}") for part in fitting if key in rows()[part.name]
        ]
        fewest: list[str] = min(tries, key=len) if tries else [f"{path}.{key}"]
        absent += fewest
    return absent


def _parts(schema: dict[str, Any]) -> Iterator[Part]:
    if "$ref" in schema:
        yield found()[schema["$ref"].rpartition("/")[2]]
    for inner in [*schema.get("anyOf", []), *schema.get("oneOf", []), *schema.get("allOf", [])]:
        yield from _parts(inner)


def _fits(value: dict[str, Any], part: Part) -> bool:
    return all(value.get(key, allowed[0]) in allowed for key, allowed in part.tags.items())


FILE = {"$ref": "#/$defs/Config"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configurations(path: Path) -> None:
    """Key by key, each in the section of its part."""
    assert _missing(yaml.safe_load(path.read_text("utf-8")), FILE, path.stem) == []


def _examples(path: Path) -> Iterator[dict[str, Any]]:
    """The pieces of configurations of a page; one a line where a fence has several of a kind."""
    for fence in fences(path.read_text("utf-8")):
        other = fence.title is not None and (fence.title.startswith("sim/") or "gpu" in fence.title)
        if fence.language != "yaml" or other:
            continue
        tops = re.findall(r"^(\w+):", fence.body, re.MULTILINE)
        pieces = [fence.body] if len(set(tops)) == len(tops) else re.split(r"\n(?=\w)", fence.body)
        yield from (piece for piece in map(yaml.safe_load, pieces) if isinstance(piece, dict))


def test_examples_of_the_pages() -> None:
    """Whole files and fragments, wherever in a file they may stand."""
    seen = 0
    for path in PAGES:
        for piece in _examples(path):
            seen += 1
            tries: list[list[str]] = [
                _missing(piece, {"$ref": f"#/$defs/{part.name}"}, path.name)
                for part in found().values()
                if piece.keys() & rows().get(part.name, set())
            ]
            assert tries, f"{path.name}: {list(piece)} stands nowhere in a configuration"
            assert min(map(len, tries)) == 0, path.name
    assert seen > 30


def test_a_key_that_is_missing_is_found() -> None:
    """A key that no part has, and one that only another part has."""
    chat = {"workload": {"kind": "chat", "sessions": 1, "templates": 3}, "sytems": {}}
    assert _missing(chat, FILE, "x") == ["x.workload.templates", "x.sytems"]


def test_every_key_has_a_meaning() -> None:
    """No row of the page ends empty."""
    rows = [line for line in page().splitlines() if line.startswith("| `")]
    assert len(rows) > 400 and not [row for row in rows if re.search(r"\|\s*\|$", row)]


def test_every_command_that_a_page_names_exists() -> None:
    """`python -m sim COMMAND` and the like, wherever they stand in README and pages."""
    known = commands_page.names()
    for path in [*PAGES, ROOT / "README.zh-CN.md"]:
        if path.exists():
            text = path.read_text("utf-8")
            named = set(re.findall(r"python -m (?:sim|workloads|calibration) [a-z][a-z-]+", text))
            assert named <= known, path.name


def test_every_file_that_a_page_names_exists() -> None:
    """Paths in code, from the root, within the package that the page is about, or beside the tests."""
    named = re.compile(
        r"`((?:tests|sim|configs|workloads|reports|calibration|notebooks|benchmarks|docs)/[\w./-]+?)/?`"
    )
    for path in [*PAGES, ROOT / "README.zh-CN.md", ROOT / "CONTRIBUTING.md"]:
        if "how-to" in path.parts:
            continue  # they name what is to be written
        missing = [
            name
            for name in named.findall(path.read_text("utf-8"))
            if not (ROOT / name).exists()
            and not (ROOT / "sim" / name).exists()
            and name != "sim/configs"  # in the wheel
        ]
        assert missing == [], path.name
