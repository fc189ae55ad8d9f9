"""How fast logs are read: time, memory and megabytes a second on generated files.

    python -m benchmarks.importing [--folder DIR] [--requests 49000] [--megabytes 1000]

Writes a transcript of so many calls as one agent file (Claude Code's rows, OpenAI's request log, WEKA's
sessions), and a folder of transcripts with large tool results, as ~/.claude has them. Every file is read
in a process of its own, whose processor time and peak memory are told: the former is the time on a machine
that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workloads.registry import FORMATS

Row = dict[str, Any]
WORDS = [f"word{i}" for i in range(997)]
LANE_CALLS = 150
HISTORY_CALLS = 15
"""Calls of a session whose whole history is logged each time: such files grow with the square of it."""


def text(rng: random.Random, characters: int) -> str:
    """Words and line ends, about so long."""
    return " ".join(rng.choices(WORDS, k=max(1, characters // 8))) + "\n" * (characters // 400)


def transcript(rng: random.Random, session: str, calls: int, result_characters: int) -> Iterator[Row]:
    """A session of Claude Code: a question, then replies with a tool call and its result."""
    base = {"sessionId": session, "version": "2.1.97", "cwd": "/home/me/project", "userType": "external"}
    at, prompt = 1_790_000_000.0, 15_000
    content: Any = text(rng, 300)
    for call in range(calls):
        at += rng.expovariate(0.1)
        user = {"role": "user", "content": content}
        yield base | {"type": "user", "uuid": f"u{call}", "timestamp": stamp(at), "message": user}
        used = {
            "input_tokens": 5,
            "cache_read_input_tokens": prompt - 1500,
            "cache_creation_input_tokens": 1495,
            "output_tokens": 220,
        }
        blocks = [
            {"type": "text", "text": text(rng, 400)},
            {"type": "tool_use", "id": f"t{call}", "name": "Bash", "input": {"command": text(rng, 200)}},
        ]
        for block in blocks:
            at += 3
            message = {"id": f"{session}-{call}", "model": "claude", "content": [block], "usage": used}
            yield base | {
                "type": "assistant",
                "uuid": f"a{call}",
                "timestamp": stamp(at),
                "message": message,
            }
        result = text(rng, round(rng.expovariate(1 / result_characters)))
        content = [{"type": "tool_result", "tool_use_id": f"t{call}", "content": result}]
        prompt += 220 + max(10, len(result) // 4)


def stamp(at: float) -> str:
    """ISO 8601 with milliseconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at * 1000) % 1000:03d}Z"


def request_log(rng: random.Random, requests: int) -> Iterator[Row]:
    """OpenAI's requests, each with the whole history."""
    system = {"role": "system", "content": text(rng, 4000)}
    for number in range(requests // HISTORY_CALLS):
        history: list[Row] = [system]
        for call in range(HISTORY_CALLS):
            history.append({"role": "user", "content": text(rng, 400)})
            reply = {"role": "assistant", "content": text(rng, 800)}
            used = {"prompt_tokens": sum(len(m["content"]) // 4 for m in history), "completion_tokens": 200}
            yield {
                "timestamp": 1_790_000_000 + number * 7 + call * 60,
                "request": {"model": "m", "messages": history},
                "response": {"choices": [{"message": reply}], "usage": used},
            }
            history.append(reply)


def sessions(rng: random.Random, requests: int) -> Iterator[Row]:
    """WEKA's sessions with their lists of block ids."""
    for number in range(requests // LANE_CALLS):
        blocks, calls = 250, []
        for call in range(LANE_CALLS):
            blocks += rng.randrange(1, 30)
            ids = list(range(1, blocks + 1))
            calls.append({"t": call * 20.0, "type": "s", "in": blocks * 64, "out": 200, "hash_ids": ids})
        yield {"id": f"s{number}", "block_size": 64, "hash_id_scope": "local", "requests": calls}


def write(path: Path, rows: Iterator[Row]) -> None:
    """JSON Lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")


def generate(folder: Path, requests: int, megabytes: int) -> dict[str, tuple[str, Path]]:
    """The files, by what they are."""
    rng = random.Random(1)
    one = folder / "one" / "agent.jsonl"
    write(
        one,
        (
            row
            for lane in range(requests // LANE_CALLS)
            for row in transcript(rng, f"s{lane}", LANE_CALLS, 2000)
        ),
    )
    write(folder / "log" / "requests.jsonl", request_log(rng, requests))
    write(folder / "weka" / "sessions.jsonl", sessions(rng, requests))
    written, number, claude = 0, 0, folder / "claude" / "projects"
    while written < megabytes * 10**6:
        path = claude / f"p{number % 20}" / f"s{number}.jsonl"
        write(path, transcript(rng, f"f{number}", LANE_CALLS, 20_000))
        written, number = written + path.stat().st_size, number + 1
    return {
        f"one transcript of {requests:,} calls": ("claude_code", one),
        f"request log of {requests:,} calls": ("openai_messages", folder / "log" / "requests.jsonl"),
        f"block ids of {requests:,} calls": ("claude_code_compact", folder / "weka" / "sessions.jsonl"),
        f"folder of {number} transcripts": ("claude_code", folder / "claude"),
    }


def read(kind: str, path: Path) -> None:
    """Read one file in this process and print its figures as JSON."""
    importer = FORMATS[kind].model_validate({"kind": "trace", "format": kind, "path": str(path)})
    start, start_cpu = time.perf_counter(), time.process_time()
    trace = importer.build(0, path.parent)
    took_s, cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"requests": len(trace), "s": took_s, "cpu_s": cpu_s, "peak_gb": peak_gb}))


def main() -> None:
    """Generate, read, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--requests", type=int, default=49_000)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--read", nargs=2, metavar=("FORMAT", "PATH"))
    options = parser.parse_args()
    if options.read:
        read(options.read[0], Path(options.read[1]))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        files = generate(Path(folder), options.requests, options.megabytes)
        print(f"{'file':38} {'requests':>9} {'MB':>7} {'s':>6} {'CPU s':>6} {'MB/CPU s':>9} {'peak GB':>8}")
        for what, (kind, path) in files.items():
            size = (
                sum(file.stat().st_size for file in path.rglob("*"))
                if path.is_dir()
                else path.stat().st_size
            )
            command = [sys.executable, "-m", "benchmarks.importing", "--read", kind, str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            row = json.loads(done.stdout)
            print(
                f"{what:38} {row['requests']:9,} {size / 1e6:7.0f} {row['s']:6.1f} {row['cpu_s']:6.1f} "
                f"{size / 1e6 / row['cpu_s']:9.0f} {row['peak_gb']:8.2f}"
            )


if __name__ == "__main__":
    main()
