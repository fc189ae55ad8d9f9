"""The fewest GPUs, and of which kind, that keep the limits; with the cache and without it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from importlib import metadata

from sim.config import Config
from sim.studies.axes import Axis, Point, Setting, grid
from sim.studies.goals import Limit
from sim.studies.metric import Metric, metric
from sim.studies.outputs import FleetKind, FleetSize, FleetSummary
from sim.studies.sweep import SCHEMA_VERSION, Experiment, Failure, Plan, Row, Runs
from sim.systems.engine import EngineSystem
from sim.systems.split import MOST_REPLICAS
from workloads.errors import InputError
from workloads.shown import nearest

SIDES = ("with_cache", "without_cache")
GPUS, COST = metric("gpus", ""), metric("cost_usd_per_hour", "")
Ask = Generator[int, bool, int | None]


def least(most: int) -> Ask:
    """Search the least number from 1 to ``most`` that is enough: doubled, then halved in between.

    Yields numbers to try and is sent whether each is enough; returns the least one, or None if ``most`` is
    not enough. Assumed: what is enough stays so with more.
    """
    low, high = 0, 1
    while not (yield high):
        if high == most:
            return None
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        if (yield middle):
            high = middle
        else:
            low = middle
    return high


@dataclass(slots=True)
class Quest:
    """The search for the least fleet of one kind, with the cache or without."""

    kind: Point
    side: str
    limits: list[Limit]
    ask: Ask
    next: int | None
    """Replicas to try next; None once it has ended."""
    found: int | None
    tried: dict[int, Row]

    @staticmethod
    def begun(kind: Point, side: str, limits: list[Limit], most: int) -> Quest:
        """Nothing tried yet."""
        own = limits if side == "with_cache" else [limit.without_cache() for limit in limits]
        ask = least(most)
        return Quest(kind, side, own, ask, next(ask), None, {})

    def enough(self, row: Row) -> bool:
        """Whether a fleet keeps all limits on this side."""
        return all(limit.kept(row) for limit in self.limits)

    def answer(self, row: Row | None) -> None:
        """Take what the fleet that was asked for did; None: it cannot be run, and so no other."""
        assert self.next is not None
        if row is None:
            self.next = None
            return
        self.tried[self.next] = row
        try:
            self.next = self.ask.send(self.enough(row))
        except StopIteration as end:
            self.next, self.found = None, end.value

    def size(self) -> FleetSize:
        """What was found."""
        row = self.tried.get(self.found) if self.found else None
        before = self.tried.get(self.found - 1) if self.found else None
        shown = row or (self.tried[max(self.tried)] if self.tried else None)
        return {
            "replicas": self.found,
            "gpus": None if row is None else round(_mean(row, GPUS) or 0),
            "cost_usd_per_hour": None if row is None else _mean(row, self.cost),
            "good": {} if shown is None else self._figures(shown),
            "one_less": None if before is None else self._figures(before),
            "tried": {str(n): self.enough(self.tried[n]) for n in sorted(self.tried)},
        }

    @property
    def cost(self) -> Metric:
        """The bill of this side."""
        return COST if self.side == "with_cache" else replace(COST, path=f"no_cache.{COST.path}")

    def _figures(self, row: Row) -> dict[str, float | None]:
        return {limit.metric.path: _mean(row, limit.metric) for limit in self.limits}


def _mean(row: Row, figure: Metric) -> float | None:
    found = row.mean(figure)
    return None if found is None else found.value


@dataclass(frozen=True, slots=True)
class Fleets:
    """The fewest GPUs of every kind of replica."""

    experiment: Experiment
    config: Config
    system: str
    axes: list[Axis]
    limits: list[Limit]
    most: int
    kinds: list[tuple[Point, dict[str, FleetSize]]]
    failures: list[Failure]

    def best(self, side: str) -> tuple[Point, FleetSize] | None:
        """The kind with the fewest GPUs, the cheaper one of equals; None if no kind keeps the limits."""

        def worth(kind: tuple[Point, dict[str, FleetSize]]) -> tuple[float, float]:
            size = kind[1][side]
            cost = size["cost_usd_per_hour"]
            return size["gpus"] or 0, float("inf") if cost is None else round(cost, 6)

        found = [kind for kind in self.kinds if kind[1][side]["gpus"]]
        if not found:
            return None
        point, sizes = min(found, key=worth)
        return point, sizes[side]

    @property
    def one_price(self) -> bool:
        """Whether kinds of unlike GPUs are all paid the configured price of a GPU-hour."""
        engine = self.config.systems[self.system]
        paid = isinstance(engine, EngineSystem) and engine.price is not None
        keys = {setting.partition("=")[0] for kind, _ in self.kinds for setting in kind.assignments}
        unlike = any(key.endswith(".hardware") for key in keys)
        return paid and unlike and not any(".price" in key for key in keys)

    def summary(self) -> FleetSummary:
        """The content of fewest-gpus.json; no wall-clock times."""
        best = self.best("with_cache")
        kinds: list[FleetKind] = [
            {
                "point": point.labels,
                "with_cache": size["with_cache"],
                "without_cache": size["without_cache"],
            }
            for point, size in self.kinds
        ]
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.config.name,
            "version": metadata.version("prefixsim"),
            "experiment": self.experiment.digest(),
            "seeds": [self.config.seed + i for i in range(self.experiment.seeds)],
            "system": self.system,
            "limits": [limit.text for limit in self.limits],
            "most": self.most,
            "best": None if best is None else {**best[0].labels, "replicas": best[1]["replicas"]},
            "kinds": kinds,
            "failures": [{"point": f.point.labels, "message": f.message} for f in self.failures],
        }


def fewest_gpus(
    experiment: Experiment,
    axes: list[Axis],
    system: str | None,
    limits: list[Limit],
    most: int,
    runs: Runs,
) -> Fleets:
    """Find for every point of ``axes``, a kind of replica each, the fewest that keep the limits.

    Without axes the kinds are all GPUs of the catalogue, and the configured one where that is a file.

    All kinds and both sides ask for their next fleet at once, so that as many jobs as possible are there to
    be computed together; a run tells both sides about its fleet.
    """
    if not 1 <= most <= MOST_REPLICAS:
        raise InputError(f"--most {most}; allowed: 1 to {MOST_REPLICAS:,}")
    axes = axes or [every_gpu(experiment, system)]
    kinds, failures, config, name = _kinds(experiment, axes, system)
    if not limits:
        raise InputError("limits are missing; allowed: slo in the configuration, or --limit")
    quests = [Quest.begun(kind, side, limits, most) for kind in kinds for side in SIDES]
    key = f"systems.{name}.replicas"
    metrics = [limit.metric for quest in quests[:2] for limit in quest.limits]
    metrics += [GPUS, *(quest.cost for quest in quests[:2])]
    round_number = 0
    while asking := [quest for quest in quests if quest.next is not None]:
        round_number += 1
        points = {str(at): at for quest in asking for at in [_with_replicas(quest, key)]}
        plan = Plan.at(experiment, axes, points.values())
        rows, failed = runs.rows(plan, metrics, f"round {round_number}")
        of_point = {str(row.point): row for row in rows if row.system == name}
        failures += [f for f in failed if str(f.point) not in {str(other.point) for other in failures}]
        for quest in asking:
            quest.answer(of_point.get(str(_with_replicas(quest, key))))
    sizes = [quest.size() for quest in quests]
    found = [
        (kind, dict(zip(SIDES, sizes[2 * i : 2 * i + 2], strict=True))) for i, kind in enumerate(kinds)
    ]
    return Fleets(experiment, config, name, axes, limits, most, found, failures)


def _with_replicas(quest: Quest, key: str) -> Point:
    """The kind with as many replicas as the quest asks for."""
    assert quest.next is not None
    labels = quest.kind.labels | {key: quest.next}
    return Point(labels, (*quest.kind.assignments, f"{key}={quest.next}"))


def _kinds(
    experiment: Experiment, axes: list[Axis], system: str | None
) -> tuple[list[Point], list[Failure], Config, str]:
    """The kinds that are valid, those that are not, a configuration, the engine that is meant."""
    config = experiment.first(axes)
    kinds: list[Point] = []
    failures: list[Failure] = []
    for point in grid(axes):
        try:
            experiment.config(point.assignments)
            kinds.append(point)
        except InputError as error:
            failures.append(Failure(point, str(error)))
    engines = [name for name, part in config.systems.items() if isinstance(part, EngineSystem)]
    if system is None and len(engines) != 1:
        raise InputError(
            f"--system is missing; allowed: {', '.join(engines) or 'none, no system is an engine'}"
        )
    name = system or engines[0]
    engine = config.systems.get(name)
    if not isinstance(engine, EngineSystem):
        raise InputError(
            f"--system {name}: not an engine of the configuration; {nearest(name, list(engines))}"
        )
    if engine.pools:
        raise InputError(f"systems.{name}.pools: the recipe counts equal replicas; allowed: no pools")
    return kinds, failures, config, name


def every_gpu(experiment: Experiment, system: str | None) -> Axis:
    """The axis that stands for the question "which": every GPU of the catalogue, and one's own."""
    from sim.hardware import catalogue

    _, _, config, name = _kinds(experiment, [], system)
    key, engine, gpus = f"systems.{name}.hardware", config.systems[name], catalogue.names("gpus")
    if isinstance(engine, EngineSystem) and (engine.hardware or "").endswith((".yaml", ".yml")):
        gpus = [str(engine.hardware), *gpus]
    return Axis(key, tuple(Setting(gpu, (f"{key}={gpu}",)) for gpu in gpus))
