"""YAML and JSON that people write, read within bounds: configurations, profiles, catalogues, config.json.

PyYAML and ``json`` take whatever fits into memory. Here a file that nests too deeply, grows by its aliases,
or holds numbers and characters that nothing after it can show is refused, with the line where it does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from workloads.errors import InputError
from workloads.shown import CONTROL, shown, why

KeyPath = tuple[str | int, ...]
MOST_BYTES = 64 << 20
MOST_DEPTH = 100
MOST_NODES = 2_000_000
"""Values of a document, those behind an alias counted as often as it stands there."""
MOST_SHOWN = 100
"""Characters of a setting of the command line in a message about it."""
MOST_DIGITS = 100
"""Of an integer; Python shows none of more than 4,300."""


class Loader(yaml.SafeLoader):
    """YAML with numbers like 1e3 read as numbers, as YAML 1.2 does (PyYAML reads text)."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """The value of ``node``; a date without such a day, say, is an error with a line like any other."""
        try:
            value = super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:
            raise yaml.MarkedYAMLError(problem=why(error), problem_mark=node.start_mark) from None
        if isinstance(value, int) and abs(value) >= 10**MOST_DIGITS:
            raise yaml.MarkedYAMLError(
                problem=f"an integer of over {MOST_DIGITS} digits", problem_mark=node.start_mark
            )
        return value


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


class Tree:
    """A text in YAML: its ``data``, and for every key path the ``line`` where it was written.

    InputError for what is no YAML or beyond the bounds; its message begins with ``name`` and the line
    (``name`` alone if the text is no file: ``numbered=False``).
    """

    def __init__(self, text: str, name: str, *, numbered: bool = True) -> None:
        self.line: dict[KeyPath, int] = {}
        self._name, self._numbered = name, numbered
        self._known: dict[int, tuple[int, int] | None] = {}
        try:
            loader = Loader(text)
            node = loader.get_single_node()
            if node is not None:
                self._look(node, ())
            self.data: Any = None if node is None else loader.construct_document(node)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise InputError(f"{self._at(mark)}: not YAML: {error.problem}") from None
        except (yaml.YAMLError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{name}: not YAML: {why(error)}") from None
        except RecursionError:
            raise InputError(f"{name}: nested too deeply; allowed: {MOST_DEPTH} levels") from None

    def _at(self, mark: yaml.Mark | None) -> str:
        return f"{self._name}:{mark.line + 1}" if mark and self._numbered else self._name

    def _look(self, node: yaml.Node, at: KeyPath) -> tuple[int, int]:
        """Number the keys below ``node``; its values and levels, an alias counted like what it names."""
        self.line.setdefault(at, node.start_mark.line + 1)
        if id(node) in self._known:
            known = self._known[id(node)]
            if known is None:
                raise InputError(f"{self._at(node.start_mark)}: an alias stands inside what it names")
            return known
        self._known[id(node)] = None
        values = levels = 1
        for key, child in self._children(node, at):
            more, deep = self._look(child, (*at, key))
            values, levels = values + more, max(levels, deep + 1)
        if values > MOST_NODES or levels > MOST_DEPTH:
            raise InputError(
                f"{self._at(node.start_mark)}: {min(values, 10**9)} values on {levels} levels, with its "
                f"aliases written out; allowed: {MOST_NODES} on {MOST_DEPTH}"
            )
        self._known[id(node)] = values, levels
        return values, levels

    def _children(self, node: yaml.Node, at: KeyPath) -> Iterator[tuple[str | int, yaml.Node]]:
        if isinstance(node, yaml.MappingNode):
            for key_node, value in node.value:
                key, where = key_node.value, self._at(key_node.start_mark)
                if isinstance(key_node, yaml.CollectionNode):
                    raise InputError(f"{where}: a key that is a list or a mapping; allowed: text")
                self._require_text(key_node)
                if (*at, key) in self.line and key != "<<":
                    name = ".".join(map(str, (*at, key)))
                    raise InputError(f"{where}: {name} is given twice; allowed: once")
                self.line[*at, key] = key_node.start_mark.line + 1
                yield key, value
        elif isinstance(node, yaml.SequenceNode):
            yield from enumerate(node.value)
        else:
            self._require_text(node)

    def _require_text(self, node: yaml.Node) -> None:
        # An end of line belongs into a text of several lines, which is written as such.
        block = isinstance(node, yaml.ScalarNode) and node.style in ("|", ">")
        if CONTROL.search(node.value) or ("\n" in node.value and not block):
            raise InputError(
                f"{self._at(node.start_mark)}: {shown(node.value)} is not text; allowed: whole characters, "
                "none that controls a terminal"
            )


def named(option: str, setting: str) -> str:
    """``option`` with its setting, as a message shows it: on one line, a long one cut short."""
    setting = " ".join(setting.split())
    return f"{option} {setting if len(setting) <= MOST_SHOWN else f'{setting[:MOST_SHOWN]}...'}"


def assign(data: dict[str, Any], setting: str, option: str = "--set") -> None:
    """Put the value of ``setting``, a dotted ``KEY=VALUE`` given with ``option``, into ``data``."""
    key, equals, text = setting.partition("=")
    where = named(option, setting)
    if not equals or not all(key.split(".")):
        raise InputError(f"{where}: allowed: KEY=VALUE")
    at = data
    *above, last = key.split(".")
    for step in above:
        at = at.setdefault(step, {})
        if not isinstance(at, dict):
            raise InputError(f"{where}: {step} = {shown(at)} has no settings of its own")
    at[last] = Tree(text, where, numbered=False).data


def read_text(path: Path, what: str) -> str:
    """The text of a small file; InputError if it cannot be read, is too long, or is no text."""
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise InputError(f"{path}: over {MOST_BYTES >> 20} MiB; allowed: {what}")
        return raw.decode("utf-8")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; allowed: {what}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text; allowed: {what}") from None
    except ValueError as error:  # a path with a null byte
        if isinstance(error, InputError):
            raise
        raise InputError(f"{shown(str(path))}: not a path; allowed: {what}") from None


def read_yaml(path: Path, what: str) -> dict[str, Any]:
    """The mapping in the YAML (or JSON) file ``path``, which is to hold ``what``."""
    return _mapping(Tree(read_text(path, what), str(path)).data, path, what)


def read_json(path: Path, what: str) -> dict[str, Any]:
    """The object in the JSON file ``path``, which is to hold ``what``."""
    text = read_text(path, what)
    try:
        return _mapping(json.loads(text, parse_int=_bounded), path, what)
    except RecursionError:
        raise InputError(f"{path}: nested too deeply; allowed: {what}") from None
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not JSON ({why(error)}); allowed: {what}") from None


def _bounded(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"an integer of over {MOST_DIGITS} digits")
    return int(digits)


def _mapping(data: Any, path: Path, what: str) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise InputError(f"{path}: {shown(data)}; allowed: {what}, keys and values")
    return dict(data)
