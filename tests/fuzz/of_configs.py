"""Configurations: right ones, drawn from their types, with odd values, odd bytes, odd settings."""

from __future__ import annotations

import json
from copy import deepcopy
from random import Random
from typing import Any

import yaml
from pydantic import BaseModel

from sim.config import Config
from tests.fuzz.case import Case
from tests.fuzz.drawn import field_of, model_of
from tests.fuzz.material import SYSTEMS, WORKLOADS, Data, Material
from tests.fuzz.odd import odd
from tests.fuzz.text import mangled
from tests.fuzz.tree import changed

CONFIG = "c.yaml"


def base(draw: Random, material: Material) -> Data:
    """A configuration that runs right in milliseconds."""
    if draw.random() < 0.35:
        return deepcopy(draw.choice(list(material.shipped.values())))
    systems = draw.sample(SYSTEMS, draw.choice([1, 1, 2]))
    names = ("one", "two")
    data = {"name": "fuzz", "workload": deepcopy(draw.choice(WORKLOADS)), "seed": draw.randrange(1000)}
    return data | {
        "systems": {name: deepcopy(system) for name, system in zip(names, systems, strict=False)}
    }


def varied(draw: Random, data: Data, times: int) -> Data:
    """``data`` with so many fields set to values that their types allow, wherever there may be a field."""
    for _ in range(times):
        try:
            config = Config.model_validate(data)
        except ValueError:
            return data
        places = [place for place in _models(config, data) if place[1]]
        kind, holder = draw.choice(places)
        name = draw.choice([name for name in kind.model_fields if name not in ("kind", "path")] or ["kind"])
        key = kind.model_fields[name].alias or name
        holder[key] = field_of(draw, kind, name, depth=1)
    return data


def _models(value: Any, data: Any) -> list[tuple[type[BaseModel], Data]]:
    """Every part of a configuration with the mapping that it was made from."""
    found: list[tuple[type[BaseModel], Data]] = []
    if isinstance(value, BaseModel) and isinstance(data, dict):
        found.append((type(value), data))
        for name, field in type(value).model_fields.items():
            found += _models(getattr(value, name), data.get(field.alias or name))
    elif isinstance(value, dict) and isinstance(data, dict):
        for key, inner in value.items():
            found += _models(inner, data.get(key))
    elif isinstance(value, list | tuple) and isinstance(data, list):
        for inner, below in zip(value, data, strict=False):
            found += _models(inner, below)
    return found


def config_file(data: Any) -> bytes:
    """As YAML; what YAML cannot write, such as half a character, is written as JSON."""
    try:
        return yaml.safe_dump(data, sort_keys=False, allow_unicode=True).encode()
    except (yaml.YAMLError, UnicodeError):
        return json.dumps(data, default=str).encode()


def yaml_changed(draw: Random, content: bytes) -> bytes:
    """A file in YAML with odd values or odd bytes."""
    if draw.random() < 0.4:
        return mangled(draw, content, draw.choice([1, 2]))
    return config_file(changed(draw, yaml.safe_load(content), draw.choice([1, 1, 2])))


def with_files(material: Material, data: Any) -> dict[str, bytes]:
    content = config_file(data)
    beside = {name: file for name, file in material.beside.items() if name.encode() in content}
    return {CONFIG: content, **beside}


def of_the_schema(draw: Random, material: Material) -> Case:
    """A right configuration with values that the types of its fields allow."""
    data = varied(draw, base(draw, material), draw.choice([1, 1, 2, 3, 4]))
    return Case("experiment", [CONFIG], with_files(material, data))


def drawn_whole(draw: Random, material: Material) -> Case:
    """A workload, a system or both made from their types alone."""
    data = base(draw, material)
    made = model_of(draw, Config)
    for key in draw.choice(
        [("workload",), ("systems",), ("clients", "slo"), ("claims", "compare"), ("workload", "systems")]
    ):
        if key in made or key in Config.model_fields:
            data[key] = made.get(key) or field_of(draw, Config, key)
    return Case("experiment", [CONFIG], with_files(material, data))


def changed_values(draw: Random, material: Material) -> Case:
    """A right configuration with odd values anywhere."""
    data = changed(draw, base(draw, material), draw.choice([1, 1, 2, 3]))
    return Case("experiment", [CONFIG], with_files(material, data))


def changed_bytes(draw: Random, material: Material) -> Case:
    """A configuration file with odd bytes, or one that it names."""
    files = with_files(material, base(draw, material))
    name = CONFIG if draw.random() < 0.7 else draw.choice(list(files))
    files[name] = mangled(draw, files[name], draw.choice([1, 1, 2, 5]))
    if draw.random() < 0.3:
        return Case("sim", ["check", CONFIG], files)
    return Case("experiment", [CONFIG], files)


def settings(draw: Random, material: Material) -> Case:
    """Odd settings of the command line."""
    data = base(draw, material)
    args = ["check", CONFIG]
    for _ in range(draw.choice([1, 1, 2])):
        args += ["--set", setting(draw, data)]
    return Case("sim", args, with_files(material, data))


def setting(draw: Random, data: Data) -> str:
    keys: list[str] = []
    at: Any = data
    while isinstance(at, dict) and at and (not keys or draw.random() < 0.8):
        keys.append(str(draw.choice(list(at))))
        at = at[keys[-1]]
    if draw.random() < 0.15:
        keys.append(draw.choice(["x", "", "kind", "0", "a b"]))
    value = odd(draw) if draw.random() < 0.7 else at
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return f"{'.'.join(keys)}{draw.choice(['=', '=', '=', '', '=='])}{text}"
