"""The rule files that ship with the project, and the choice of a record for a model and a mode."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import yaml
from pydantic import Field, model_validator

from sim.providers.schema import Pattern, Rules, is_sourced, plain
from workloads.errors import InputError
from workloads.schema import Schema

FOLDER = files("sim.providers").joinpath("rules")
SOURCES = "sources.yaml"
CUSTOM = "custom"
"""The provider whose rules are all in the configuration."""


class Retired(Schema):
    """Models that are no longer sold from ``day`` on, and the one that took their place."""

    match: Pattern
    day: date
    use: str

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, data: Any) -> Any:
        return plain(data)


class Provider(Schema):
    """A rule file: the provider's name in the price library and its records, the first match wins."""

    library: str | None
    retired: list[Retired] = Field(default=[])
    records: list[Rules]
    confidence: str
    """How far the file rests on the provider's own documents, for the reader."""
    typical_model: str
    """A model of today, for comparisons that need one."""


@cache
def names() -> list[str]:
    """The providers that ship with rules."""
    found = (entry.name for entry in FOLDER.iterdir())
    return sorted(
        name.removesuffix(".yaml") for name in found if name.endswith(".yaml") and name != SOURCES
    )


@cache
def raw(name: str) -> Any:
    """The content of one file, with the provenance of each value."""
    return yaml.safe_load(FOLDER.joinpath(f"{name}.yaml").read_text("utf-8"))


@cache
def provider(name: str) -> Provider:
    """The rules of ``name``, which is one of `names`."""
    data = raw(name)
    return Provider.model_validate({key: value for key, value in data.items() if key != "shared"})


class Sourced(NamedTuple):
    """One value of a rule file with where it comes from."""

    match: str
    modes: str
    rule: str
    value: str
    source: str
    seen: str
    confidence: str
    alternatives: str


def provenance(name: str, model: str | None = None) -> list[Sourced]:
    """Every value of ``name``'s rules with source and date; with ``model`` only those that hold for it."""
    sources = yaml.safe_load(FOLDER.joinpath(SOURCES).read_text("utf-8"))
    records = raw(name)["records"]
    if model is not None:
        any_record(name, model, name)
        fitting = [rules for rules in records if re.fullmatch(rules["match"], model)]
        records = [
            r
            for i, r in enumerate(fitting)
            if not any(set(r["modes"]) <= set(b["modes"]) for b in fitting[:i])
        ]
    found = []
    for rules in records:
        for path, value in _sourced(rules, ""):
            source = sources[value["source"]]
            found.append(
                Sourced(
                    match=rules["match"],
                    modes=", ".join(rules["modes"]),
                    rule=path,
                    value=str(value["value"]),
                    source=source["url"],
                    seen=str(value.get("seen", source["seen"])),
                    confidence=value.get("confidence", ""),
                    alternatives="; ".join(map(str, value.get("alternatives", []))),
                )
            )
    return found


def _sourced(data: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if is_sourced(data):
        yield path, data
    elif isinstance(data, dict):
        for key, value in data.items():
            yield from _sourced(value, f"{path}.{key}" if path else key)
    elif isinstance(data, list):
        for i, value in enumerate(data):
            yield from _sourced(value, f"{path}[{i}]")


def require_known(name: str, key: str) -> None:
    """InputError unless there is a rule file called ``name`` (or it is ``custom``)."""
    known = [*names(), CUSTOM]
    if name not in known:
        raise InputError(f"{key} = {name!r}{near(name, known)}; allowed: {', '.join(known)}")


def require_shipped(name: str, key: str) -> None:
    """InputError unless there is a rule file called ``name``."""
    if name not in names():
        raise InputError(f"{key} = {name!r}{near(name, names())}; allowed: {', '.join(names())}")


def near(name: str, known: list[str], n: int = 1) -> str:
    """A hint that names the ``known`` names next to ``name``; empty where none is near."""
    close = get_close_matches(name, known, n=n, cutoff=0.5)
    return f" (did you mean {' or '.join(map(repr, close))}?)" if close else ""


def require_current(name: str, model: str, start: datetime, key: str) -> None:
    """InputError if provider ``name`` no longer sells ``model`` at ``start``."""
    for gone in provider(name).retired:
        if re.fullmatch(gone.match, model) and start.date() >= gone.day:
            raise InputError(
                f"{key}.model = {model!r}: retired on {gone.day} (did you mean {gone.use!r}?); allowed: a "
                f"model that {name} sells on {start:%Y-%m-%d}, or an earlier {key}.start"
            )


def any_record(name: str, model: str, key: str) -> Rules:
    """The rules of provider ``name`` for ``model`` in whatever mode: for prices alone."""
    for rules in provider(name).records:
        if re.fullmatch(rules.match, model):
            return rules
    raise InputError(
        f"{key}.model = {model!r}: no caching rules of {name} for it; allowed: models like "
        f"{provider(name).typical_model}, or provider: custom with rules of your own"
    )


def first_record(name: str, model: str, mode: str) -> Rules | None:
    """The rules of provider ``name`` for ``model`` in ``mode``, if there are any."""
    for rules in provider(name).records:
        if re.fullmatch(rules.match, model) and mode in rules.modes:
            return rules
    return None


def record(name: str, model: str, mode: str, key: str) -> Rules:
    """The rules of provider ``name`` for ``model`` in ``mode``; InputError if there are none."""
    found = first_record(name, model, mode)
    if found is not None:
        return found
    any_record(name, model, key)
    fitting = [rules for rules in provider(name).records if re.fullmatch(rules.match, model)]
    modes = list(dict.fromkeys(mode for rules in fitting for mode in rules.modes))
    raise InputError(
        f"{key}.caching.mode = {mode!r}: {name} does not offer it for {model}; "
        f"allowed: {', '.join([*modes, 'off'])}"
    )
