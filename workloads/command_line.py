"""How every command line of the project begins and ends."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
from contextlib import suppress
from functools import cache
from itertools import pairwise

import typer

from workloads.errors import InputError
from workloads.shown import CONTROL, brief, plain, shown

SCRIPT = "prefixsim"
"""``python -m sim`` as it is installed."""


MOST_LETTERS = 4096
"""Of an argument: no path is longer."""
GARBAGE = (10_000, 10, 10)
"""When garbage is collected: after as many new objects as this, and not Python's 700. A small `run`, which
mostly imports and draws, takes 1.9 s of CPU instead of 2.3, and no more memory."""

_command = cache(typer.main.get_command)
"""An app's commands with all their options, made once a process: that takes 15 ms."""


def call(app: typer.Typer, name: str, arguments: list[str] | None) -> None:
    """Run ``app``, which help calls ``name`` or as the script that was called: ``prefixsim``.

    Bad input is one message on stderr and exit code 2, never a traceback.

    ``arguments`` default to those of the process. Ends by SystemExit, as command lines do; a signal to end
    (SIGTERM) ends it like Ctrl-C, with what was begun taken back, and exit code 143.
    """
    gc.set_threshold(*GARBAGE)
    os.environ["MPLBACKEND"] = "agg"  # no window is ever opened; matplotlib fails on a backend it lacks
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot write it, cp1252 say
    with suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGTERM, _terminated)
    try:
        _require_lines(sys.argv[1:] if arguments is None else arguments)
        _command(app)(arguments, prog_name=_called() if is_script() else name)
    except MemoryError:
        _refuse("not enough memory; make the workload smaller")
    except (InputError, OSError) as error:  # OSError: nowhere to print to, say
        _refuse(str(error))


def _require_lines(arguments: list[str]) -> None:
    """InputError if a name has several lines, as a message with it would, or is longer than any path.

    Settings may have many.
    """
    for before, argument in pairwise(["", *arguments]):
        is_name = len(argument) <= MOST_LETTERS and "\n" not in argument and not CONTROL.search(argument)
        if not is_name and not before.endswith("set"):
            raise InputError(
                f"{shown(argument)}: allowed: text of one line, up to {MOST_LETTERS} characters"
            )


def is_script() -> bool:
    """Whether this process is an installed script (prefixsim, prefixsim-workloads) and no `python -m`."""
    return _called().partition("-")[0] == SCRIPT


def _called() -> str:
    return os.path.basename(sys.argv[0]).removesuffix(".exe")


def _terminated(number: int, frame: object) -> None:
    sys.exit(128 + number)


def _refuse(message: str) -> None:
    typer.echo(f"error: {brief(plain(message))}", err=True)
    sys.exit(2)
