"""``python -m sim check``: is a configuration valid, and what does it say once defaults are filled in."""

from __future__ import annotations

import typer

from sim.commands.options import ConfigFile, Overrides, SkipLines, skipping


def check(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006 (typer copies it)
    skip_bad_lines: SkipLines = None,
) -> None:
    """Validate an experiment and print it with its defaults.

    Its trace is read, too; the notes of its systems stand behind it.
    """
    from sim.config import load_config
    from sim.experiment import load_trace

    loaded = load_config(config, skipping(overrides, skip_bad_lines))
    trace = load_trace(loaded)
    typer.echo(loaded.to_yaml(), nl=False)
    for name, system in loaded.systems.items():
        for note in system.notes(trace, loaded.folder):
            typer.echo(f"systems.{name}: {note}", err=True)
    typer.echo(f"{config}: valid, {len(trace):,} requests", err=True)
