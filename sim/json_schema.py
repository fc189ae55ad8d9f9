"""The JSON Schema of configurations: for editors, and for the reference of all keys.

Every key has a description: the docstring under the field, in the class of the configuration that it
belongs to. A key that says which variant a section is (``kind``, ``format``, ``process``,
``distribution``) is described by that variant.
"""

from __future__ import annotations

import ast
import inspect
from itertools import pairwise
from typing import Any, get_args

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from workloads.in_words import DISCRIMINATORS

Json = dict[str, Any]
RECORDED = "Requests that were recorded, read from a file of one of many formats."


def of_config() -> Json:
    """The schema of a configuration file, as JSON Schema 2020-12."""
    from sim.config import Config
    from sim.providers.schema import Rules
    from workloads.registry import ClassWorkload

    parts: dict[str, Any] = {"Config": Config, "Rules": Rules, "ClassWorkload": ClassWorkload}
    found, schema = TypeAdapter.json_schemas(
        [(name, "validation", TypeAdapter(part)) for name, part in parts.items()],
        schema_generator=_Described,
    )
    keys = schema["$defs"]
    rules = keys["Rules"]
    del rules["required"]  # a configuration replaces some of a provider's rules
    keys["ProviderSystem"]["properties"]["rules"]["anyOf"][0] = {"$ref": "#/$defs/Rules"}
    keys["MixClass"]["properties"]["workload"] |= found["ClassWorkload", "validation"]
    config = keys.pop("Config")
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "title": "A configuration of prefixsim",
        **config,
        "$defs": keys,
    }


class _Described(GenerateJsonSchema):
    """Without titles, which only repeat the keys, and with the docstrings of fields as descriptions."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """No field has a title."""
        return False

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        """Any of the variants: where a tag may be left out, ``{}`` can be several of them."""
        found = super().tagged_union_schema(schema)
        if "oneOf" in found:
            found["anyOf"] = found.pop("oneOf")
        return found

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """The model's keys with their descriptions."""
        found, model = super().model_schema(schema), schema["cls"]
        texts = descriptions(model)
        found.pop("title", None)
        if "description" in found:
            found["description"] = _plain(found["description"])
        for key, value in found.get("properties", {}).items():
            if key in texts:
                value.setdefault("description", texts[key])
        return found


def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """What is said about each key of ``model``, by the key as a file has it."""
    texts: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base.__module__.partition(".")[0] != "pydantic":
            texts |= _docstrings(base)
    found = {}
    for name, field in model.model_fields.items():
        text = field.description or texts.get(name)
        if name in DISCRIMINATORS and (words := get_args(field.annotation)):
            recorded = words == ("trace",)
            text = f"{' or '.join(words)}: {RECORDED if recorded else _first_paragraph(model)}"
        if text is not None:
            found[field.alias or name] = " ".join(_plain(text).split())
    return found


def _first_paragraph(model: type[BaseModel]) -> str:
    return (inspect.getdoc(model) or "").partition("\n\n")[0]


def _plain(text: str) -> str:
    """``text`` with one backtick around code, as Markdown has it."""
    return text.replace("``", "`")


def _docstrings(model: type[BaseModel]) -> dict[str, str]:
    """The docstrings under the fields that ``model`` itself declares."""
    tree = ast.parse(inspect.cleandoc("\n" + inspect.getsource(model)))
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef))
    texts = {}
    for before, node in pairwise(body):
        if isinstance(before, ast.AnnAssign) and isinstance(node, ast.Expr):
            assert isinstance(before.target, ast.Name) and isinstance(node.value, ast.Constant)
            texts[before.target.id] = str(node.value.value)
    return texts
