"""Draws the pictures of the pages: ``python -m tests.docs.pictures [NAME ...]``, by default all.

Each is made from a shipped experiment or from the public data beside the repository, like the tables.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from functools import cache
from pathlib import Path
from typing import NamedTuple

from calibration.build import Built, rebuild
from reports import (
    breakeven,
    calibration_figures,
    canvas,
    figures,
    format_figures,
    habit_figures,
    mooncake,
    side_by_side,
    validation_figures,
    workload_figures,
)
from sim.config import load_config
from sim.experiment import run
from sim.providers import breakeven as offered
from sim.providers import rulebook
from tests.docs.examples import ROOT
from tests.docs.made import MOONCAKE, REAL_RUNS, SESSIONS
from tests.docs.makers import calibration, habits, hosted, servers, traces
from workloads import figure as of_workloads
from workloads.describing import describe

FOLDER = ROOT / "docs" / "figures"
DAY = "2026-11-24"


class Drawn(NamedTuple):
    """A picture, as PNG."""

    png: Callable[[], bytes]
    needs: Path | None = None
    slow: bool = False


def _quickstart() -> bytes:
    (name, measured), *_ = run(load_config(ROOT / "configs/quickstart.yaml")).measured().items()
    return canvas.png(figures.prompt_tokens(name, measured))


def _owning() -> bytes:
    return canvas.png(side_by_side.crossover(hosted.worlds()))


def _when_a_write_pays() -> bytes:
    start = datetime.combine(date.fromisoformat(DAY), time(), UTC)
    return canvas.png(breakeven.figure(offered.offers(rulebook.names(), start)))


@cache
def _built() -> Built:
    return rebuild(ROOT / calibration.MEASURED)


def _first_token() -> bytes:
    """How the times to first token of all requests are distributed."""
    _, ttft, *_ = validation_figures.of_requests(servers.fitted_run())
    return canvas.png(ttft.figure)


def _written(write: Callable[[Path], None]) -> bytes:
    """What ``write`` draws into a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        write(path)
        return path.read_bytes()


def _figure_9(path: Path) -> None:
    mooncake.save_mooncake_figure_9(traces.conversations(), path)


def _fit(path: Path) -> None:
    of_workloads.curves(traces.fitted(MOONCAKE), traces.guessed(MOONCAKE).origin, path)


def _described(path: Path) -> None:
    of_workloads.draw(describe(traces.guessed(SESSIONS)), path)


PICTURES: dict[str, Drawn] = {
    "quickstart": Drawn(_quickstart, slow=True),
    "habits": Drawn(lambda: canvas.png(habit_figures.tokens(habits.study(), "blocks")), slow=True),
    "habits-dollars": Drawn(lambda: canvas.png(habit_figures.overview(habits.study()).figure), slow=True),
    "both-worlds": Drawn(lambda: canvas.png(side_by_side.bars(hosted.worlds())), SESSIONS, slow=True),
    "owning-or-renting": Drawn(_owning, SESSIONS, slow=True),
    "when-a-write-pays": Drawn(_when_a_write_pays),
    "generators": Drawn(lambda: canvas.png(workload_figures.generators()), slow=True),
    "formats": Drawn(lambda: canvas.png(format_figures.families())),
    "workloads": Drawn(lambda: _written(_described), SESSIONS, slow=True),
    "fit": Drawn(lambda: _written(_fit), MOONCAKE, slow=True),
    "mooncake-figure-9": Drawn(lambda: _written(_figure_9), MOONCAKE, slow=True),
    "calibration-residuals": Drawn(lambda: canvas.png(calibration_figures.residuals(_built())), slow=True),
    "calibration-models": Drawn(
        lambda: canvas.png(calibration_figures.models(_built().profile)), slow=True
    ),
    "validation-ttft": Drawn(_first_token, REAL_RUNS, slow=True),
}
"""By the name of its file."""


def main(names: list[str]) -> None:
    """Draw them into `docs/figures`."""
    for name in names or PICTURES:
        drawn = PICTURES[name]
        if drawn.needs is None or drawn.needs.exists():
            (FOLDER / f"{name}.png").write_bytes(drawn.png())
            print(f"docs/figures/{name}.png", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
