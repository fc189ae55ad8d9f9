"""Configuration files: YAML with line numbers, duplicate keys refused, dotted overrides."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from workloads.errors import InputError

KeyPath = tuple[str | int, ...]
DISCRIMINATORS = ("kind", "format", "distribution", "process")


class Loader(yaml.SafeLoader):
    """YAML with numbers like 1e3 read as numbers, as YAML 1.2 does (PyYAML reads text)."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


class Document:
    """A parsed file and, for every key path, where it was written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.where: dict[KeyPath, str] = {}
        try:
            text = path.read_text(encoding="utf-8")
            node = yaml.compose(text, Loader=Loader)
            self.data: Any = yaml.load(text, Loader=Loader)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}; allowed: a YAML file") from None
        except UnicodeDecodeError:
            raise InputError(f"{path}: not UTF-8 text; allowed: a YAML file") from None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = f":{mark.line + 1}" if mark else ""
            raise InputError(f"{path}{line}: not YAML: {error.problem}") from None
        except (yaml.YAMLError, ValueError) as error:
            raise InputError(f"{path}: not YAML: {error}") from None
        except RecursionError:
            raise InputError(f"{path}: nested too deeply; allowed: an experiment in YAML") from None
        if not isinstance(self.data, dict):
            raise InputError(f"{path}: {str(self.data)[:60]!r}; allowed: keys and values in YAML")
        assert node is not None
        self._seen: set[int] = set()
        self._note(node, ())

    def _note(self, node: yaml.Node, at: KeyPath) -> None:
        self.where.setdefault(at, f"{self.path}:{node.start_mark.line + 1}")
        if id(node) in self._seen:
            return  # an alias: noted where its anchor stands, and possibly inside itself
        self._seen.add(id(node))
        _require_text(node, self.where[at])
        if isinstance(node, yaml.MappingNode):
            for key_node, value in node.value:
                key = (*at, key_node.value)
                line = f"{self.path}:{key_node.start_mark.line + 1}"
                if key in self.where:
                    raise InputError(f"{line}: {_dotted(key)} is given twice; allowed: once")
                self.where[key] = line
                self._note(value, key)
        elif isinstance(node, yaml.SequenceNode):
            for i, value in enumerate(node.value):
                self._note(value, (*at, i))

    def override(self, assignment: str) -> None:
        """Apply one ``dotted.key=value``; the value is YAML. List items are addressed by number."""
        key, equals, text = assignment.partition("=")
        where = f"--set {assignment}"
        if not equals or not all(key.split(".")):
            raise InputError(f"{where}: allowed: dotted.key=value")
        try:
            node = yaml.compose(text, Loader=Loader)
            value = yaml.load(text, Loader=Loader)
        except (yaml.YAMLError, ValueError) as error:
            raise InputError(f"{where}: the value is not YAML: {error}") from None
        except RecursionError:
            raise InputError(f"{where}: nested too deeply; allowed: dotted.key=value") from None
        if node is not None:
            _require_once(node, where, set())
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
            raise InputError(f"{where}: {'.'.join(parents)} is {at!r}, not a section")
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
        raise InputError(f"{where}: {part!r} is below {at!r}, which is not a section")

    def explain(self, error: ValidationError) -> InputError:
        """Every problem that pydantic found, one a line: place, key, value, what is allowed."""
        problems = []
        for item in error.errors(include_url=False):
            key = self._real_path(item["loc"], missing=item["type"] == "missing")
            value = item["input"]
            shown = "" if isinstance(value, dict | list) or item["type"] == "missing" else f" = {value!r}"
            problems.append(f"{self._place(key)}: {_dotted(key) or 'file'}{shown}: {in_words(item)}")
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
    return error["msg"].removeprefix("Value error, ")


def _dotted(key: KeyPath) -> str:
    return ".".join(str(part) for part in key)


def _is_place(part: str) -> bool:
    """Whether ``part`` of a dotted key is the number of a list item."""
    return part.isascii() and part.isdigit()


def _require_once(node: yaml.Node, where: str, seen: set[int]) -> None:
    """InputError if a mapping in ``node`` has a key twice; nodes in ``seen`` were looked at."""
    _require_text(node, where)
    if id(node) in seen or not isinstance(node, yaml.CollectionNode):
        return
    seen.add(id(node))
    children = node.value
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = [key for i, key in enumerate(keys) if key in keys[:i]]
        if twice:
            raise InputError(f"{where}: {twice[0]} is given twice; allowed: once")
        children = [value for _, value in node.value]
    for child in children:
        _require_once(child, where, seen)


def _require_text(node: yaml.Node, where: str) -> None:
    """InputError if ``node`` is half a character, which an escape can write and no file can hold."""
    if isinstance(node, yaml.ScalarNode) and any("\ud800" <= letter <= "\udfff" for letter in node.value):
        raise InputError(f"{where}: {node.value!r} is not text; allowed: whole characters")
