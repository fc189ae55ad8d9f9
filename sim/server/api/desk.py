"""The desk where requests are taken: read, admitted, handed to the system, and answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from sim.server.api.base import Api, Served, Writer, dumped
from sim.server.api.bodies import Gone, as_object, disconnected, read_bytes
from sim.server.api.call import Call
from sim.server.api.diagnostics import Earlier, Finding, Sent
from sim.server.api.errors import ApiError, Cut, Shape, no_such_model, of_refusal
from sim.server.api.faults import MALFORMED, Fate, Misfortune
from sim.server.api.limits import RateLimits
from sim.server.api.metrics import Metrics
from sim.server.api.progress import progress
from sim.server.api.replies import MOST_TOKENS, Speaker
from sim.server.api.sse import EventStream
from sim.server.api.tokens import Tokens
from sim.server.live import Ask, Live, Refused, Reply
from sim.server.options import ServerOptions

ROW = "x-prefixsim-request"
"""Header with the number of the request's row in requests.parquet, the first of several."""


@dataclass(slots=True)
class Desk:
    """All that serving a request takes. Options may be exchanged while it runs."""

    live: Live
    tokens: Tokens
    speaker: Speaker
    metrics: Metrics
    limits: RateLimits
    misfortune: Misfortune
    earlier: Earlier
    options: ServerOptions
    model: str
    started_s: float
    pace: Callable[[float], None]
    """Makes everything take so many times longer by the client's clock."""
    at_work: int = 0
    """Requests that are being served."""

    def change(self, options: ServerOptions) -> None:
        """Go on with other options. Quotas are full again where limits change."""
        self.speaker.change(options.replies)
        if options.limits != self.options.limits:
            self.limits = RateLimits(options.limits)
        if options.latency_factor != self.options.latency_factor:
            self.pace(options.latency_factor)
        self.options = options

    async def serve(self, api: Api, request: Request) -> Response:
        """Answer one request, streamed or whole. Raises ApiError."""
        raw = await read_bytes(request, self.options)
        came_s = self.live.now_s  # what is done with it from here on passes while its time runs
        await asyncio.sleep(0)  # others that came at the same time note theirs
        body = as_object(raw)
        fate = self.misfortune.draw(self.options.faults, time.monotonic() - self.started_s)
        call = api.read(body, self.tokens, request.headers)
        if not call.model:
            call.model = self.model
        self.require_model(call.model)
        self._require_room(call, api.shape)
        headers = self.limits.admit(api.shape)
        taken = Taken(self, api, call, fate, came_s)
        headers = {**headers, ROW: str(taken.row)}
        if call.stream:
            return Stream(taken, headers)
        reply = await taken.whole(request)
        if fate.malformed:
            return Response(dumped(reply)[:-8], media_type="application/json", headers=headers)
        return JSONResponse(reply, headers=headers)

    def require_model(self, model: str) -> None:
        """ApiError 404 for another model than the one served, where that matters."""
        if model != self.model and not self.options.any_model:
            raise no_such_model(model)

    def _require_room(self, call: Call, shape: Shape) -> None:
        """ApiError 400 if a prompt and its reply are longer than the context, or than is made up."""
        wanted, replies = call.wanted, len(call.prompts) * call.choices
        asked = max(wanted.least_tokens, (wanted.most_tokens or 0) if wanted.exact else 0)
        if asked * replies > MOST_TOKENS:
            message = f"{asked * replies} tokens of replies are asked for; allowed: up to {MOST_TOKENS:,}"
            raise ApiError(400, message)
        longest = self.live.about.max_model_len
        if longest is None:
            return
        for prompt in call.prompts:
            length, most = len(prompt.ids), call.wanted.most_tokens or 1
            if shape == "anthropic" and length >= longest:
                raise ApiError(400, f"prompt is too long: {length} tokens > {longest} maximum")
            if shape == "openai" and length + most > longest:
                message = (
                    f"This model's maximum context length is {longest} tokens. However, you requested "
                    f"{most} output tokens and your prompt contains {length} input tokens."
                )
                raise ApiError(400, message, param="messages", code="context_length_exceeded")


class Taken:
    """A request that the system has: its replies as events, or whole. It is let go of exactly once."""

    def __init__(self, desk: Desk, api: Api, call: Call, fate: Fate, came_s: float) -> None:
        self._desk, self._api, self._call, self._fate = desk, api, call, fate
        self._id = uuid4().hex
        self._answers = [
            desk.speaker.answer(call, number)
            for number in range(len(call.prompts))
            for _ in range(call.choices)
        ]
        self._replies: list[Reply] = []
        self._said = [0] * len(self._answers)
        self._at_s = [0.0] * len(self._answers)
        self._lost = self._over = self._charged = False
        try:
            for number, answer in enumerate(self._answers):
                prompt = call.prompts[number // call.choices]
                ask = Ask(
                    prompt=prompt.ids,
                    output_tokens=len(answer.ids),
                    reply=answer.ids,
                    model=call.model,
                    session=call.session,
                    message_ends=prompt.message_ends,
                    system_tokens=prompt.system_end,
                    marks=prompt.marks,
                    cache_key=call.cache_key,
                )
                self._replies.append(desk.live.submit(ask, came_s))
        except Refused as refused:
            for reply in self._replies:
                reply.cancel()
            raise of_refusal(refused, api.shape) from None
        desk.at_work += 1
        self._served = Served(
            self._id, int(time.time()), call, self._answers, self._replies, desk.live.about, self._diagnose
        )
        self._writer: Writer = api.writer(self._served)

    @property
    def row(self) -> int:
        """The row of its first prompt in the records."""
        return self._replies[0].number

    @cached_property
    def _sent(self) -> Sent:
        prompt, reply = self._call.prompts[0], self._replies[0]
        usage, hosted = reply.usage, self._desk.live.about.kind == "provider"
        read_or_written = usage.cached_tokens + sum(usage.written_tokens.values())
        return Sent(
            number=reply.number,
            model=self._call.model,
            prompt_tokens=len(prompt.ids),
            kept_tokens=read_or_written if hosted else len(prompt.ids),
            tools_end=prompt.tools_end,
            system_end=prompt.system_end,
            at_s=reply.times.arrival_s,
            kept_s=max(usage.written_tokens, default=0.0),
            settings=self._call.settings,
        )

    def _diagnose(self) -> Finding | None:
        before = self._call.compare_with
        if before is None:
            return None
        return self._desk.earlier.compare(before, self._sent, self._replies[0].usage)

    def _came(self, choice: int, count: int) -> bool:
        """Note new tokens of one reply; whether they are its last."""
        now_s = self._desk.live.now_s
        if self._said[choice]:
            self._desk.metrics.gap(now_s - self._at_s[choice], count)
        else:
            self._first()
        self._at_s[choice] = now_s
        self._said[choice] += count
        return self._said[choice] >= len(self._answers[choice].pieces)

    def _first(self) -> None:
        """A first token is there: what was in the cache is known."""
        if self._charged:
            return
        self._charged = True
        for reply in self._replies:
            self._desk.limits.charge_prompt(reply.usage)
        self._desk.earlier.keep(f"{self._api.reply_prefix}{self._id}", self._sent)

    async def events(self) -> AsyncGenerator[bytes, None]:
        """The reply as it comes, with whatever befalls it."""
        writer, fate = self._writer, self._fate
        middle = len(self._answers[0].pieces) // 2
        first = writer.opening()
        if first:
            yield first
        try:
            async for choice, count in progress(self._replies):
                begin = self._said[choice]
                last = self._came(choice, count)
                bits = self._answers[choice].bits(begin, begin + count)
                if not fate.is_none and choice == 0 and begin + count > middle:
                    if fate.malformed:
                        yield MALFORMED
                    if fate.stall_s:
                        await asyncio.sleep(fate.stall_s)
                    if fate.cut:
                        raise Cut
                    if fate.truncated:
                        return
                    fate = Fate()
                if bits:
                    yield writer.tokens(choice, bits, last)
            # After the tokens that others get at this instant: a client that has its reply sends its next
            # request, which would wait for them.
            await asyncio.sleep(0)
            yield writer.end()
        except Refused as refused:
            self._lost = True
            yield writer.error(of_refusal(refused, self._api.shape))

    async def whole(self, request: Request) -> dict[str, Any]:
        """The reply once it is complete; `Gone` if the client hangs up before."""
        work = asyncio.create_task(self._complete())
        watch = asyncio.create_task(disconnected(request.receive))
        try:
            await asyncio.wait((work, watch), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise Gone
            work.result()
            if self._fate.cut or self._fate.truncated:
                raise Cut
            return self._writer.whole()
        finally:
            for task in (work, watch):
                task.cancel()
                with suppress(asyncio.CancelledError, ApiError):
                    await task
            self.let_go()

    async def _complete(self) -> None:
        if self._fate.stall_s:
            await asyncio.sleep(self._fate.stall_s)
        try:
            async for choice, count in progress(self._replies):
                self._came(choice, count)
        except Refused as refused:
            self._lost = True
            raise of_refusal(refused, self._api.shape) from None

    def let_go(self) -> None:
        """The client has its reply, or has gone: what is not finished leaves the system."""
        if self._over:
            return
        self._over = True
        self._desk.at_work -= 1
        for answer, reply, said in zip(self._answers, self._replies, self._said, strict=True):
            finish = "length" if answer.finish == "length" else "stop"
            if said < len(answer.pieces):
                finish = "error" if self._lost else "abort"
                reply.cancel()
            self._desk.limits.charge_reply(said)
            self._desk.metrics.ended(reply.times, reply.usage, finish)


class Stream(EventStream):
    """The events of a request. Whatever ends the stream, the request is let go of."""

    def __init__(self, taken: Taken, headers: Mapping[str, str]) -> None:
        super().__init__(taken.events(), headers, taken._desk.options.send_timeout_s)
        self._let_go: Callable[[], None] = taken.let_go

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._let_go()
