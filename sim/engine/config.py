"""``engine:``: whose scheduler a replica runs. A new engine is a folder and a line in the union below."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from sim.engine.sglang.config import SglangEngine
from sim.engine.vllm.config import VllmEngine


def _fill_kind(value: Any) -> Any:
    return {"kind": "vllm", **value} if isinstance(value, dict) else value


Engine = Annotated[
    Annotated[VllmEngine | SglangEngine, Field(discriminator="kind")], BeforeValidator(_fill_kind)
]
"""Without a kind vLLM's."""
