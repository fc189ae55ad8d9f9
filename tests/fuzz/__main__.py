"""``python -m tests.fuzz --seed 1 --inputs 20000``: random inputs to every command.

Prints how they ended and what was found; exit code 1 if something was. ``--input N`` runs one again and
shows its files and its traceback; ``--target NAME`` leaves the others out (numbers are then other inputs).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from pathlib import Path

from tests.fuzz.fuzzing import Found, Fuzzed, drawn, fuzz, run_one
from tests.fuzz.material import Material
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Exit code 1 if something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--input", type=int, help="run this one alone, and show it")
    parser.add_argument("--target", choices=[target.name for target in TARGETS])
    parser.add_argument("--keep", type=Path, help="write the files of --input into this folder")
    options = parser.parse_args()
    warnings.simplefilter("error")
    targets = [target for target in TARGETS if options.target in (None, target.name)]
    with tempfile.TemporaryDirectory() as home:
        if options.input is not None:
            target, case = drawn(options.seed, options.input, Material(Path(home) / "material"), targets)
            print(target.name, case, sep="\n")
            for name, content in case.files.items():
                print(f"--- {name}", content[:3000].decode("utf-8", "backslashreplace"), sep="\n")
            if options.keep:
                case.write(options.keep)
            outcome = run_one(case, Path(home))
            print("---", outcome.end, outcome.wrong, outcome.root, outcome.said, sep="\n")
            return 1 if outcome.wrong else 0
        start = time.monotonic()
        told = set()

        def tell(fuzzed: Fuzzed, found: Found | None) -> None:
            if found is not None and found.outcome.root not in told:
                told.add(found.outcome.root)
                outcome = found.outcome
                print(f"{found.number}: {found.target}: {outcome.wrong[0]}: {outcome.root}", flush=True)
            if fuzzed.inputs % 1000 == 0:
                print(f"{fuzzed.inputs:,} inputs, {time.monotonic() - start:.0f} s", file=sys.stderr)

        numbers = range(options.first, options.first + options.inputs)
        fuzzed = fuzz(options.seed, numbers, Path(home), targets, tell)
        print(fuzzed.table())
        roots = fuzzed.roots()
        for root, alike in roots.items():
            print(f"{len(alike)} x {root}", f"   inputs {[one.number for one in alike[:8]]}", sep="\n")
        wrong = f"{len(fuzzed.found)} wrong, of {len(roots)} roots"
        print(f"seed {options.seed}: {fuzzed.inputs:,} inputs, {wrong}")
        return 1 if fuzzed.found else 0


if __name__ == "__main__":
    sys.exit(main())
