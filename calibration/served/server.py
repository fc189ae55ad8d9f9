"""The server that a run was served by, as the command line says it, and its simulation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from sim.hardware import catalogue
from sim.hardware.catalogue import Gpu, Model
from sim.hardware.origin import Serves
from sim.hardware.profile import Profile
from sim.results.records import Records
from sim.results.request_log import COMPLETED
from sim.systems.engine import EngineSystem
from workloads.base import Workload
from workloads.checking import require_countable
from workloads.documents import assign
from workloads.errors import InputError
from workloads.in_words import first_problem
from workloads.trace import Trace

KEY = "server"
"""What messages call the system."""


class Given:
    """Iteration times of a profile that is in no file, in the place of a system's ``latency``."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile

    def profile(self, *_: object) -> Profile:
        """The profile."""
        return self._profile


@dataclass(frozen=True, slots=True)
class Server:
    """An engine on GPUs, with every default filled in."""

    system: EngineSystem
    model: Model
    gpu: Gpu
    folder: Path = Path()
    """To which paths in the system are relative."""

    @classmethod
    def of(
        cls, model: str, gpu: str, tp: int, settings: list[str], latency: dict[str, Any] | None = None
    ) -> Server:
        """The server of the options; ``settings`` are KEY=VALUE of an engine system. Else InputError."""
        here = Path()
        data: dict[str, Any] = {
            "kind": "engine",
            "model": model,
            "hardware": gpu,
            "tensor_parallel": tp,
            **({} if latency is None else {"latency": latency}),
        }
        catalogue.model(model, here, "--model")
        device = catalogue.gpu(gpu, "--gpu", here)
        for setting in settings:
            assign(data, setting)
        try:
            system = EngineSystem.model_validate(data)
        except ValidationError as error:
            raise InputError(f"--set {first_problem(error, data)}") from None
        system = system.resolved(KEY, here)
        if system.pools is not None:
            raise InputError("--set pools: allowed: replicas of one kind")
        return cls(
            system, catalogue.model(model, here, "--model", system.dtype, system.kv_cache_dtype), device
        )

    @property
    def serves(self) -> Serves:
        """Of what its iteration times are."""
        return Serves.of(self.model, self.gpu, self.system.parallel)

    @property
    def profile(self) -> Profile:
        """Where its own iteration times come from."""
        return self.system.profile(self.model, KEY, self.folder)

    def require_fit(self, trace: Trace) -> None:
        """InputError if it cannot serve ``trace``, all of it."""
        self.system.check_trace(trace, KEY, self.folder)
        require_countable(trace)

    def notes(self, trace: Trace) -> list[str]:
        """What a reader of its figures has to know."""
        return [*trace.notes, *self.system.notes(trace, self.folder)]

    def to_yaml(self) -> str:
        """The system with every default filled in."""
        data = self.system.model_dump(mode="json", exclude_none=True, by_alias=True)
        return yaml.safe_dump(data, sort_keys=False)

    def simulate(self, trace: Trace, profile: Profile | None = None) -> Records:
        """The trace served in simulated time, as its clients see it, with the times of ``profile``."""
        profile = profile or self.profile
        system = self.system.model_copy(update={"latency": Given(profile)})
        records = system.run(trace, KEY, self.folder, lambda done: None)
        if lost := sum(status != COMPLETED for status in records.status):
            raise InputError(
                f"{trace.origin}: {lost:,} of {len(trace):,} requests do not complete in the simulation; "
                "allowed: limits and memory as the server's (--set engine.max_model_len, memory.kv_blocks)"
            )
        return records


def load_trace(path: Path, settings: list[str]) -> Trace:
    """The trace in ``path``; ``settings`` are KEY=VALUE of its format."""
    from pydantic import TypeAdapter

    from workloads.registry import TraceWorkload

    data: dict[str, Any] = {"kind": "trace", "format": "guess", "path": str(path)}
    for setting in settings:
        assign(data, setting, "--trace-set")
    try:
        workload: Workload = TypeAdapter[Any](TraceWorkload).validate_python(data)
    except ValidationError as error:
        raise InputError(f"--trace-set {first_problem(error, data)}") from None
    return workload.build(0, Path.cwd())
