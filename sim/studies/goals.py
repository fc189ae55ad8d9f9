"""What a search wants: figures to make as good as can be, and limits that have to be kept."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sim.config import Config
from sim.studies.compare import SIGNS, Condition
from sim.studies.means import Mean
from sim.studies.metric import Metric, metric
from sim.studies.sweep import Row
from workloads.errors import InputError


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure, and whether it is to be high or low."""

    metric: Metric
    high: bool

    @staticmethod
    def parse(text: str) -> Goal:
        """``FIGURE``, or ``min:FIGURE`` or ``max:FIGURE`` where the usual way is not the one that is meant.

        >>> Goal.parse("p99_ttft_ms").high, Goal.parse("request_goodput").high, Goal.parse("max:gpus").high
        (False, True, True)
        """
        way, colon, name = text.partition(":")
        if not colon:
            way, name = "", text
        if way not in ("", "min", "max"):
            raise InputError(f"--goal {text}: allowed: FIGURE, min:FIGURE or max:FIGURE")
        figure = metric(name, f"--goal {text}")
        return Goal(figure, figure.higher_is_better if way == "" else way == "max")

    def cost(self, row: Row) -> float | None:
        """The mean of the figure, negative where it is to be high; None where there is none."""
        found = row.mean(self.metric)
        return None if found is None else -found.value if self.high else found.value


@dataclass(frozen=True, slots=True)
class Limit:
    """A bound on a figure, on its mean over the seeds."""

    text: str
    metric: Metric
    sign: str
    bound: float

    @staticmethod
    def parse(text: str) -> Limit:
        """``FIGURE SIGN NUMBER[%]``: what has to hold.

        >>> limit = Limit.parse("p99_ttft_ms <= 200")
        >>> limit.metric.path, limit.sign, limit.bound
        ('p99_ttft_ms', '<=', 200.0)
        """
        condition = Condition.parse(text, "--limit")
        if condition.relative or condition.system is not None:
            raise InputError(
                f"--limit {text}: allowed: FIGURE >|>=|<|<= NUMBER[%], such as 'p99_ttft_ms <= 200'"
            )
        return Limit(text, condition.metric, condition.sign, condition.bound)

    def without_cache(self) -> Limit:
        """The same bound on the twin without a cache."""
        path = f"no_cache.{self.metric.path}"
        return replace(self, metric=Metric(path, self.metric.unit))

    def kept(self, row: Row) -> bool:
        """Whether the limit is kept; a figure that does not exist keeps none."""
        found: Mean | None = row.mean(self.metric)
        return found is not None and SIGNS[self.sign](found.value, self.bound)

    def excess(self, row: Row) -> float:
        """By what share of the bound the limit is broken; not above 0 where it is kept."""
        found = row.mean(self.metric)
        if found is None:
            return 1.0
        beyond = found.value - self.bound if self.sign.startswith("<") else self.bound - found.value
        return beyond / (abs(self.bound) or 1.0)


def limits_of(config: Config, texts: list[str]) -> list[Limit]:
    """The limits of the command line, and of ``slo``: enough requests have to be good."""
    limits = [Limit.parse(text) for text in dict.fromkeys(texts)]
    if config.slo is not None:
        bounds = ", ".join(f"{name} {ms:g} ms" for name, ms in config.slo.limits_ms.items())
        text = f"{config.slo.share * 100:g}% of requests within {bounds}"
        limits.append(Limit(text, metric("good_share", "slo"), ">=", config.slo.share))
    return limits
