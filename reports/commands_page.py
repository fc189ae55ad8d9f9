"""The reference of the command lines, made from the commands themselves."""

from __future__ import annotations

import inspect
from typing import Any

import typer

from calibration.cli import app as calibration
from sim.cli import app as sim
from workloads.cli import app as workloads

PROGRAMS = {"python -m sim": sim, "python -m workloads": workloads, "python -m calibration": calibration}
HEAD = """# Commands

Made from the commands; `--help` behind any of them prints the same. `prefixsim` is `python -m sim`;
`prefixsim-workloads` and `prefixsim-calibration` are the other two. Every command ends with exit code 0
when all went well, 2 for bad input (one message says what is wrong and what is allowed), 130 when Ctrl-C
ended it; 1 where a condition of `--fail-if` holds.
"""


def page() -> str:
    """The page in Markdown."""
    parts = [HEAD]
    for program, app in PROGRAMS.items():
        parts.append(f"\n## {program}\n\n{_text(app.info.help)}\n")
        commands: dict[str, Any] = getattr(typer.main.get_command(app), "commands")  # noqa: B009
        parts += [_command(program, name, command) for name, command in commands.items()]
    return "".join(parts)


def names() -> set[str]:
    """Every command as a person types it."""
    return {
        f"{program} {name}"
        for program, app in PROGRAMS.items()
        for name in getattr(typer.main.get_command(app), "commands")  # noqa: B009
    }


def _command(program: str, name: str, command: Any) -> str:
    arguments = [item for item in command.params if item.param_type_name == "argument"]
    usage = " ".join([program, name, *map(_place, arguments)])
    lines = [f"\n### {name}\n\n", f"```text\n{usage} [OPTIONS]\n```\n\n", f"{_text(command.help)}\n"]
    rows = [
        _row(item) for item in command.params if item.name != "help" and not getattr(item, "hidden", False)
    ]
    if rows:
        lines += ["\n| parameter | what it does | default |\n|---|---|---|\n", *rows]
    return "".join(lines)


def _place(argument: Any) -> str:
    """An argument in a usage line: in brackets if it may be left out, with dots if there may be more."""
    shown = argument.metavar or argument.name.upper()
    return f"{shown if argument.required else f'[{shown}]'}{'...' if argument.nargs != 1 else ''}"


def _row(item: Any) -> str:
    if item.param_type_name == "argument":
        shown = f"`{_place(item)}`"
    else:
        value = "" if getattr(item, "is_flag", False) else f" {item.metavar or 'VALUE'}"
        shown = ", ".join(f"`{option}{value}`" for option in (*item.opts, *item.secondary_opts))
    default = item.default
    plain = not callable(default) and default not in (None, False, (), [], "", ...)
    shown_default = f"`{default}`" if plain and not item.required else ""
    return f"| {_cell(shown)} | {_cell(item.help or '')} | {_cell(shown_default)} |\n"


def _text(text: str | None) -> str:
    return inspect.cleandoc(text or "").replace("``", "`")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
