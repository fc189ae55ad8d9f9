"""Mixes: several classes of traffic at once, each a workload with arrivals of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    Field,
    PositiveFloat,
    StringConstraints,
    TypeAdapter,
    field_validator,
    model_validator,
)

from workloads.arrivals import Recorded
from workloads.errors import InputError
from workloads.merging import Part, merged
from workloads.schema import MOST_S, Schema
from workloads.seeds import stream
from workloads.trace import GENERATED, Trace

ClassName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=100)]


class MixClass(Schema):
    """One class: any workload, the model that serves it, and its priority."""

    workload: Any
    """What this class sends: a workload of any kind but `mix`."""
    model: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    """The name that a provider's rules know; of all classes or of none."""
    priority: int | None = Field(default=None, ge=-1000, le=1000)
    """Priority of its requests in an engine that schedules by it: lower values go first."""

    @field_validator("workload", mode="before")
    @classmethod
    def _any_other_kind(cls, value: Any) -> Any:
        """Whatever a configuration may have as its workload, but no mix."""
        from workloads.registry import ClassWorkload

        if isinstance(value, BaseModel):
            return value
        return TypeAdapter[Any](ClassWorkload).validate_python(value)


class MixWorkload(Schema):
    """All ``classes`` together: their requests by time, nothing shared between them.

    Each class has its own arrivals, lengths and gaps, as clients of a service have (ServeGen, Xiang et al.
    2025); its tenants are its own. A class that says neither ``sessions`` nor ``duration_s`` goes on for
    the ``duration_s`` of the mix. ``arrival: {speed: 2}`` lets all sessions start twice as fast. Classes
    may be recorded traces; a closed loop cannot be one of several classes.

    Shares of one rate are rates: of 10 chats a second in the proportions of Qwen-Bailian's trace A (ATC
    2025) 7.8 are of text, 1.5 of search, 0.4 of files and 0.3 of images.
    """

    kind: Literal["mix"]
    duration_s: float | None = Field(default=None, gt=0, le=MOST_S)
    """For how long sessions start, s, in classes that do not say it themselves."""
    arrival: Recorded = Recorded()
    """`{speed: 2}` lets the sessions of all classes start twice as fast."""
    classes: dict[ClassName, MixClass] = Field(min_length=1, max_length=1000)
    """The classes by name, such as `{chats: {workload: {kind: chat, ...}}, nightly: {...}}`."""

    @model_validator(mode="before")
    @classmethod
    def _as_long_as_the_mix(cls, data: Any) -> Any:
        classes = data.get("classes") if isinstance(data, dict) else None
        if not isinstance(classes, dict) or not data.get("duration_s"):
            return data
        lasting = {name: _lasting(one, data["duration_s"]) for name, one in classes.items()}
        return data | {"classes": lasting}

    @model_validator(mode="after")
    def _models_of_all(self) -> MixWorkload:
        named = [name for name, one in self.classes.items() if one.model is not None]
        if named and len(named) < len(self.classes):
            raise ValueError(f"only {', '.join(named)} have a model; allowed: all classes, or none")
        return self

    def build(self, seed: int, folder: Path) -> Trace:
        """Draw or read every class, each with a seed of its own."""
        parts = []
        for name, one in self.classes.items():
            own_seed = int(stream(seed, f"class {name}").integers(2**31))
            trace = one.workload.build(own_seed, folder)
            if trace.concurrency is not None:
                raise InputError(
                    f"workload.classes.{name}: a closed loop; allowed in a mix: sessions that start by "
                    "themselves, such as arrival: {rate_per_s: 2}"
                )
            parts.append(Part(trace, name, one.model, one.priority))
        generated = all(part.trace.origin == GENERATED for part in parts)
        trace = merged(parts, GENERATED if generated else "mix")
        self.arrival.apply(trace)
        return trace


def _lasting(one: Any, duration_s: PositiveFloat) -> Any:
    """The class with this duration, if it is generated and has none of its own."""
    workload = one.get("workload") if isinstance(one, dict) else None
    if not isinstance(workload, dict) or workload.get("kind") in ("trace", "script"):
        return one
    if "sessions" in workload or "duration_s" in workload:
        return one
    return one | {"workload": workload | {"duration_s": duration_s}}
