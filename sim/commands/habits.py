"""``python -m sim habits``: what client habits cost."""

from __future__ import annotations

from pathlib import Path

from sim.commands.options import ConfigFile, Force, OutFolder, Overrides, Quiet
from sim.commands.studied import shown


def habits(
    config: ConfigFile,
    out: OutFolder = None,
    overrides: Overrides = [],  # noqa: B006 (typer copies it)
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """What each bad client habit costs beside a good one.

    Prints a table, writes habits.json and habits.html. Compares the pairs under `habit_pairs` of the
    experiment, or the usual ones, on its chat.
    """
    from sim.config import load_config
    from sim.studies.habits import study

    loaded = load_config(config, overrides)
    folder = out or Path("runs") / loaded.name

    from reports import files
    from reports import habits_console as report

    files.require_writable(folder)
    files.require_free(config, loaded, folder, force)
    shown(lambda progress: study(loaded, progress), report, folder, quiet)
