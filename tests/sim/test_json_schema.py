"""The JSON Schema: every key described, every configuration that ships or is in the docs valid by it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from sim import json_schema
from tests.refusing import Cli
from tests.sim.bad import GOOD
from workloads.documents import Tree
from workloads.in_words import DISCRIMINATORS

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(path for path in (ROOT / "configs").rglob("*.yaml") if path.parent.name != "axes")
PARTS = {"engine": "EngineSystem", "model": "EngineSystem"}
"""Whose part an example is that shows less than a section of a configuration."""


@cache
def of_config() -> dict[str, Any]:
    return json_schema.of_config()


@cache
def validator() -> Draft202012Validator:
    Draft202012Validator.check_schema(of_config())
    return Draft202012Validator(of_config())


def keys(part: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key that a schema names, with what it says about it."""
    if isinstance(part, dict):
        named = part.get("properties", {})
        yield from ((f"{where}.{key}", about) for key, about in named.items())
        for name, below in part.items():
            yield from keys(below, where if name in ("properties", "$defs") else f"{where}.{name}")
    elif isinstance(part, list):
        for i, below in enumerate(part):
            yield from keys(below, f"{where}[{i}]")


def unfinished(part: Any) -> Any:
    """The schema of what says only a part: nothing is required but which variant a section is."""
    if isinstance(part, list):
        return [unfinished(below) for below in part]
    if not isinstance(part, dict):
        return part
    found = {name: unfinished(below) for name, below in part.items()}
    if isinstance(part.get("required"), list):
        found["required"] = [key for key in part["required"] if key in DISCRIMINATORS]
    return found


def as_json(text: str, where: str) -> Any:
    """YAML as this project reads it; a time is text in JSON."""
    return json.loads(json.dumps(Tree(text, where).data, default=str))


def test_every_key_is_described() -> None:
    """All of them, those of a provider's rules too, in words and not with the name alone."""
    named = list(keys(of_config()))
    assert len(named) > 600
    assert [key for key, about in named if len(about.get("description", "").split()) < 2] == []


def test_every_variant_is_described() -> None:
    """Whatever a section may be says what that is."""
    undescribed = [name for name, part in of_config()["$defs"].items() if "description" not in part]
    assert [name for name in undescribed if "properties" in of_config()["$defs"][name]] == []


def test_a_key_without_a_docstring_has_no_description() -> None:
    """The first test can fail: nothing but a docstring makes a description."""
    from workloads.schema import Schema

    class Part(Schema):
        """A part."""

        told: int = 1
        """What it is."""
        untold: int = 2

    assert json_schema.descriptions(Part) == {"told": "What it is."}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_configurations_are_valid(path: Path) -> None:
    """Editors underline nothing in what ships."""
    found = as_json(path.read_text(), path.name)
    assert [error.message[:200] for error in validator().iter_errors(found)] == []


def examples() -> list[tuple[str, str]]:
    """The blocks of YAML in the docs; where one repeats a key, each line of it is an example."""
    found = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL):
            lines = block.splitlines()
            alone = len({line.split(":")[0] for line in lines}) == 1 and len(lines) > 1
            found += [(page.name, text) for text in (lines if alone else [block])]
    return found


@pytest.mark.parametrize(("page", "text"), examples())
def test_examples_in_the_docs_are_valid(page: str, text: str) -> None:
    """Every key of every example, whole or part of a configuration, is in the schema."""
    found = as_json(text, page)
    (first, *_) = found
    schema = unfinished(of_config())
    if first in PARTS:
        schema |= {"properties": schema["$defs"][PARTS[first]]["properties"]}
    errors = Draft202012Validator(schema).iter_errors(found)
    assert [error.message[:200] for error in errors] == []


@pytest.mark.parametrize(
    ("key", "value", "valid"),
    [
        ("workload.turns", 3, True),
        ("workload.turns", "three", False),
        ("workload.sesions", 3, False),
        ("workload.habits", {"history": "append"}, True),
        ("workload.habits", {"history": "apend"}, False),
        ("workload.arrival", {"rate_per_s": 2}, True),
        ("workload.arrival", {"rate_per_s": 2, "cv": 2}, False),
        ("workload.arrival", {"concurrency": 4}, True),
        ("systems.one.router", "prefix", True),
        ("systems.one.router", "prefixes", False),
        ("systems.one.latency", {}, True),
        ("systems.one.engine", {"max_num_seqs": 4}, True),
        ("systems.one.model", {"parameters": 8e9, "kv_bytes_per_token": 131072}, True),
    ],
)
def test_editors_and_check_agree(cli_here: Cli, tmp_path: Path, key: str, value: Any, valid: bool) -> None:
    """What the schema takes `check` takes, short forms too, and neither takes anything else."""
    config = json.loads(json.dumps(GOOD))
    at = config
    *parents, last = key.split(".")
    for parent in parents:
        at = at[parent]
    at[last] = value
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(config))
    assert validator().is_valid(config) is valid
    assert (cli_here("check", path).returncode == 0) is valid


def test_command(cli_here: Cli, tmp_path: Path) -> None:
    """On stdout, or in a file."""
    assert json.loads(cli_here("schema").stdout) == of_config()
    assert cli_here("schema", "--out", "keys.json").stdout == "Written: keys.json\n"
    assert json.loads((tmp_path / "keys.json").read_text()) == of_config()
