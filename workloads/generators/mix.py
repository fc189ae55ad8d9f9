"""Mixes: several classes of traffic at once, each a workload with arrivals of its own."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
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
from workloads.generators.chat import ChatWorkload
from workloads.merging import Part, merged
from workloads.part import Keep
from workloads.part import Part as TracePart
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
            trace = one.workload.build(self._seed(seed, name), folder)
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

    def _seed(self, seed: int, name: str) -> int:
        """The seed of the class ``name``."""
        return int(stream(seed, f"class {name}").integers(2**31))

    @property
    def makes_sessions(self) -> bool:
        """Whether it can be made session by session: all classes are chats that start by themselves."""
        chats = [one.workload for one in self.classes.values()]
        return all(isinstance(chat, ChatWorkload) and chat.arrival.RATE is not None for chat in chats)

    def build_sessions(self, seed: int, keep: Keep) -> Trace:
        """Of the trace the sessions that ``keep`` chooses, as in `ChatWorkload.build_sessions`.

        Sessions of all classes are numbered by their start, and so are requests: for that every process
        knows of all sessions when they start and how many turns they have.
        """
        every = [one.workload.every_session(self._seed(seed, name)) for name, one in self.classes.items()]
        starts_s, turns, tenants = (np.concatenate(column) for column in zip(*every, strict=True))
        place = np.repeat(np.arange(len(every)), [len(sessions.turns) for sessions in every])
        order = np.lexsort((place, starts_s))  # of equals the first class, and of that the first session
        number = np.empty(len(order), np.int64)
        number[order] = np.arange(len(order))
        kept = keep(number)
        parts = []
        for i, (name, one) in enumerate(self.classes.items()):
            of_class = kept[place == i]
            trace = one.workload.build_sessions(self._seed(seed, name), of_class.__getitem__)
            parts.append(Part(trace, name, one.model, one.priority))
        trace = merged(parts, GENERATED)
        sessions = order[kept[order]]  # in the order in which ``merged`` meets them
        tenant = _by_first(tenants.astype(np.int64) + place * (int(tenants.max()) + 1), order)
        first = np.concatenate([[0], np.cumsum(turns[order], dtype=np.int64)])
        of_request = sessions[np.array(trace.session, np.int64)]
        trace.session = number[of_request].tolist()
        trace.tenant = tenant[of_request].tolist()
        numbers = first[number[of_request]] + np.array(trace.turn, np.int64) - 1
        self.arrival.apply(trace)
        last_s = float(starts_s.max()) / self.arrival.speed
        trace.part = TracePart(array("q", numbers.tolist()), int(first[-1]), len(order), last_s)
        trace.drawn_starts = all(part.trace.drawn_starts for part in parts)
        return trace


def _by_first(names: NDArray[np.int64], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """``names`` as numbers from 0, in the order in which they are first met."""
    unique, first, which = np.unique(names[order], return_index=True, return_inverse=True)
    rank = np.empty(len(unique), np.int64)
    rank[np.argsort(first)] = np.arange(len(unique))
    out = np.empty(len(names), np.int64)
    out[order] = rank[which]
    return out


def _lasting(one: Any, duration_s: PositiveFloat) -> Any:
    """The class with this duration, if it is generated and has none of its own."""
    workload = one.get("workload") if isinstance(one, dict) else None
    if not isinstance(workload, dict) or workload.get("kind") in ("trace", "script"):
        return one
    if "sessions" in workload or "duration_s" in workload:
        return one
    return one | {"workload": workload | {"duration_s": duration_s}}
