"""Configuration files: YAML with line numbers, duplicate keys refused, dotted overrides."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from workloads.documents import KeyPath, Tree, named, read_text
from workloads.errors import InputError
from workloads.shown import shown

DISCRIMINATORS = ("kind", "format", "distribution", "process")


class Document:
    """A parsed file and, for every key path, where it was written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        tree = Tree(read_text(path, "an experiment in YAML"), str(path))
        self.data: Any = tree.data
        if not isinstance(self.data, dict):
            raise InputError(f"{path}: {shown(self.data)}; allowed: keys and values in YAML")
        self.where = {key: f"{path}:{line}" for key, line in tree.line.items()}

    def override(self, assignment: str) -> None:
        """Apply one ``dotted.key=value``; the value is YAML. List items are addressed by number."""
        key, equals, text = assignment.partition("=")
        where = named("--set", assignment)
        if not equals or not all(key.split(".")):
            raise InputError(f"{where}: allowed: dotted.key=value")
        value = Tree(text, where, numbered=False).data
        at: Any = self.data
        *parents, last = key.split(".")
        for part in parents:
            at = self._step(at, part, where)
        if isinstance(at, list):
            self._step(at, last, where)
            at[int(last)] = value
        elif isinstance(at, dict):
            at[last] = value
        else:
            raise InputError(f"{where}: {'.'.join(parents)} is {shown(at)}, not a section")
        parts = key.split(".")
        self.where[tuple(int(part) if _is_place(part) else part for part in parts)] = where

    @staticmethod
    def _step(at: Any, part: str, where: str) -> Any:
        if isinstance(at, dict):
            if at.get(part) is None:
                at[part] = {}
            return at[part]
        if isinstance(at, list):
            if not _is_place(part) or int(part) >= len(at):
                raise InputError(f"{where}: item {part!r}; allowed: 0 to {len(at) - 1}")
            return at[int(part)]
        raise InputError(f"{where}: {part!r} is below {shown(at)}, which is not a section")

    def explain(self, error: ValidationError) -> InputError:
        """Every problem that pydantic found, one a line: place, key, value, what is allowed."""
        problems = []
        for item in error.errors(include_url=False):
            key = self._real_path(item["loc"], missing=item["type"] == "missing")
            value = item["input"]
            silent = isinstance(value, dict | list) or item["type"] == "missing"
            found = "" if silent else f" = {shown(value)}"
            problems.append(f"{self._place(key)}: {_dotted(key) or 'file'}{found}: {in_words(item)}")
        return InputError("\n".join(problems))

    def _place(self, key: KeyPath) -> str:
        while key and key not in self.where:
            key = key[:-1]
        return self.where.get(key, str(self.path))

    def _real_path(self, loc: Sequence[str | int], *, missing: bool) -> KeyPath:
        """``loc`` without the union tags that pydantic puts between the keys.

        A tag that is not in the file, because the variant has a default, is known by its absence; so is a
        last key that is ``missing``.
        """
        path: list[str | int] = []
        at = self.data
        tags: list[Any] = []
        for i, part in enumerate(loc):
            if part in tags:
                tags.remove(part)
                continue
            if (isinstance(at, dict) and part in at) or (isinstance(at, list) and isinstance(part, int)):
                path.append(part)
                at = at[part]  # type: ignore[index]
                tags = [at.get(key) for key in DISCRIMINATORS] if isinstance(at, dict) else []
            elif missing and i == len(loc) - 1 and isinstance(at, dict):
                path.append(part)
        return tuple(path)


def in_words(error: ErrorDetails) -> str:
    """What is wrong and what is allowed, without the words of the library that found it."""
    kind, ctx = error["type"], error.get("ctx", {})
    if kind == "missing":
        return "is missing"
    if kind == "union_tag_not_found":
        return f"the key {ctx['discriminator']} is missing; it says which variant this is"
    if kind == "union_tag_invalid":
        names = [name.strip("' ") for name in ctx["expected_tags"].split(",")]
        near = get_close_matches(str(ctx["tag"]), names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        allowed = ", ".join(map(repr, names))
        return f"{ctx['discriminator'].strip(chr(39))} = {ctx['tag']!r}; {hint}allowed: {allowed}"
    if kind == "literal_error":
        return f"allowed: {ctx['expected']}"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return "allowed: a mapping (key: value)"
    if kind == "list_type":
        return "allowed: a list"
    if kind == "path_type":
        return "allowed: a path"
    return error["msg"].removeprefix("Value error, ")


def _dotted(key: KeyPath) -> str:
    return ".".join(str(part) for part in key)


def _is_place(part: str) -> bool:
    """Whether ``part`` of a dotted key is the number of a list item."""
    return part.isascii() and part.isdigit()
