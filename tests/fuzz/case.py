"""One input, a command line with the files it reads, run within this process under limits."""

from __future__ import annotations

import contextlib
import io
import re
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from calibration import cli as calibration
from sim import cli as sim
from tests.fuzz import judge
from workloads import cli as workloads
from workloads.errors import InputError
from workloads.shown import brief, plain

MOST_S = 10.0
"""CPU time of one input."""
MOST_BYTES = 3 << 30
"""Memory of one input, beyond what the process has."""
LARGE = 10_000
"""An input with a larger number asks for much: it may take long."""
ROOT = str(Path(__file__).parents[2])


STOPPED = (130, 143)
"""What a command ends with that Ctrl-C or a signal has stopped: here they mean the fuzzer."""


class TimeIsUpError(BaseException):
    """No error that anything catches."""


class NonsenseError(Exception):
    """Figures that cannot be."""


@dataclass
class Outcome:
    """How an input ended: ``ran``, ``refused`` with a message, or ``stopped``; and what is wrong with that.

    ``root`` tells findings of one cause from others.
    """

    end: str
    wrong: list[str] = field(default_factory=list)
    root: str = ""
    said: str = ""


class Input(Protocol):
    """What a target draws: it can be shown, written down, and run in an empty folder."""

    @property
    def files(self) -> dict[str, bytes]:
        """Files that it needs, by their place."""

    def write(self, folder: Path) -> None:
        """Its files into ``folder``."""

    def run(self, folder: Path) -> Outcome:
        """What comes of it."""


@dataclass(frozen=True)
class Case:
    """``python -m PROGRAM ARGS`` in a folder with ``files``."""

    program: str
    args: list[str]
    files: dict[str, bytes]

    def __str__(self) -> str:
        """As it would be typed, a file by its size."""
        sizes = ", ".join(f"{name} ({len(content)} bytes)" for name, content in self.files.items())
        return f"{self.program} {' '.join(map(repr, self.args))} with {sizes or 'no files'}"

    def write(self, folder: Path) -> None:
        """Its files into ``folder``."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def run(self, folder: Path) -> Outcome:
        """Run it in the empty ``folder``."""
        self.write(folder)
        out, err = io.StringIO(), io.StringIO()
        try:
            with (
                contextlib.chdir(folder),
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
                bounded(MOST_S, MOST_BYTES),
            ):
                code = _code(PROGRAMS[self.program], self.args)
        except TimeIsUpError as error:
            if self._asks_for_much():
                return Outcome("stopped")
            return Outcome("stopped", [f"over {MOST_S:g} s"], "hang: " + last_frames(error))
        except Exception as error:
            root = f"{type(error).__name__}: {last_frames(error) or shortened(str(error))}"
            return Outcome("stopped", ["traceback"], root, "".join(traceback.format_exception(error)))
        if code in STOPPED:
            raise KeyboardInterrupt
        said = err.getvalue()
        if code == 2:
            outcome = Outcome("refused", judge.message(said), said=said)
            partly = said.startswith("error: failed: ")  # a study of which some points are done
            if not outcome.wrong and not partly and self._changed(folder):
                outcome.wrong = ["something was written"]
        else:
            outcome = Outcome("ran", judge.written(folder, self.files), said=said)
            if self.args[0] != "check":  # which prints what it was given
                outcome.wrong += judge.shown(out.getvalue())
            if code not in (0, 1):
                outcome.wrong.append(f"exit code {code}")
            if code == 1 and "--fail-if" not in self.args:
                outcome.wrong.append("exit code 1")
        if outcome.wrong:
            outcome.root = shortened(f"{outcome.wrong[0]} | {said.strip()[-60:]!r}")
        return outcome

    def _changed(self, folder: Path) -> bool:
        here = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        return here != set(self.files)

    def _asks_for_much(self) -> bool:
        texts = [*map(str.encode, self.args), *self.files.values()]
        if any(len(text) > 100 * LARGE for text in texts):
            return True
        numbers = (number for text in texts for number in re.findall(rb"\d+\.?\d*(?:[eE][+-]?\d+)?", text))
        return any(float(number) > LARGE for number in numbers)


def _code(main: Callable[[list[str]], None], args: list[str]) -> int:
    try:
        main(args)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0


@contextlib.contextmanager
def bounded(most_s: float, most_bytes: int) -> Iterator[None]:
    """A limit of CPU time, and one of memory (MemoryError)."""

    def up(number: int, frame: object) -> None:
        raise TimeIsUpError

    before = signal.signal(signal.SIGVTALRM, up)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
    if pages:
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + most_bytes, hard))
    signal.setitimer(signal.ITIMER_VIRTUAL, most_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def last_frames(error: BaseException) -> str:
    """Where in the project it happened: the innermost two places."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.startswith(ROOT) and not re.search(r"/(tests|\.venv)/", frame.filename)
    ]
    return " < ".join(f"{Path(f.filename).relative_to(ROOT)}:{f.lineno} {f.name}" for f in frames[:-3:-1])


def shortened(text: str) -> str:
    """The same for all inputs that differ in their numbers."""
    return re.sub(r"\d[\d.]*(e[+-]?\d+)?", "N", text)[:200]


def experiment(args: list[str]) -> None:
    """``experiment CONFIG [SETTING...]``: run it without files, and judge rows and summary."""
    import json

    from sim.config import load_config
    from sim.experiment import run

    try:
        result = run(load_config(args[0], args[1:]))
        data = result.summary()
    except InputError as error:
        print(f"error: {brief(plain(str(error)))}", file=sys.stderr)
        sys.exit(2)
    except MemoryError:
        print("error: not enough memory; make the workload smaller", file=sys.stderr)
        sys.exit(2)
    wrong = judge.summary(json.loads(json.dumps(data)))
    for done in result.runs.values():
        wrong += judge.records(done.records, len(result.trace)) + judge.records(
            done.twin, len(result.trace)
        )
    if wrong:
        raise NonsenseError("; ".join(dict.fromkeys(wrong)))


PROGRAMS: dict[str, Callable[[list[str]], None]] = {
    "experiment": experiment,
    "sim": sim.main,
    "workloads": workloads.main,
    "calibration": calibration.main,
}
