"""``python -m sim examples``: the configurations that ship."""

from __future__ import annotations

from reports import terminal
from sim.commands.options import AsJson


def examples(as_json: AsJson = False) -> None:
    """The configurations that ship, by name, with their questions.

    Each runs from any folder: `python -m sim run NAME`.
    """
    from sim import examples as shipped

    found = {name: (path, shipped.question(path)) for name, path in shipped.files().items()}
    if as_json:
        terminal.show_json(
            [{"name": name, "file": str(path), "question": asked} for name, (path, asked) in found.items()]
        )
        return
    from reports import catalogue

    terminal.show(catalogue.examples([(name, asked) for name, (_, asked) in found.items()]))
