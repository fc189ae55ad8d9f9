"""``python -m tests.notebooks.build`` (`make notebooks`): each notebook, run, as .ipynb beside its source.

Cells are numbered, and times and versions left out, so that a notebook changes only where its figures do.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "notebooks"


def sources() -> list[Path]:
    """The notebooks as scripts, in jupytext's percent format."""
    return sorted(FOLDER.glob("*.py"))


def executed(path: Path) -> Any:
    """The notebook after a run in a kernel, from the notebooks' folder; a cell that fails is an error."""
    import jupytext
    from nbclient import NotebookClient

    notebook = jupytext.read(path)
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent)}  # these sources, whatever is installed
    environment.pop("MPLBACKEND", None)  # set by commands that ran in this process; the kernel has its own
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(path.parent)}})
    client.execute(env=environment)
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"], "language_info": {"name": "python"}}
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        cell.metadata = {}
        for place, output in enumerate(cell.get("outputs", [])):
            for kind, data in output.get("data", {}).items():
                if kind.startswith("text/"):
                    output["data"][kind] = _settled(data, f"T_{number}_{place}")
    return notebook


def _settled(text: str, name: str) -> str:
    """Without what differs from run to run: where an object lies, and the name of a table."""
    return re.sub(r"\bT_[0-9a-f]{5}(?=[\"_ ])", name, re.sub(r" at 0x[0-9a-f]+", "", text))


def shown(notebook: Any) -> list[str]:
    """What its cells print and return, as text: words and figures of tables, whatever their looks."""
    texts = []
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            text = output.get("text") or data.get("text/html") or data.get("text/plain") or ""
            text = "".join(text) if isinstance(text, list) else text
            texts.append(
                " ".join(
                    re.sub(r"<style.*?</style>|<[^>]+>|0x[0-9a-f]+", " ", text, flags=re.DOTALL).split()
                )
            )
    return texts


def built(path: Path) -> dict[str, Any]:
    """The .ipynb beside ``path``."""
    found: dict[str, Any] = json.loads(path.with_suffix(".ipynb").read_text("utf-8"))
    return found


def main(names: list[str]) -> None:
    """Write all, or those that are named."""
    import nbformat

    for path in sources():
        if not names or path.stem in names:
            path.with_suffix(".ipynb").write_text(str(nbformat.writes(executed(path))) + "\n", "utf-8")  # type: ignore[no-untyped-call]
            print(path.with_suffix(".ipynb").relative_to(FOLDER.parent))


if __name__ == "__main__":
    main(sys.argv[1:])
