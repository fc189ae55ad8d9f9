"""The commands of the documentation, run as they are written.

A page is read from top to bottom in one empty folder:

- a fence with a title (``yaml title="chat.yaml"``) is written to that file,
- a ``diff`` fence with a title is applied to that file of a copy of the sources,
- an ``sh`` fence is run by a shell, and must end with exit code 0,
- a ``text`` fence right behind it is what it prints; a line ``...`` stands for any number of lines.

A comment before an ``sh`` fence, such as ``<!-- not run: REASON -->``, leaves it out; ``slow`` leaves it to
the slow tests; ``needs ../shared`` leaves it out where the public data are not there.

    python -m tests.docs.examples [--slow] [PAGE ...]

runs the pages (default: all that have such fences) and writes what is printed now into them; read the diff.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FENCE = re.compile(
    r'^```(?P<language>[a-z]+)(?: title="(?P<title>[^"]+)")?\n(?P<body>.*?)^```\n', re.MULTILINE | re.DOTALL
)
MARK = re.compile(r"<!-- (?P<marks>[^:>]+): [^>]+ -->\s*\Z")
NOT_RUN, SLOW, SHARED = "not run", "slow", "needs ../shared"
PACKAGES = ("sim", "workloads", "calibration", "reports")
ANY = "..."


class Fence(NamedTuple):
    """One fenced block of a page."""

    language: str
    title: str | None
    body: str
    start: int
    """Where its body begins in the text of the page."""
    marks: frozenset[str]
    """What is said about running it, if it is a command."""
    adjacent: bool
    """Whether nothing but blank lines stands between it and the fence before."""


class Mismatch(AssertionError):
    """What a command prints is not what the page says."""


def pages() -> list[Path]:
    """The pages that have commands to be run."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [path for path in found if any(_commands(path.read_text("utf-8")))]


def runs(fence: Fence, *, slow: bool) -> bool:
    """Whether the command is run here, among the slow tests or the others."""
    there = (ROOT.parent / "shared" / "data").is_dir()
    if fence.language != "sh" or NOT_RUN in fence.marks or (SHARED in fence.marks and not there):
        return False
    return slow or SLOW not in fence.marks


def has(path: Path, mark: str | None) -> bool:
    """Whether a page has a command with that mark, or one with none."""
    return any(
        (mark in fence.marks) if mark else not fence.marks for fence in _commands(path.read_text("utf-8"))
    )


def fences(text: str) -> Iterator[Fence]:
    """The fenced blocks of a page in order."""
    end = 0
    for fence in FENCE.finditer(text):
        between = text[end : fence.start()]
        yield Fence(
            fence["language"],
            fence["title"],
            fence["body"],
            fence.start("body"),
            frozenset(found["marks"].split(", ")) if (found := MARK.search(between)) else frozenset(),
            end > 0 and not between.strip(),
        )
        end = fence.end()


def _commands(text: str) -> Iterator[Fence]:
    return (fence for fence in fences(text) if fence.language == "sh" and NOT_RUN not in fence.marks)


def play(path: Path, folder: Path, *, slow: bool = True, write: bool = False) -> int:
    """Run a page in ``folder`` and hold what is printed against it; with ``write`` put it there instead.

    Gives the number of commands that were run.
    """
    text = path.read_text("utf-8")
    environment = _environment(text, folder)
    printed: str | None = None
    edits: list[tuple[Fence, str]] = []
    ran = 0
    for fence in fences(text):
        if fence.language == "text" and fence.adjacent and printed is not None:
            if write:
                edits.append((fence, _abridged(fence.body, printed)))
            elif not _matches(fence.body, printed):
                raise Mismatch(f"{path.name}:\n{fence.body}\n--- is now ---\n{printed}")
        printed = None
        if fence.language == "diff" and fence.title is not None:
            _patch(fence, Path(environment["PYTHONPATH"]))
        elif fence.title is not None:
            target = (folder if "/" not in fence.title else Path(environment["PYTHONPATH"])) / fence.title
            target.write_text(fence.body, "utf-8")
        elif runs(fence, slow=slow):
            printed = _shell(fence.body, folder, environment)
            ran += 1
    if write:
        for fence, body in reversed(edits):
            text = text[: fence.start] + body + text[fence.start + len(fence.body) :]
        path.write_text(text, "utf-8")
    return ran


def _environment(text: str, folder: Path) -> dict[str, str]:
    """As at a terminal of 88 columns, with nothing of the one who runs the tests."""
    sources = ROOT
    if any(fence.title and "/" in fence.title for fence in fences(text)):  # the page changes the sources
        sources = folder.parent / f"{folder.name}-sources"
        for package in PACKAGES:
            shutil.copytree(
                ROOT / package, sources / package, ignore=shutil.ignore_patterns("__pycache__", "*.so")
            )
    (folder / "configs").symlink_to(ROOT / "configs")
    if not (shared := folder.parent / "shared").exists() and (ROOT.parent / "shared").is_dir():
        shared.symlink_to((ROOT.parent / "shared").resolve())
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(sources),
        "HOME": str(folder),
        "COLUMNS": "88",
        "LANG": "C.UTF-8",
        "PYTHONWARNINGS": "error",
    }


def _shell(commands: str, folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-e", "-c", commands],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    if done.returncode:
        raise Mismatch(f"exit code {done.returncode} of\n{commands}\n{done.stdout}")
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.strip("\n").splitlines())


def _patch(fence: Fence, sources: Path) -> None:
    """Apply a diff that has only the lines around a change, without line numbers.

    Lines with a minus or a blank stand in the file in this order, and only there.
    """
    assert fence.title is not None
    path = sources / fence.title
    lines = fence.body.splitlines(keepends=True)
    old = "".join(line[1:] for line in lines if not line.startswith("+"))
    new = "".join(line[1:] for line in lines if not line.startswith("-"))
    content = path.read_text("utf-8")
    if content.count(old) != 1:
        raise Mismatch(f"{fence.title} has these lines {content.count(old)} times:\n{old}")
    path.write_text(content.replace(old, new), "utf-8")


def _matches(shown: str, printed: str) -> bool:
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == ANY else re.escape(line.rstrip()) + r"\n"
        for line in shown.splitlines()
    )
    return re.fullmatch(pattern, printed) is not None


def _abridged(shown: str, printed: str) -> str:
    """``printed``, with a part left out where ``shown`` leaves one out, and as much shown around it."""
    lines, now = shown.splitlines(), printed.splitlines()
    if ANY not in lines:
        return printed
    first, last = lines.index(ANY), len(lines) - lines[::-1].index(ANY)
    if len(lines) - 1 >= len(now):
        return printed
    tail = now[len(now) - (len(lines) - last) :] if last < len(lines) else []
    return "".join(f"{line}\n" for line in [*now[:first], ANY, *tail])


def main(names: list[str], *, slow: bool) -> None:
    """Write what the commands print now into the pages."""
    for path in [Path(name).resolve() for name in names] or pages():
        with tempfile.TemporaryDirectory() as outer:
            folder = Path(outer) / "here"
            folder.mkdir()
            print(path.relative_to(ROOT), play(path, folder, slow=slow, write=True), "commands", flush=True)
    translate()


def translate() -> None:
    """Show in the translated README what the README shows."""
    path = ROOT / "README.zh-CN.md"
    text = path.read_text("utf-8")
    pairs = list(zip(fences((ROOT / "README.md").read_text("utf-8")), fences(text), strict=True))
    for original, fence in reversed(pairs):
        if fence.language == "text":
            text = text[: fence.start] + original.body + text[fence.start + len(fence.body) :]
    path.write_text(text, "utf-8")


if __name__ == "__main__":
    main([name for name in sys.argv[1:] if name != "--slow"], slow="--slow" in sys.argv)
