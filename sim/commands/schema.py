"""``python -m sim schema``: what editors need to complete and explain the keys of a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def schema(
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write it there; default: print it.")
    ] = None,
) -> None:
    """The JSON Schema of a configuration, every key described.

    Editors that know YAML use it where a configuration has the line
    `# yaml-language-server: $schema=FILE`.
    """
    import json

    from sim.json_schema import of_config
    from workloads.staging import beside

    text = json.dumps(of_config(), indent=1) + "\n"
    if out is None:
        typer.echo(text, nl=False)
    else:
        with beside(out) as place:
            (place / out.name).write_text(text, encoding="utf-8")
        typer.echo(f"Written: {out}")
