"""Which versions the tests run with: ``python -m tests.dependencies lock`` and ``... floors``.

``lock`` prints what is installed here of everything that the extra ``test`` needs, as a file of
constraints (requirements-test.lock); ``floors`` the oldest version that pyproject.toml allows of each that
the package itself needs (``make floors``).
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements-test.lock"
OWN = "prefixsim"


def direct(*extras: str) -> list[Requirement]:
    """What pyproject.toml asks for, with these extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    texts, left = list(project["dependencies"]), list(extras)
    while left:
        texts += project["optional-dependencies"][left.pop()]
        left += [extra for asked in map(Requirement, texts) if asked.name == OWN for extra in asked.extras]
        texts = [text for text in texts if Requirement(text).name != OWN]
    return [Requirement(text) for text in texts]


def locked() -> dict[str, str]:
    """Every package that the tests need, directly or not, with the version that is installed."""
    found: dict[str, str] = {}
    left = direct("test")
    while left:
        asked = left.pop()
        if canonicalize_name(asked.name) in found and not asked.extras:
            continue
        about = metadata.distribution(asked.name)
        found[canonicalize_name(asked.name)] = about.version.partition("+")[0]  # of any build of torch
        left += _needed(about, asked.extras)
    return dict(sorted(found.items()))


def _needed(about: metadata.Distribution, extras: set[str]) -> Iterator[Requirement]:
    for text in about.requires or []:
        asked = Requirement(text)
        wanted = [{"extra": extra} for extra in ("", *extras)]
        if asked.marker is None or any(asked.marker.evaluate(extra) for extra in wanted):
            yield asked


def floors() -> dict[str, str]:
    """The oldest version of each dependency of the package itself."""
    found = {}
    for asked in direct():
        (least,) = re.findall(r"(?:>=|==)\s*([\w.]+)", str(asked.specifier))
        found[asked.name] = least
    return found


if __name__ == "__main__":
    for name, version in {"lock": locked, "floors": floors}[sys.argv[1]]().items():
        print(f"{name}=={version}")
