"""The paths that a message names for options from elsewhere exist."""

from __future__ import annotations

import json
import re

from sim.engine.elsewhere import ELSEWHERE
from sim.systems.engine import EngineSystem

PATHS = {
    key: found[1]
    for key, said in ELSEWHERE.items()
    if (found := re.fullmatch("it is (.*) of a system", said))
}


def test_the_paths_exist() -> None:
    """Each part is a property of some section that the part before leads to."""
    schema = EngineSystem.model_json_schema()
    for key, path in PATHS.items():
        sections = [schema]
        for part in path.split("."):
            sections = [inner for section in sections for inner in _inside(section, part, schema)]
        assert sections, f"{key}: {path}"


def _inside(section: dict[str, object], part: str, schema: dict[str, object]) -> list[dict[str, object]]:
    """The schemas of the key ``part`` in a section, whatever variants it has."""
    found = []
    for names in re.findall(r"#/\$defs/([A-Za-z0-9_]+)", json.dumps(section)):
        section_of = schema["$defs"][names]  # type: ignore[index]
        found += _inside_one(section_of, part)
    return found + _inside_one(section, part)


def _inside_one(section: dict[str, object], part: str) -> list[dict[str, object]]:
    properties = section.get("properties", {})
    return [properties[part]] if part in properties else []  # type: ignore[operator,index]
