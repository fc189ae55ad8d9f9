"""Configuration files: YAML with line numbers, duplicate keys refused, dotted overrides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from workloads.documents import KeyPath, Tree, named, read_text
from workloads.errors import InputError
from workloads.in_words import problems
from workloads.shown import shown


class Document:
    """A parsed file and, for every key path, where it was written."""

    def __init__(self, path: Path) -> None:
        tree = Tree(read_text(path, "an experiment in YAML"), str(path))
        self.name = str(path)
        self.data: Any = tree.data
        if not isinstance(self.data, dict):
            raise InputError(f"{path}: {shown(self.data)}; allowed: keys and values in YAML")
        self.where = {key: f"{path}:{line}" for key, line in tree.line.items()}

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Document:
        """The same of values that come from no file."""
        document = cls.__new__(cls)
        document.name, document.data, document.where = "configuration", deepcopy(dict(data)), {}
        return document

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

    def explain(self, error: ValidationError, validate: Callable[[Any], object]) -> InputError:
        """Every problem that pydantic found, one a line: place, key, value, what is allowed."""
        lines = [
            f"{self._place(found.key)}: {found if found.key else f'file: {found.words}'}"
            for found in problems(error, self.data, validate)
        ]
        return InputError("\n".join(lines))

    def _place(self, key: KeyPath) -> str:
        while key and key not in self.where:
            key = key[:-1]
        return self.where.get(key, self.name)


def _is_place(part: str) -> bool:
    """Whether ``part`` of a dotted key is the number of a list item."""
    return part.isascii() and part.isdigit()
