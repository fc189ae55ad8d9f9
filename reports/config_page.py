"""The reference of the configuration, made from its JSON Schema.

A configuration is a tree of *parts* (pydantic models). Each is a section here, with the places where it may
stand and a row for each of its keys.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sim.json_schema import of_config

Schema = dict[str, Any]
HEAD = """# Configuration

Every key of an experiment's YAML file, made from the types in the code. An unknown key is refused with the
nearest known one. In a path, NAME stands for a name of your own and [] for an item of a list. Start from a
shipped file (`configs/quickstart.yaml`); `python -m sim check CONFIG` prints any configuration with all its
defaults. Relative paths start at the configuration's folder.
"""
COLLECTED = {  # groups of parts that stand in many places: (what one is called, its link)
    "Distributions": ("distribution", "distributions"),
    "Arrivals": ("arrival process", "arrivals"),
    "workload, from logs and traces": ("a log or trace", "workload-from-logs-and-traces"),
}
INTRODUCED = {
    "Distributions": "Where a distribution may stand a bare number may too: always this value.",
    "Arrivals": "When sessions start (or, for traces, requests come).",
    "workload, from logs and traces": "What each format can show: [workloads](../workloads.md).",
}
FIRST = ("The file", "workload, generated", "workload, from logs", "Arrivals", "Distributions", "systems")
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
PLAIN = {
    "integer": "integer",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
}
TAGS = ("kind", "format", "process", "distribution")
SHOWN_PLACES = 4


class Part:
    """One part of the configuration: its schema, and where in a file it may stand."""

    def __init__(self, name: str, schema: Schema) -> None:
        self.name = name
        self.schema = schema
        self.places: list[str] = []

    @property
    def keys(self) -> dict[str, Schema]:
        """The schema of each key."""
        return dict(self.schema.get("properties", {}))

    @property
    def tags(self) -> dict[str, list[Any]]:
        """What tells this part from others in the same place, such as ``{"kind": ["chat"]}``."""
        return {
            key: _constants(schema)
            for key, schema in self.keys.items()
            if key in TAGS and _constants(schema)
        }

    @property
    def title(self) -> str:
        """The heading: its tag, or the last key of its place."""
        told = ", ".join(f"{key}: {' | '.join(map(str, values))}" for key, values in self.tags.items())
        last = (
            next((key for key in reversed(self.places[0].split(".")) if key != "NAME"), "")
            if self.places
            else ""
        )
        if {"distribution", "process"} & self.tags.keys():
            return told
        return f"{last.removesuffix('[]')} {{{told}}}" if told else last.removesuffix("[]") or "top level"

    @property
    def anchor(self) -> str:
        """The link target of the section."""
        return self.name.lower()


def parts() -> dict[str, Part]:
    """Every part by its name; the whole file is ``Config``."""
    schema = of_config()
    definitions = schema.get("$defs", {})
    found = {"Config": Part("Config", schema)}
    found |= {name: Part(name, definition) for name, definition in definitions.items()}
    waiting = [("Config", "")]
    while waiting:
        name, place = waiting.pop(0)
        for key, value in found[name].keys.items():
            for inner, path in _references(value, f"{place}.{key}".strip(".")):
                part = found[inner]
                if path not in part.places:
                    part.places.append(path)
                    if len(part.places) == 1:
                        waiting.append((inner, path))
    return found


def page() -> str:
    """The page in Markdown."""
    found = parts()
    groups: dict[str, list[Part]] = {}
    for part in found.values():
        if part.keys:
            groups.setdefault(_group(part), []).append(part)
    text = [HEAD]
    for group in sorted(groups, key=_order):
        text.append(f"\n## {group}\n\n{INTRODUCED.get(group, '')}\n")
        text += [_section(part, found) for part in sorted(groups[group], key=_section_order)]
    return "".join(text)


def _group(part: Part) -> str:
    place = part.places[0] if part.places else ""
    if "distribution" in part.tags:
        return "Distributions"
    if "process" in part.tags:
        return "Arrivals"
    if part.name == "Config":
        return "The file"
    if "format" in part.tags or part.tags.get("kind") == ["trace"]:
        return "workload, from logs and traces"
    if place.startswith("systems.NAME.") and place.count(".") >= 2:
        return f"systems.NAME.{place.split('.')[2].removesuffix('[]')}"
    return {"systems": "systems", "workload": "workload, generated"}.get(
        place.split(".")[0], "More of the file"
    )


def _order(group: str) -> tuple[int, str]:
    return next((i for i, begin in enumerate(FIRST) if group.startswith(begin)), len(FIRST)), group


def _section_order(part: Part) -> tuple[int, str]:
    return (part.places[0].count(".") if part.places else 0, part.title)


def _section(part: Part, found: dict[str, Part]) -> str:
    lines = [f"\n### `{part.title}` {{ #{part.anchor} }}\n\n"]
    if part.places:
        shown = ", ".join(f"`{place}`" for place in part.places[:SHOWN_PLACES])
        more = len(part.places) - SHOWN_PLACES
        lines.append(f"Stands at {shown}{f' and {more} other places' if more > 0 else ''}.\n\n")
    if text := part.schema.get("description"):
        lines.append(f"{text}\n\n")
    lines.append("| key | type | default | meaning |\n|---|---|---|---|\n")
    needed = part.schema.get("required", [])
    for key, schema in part.keys.items():
        default = "required" if key in needed else _default(schema)
        meaning = (
            "chooses this part" if key in TAGS and "const" in schema else schema.get("description", "")
        )
        cells = (f"`{key}`", _type(schema, found), default, meaning)
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |\n")
    return "".join(lines)


def _type(schema: Schema, found: dict[str, Part]) -> str:
    """The type in words, with bounds and links to parts."""
    if "$ref" in schema:
        return _link(found[schema["$ref"].rpartition("/")[2]], found)
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return _alternatives(list(schema[several]), found)
    kind = schema.get("type")
    if kind == "array":
        inner = schema.get("items", {})
        return f"list of {_type(inner, found) or 'values'}"
    if kind == "object":
        return " or ".join(f"NAME: {_type(inner, found)}" for inner in _values(schema)) or "mapping"
    return _plain(schema, kind)


def _alternatives(schemas: list[Schema], found: dict[str, Part]) -> str:
    """One of several: many parts that differ by a tag are listed by that tag alone."""
    flat = [inner for schema in schemas for inner in schema.get("anyOf", [schema])]
    named = [found[inner["$ref"].rpartition("/")[2]] for inner in flat if "$ref" in inner]
    words = [_type(inner, found) for inner in flat if "$ref" not in inner]
    for group, (word, link) in COLLECTED.items():
        if sum(_group(part) == group for part in named) > 2:
            named = [part for part in named if _group(part) != group]
            words.append(f"[{word}](#{link})")
    if len(named) > 2 and all(part.tags for part in named):
        tag = next(iter(named[0].tags))
        links = [f"[{' or '.join(map(str, part.tags.get(tag, [''])))}](#{part.anchor})" for part in named]
        words.append(f"by `{tag}`: {', '.join(links)}")
    else:
        words += [
            f"[`{part.title}`](#{part.anchor})" if part.keys else _type(part.schema, found)
            for part in named
        ]
    return " or ".join(dict.fromkeys(word for word in words if word))


def _values(schema: Schema) -> list[Schema]:
    """The schemas of the values of a mapping by name."""
    inner = [schema.get("additionalProperties"), *schema.get("patternProperties", {}).values()]
    return [value for value in inner if isinstance(value, dict)]


def _link(part: Part, found: dict[str, Part]) -> str:
    return f"[`{part.title}`](#{part.anchor})" if part.keys else _type(part.schema, found)


def _plain(schema: Schema, kind: Any) -> str:
    bounds = [f"{sign} {_number(schema[key])}" for key, sign in BOUNDS.items() if key in schema]
    return f"{PLAIN.get(str(kind), '')} {', '.join(bounds)}".strip()


def _number(value: float) -> str:
    return f"{value:,.15g}" if abs(value) < 1e9 else f"{value:g}"


def _default(schema: Schema) -> str:
    default = schema.get("default")
    return "" if default is None else f"`{_yaml(default)}`"


def _yaml(value: Any) -> str:
    """On one line, as a person would write it; what is null is left out."""
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{key}: {_yaml(item)}" for key, item in value.items() if item is not None)
            + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    return value if isinstance(value, str) else json.dumps(value)


def _constants(schema: Schema) -> list[Any]:
    if "const" in schema:
        return [schema["const"]]
    return list(schema.get("enum", []))


def _references(schema: Any, place: str) -> Iterator[tuple[str, str]]:
    """(name of a part, where it stands) of all that may stand at ``place``."""
    if not isinstance(schema, dict):
        return
    if "$ref" in schema:
        yield schema["$ref"].rpartition("/")[2], place
    for several in ("anyOf", "oneOf", "allOf"):
        for inner in schema.get(several, []):
            yield from _references(inner, place)
    yield from _references(schema.get("items"), f"{place}[]")
    for inner in _values(schema):
        yield from _references(inner, f"{place}.NAME")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
