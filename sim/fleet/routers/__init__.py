"""Routers: which replica gets a request. A new policy is one file and one line in the union below."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, Field, SerializerFunctionWrapHandler, WrapSerializer

from sim.fleet.routers.base import Router, RouterSetting
from sim.fleet.routers.kv_aware import KvAwareConfig
from sim.fleet.routers.least_loaded import LeastLoadedConfig
from sim.fleet.routers.power_of_two import PowerOfTwoConfig
from sim.fleet.routers.prefix import PrefixConfig
from sim.fleet.routers.random import RandomConfig
from sim.fleet.routers.round_robin import RoundRobinConfig
from sim.fleet.routers.session import SessionConfig
from workloads.schema import AlsoTakes

AnyRouter = (
    RoundRobinConfig
    | RandomConfig
    | LeastLoadedConfig
    | PowerOfTwoConfig
    | SessionConfig
    | PrefixConfig
    | KvAwareConfig
)
ROUTERS: dict[str, type[AnyRouter]] = {
    config.model_fields["kind"].default: config for config in get_args(AnyRouter)
}
"""The configuration of each router by its name."""


def _from_name(value: Any) -> Any:
    """``prefix`` is short for ``{kind: prefix}``."""
    if isinstance(value, dict | BaseModel):
        return value
    if isinstance(value, str) and value in ROUTERS:
        return {"kind": value}
    near = get_close_matches(str(value), ROUTERS, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(f"{hint}allowed: {', '.join(ROUTERS)}, or a mapping with kind and parameters")


def _as_name(router: AnyRouter, write: SerializerFunctionWrapHandler) -> Any:
    """The name alone where nothing else is set."""
    return router.kind if router == type(router)() else write(router)


RouterConfig = Annotated[
    Annotated[AnyRouter, Field(discriminator="kind")],
    BeforeValidator(_from_name),
    AlsoTakes({"enum": list(ROUTERS)}),
    WrapSerializer(_as_name),
]
"""``prefix``, or ``{kind: prefix, cache_threshold: 0.5}``."""

__all__ = ["ROUTERS", "AnyRouter", "Router", "RouterConfig", "RouterSetting"]
