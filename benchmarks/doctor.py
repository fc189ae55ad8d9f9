"""Times the doctor on a folder of transcripts: ``python -m benchmarks.doctor``.

The folder is made of the recorded calls with bills, repeated under new names until there are 21,000
calls of 273 sessions: rows as Claude Code writes them, three for each reply, with as much text as the
tokens stand for. CPU seconds of the whole command, start and page included, without what-ifs and with all.
"""

from __future__ import annotations

import gzip
import json
import random
import resource
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

from benchmarks.speed import ROOT

BILLED = ROOT.parent / "shared" / "data" / "billed_sessions" / "claude_code.jsonl.gz"
CALLS, SESSIONS = 21_000, 273
CHARACTERS_PER_TOKEN = 3
LONGEST = 40_000
"""Tokens that one message adds at most."""
START = datetime(2026, 1, 5, tzinfo=UTC)


class Writer:
    """Writes lanes as transcripts into a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._random, self._rows = folder, random.Random(3), 0
        letters = "abcdefghijklmnopqrstuvwxyz      "
        self._text = "".join(self._random.choices(letters, k=CHARACTERS_PER_TOKEN * LONGEST * 2))

    def write(self, lane: dict[str, Any], number: int) -> int:
        """A lane as session ``number``, or as one of its sub-agents; returns the number of its calls."""
        session, agent = f"{number % SESSIONS:08x}-aaaa-4bbb-8ccc-dddddddddddd", f"a{number:07x}"
        start = START + timedelta(minutes=97 * number)
        common = {"sessionId": session, "version": lane["client"], "cwd": "/home/me/project"}
        path = self._folder / f"{session}.jsonl"
        if number >= SESSIONS:
            common |= {"agentId": agent}
            path = self._folder / session / "subagents" / f"agent-{agent}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            before = 0
            for call in lane["requests"]:
                for kind, at_s, rest in self._call(call, before):
                    stamp = (start + timedelta(seconds=at_s)).isoformat()
                    self._rows += 1
                    row = {"type": kind, "uuid": f"u{self._rows}", "timestamp": stamp, **common, **rest}
                    file.write(json.dumps(row) + "\n")
                before = call["in"]
        return len(lane["requests"])

    def _call(self, call: dict[str, Any], before: int) -> list[tuple[str, float, dict[str, Any]]]:
        """The rows of a call: a cut of the history, what is asked, three rows of the reply."""
        billed, at_s = call["billed"], call["t"]
        usage = {
            "input_tokens": billed["input"],
            "cache_read_input_tokens": billed["read"],
            "cache_creation_input_tokens": billed["write_5m"] + billed["write_1h"],
            "cache_creation": {"ephemeral_1h_input_tokens": billed["write_1h"]},
            "output_tokens": call["out"],
        }
        rows: list[tuple[str, float, dict[str, Any]]] = []
        if "boundary" in call["how"]:
            rows.append(("system", at_s, {"subtype": call["how"]}))
        asked = {"role": "user", "content": self._words(max(20, min(LONGEST, call["in"] - before)))}
        rows.append(("user", at_s, {"message": asked}))
        name = f"msg_{self._rows}"
        for part in range(1, 4):
            content = [{"type": "text", "text": self._words(40)}]
            message = {"id": name, "role": "assistant", "model": call["model"], "content": content}
            rows.append(
                ("assistant", at_s + call["api_time"] * part / 3, {"message": {**message, "usage": usage}})
            )
        return rows

    def _words(self, tokens: int) -> str:
        length = CHARACTERS_PER_TOKEN * tokens
        begin = self._random.randrange(len(self._text) - length)
        return self._text[begin : begin + length]


def main() -> None:
    """Write the folder, measure, and print."""
    if not BILLED.is_file():
        print("The recorded bills are not on this machine: nothing to measure.")
        return
    with gzip.open(BILLED) as file:
        lanes = [json.loads(line) for line in file]
    with tempfile.TemporaryDirectory() as temporary:
        folder, calls = Path(temporary) / "projects", 0
        writer = Writer(folder)
        for number, lane in enumerate(cycle(lanes)):
            if calls >= CALLS:
                break
            calls += writer.write(lane, number)
        size = sum(path.stat().st_size for path in folder.rglob("*.jsonl"))
        print(f"{calls:,} calls, {SESSIONS} sessions, {number} threads, {size / 1e6:.0f} MB")
        for name, options in (("without what-ifs", ["--no-what-if"]), ("with all what-ifs", [])):
            out = str(Path(temporary) / "out")
            command = [
                sys.executable,
                "-m",
                "sim",
                "doctor",
                str(folder),
                "--quiet",
                "--out",
                out,
                *options,
            ]
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            taken_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            print(f"{name:20}{taken_s:8.1f} s of CPU")


if __name__ == "__main__":
    main()
