"""Tokens of texts: /tokenize and /detokenize as vLLM has them, Anthropic's count_tokens."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sim.server.api.base import Body, parse
from sim.server.api.bodies import read_object
from sim.server.api.chat import ChatCompletions
from sim.server.api.completions import TokenId
from sim.server.api.desk import Desk
from sim.server.api.errors import ApiError
from sim.server.api.messages import CountBody, conversation
from sim.server.api.template import render


class TokenizeBody(Body):
    model: str = ""
    prompt: str | None = None
    messages: list[dict[str, Any]] | None = None
    tools: list[dict[str, Any]] | None = None
    return_token_strs: bool = False


class DetokenizeBody(Body):
    model: str = ""
    tokens: list[TokenId]


def routes(desk: Desk) -> list[Route]:
    async def tokenize(request: Request) -> Response:
        body = await read_object(request, desk.options)
        asked = parse(TokenizeBody, body)
        if asked.prompt is not None:
            ids = list(desk.tokens.encode(asked.prompt).ids)
        else:
            ids = ChatCompletions().read(body, desk.tokens, {}).prompts[0].ids
        strings = [desk.tokens.decode([one]) for one in ids] if asked.return_token_strs else None
        out = {"count": len(ids), "max_model_len": desk.live.about.max_model_len, "tokens": ids}
        return JSONResponse({**out, "token_strs": strings})

    async def detokenize(request: Request) -> Response:
        asked = parse(DetokenizeBody, await read_object(request, desk.options))
        try:
            return JSONResponse({"prompt": desk.tokens.decode(asked.tokens)})
        except KeyError as error:
            raise ApiError(400, f"tokens: {error.args[0]} stands for no text", param="tokens") from None

    async def count_tokens(request: Request) -> Response:
        asked = parse(CountBody, await read_object(request, desk.options))
        desk.require_model(asked.model)
        messages, tools = conversation(asked)
        return JSONResponse({"input_tokens": len(render(messages, tools, desk.tokens).ids)})

    return [
        Route("/tokenize", tokenize, methods=["POST"]),
        Route("/detokenize", detokenize, methods=["POST"]),
        Route("/v1/messages/count_tokens", count_tokens, methods=["POST"]),
    ]
