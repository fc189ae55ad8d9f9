"""A trace in two pictures: how long its requests are, and how soon content is used again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.errors import InputError
from workloads.staging import beside

if TYPE_CHECKING:
    from workloads.describing import Description
    from workloads.fitting import Fit

ABOVE: dict[str, Any] = {"frameon": False, "loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": 2}
"""A legend above its panel, where it covers no curve."""


def draw(found: Description, path: Path) -> None:
    """Write the figure, as a PNG or whatever else the name of ``path`` says."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FuncFormatter, NullFormatter

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    lengths, reuse = axes
    for name, spread in (("input", found.input), ("output", found.output)):
        upto = [p / 100 for p in spread.percentiles]
        lengths.plot(list(spread.percentiles.values()), upto, marker="o", label=f"{name} tokens")
    lengths.set(xscale="log", xlabel="tokens", ylabel="share of the requests", ylim=(0, 1.03))
    lengths.legend(**ABOVE)
    if found.reuse_curve is not None:
        ages, shares = found.reuse_curve
        reuse.step(ages.clip(min=0.1), shares, where="post")
        reuse.set(xscale="log")
    reuse.set(xlabel="seconds since last use", ylabel="share of the input tokens", ylim=(0, 1))
    if found.ideal_hit_rate is not None:
        told = f"unlimited cache: {found.ideal_hit_rate:.1%}"
        reuse.axhline(found.ideal_hit_rate, linewidth=0.8, linestyle=":", color="grey", label=told)
        reuse.legend(**ABOVE)
    for axis in (lengths.xaxis, reuse.xaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:,g}"))
        axis.set_minor_formatter(NullFormatter())
    figure.suptitle(f"{found.origin}: lengths, and prompt tokens seen before")
    _save(figure, path)


def curves(found: Fit, origin: str, path: Path) -> None:
    """Write the hit-rate curves of a trace and of what was fitted to it."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    from workloads.fitting import CAPACITIES_TOKENS

    figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
    millions = [tokens / 1e6 for tokens in CAPACITIES_TOKENS]
    for place, rates in enumerate(found.drawn):
        label = f"drawn, {len(found.drawn)} seeds" if place == 0 else None
        axes.plot(millions, rates, color="tab:orange", linewidth=1, label=label)
    axes.plot(millions, found.recorded, color="tab:blue", marker="o", label=origin)
    axes.set(xscale="log", xlabel="capacity, million tokens", ylabel="LRU hit rate, by tokens", ylim=(0, 1))
    axes.set_xticks(millions, [f"{value:g}" for value in millions], minor=False)
    axes.set_xticks([], minor=True)
    axes.set_title(f"Hit rate by cache size: {origin} and what was drawn like it", fontsize="medium")
    axes.legend(frameon=False)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    from matplotlib import pyplot as plt

    try:
        with beside(path) as place:
            figure.savefig(place / path.name, dpi=150, format=path.suffix.removeprefix(".") or "png")
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: cannot be written: {error}") from None
    finally:
        plt.close(figure)
