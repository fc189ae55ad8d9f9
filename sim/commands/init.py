"""``python -m sim init``: a configuration to begin with."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from workloads.errors import InputError

SCHEMA = "prefixsim.schema.json"


class Question(StrEnum):
    """What one wants to know; each has a file in ``sim/starts``."""

    OWN_GPUS = "own-gpus"
    BILL = "bill"
    CURVE = "curve"
    COMPARISON = "comparison"


def init(
    question: Annotated[
        Question, typer.Argument(metavar="QUESTION", help="What you want to know.")
    ] = Question.OWN_GPUS,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Where to write it; default QUESTION.yaml.")
    ] = None,
) -> None:
    """Write a commented configuration for a question.

    own-gpus: what a cache is worth on GPUs of your own. bill: what caching saves of a hosted API's bill.
    curve: how much cache is enough. comparison: which of several systems is best.

    Beside it the JSON Schema of its keys, which editors use. Nothing is overwritten.
    """
    import json

    from sim import json_schema
    from workloads.staging import beside

    path = file or Path(f"{question}.yaml")
    if path.suffix not in (".yaml", ".yml"):
        raise InputError(f"{path}: allowed: a name that ends in .yaml")
    if path.exists():
        raise InputError(f"{path}: is there already, and nothing is overwritten; allowed: another name")
    template = Path(__file__).parents[1] / "starts" / f"{question}.yaml"
    text = template.read_text(encoding="utf-8").format(name=_name(path, question), file=path)
    with beside(path) as place:
        (place / path.name).write_text(
            f"# yaml-language-server: $schema={SCHEMA}\n{text}", encoding="utf-8"
        )
        if not (path.parent / SCHEMA).exists():
            keys = json.dumps(json_schema.of_config(), indent=1)
            (place / SCHEMA).write_text(keys + "\n", encoding="utf-8")
    typer.echo(f"Written: {path}; its keys: {path.parent / SCHEMA}")
    command = "curve" if question is Question.CURVE else "run"
    typer.echo(f"Next: python -m sim {command} {path}")


def _name(path: Path, question: Question) -> str:
    """The experiment's name: that of the file, where it may be one."""
    fits = path.stem.replace("-", "").replace("_", "").isalnum() and path.stem[0].isalnum()
    return path.stem if fits and path.stem.isascii() and len(path.stem) <= 100 else str(question)
