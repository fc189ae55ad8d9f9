"""Many streams for a long time: does a live server lose any, and does its memory stay bounded?

    python -m benchmarks.soak [--streams 1000] [--seconds 600]

The server and its clients are those of ``benchmarks.serving``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.serving import Connection, server


def memory_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass(slots=True)
class Soaked:
    """What became of many streams over a long time."""

    sent: int = 0
    failed: int = 0
    completed: int = 0
    """By the server's records."""
    tokens: int = 0
    memory_mib: list[float] = field(default_factory=list)
    """Of the server, at equal intervals."""
    at_work: int = -1
    """Requests that the server still holds once all clients have theirs."""

    def lines(self) -> list[str]:
        memory = ", ".join(f"{mib:.0f}" for mib in self.memory_mib)
        return [
            f"{self.sent:,} requests, {self.failed} failed, {self.completed:,} completed by the records; "
            f"{self.tokens:,} tokens; {self.at_work} left behind",
            f"memory of the server, MiB: {memory}",
        ]


def soak(streams: int, seconds: float, tokens: int = 400, words: int = 100, looks: int = 10) -> Soaked:
    """Keep ``streams`` streams open for ``seconds``."""
    import urllib.request

    import pyarrow.parquet as pq

    found = Soaked()

    async def run(port: int, pid: int) -> None:
        end = time.monotonic() + seconds

        async def one(number: int) -> None:
            connection = Connection(port)
            try:
                while time.monotonic() < end:
                    found.sent += 1
                    out = await connection.chat(f"{number} at {found.sent}: " + "word " * words, tokens)
                    whole = out.usage.get("completion_tokens") == tokens and len(out.itl_s) < tokens
                    found.failed += not whole
                    found.tokens += out.usage.get("completion_tokens", 0)
            finally:
                connection.close()

        async def look() -> None:
            while True:
                found.memory_mib.append(memory_mib(pid))
                await asyncio.sleep(seconds / looks)

        looking = asyncio.create_task(look())
        await asyncio.gather(*(one(number) for number in range(streams)))
        looking.cancel()

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with server(folder) as (port, pid):
            asyncio.run(run(port, pid))
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/admin/state") as reply:
                found.at_work = json.load(reply)["at_work"]
        table = pq.read_table(folder / "run" / "requests.parquet").to_pydict()
        own = [i for i, system in enumerate(table["system"]) if system == "engine"]
        found.completed = sum(table["status"][i] == "completed" for i in own)
    return found


def main() -> None:
    """Print what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=600)
    options = parser.parse_args()
    print("\n".join(soak(options.streams, options.seconds).lines()))


if __name__ == "__main__":
    main()
