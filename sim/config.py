"""The configuration of an experiment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PrivateAttr,
    StringConstraints,
    ValidationError,
)

from sim.examples import find
from sim.hardware.catalogue import CONFIG, is_folder
from sim.results.claims import Claim
from sim.results.comparison import Compare
from sim.results.slo import Slo
from sim.results.steady import Asked
from sim.results.summary import MeasuredWindow
from sim.server.options import ServerOptions
from sim.studies.habit_pairs import HabitPair, pair
from sim.systems import SystemConfig
from sim.yamlfile import Document
from workloads.errors import InputError
from workloads.policies import ClientPolicies
from workloads.registry import WorkloadConfig
from workloads.schema import Schema
from workloads.shown import nearest

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=100)]


class Config(Schema):
    """One trace, the systems that it runs through, the limits and the claims to hold against them.

    ``habit_pairs`` are the client habits that ``python -m sim habits`` compares.
    """

    name: Name
    """Name of the experiment: letters, digits, `-` and `_`. Outputs go to runs/NAME."""
    seed: int = Field(default=0, ge=0)
    """Seed of every random draw: the same seed gives the same files, byte by byte."""
    seeds: int = Field(default=1, ge=1, le=1000)
    """How many seeds to run, from ``seed`` on: figures are then means, with the intervals of the seeds."""
    workload: WorkloadConfig
    """What arrives: a generated workload (`kind: chat`, `agent`, `rag`, ...) or a recorded one (`kind:
    trace`)."""
    clients: ClientPolicies | None = None
    """What clients do beside their conversations: keep-warm pings, compaction at a size."""
    systems: dict[Name, SystemConfig] = Field(min_length=1)
    """What it is sent to, by name: engines on own GPUs, caches alone, hosted APIs. Each runs with its
    cache and without."""
    warmup_s: NonNegativeFloat | Literal["auto"] = "auto"
    """Requests that arrive before this time are served, and left out of every figure; by default found."""
    until_s: PositiveFloat | Literal["auto", "end"] = "auto"
    """Requests that arrive later are left out too; by default from when the last session starts."""
    slo: Slo | None = None
    """Limits of latency. Outputs then count the requests that keep them; `capacity` and `search` need
    them."""
    compare: Compare = Compare()
    """How several systems are ranked, and which one the others are held against."""
    claims: list[Claim] = Field(default=[])
    """Savings that somebody claims, held against what comes out."""
    server: ServerOptions | None = None
    """How `python -m sim serve` answers: replies, limits, faults on demand."""
    habit_pairs: dict[Name, HabitPair] = Field(default={})
    """Pairs of client habits that `python -m sim habits` compares, by name; left out: the usual ones."""

    _folder: Path = PrivateAttr(default_factory=Path.cwd)

    @property
    def folder(self) -> Path:
        """The folder of the configuration file; paths in it are relative to this."""
        return self._folder

    def resolved(self) -> Config:
        """The same experiment with every default filled in; InputError if something does not fit."""
        systems = {
            name: system.resolved(f"systems.{name}", self.folder) for name, system in self.systems.items()
        }
        start_s, end_s = self.warmup_s, self.until_s
        if isinstance(start_s, float) and isinstance(end_s, float) and end_s <= start_s:
            raise InputError(f"until_s = {end_s:g}; allowed: above warmup_s ({start_s:g})")
        for claim in self.claims:
            if claim.system not in systems:
                allowed = ", ".join(systems)
                raise InputError(f"claims: system = {claim.system!r}; allowed: {allowed}")
        baseline = self.compare.baseline
        if baseline is not None and baseline not in systems:
            raise InputError(f"compare: baseline = {baseline!r}; {nearest(baseline, list(systems))}")
        for name, both in self.habit_pairs.items():
            pair(self.workload, both, f"habit_pairs.{name}")
        return self._with(systems=systems)

    @property
    def asked(self) -> Asked:
        """What part of the run figures shall be about."""
        return Asked(self.warmup_s, self.until_s)

    def with_window(self, window: MeasuredWindow) -> Config:
        """The same experiment, measured in ``window``."""
        end_s = window["end_s"]
        return self._with(warmup_s=window["start_s"], until_s="end" if end_s is None else end_s)

    def require_one_seed(self, allowed: str = "1 here") -> None:
        """InputError if several seeds are asked for, of a command that does not run them."""
        if self.seeds != 1:
            raise InputError(f"seeds = {self.seeds}: run repeats seeds; allowed: {allowed}")

    def with_workload(self, workload: WorkloadConfig) -> Config:
        """The same experiment on another workload."""
        return self._with(workload=workload)

    def only(self, name: str, system: SystemConfig) -> Config:
        """``system`` alone, called ``name``; what depends on other systems or the workload is left out."""
        claims = [claim for claim in self.claims if claim.system == name]
        alone = {"systems": {name: system}, "claims": claims, "compare": Compare(), "habit_pairs": {}}
        return self._with(**alone, clients=None, seeds=1, warmup_s="auto", until_s="auto")

    def with_seed(self, seed: int) -> Config:
        """The same experiment with the random draws of ``seed``, and of no other."""
        return self._with(seed=seed, seeds=1)

    def _with(self, **parts: Any) -> Config:
        config = self.model_copy(update=parts)
        config._folder = self._folder
        return config

    def _absolute(self, path: str) -> str:
        """``path`` as `find_file` finds it: in the configuration's folder or the current one."""
        here = self.folder / path
        return str(here.resolve() if here.exists() else Path(path).resolve())

    def values(self, place: Callable[[str], str]) -> dict[str, Any]:
        """The configuration as plain values, each file in it as ``place`` of its absolute path."""
        data: dict[str, Any] = self.model_dump(mode="json", exclude_none=True, by_alias=True)
        classes = data["workload"].get("classes", {}).values()
        for workload in (data["workload"], *(one["workload"] for one in classes)):
            for key in ("path", "tokenizer"):
                if key in workload:
                    workload[key] = place(self._absolute(workload[key]))
        replies = data.get("server", {}).get("replies", {})
        if "path" in replies:
            replies["path"] = place(self._absolute(replies["path"]))
        for system in data["systems"].values():
            name = system.get("model")
            if isinstance(name, str) and name.endswith(".json"):
                system["model"] = place(self._absolute(name))
            elif isinstance(name, str) and is_folder(name, self.folder):
                system["model"] = place(self._absolute(f"{name}/{CONFIG}"))
            for part in (system, *system.get("pools", [])):
                if str(part.get("hardware", "")).endswith((".yaml", ".yml")):
                    part["hardware"] = place(self._absolute(part["hardware"]))
                latency = part.get("latency")
                if isinstance(latency, dict) and "profile" in latency:
                    latency["profile"] = place(self._absolute(latency["profile"]))
        return data

    def to_yaml(self, *, paths_as_written: bool = False) -> str:
        """The configuration as YAML that loads to the same experiment from any folder.

        With ``paths_as_written`` file names stay as the user gave them: for showing, not for running.
        """
        if paths_as_written:
            data = self.model_dump(mode="json", exclude_none=True, by_alias=True)
        else:
            data = self.values(str)
        return yaml.safe_dump(data, sort_keys=False)


def load_config(source: str | Path | Mapping[str, Any], overrides: Iterable[str] = ()) -> Config:
    """Read, override (``dotted.key=value``), validate and resolve a configuration.

    ``source`` is a file, the name of a configuration that ships (``quickstart``), or a mapping with the
    keys that a file would have, whose paths are relative to the current folder.

    Raises InputError: every problem with file, line or key, value and what is allowed.
    """
    if isinstance(source, Mapping):
        document, folder = Document.of(source), Path.cwd()
    else:
        path = find(Path(source))
        document, folder = Document(path), path.resolve().parent
    for assignment in overrides:
        document.override(assignment)
    try:
        config = Config.model_validate(document.data)
    except ValidationError as error:
        raise document.explain(error, Config.model_validate) from None
    config._folder = folder
    try:
        return config.resolved()
    except InputError as error:
        raise InputError(f"{document.name}: {error}") from None
