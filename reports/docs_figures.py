"""Makes the figures of the documentation from the shipped experiments.

    python -m reports.docs_figures [quickstart | habits | both-worlds | generators | formats]
        [--sessions FILE]

``--sessions`` is the file of coding-agent sessions that `configs/studies/both_worlds.yaml` needs
(docs/providers.md says where it comes from).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from reports import canvas, figures, format_figures, habit_figures, side_by_side, workload_figures
from sim.config import load_config
from sim.experiment import run
from sim.studies import habits

FOLDER = Path("docs/figures")


def quickstart(sessions: Path | None) -> None:
    """Prompt tokens by turn."""
    result = run(load_config("configs/quickstart.yaml"))
    (name, measured), *_ = result.measured().items()
    _save("quickstart", figures.prompt_tokens(name, measured))


def habit_pairs(sessions: Path | None) -> None:
    """What habits do to tokens, and to the bills of all systems."""
    study = habits.study(load_config("configs/studies/habits.yaml"), lambda part, done, total: None)
    _save("habits", habit_figures.tokens(study, "blocks"))
    _save("habits-dollars", habit_figures.overview(study).figure)


def both_worlds(sessions: Path | None) -> None:
    """Dollars per 1,000 sessions, and from which traffic owning is cheaper."""
    settings = [] if sessions is None else [f"workload.path={sessions}"]
    summary = run(load_config("configs/studies/both_worlds.yaml", settings)).summary()
    _save("both-worlds", side_by_side.bars(summary))
    _save("owning-or-renting", side_by_side.crossover(summary))


def generators(sessions: Path | None) -> None:
    """How large a cache has to be for each kind of generated workload."""
    _save("generators", workload_figures.generators())


def formats(sessions: Path | None) -> None:
    """What texts, block ids and lengths tell of the same conversation."""
    _save("formats", format_figures.families())


def _save(name: str, figure: canvas.Figure) -> None:
    (FOLDER / f"{name}.png").write_bytes(canvas.png(figure))
    print(FOLDER / f"{name}.png")


MAKERS = {
    "quickstart": quickstart,
    "habits": habit_pairs,
    "both-worlds": both_worlds,
    "generators": generators,
    "formats": formats,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*MAKERS, []], default=[])
    parser.add_argument("--sessions", type=Path)
    arguments = parser.parse_args()
    for name in arguments.names or MAKERS:
        MAKERS[name](arguments.sessions)
