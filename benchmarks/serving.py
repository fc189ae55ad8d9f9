"""What a client measures of a live server, beside what the simulator has recorded.

    python -m benchmarks.serving [--streams 100] [--requests 300] [--pause-ms 0]  # TTFT and ITL, in ms

The server runs in a process of its own at speed 1. The client here is written as the request functions of
vLLM's benchmark are: it streams a chat completion, takes the time of each chunk that has choices, and the
usage from the one that has none. It speaks HTTP by itself, on asyncio's streams, and takes 20 us for a
chunk, as aiohttp does, on which vLLM's stands; slower libraries would measure themselves.

Without a pause a client sends its next request when its reply ends, which is when others get a token; with
one it waits for a random time up to that, so requests come at any moment.

On a machine that is busy otherwise times say nothing of the server; the CPU time that a token costs does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sim.fleet.garbage import no_garbage_collection
from sim.server.api.desk import ROW

CONFIG = """
name: serving
workload: {kind: script, messages: {a: 1, b: 1}, requests: [{prompt: [a], reply: b, at_s: 0}]}
warmup_s: 0
until_s: end
systems: {engine: {kind: engine, model: llama-3.1-70b, hardware: h100-sxm, tensor_parallel: 4}}
"""


@dataclass
class Output:
    """What a client knows of one request."""

    row: int = -1
    ttft_s: float = 0.0
    itl_s: list[float] = field(default_factory=list)
    usage: dict[str, Any] = field(default_factory=dict)
    error: str = ""


class Connection:
    """One connection, kept for request after request."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def chat(self, words: str, tokens: int) -> Output:
        """Stream one chat completion of exactly so many tokens."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        body = {
            "model": "m",
            "messages": [{"role": "user", "content": words}],
            "max_completion_tokens": tokens,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        raw = json.dumps(body).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(raw)}\r\n\r\n"
        out = Output()
        before = sent = time.perf_counter()
        writer.write(head.encode() + raw)
        headers = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        if not headers.startswith("http/1.1 200"):
            self.close()
            out.error = headers.split("\r\n")[0]
            return out
        found = re.search(rf"{ROW}: (\d+)", headers)
        out.row = int(found[1]) if found else -1
        while length := int(await reader.readline(), 16):
            chunk = (await reader.readexactly(length + 2))[:-2]
            now = time.perf_counter()
            for event in chunk.split(b"\n\n"):
                if not event.startswith(b"data: {"):
                    continue
                data = json.loads(event[6:])
                if not data["choices"]:
                    out.usage = data["usage"]
                elif not out.ttft_s:
                    out.ttft_s = now - sent
                    before = now
                else:
                    out.itl_s.append(now - before)
                    before = now
        await reader.readline()
        return out

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


@contextmanager
def server(folder: Path) -> Iterator[tuple[int, int]]:
    """A server in a process of its own: its port and its process; its run is in ``folder``/run."""
    config = folder / "serving.yaml"
    config.write_text(CONFIG)
    command = [
        sys.executable,
        "-m",
        "sim",
        "serve",
        str(config),
        "--port",
        "0",
        "--out",
        str(folder / "run"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            found = re.search(r":(\d+), speed", process.stdout.readline())
            if found is None:
                raise RuntimeError("the server did not start")
            yield int(found[1]), process.pid
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate()
        if process.returncode:
            raise RuntimeError(f"the server ended with {process.returncode}")


async def load(
    port: int, streams: int, requests: int, tokens: int, words: int, ramp_s: float, pause_s: float = 0.0
) -> list[Output]:
    """``streams`` at any time, ``requests`` in all; the first of them spread over ``ramp_s``.

    ``pause_s``: up to so long, at random, a client waits after a reply.
    """
    left, pauses = iter(range(requests)), random.Random(1)
    out: list[Output] = []

    async def one(number: int) -> None:
        connection = Connection(port)
        await asyncio.sleep(ramp_s * number / streams)
        try:
            for request in left:
                out.append(await connection.chat(f"{request} asks: " + "word " * words, tokens))
                await asyncio.sleep(pauses.uniform(0, pause_s))
        finally:
            connection.close()

    await asyncio.gather(*(one(number) for number in range(streams)))
    return out


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Compared:
    """Differences of what was measured and what was recorded, in ms."""

    requests: int
    itl_ms: float
    """Recorded, in the mean."""
    ttft_off_ms: np.ndarray[Any, Any]
    """By request."""
    itl_off_ms: np.ndarray[Any, Any]
    """Of the mean gap, by request."""
    gaps_off_ms: dict[str, float]
    """Of percentiles of all gaps."""
    server_share: float
    """Of one core, while it served."""
    cpu_us: dict[str, float]
    """CPU time of server and client for each token of a reply, with its share of what a request costs."""
    load_average: float
    """Of the minute that ended as the requests did: how many processes wanted to compute."""

    def lines(self) -> list[str]:
        def spread(name: str, off: np.ndarray[Any, Any]) -> str:
            p50, p95, p99 = np.percentile(np.abs(off), [50, 95, 99])
            worst = np.abs(off).max()
            return (
                f"{name}: off by {p50:.2f} (p50), {p95:.2f} (p95), {p99:.2f} (p99), {worst:.2f} ms (worst)"
            )

        cpu = ", ".join(f"{name} {us:.0f} us" for name, us in self.cpu_us.items())
        gaps = ", ".join(f"{name} {off:+.2f}" for name, off in self.gaps_off_ms.items())
        return [
            f"{self.requests} requests, mean ITL {self.itl_ms:.2f} ms, server busy {self.server_share:.0%}",
            f"CPU time of a token: {cpu}; load average {self.load_average:.1f}",
            spread("TTFT", self.ttft_off_ms),
            spread("ITL of a request", self.itl_off_ms),
            f"ITL of all gaps: {gaps} ms",
        ]


def compare(
    streams: int,
    requests: int,
    tokens: int = 128,
    words: int = 200,
    ramp_s: float = 3.0,
    pause_s: float = 0.0,
) -> Compared:
    """Measure a server under load and hold that against its records."""
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with server(folder) as (port, pid):
            asyncio.run(load(port, 1, 1, 4, 10, 0))  # what is done once is done now
            of_server_s, of_client_s, began_s = cpu_s(pid), time.process_time(), time.monotonic()
            with no_garbage_collection():  # here: that of the server is part of what is measured
                outputs = asyncio.run(load(port, streams, requests, tokens, words, ramp_s, pause_s))
            of_server_s, of_client_s = cpu_s(pid) - of_server_s, time.process_time() - of_client_s
            took_s, load_average = time.monotonic() - began_s, os.getloadavg()[0]
        table = pq.read_table(folder / "run" / "requests.parquet").to_pydict()
        summary = json.loads((folder / "run" / "summary.json").read_text())
    recorded = summary["systems"]["engine"]
    gaps = 1e3 * np.array([gap for out in outputs for gap in out.itl_s])
    percentiles = {"p50": 50, "p90": 90, "p99": 99}
    return Compared(
        requests=len(outputs),
        itl_ms=recorded["mean_itl_ms"],
        ttft_off_ms=np.array([1e3 * out.ttft_s - table["ttft_ms"][out.row] for out in outputs]),
        itl_off_ms=np.array([1e3 * np.mean(out.itl_s) - table["tpot_ms"][out.row] for out in outputs]),
        gaps_off_ms={
            name: float(np.percentile(gaps, rank)) - recorded[f"{name}_itl_ms"]
            for name, rank in percentiles.items()
        },
        server_share=of_server_s / took_s,
        cpu_us={
            name: 1e6 * seconds / (requests * tokens)
            for name, seconds in (("server", of_server_s), ("client", of_client_s))
        },
        load_average=load_average,
    )


def main() -> None:
    """Print what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--pause-ms", type=float, default=0.0)
    options = parser.parse_args()
    found = compare(options.streams, options.requests, pause_s=options.pause_ms / 1000)
    print("\n".join(found.lines()))


if __name__ == "__main__":
    main()
