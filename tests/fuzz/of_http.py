"""Requests to the server: bodies of every API with odd values and bytes, before a system that runs live."""

from __future__ import annotations

import asyncio
import json
import traceback
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from sim.config import Config
from tests.fuzz.case import MOST_BYTES, MOST_S, Outcome, TimeIsUpError, bounded, last_frames, shortened
from tests.fuzz.judge import UNCLEAR, finite
from tests.fuzz.material import SYSTEMS, WORKLOADS, Data, Material
from tests.fuzz.odd import odd
from tests.fuzz.text import mangled
from tests.fuzz.tree import changed

HELLO = [{"role": "system", "content": "You are brief. " * 30}, {"role": "user", "content": "Hello there"}]
CLAUDE = {"type": "text", "text": "You are brief. " * 80, "cache_control": {"type": "ephemeral"}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
BODIES: dict[str, tuple[Data, ...]] = {
    "/v1/chat/completions": (
        {"model": "m", "messages": HELLO, "max_tokens": 8},
        {"model": "m", "messages": HELLO, "stream": True, "n": 2,
         "stream_options": {"include_usage": True}},
        {"model": "m", "messages": [*HELLO, {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "3"}], "tools": [TOOL], "tool_choice": "auto"},
    ),
    "/v1/completions": (
        {"model": "m", "prompt": "Once upon a time", "max_tokens": 5},
        {"model": "m", "prompt": [1, 2, 3, 4], "stream": True, "ignore_eos": True, "min_tokens": 3},
    ),
    "/v1/responses": (
        {"model": "m", "input": "Hello", "instructions": "Be brief.", "max_output_tokens": 9},
        {"model": "m", "input": [{"role": "user", "content": "Hello"}], "stream": True},
    ),
    "/v1/messages": (
        {"model": "m", "max_tokens": 9, "system": [CLAUDE], "messages": HELLO[1:]},
        {"model": "m", "max_tokens": 9, "stream": True, "messages": [
            {"role": "user", "content": [CLAUDE, {"type": "text", "text": "Hi"}]}]},
    ),
    "/v1/messages/count_tokens": ({"model": "m", "messages": [{"role": "user", "content": "Hi"}]},),
    "/tokenize": ({"prompt": "Hello there"}, {"messages": HELLO}),
    "/detokenize": ({"tokens": [1, 2, 3]},),
    "/admin/config": (
        {"latency_factor": 2.0}, {"limits": {"requests_per_min": 5}}, {"replies": {"tokens": 9}},
        {"faults": {"error_share": 0.5, "error_status": 503}},
    ),
}  # fmt: skip
GET = (
    "/",
    "/health",
    "/version",
    "/v1/models",
    "/v1/models/m",
    "/metrics",
    "/admin/state",
    "/admin/config",
    "/x",
)
OPTIONS: tuple[Data, ...] = (
    {"replies": {"tokens": 6}},
    {"replies": {"kind": "echo"}, "limits": {"input_tokens_per_min": 400}},
    {"replies": {"tokens": 6, "tool_calls": 1}, "any_model": False, "model": "m", "max_body_bytes": 2000},
)
SERVED = [system for system in SYSTEMS if system["kind"] != "cache" and ".yaml" not in str(system)]
"""Systems that need no files."""
REQUESTS = 4
"""Of an input, one after the other to the same server."""
Sent = tuple[str, str, dict[str, str], bytes]
"""Method, path, headers, body."""


@dataclass(frozen=True)
class Conversation:
    """Some requests to one server."""

    system: Data
    options: Data
    sent: list[Sent]

    @property
    def files(self) -> dict[str, bytes]:
        """The bodies."""
        return {f"{number}.json": body for number, (*_, body) in enumerate(self.sent)}

    def __str__(self) -> str:
        """As a list of requests."""
        lines = [f"{method} {path} {headers}" for method, path, headers, _ in self.sent]
        return "\n".join([f"{json.dumps(self.system)} {self.options}", *lines])

    def write(self, folder: Path) -> None:
        """The bodies into ``folder``."""
        for name, body in self.files.items():
            (folder / name).write_bytes(body)

    def run(self, folder: Path) -> Outcome:
        """All of them; what is wrong with the first answer that is wrong."""
        try:
            with bounded(MOST_S, MOST_BYTES):
                return asyncio.run(self._talk())
        except TimeIsUpError as error:
            return Outcome("stopped", [f"over {MOST_S:g} s"], "hang: " + last_frames(error))
        except TimeoutError:
            return Outcome("stopped", ["no answer"], "no answer")
        except Exception as error:
            root = f"{type(error).__name__}: {last_frames(error) or shortened(str(error))}"
            return Outcome("stopped", ["traceback"], root, "".join(traceback.format_exception(error)))

    async def _talk(self) -> Outcome:
        import httpx

        from sim.server.api import serving
        from sim.server.api.tokens import FourCharacters
        from sim.server.opening import open_system
        from sim.server.options import ServerOptions

        data = {"name": "fuzz", "workload": WORKLOADS[0], "systems": {"one": self.system}}
        live = open_system(Config.model_validate(data).resolved(), speed=float("inf"))
        app = serving.application(live, ServerOptions.model_validate(self.options), FourCharacters())
        passing = asyncio.create_task(live.run())
        outcome = Outcome("refused")
        try:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                for method, path, headers, body in self.sent:
                    async with asyncio.timeout(60):
                        reply = await client.request(method, path, headers=headers, content=body)
                    wrong = _wrong(reply.status_code, reply.headers.get("content-type", ""), reply.content)
                    if wrong:
                        return Outcome("ran", wrong, shortened(f"{path}: {wrong[0]}"), reply.text[:2000])
                    if reply.status_code < 300:
                        outcome.end = "ran"
        finally:
            live.stop()
            await passing
        live.records().check()
        return outcome


def _wrong(status: int, kind: str, content: bytes) -> list[str]:
    if status >= 400:
        return _error(status, content)
    wrong = []
    if kind.startswith("text/event-stream"):
        events = [line[6:] for line in content.decode().splitlines() if line.startswith("data: ")]
        bodies = [json.loads(event) for event in events if event != "[DONE]"]
        if not bodies:
            wrong.append("a stream without events")
    else:
        bodies = [json.loads(content)] if kind.startswith("application/json") else []
    for body in bodies:
        wrong += finite(body)
        usage = body.get("usage") if isinstance(body, dict) else None
        if isinstance(usage, dict) and "prompt_tokens" in usage:
            cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
            if cached > usage["prompt_tokens"]:
                wrong.append("more tokens cached than there are")
            if usage["total_tokens"] != usage["prompt_tokens"] + usage["completion_tokens"]:
                wrong.append("a total that is no sum")
    return wrong


def _error(status: int, content: bytes) -> list[str]:
    try:
        error: Any = json.loads(content)["error"]
        said = error["message"]
    except (ValueError, KeyError, TypeError):
        return [f"status {status} without an error in JSON"]
    if status == 500:
        return ["status 500"]
    if not isinstance(said, str) or len(said) < 5:
        return [f"status {status} without a message"]
    if found := UNCLEAR.search(said):
        return [f"{found[0]!r} in a message: {said[:100]}"]
    return [f"a message of {len(said)} characters"] if len(said) > 1500 else []


def requests(draw: Random, material: Material) -> Conversation:
    """Some requests: right ones, with odd values, with odd bytes."""
    sent: list[Sent] = []
    for _ in range(draw.randrange(1, REQUESTS + 1)):
        if draw.random() < 0.1:
            sent.append((draw.choice(["GET", "GET", "POST", "PUT"]), draw.choice(GET), {}, b""))
            continue
        path = draw.choice(list(BODIES))
        body: Any = deepcopy(draw.choice(BODIES[path]))
        if draw.random() < 0.6:
            body = changed(draw, body, draw.choice([1, 1, 2]))
        content = json.dumps(body, default=str).encode()
        if draw.random() < 0.2:
            content = mangled(draw, content, draw.choice([1, 2]))
        sent.append(("POST", path, _headers(draw), content))
    return Conversation(deepcopy(draw.choice(SERVED)), deepcopy(draw.choice(OPTIONS)), sent)


def _headers(draw: Random) -> dict[str, str]:
    if draw.random() < 0.8:
        return {}
    name = draw.choice(["x-request-id", "x-session-id", "authorization", "content-type", "anthropic-beta"])
    text = str(odd(draw)).encode("ascii", "ignore").decode()[:300]
    return {name: "".join(letter for letter in text if letter.isprintable())}
