"""Reading what clients send, within bounds of size and time."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive

from sim.server.api.errors import ApiError
from sim.server.options import ServerOptions
from workloads.shown import why

HALF = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")
"""Half of a character may be written so, and nothing that is sent can hold it: it is replaced by U+FFFD."""


class Gone(Exception):
    """The client hung up before its request was there, or reads nothing any more."""


async def read_object(request: Request, options: ServerOptions) -> dict[str, Any]:
    """The JSON object of the body; ApiError 400, 408 or 413 if it is none, late or too large."""
    return as_object(await read_bytes(request, options))


def as_object(raw: bytes) -> dict[str, Any]:
    """The JSON object that ``raw`` is; ApiError 400 if it is none."""
    try:
        value = json.loads(raw)
        if HALF.search(raw):
            whole = json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass")
            value = json.loads(whole.decode("utf-16", "replace"))
    except RecursionError:
        raise ApiError(400, "The body is nested too deeply") from None
    except ValueError as error:
        raise ApiError(400, f"The body is not valid JSON: {why(error)}") from None
    if not isinstance(value, dict):
        raise ApiError(400, "The body is not a JSON object")
    return value


async def read_bytes(request: Request, options: ServerOptions) -> bytes:
    most = options.max_body_bytes
    too_large = ApiError(413, f"Request exceeds the maximum size of {most:,} bytes")
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > most:
        raise too_large
    parts, size = [], 0
    try:
        async with asyncio.timeout(options.body_timeout_s):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise too_large
                parts.append(part)
    except TimeoutError:
        raise ApiError(408, f"The body was not there after {options.body_timeout_s:g} s") from None
    except ClientDisconnect:
        raise Gone from None
    return b"".join(parts)


async def disconnected(receive: Receive) -> None:
    """Returns when the client hangs up."""
    while (await receive())["type"] != "http.disconnect":
        pass
