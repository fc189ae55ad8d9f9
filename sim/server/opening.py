"""One system of a configuration, opened to live requests."""

from __future__ import annotations

from math import isnan

from sim.config import Config
from sim.server.fleet import LiveFleet, require_live
from sim.server.hosted import LiveHosted
from sim.server.system import Backend, LiveSystem
from sim.server.traffic import Traffic
from sim.systems import SystemConfig
from sim.systems.engine import EngineSystem
from sim.systems.provider import ProviderSystem
from workloads.errors import InputError
from workloads.shown import nearest


def open_system(config: Config, name: str | None = None, speed: float = 1.0) -> LiveSystem:
    """System ``name`` of ``config``, which may be left out if there is one, ready for requests.

    ``speed``: seconds of simulated time in a second of the wall clock's; infinite: as fast as it goes.
    What clients do by themselves (retries) is left out of the system.
    """
    if isnan(speed) or speed <= 0:
        raise InputError(f"--speed {speed:g}; allowed: a number above 0, or inf")
    name, system = _chosen(config, name)
    traffic = Traffic(config.seed, hosted=isinstance(system, ProviderSystem))
    backend: Backend
    if isinstance(system, EngineSystem):
        require_live(system, f"systems.{name}")
        system = system.model_copy(update={"retries": None, "tenants": "shared"})
        backend = LiveFleet(system, name, traffic.trace, config.folder)
    elif isinstance(system, ProviderSystem):
        system = system.live(f"systems.{name}")
        backend = LiveHosted(system, name, traffic.trace)
    else:
        raise InputError(
            f"systems.{name}.kind = {system.kind!r}: a replay has no service times; allowed: "
            "engine, provider"
        )
    return LiveSystem(backend, traffic, speed, config.only(name, system))


def _chosen(config: Config, name: str | None) -> tuple[str, SystemConfig]:
    if name is None:
        if len(config.systems) > 1:
            names = ", ".join(config.systems)
            raise InputError(f"--system is missing, and there are several; allowed: {names}")
        name = next(iter(config.systems))
    if name not in config.systems:
        raise InputError(f"--system {name}; {nearest(name, list(config.systems))}")
    return name, config.systems[name]
