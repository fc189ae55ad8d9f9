"""The command line: one file a command in `sim.commands`, one line here.

Heavy imports happen inside the commands, so that ``--help`` is instant.
"""

from __future__ import annotations

from typing import Annotated

import typer

from sim.commands.breakeven import breakeven
from sim.commands.capacity import capacity
from sim.commands.check import check
from sim.commands.compare import compare
from sim.commands.curve import curve
from sim.commands.doctor import doctor
from sim.commands.examples import examples
from sim.commands.gpus import gpus
from sim.commands.habits import habits
from sim.commands.init import init
from sim.commands.memory import memory
from sim.commands.models import models
from sim.commands.providers import providers
from sim.commands.rules import rules
from sim.commands.run import run
from sim.commands.schema import schema
from sim.commands.search import search
from sim.commands.serve import serve
from sim.commands.sweep import sweep
from workloads.command_line import call, is_script

COMMANDS = (
    init, run, check, curve, habits, capacity, doctor, breakeven, rules, sweep, search, compare, serve,
    examples, models, gpus, providers, memory, schema,
)  # fmt: skip
"""In the order of the help."""
app = typer.Typer(
    name="python -m sim",
    help="What KV and prompt-prefix caching is worth: tokens, seconds and dollars of a workload.",
    no_args_is_help=True,
    add_completion=is_script(),  # shells complete a script, not `python -m sim`
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"prefixsim {version('prefixsim')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


for _command in COMMANDS:
    app.command()(_command)


def main(arguments: list[str] | None = None) -> None:
    """Entry point; see `workloads.command_line.call`."""
    call(app, "python -m sim", arguments)
