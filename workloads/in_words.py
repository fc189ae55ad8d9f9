"""What pydantic finds wrong, in the words of this project: value, nearest, what is allowed.

A kind of error is a line of the table; those that are not in it cannot happen to a file of ours, and
then the library's own sentence is shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import reduce
from operator import getitem
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from workloads.documents import KeyPath
from workloads.shown import nearest, shown

DISCRIMINATORS = ("kind", "format", "distribution", "process")
"""Keys that say which variant a section is."""

_MAPPING, _LIST, _TEXT = "allowed: a mapping (key: value)", "allowed: a list", "allowed: text"
_WHOLE, _NUMBER = "allowed: a whole number", "allowed: a number"
_DATE = "allowed: a date such as 2026-11-24"
_TIME = "allowed: a time such as 2026-11-24T08:00:00Z"
_CLOCK = "allowed: a time of day such as 08:00"
_PATTERNS = {
    "^[A-Za-z0-9][A-Za-z0-9_-]*$": "allowed: letters, digits, - and _, with a letter or digit first",
}
WORDS = {
    "missing": "is missing",
    "none_required": "allowed: nothing",
    "extra_forbidden": "no such key",
    "invalid_key": "a key that is no text; allowed: text",
    "recursion_loop": "contains itself",
    "greater_than": "allowed: above {gt}",
    "greater_than_equal": "allowed: at least {ge}",
    "less_than": "allowed: below {lt}",
    "less_than_equal": "allowed: at most {le}",
    "multiple_of": "allowed: a multiple of {multiple_of}",
    "finite_number": "allowed: a finite number",
    "too_short": "{actual_length} given; allowed: at least {min_length}",
    "too_long": "{actual_length} given; allowed: at most {max_length}",
    "string_type": _TEXT,
    "string_unicode": "allowed: text of whole characters",
    "string_too_short": "allowed: text of at least {min_length} characters",
    "string_too_long": "allowed: text of at most {max_length} characters",
    "dict_type": _MAPPING,
    "mapping_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "dataclass_type": _MAPPING,
    "list_type": _LIST,
    "tuple_type": _LIST,
    "set_type": _LIST,
    "iterable_type": _LIST,
    "bool_type": "allowed: true or false",
    "bool_parsing": "allowed: true or false",
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "int_parsing_size": "allowed: a whole number of fewer digits",
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "date_type": _DATE,
    "date_parsing": _DATE,
    "date_from_datetime_parsing": _DATE,
    "date_from_datetime_inexact": _DATE,
    "datetime_type": _TIME,
    "datetime_parsing": _TIME,
    "datetime_object_invalid": _TIME,
    "datetime_from_date_parsing": _TIME,
    "timezone_naive": "a time without its zone; " + _TIME,
    "time_type": _CLOCK,
    "time_parsing": _CLOCK,
    "path_type": "allowed: a path",
}
"""By pydantic's name of the error; braces take its numbers."""


class Problem(NamedTuple):
    """A key of the data, its value as `` = VALUE`` (nothing where that is a section), and what is wrong."""

    key: KeyPath
    value: str
    words: str

    def __str__(self) -> str:
        """Key, value and words on a line."""
        name = ".".join(str(part) for part in self.key)
        colon = "" if self.words == WORDS["missing"] else ":"
        return f"{name}{self.value}{colon} {self.words}" if name else self.words


def in_words(error: ErrorDetails) -> str:
    """What is wrong and what is allowed, without the words of the library that found it.

    >>> in_words({"type": "greater_than", "loc": ("turns",), "input": 0, "msg": "", "ctx": {"gt": 0}})
    'allowed: above 0'
    """
    kind, ctx = error["type"], error.get("ctx", {})
    if kind == "string_type" and isinstance(error["input"], bool):
        return "YAML reads on, off, yes and no as true or false; allowed: text, such as 'off' in quotes"
    if kind in WORDS:
        return WORDS[kind].format_map(_Numbers(ctx))
    if kind == "union_tag_not_found":
        return f"the key {_bare(ctx['discriminator'])} is missing, which says what this is"
    if kind == "union_tag_invalid":
        key, tag = _bare(ctx["discriminator"]), str(ctx["tag"])
        return f"{key} = {shown(tag)}; {nearest(tag, _words(ctx['expected_tags']))}"
    if kind in ("literal_error", "enum"):
        return nearest(error["input"], _words(ctx["expected"]))
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(ctx["pattern"], f"allowed: text of the form {ctx['pattern']}")
    return error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")


def problems(
    error: ValidationError, data: object, validate: Callable[[Any], object] | None = None
) -> list[Problem]:
    """Every problem of ``data``, which was refused with ``error`` (by ``validate``).

    What is wrong for each of several types that a key may have is one problem: ``allowed: at least 0, or
    auto``.
    """
    found: list[Problem] = []
    for item in error.errors(include_url=False):
        key = path_in(data, item["loc"], missing=item["type"] == "missing")
        silent = isinstance(item["input"], dict) or item["type"] == "missing"
        words = in_words(item)
        if item["type"] == "union_tag_not_found" and validate is not None:
            words += _variants(validate, data, key, _bare(item["ctx"]["discriminator"]))
        problem = Problem(key, "" if silent else f" = {shown(item['input'])}", words)
        before = found[-1] if found else None
        if before and (before.key, before.value) == (key, problem.value):
            found[-1] = Problem(key, problem.value, _either(before.words, problem.words))
        else:
            found.append(problem)
    return found


def first_problem(error: ValidationError, data: object, *section: str) -> str:
    """The first one as text: key (in this section), value, what is allowed."""
    key, value, words = problems(error, data)[0]
    return str(Problem((*section, *key), value, words))


def path_in(data: object, loc: Sequence[str | int], *, missing: bool) -> KeyPath:
    """``loc`` without the names of variants and types that pydantic puts between the keys of ``data``.

    A name that is not in the data, because the variant has a default, is known by its absence; so is a
    last key that is ``missing``.
    """
    path: list[str | int] = []
    at = data
    names: list[Any] = []
    for i, part in enumerate(loc):
        if part in names:
            names.remove(part)
            continue
        if (isinstance(at, dict) and part in at) or (isinstance(at, list) and part in range(len(at))):
            path.append(part)
            at = at[part]  # type: ignore[index]
            names = [at.get(key) for key in DISCRIMINATORS] if isinstance(at, dict) else []
        elif missing and i == len(loc) - 1 and isinstance(at, dict | list):
            path.append(part)
    return tuple(path)


def _variants(validate: Callable[[Any], object], data: object, key: KeyPath, name: str) -> str:
    """What the key ``name``, which is missing in the section ``key``, may be: found by a wrong value."""
    wrong: Any = deepcopy(data)
    section = reduce(getitem, key, wrong)
    if isinstance(section, dict):
        section[name] = ""
        try:
            validate(wrong)
        except ValidationError as error:
            for item in error.errors(include_url=False):
                if item["type"] == "union_tag_invalid" and item["input"] is section:
                    return f"; allowed: {', '.join(_words(item['ctx']['expected_tags']))}"
    return ""


def _either(one: str, other: str) -> str:
    """What two types of a key allow, in one sentence; the first one's words if they are not about that.

    >>> _either("allowed: at least 0", "allowed: auto")
    'allowed: at least 0, or auto'
    """
    mark = "allowed: "
    more = other.removeprefix(mark)
    if more == other or mark not in one or more in one:
        return one
    return f"{one}, or {more}"


class _Numbers(dict[str, Any]):
    """Numbers as a reader writes them: ``1000``, ``1e12``, ``0.001``."""

    def __init__(self, ctx: Mapping[str, Any]) -> None:
        super().__init__((key, _number(value)) for key, value in ctx.items())


def _number(value: object) -> object:
    if not isinstance(value, int | float):
        return value
    if abs(value) < 1_000_000 and value == int(value):
        return str(int(value))
    return re.sub(r"e([+-])0*", lambda sign: "e-" if sign[1] == "-" else "e", f"{value:g}")


def _words(expected: str) -> list[str]:
    """The names in pydantic's list of them: ``'a', 'b' or 'c'``; true and false as YAML has them."""
    named = re.findall(r"'([^']*)'|(True|False|-?\d[\d.]*)", expected)
    return [text or other.lower() for text, other in named]


def _bare(name: str) -> str:
    return name.strip("'")
