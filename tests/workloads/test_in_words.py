"""No sentence of pydantic reaches a user: every kind of error that a file can cause has words of ours."""

from __future__ import annotations

import math
from typing import Annotated, Any, get_args

import pytest
from annotated_types import Ge, Gt, Le, Lt, MultipleOf
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import core_schema

from calibration.samples import Header, SampleRow
from sim.config import Config
from sim.hardware.gpu import Gpu
from sim.hardware.profile import Profile
from sim.providers.rulebook import Provider
from workloads.in_words import WORDS, first_problem, problems
from workloads.schema import Schema

WRONG: list[Any] = [
    None, "", "x", "x" * 300, "\ud800", True, 1.5, -1, 0, 10**9, 10**30, 1e300, math.nan, math.inf,
    [], [None], ["x", "x"], [-1.0], {}, {"x": {}}, {1: 2}, {"kind": "x"}, {"kind": "chat"},
    {"kind": "trace"}, {"format": 3}, {"distribution": "norm"}, {"process": []}, {"path": 3}, b"x",
    "2026-13-01", "2026-11-24T25:00", "25:00",
]  # fmt: skip
"""Of these every key refuses some."""
PYDANTICS = (
    "Input", "should", "valid ", "Field", "required", "Value error", "Extra", "Assertion", "unable",
    "Unable", "discriminator", "instance of", "parse", "Keys", "pattern", "dictionary", "union",
)  # fmt: skip
"""Words that only pydantic says."""


def models() -> list[type[BaseModel]]:
    """Every part of a configuration, of a provider's rules, a profile, a GPU's file and a samples file."""
    found: list[type[BaseModel]] = [Gpu, Header, SampleRow, Config, Profile, Provider]
    found += [part for part in Schema.__subclasses__() if part not in found]
    for model in found:
        found += [below for below in model.__subclasses__() if below not in found]
    return found


@pytest.mark.parametrize("model", models(), ids=lambda model: model.__name__)
def test_every_key_refuses_in_our_words(model: type[BaseModel]) -> None:
    """Each key of each section with each wrong value."""
    for name, field in model.model_fields.items():
        for value in WRONG:
            data = {field.alias or name: value}
            try:
                model.model_validate(data)
            except ValidationError as error:
                for key, _, words in problems(error, data, model.model_validate):
                    assert not [word for word in PYDANTICS if word in words], (key, value, words)
                    assert words and words[-1] not in ".:", (key, value, words)


def test_a_key_that_is_missing() -> None:
    """Named with its section, without a value."""
    data = {"workload": {"kind": "script", "messages": {}}, "name": "a", "systems": {}}
    with pytest.raises(ValidationError) as error:
        Config.model_validate(data)
    found = [str(problem) for problem in problems(error.value, data)]
    assert found == ["workload.requests is missing", "systems: 0 given; allowed: at least 1"]


@pytest.mark.parametrize(
    ("limit", "value", "said"),
    [
        (Gt(0), 0, "allowed: above 0"),
        (Le(10**12), 1e13, "allowed: at most 1e12"),
        (Ge(1e-6), 0, "allowed: at least 1e-6"),
        (Lt(100_000), 1e9, "allowed: below 100000"),
        (MultipleOf(16), 17, "allowed: a multiple of 16"),
    ],
)
def test_words_take_the_numbers(limit: object, value: float, said: str) -> None:
    """Numbers are written as a file would have them."""
    with pytest.raises(ValidationError) as error:
        TypeAdapter(Annotated[float, limit]).validate_python(value)
    assert first_problem(error.value, value) == said


def test_what_several_types_refuse_is_one_problem() -> None:
    """Of a number or a word, both are told, on one line."""
    data = {"name": "a", "warmup_s": -1, "workload": {"kind": "script", "messages": {}, "requests": []}}
    with pytest.raises(ValidationError) as error:
        Config.model_validate(data)
    found = [str(problem) for problem in problems(error.value, data) if problem.key == ("warmup_s",)]
    assert found == ["warmup_s = -1: allowed: at least 0, or auto"]


def test_the_table_names_errors_that_exist() -> None:
    """A slip in a name of the table would go unnoticed."""
    assert WORDS.keys() - set(get_args(core_schema.ErrorType)) == {"path_type"}  # raised by name


def test_a_name_that_yaml_reads_as_false() -> None:
    """A system called off."""
    data = {"name": False}
    with pytest.raises(ValidationError) as refused:
        Config.model_validate(data)
    assert "'off' in quotes" in first_problem(refused.value, data)
