"""POST /v1/completions: text goes on, from a text, token ids, or several of either."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from sim.server.api.base import Body, Served, dumped, parse
from sim.server.api.call import Call, Wanted
from sim.server.api.errors import ApiError, Shape
from sim.server.api.marks import session_of
from sim.server.api.openai_stream import Chunks, StreamOptions
from sim.server.api.template import Rendered
from sim.server.api.tokens import Tokens

DEFAULT_TOKENS = 16
MOST_PROMPTS = 2048
TokenId = Annotated[int, Field(ge=0, lt=2**31, strict=True)]


class CompletionBody(Body):
    model: str = ""
    prompt: str | list[TokenId] | list[str] | list[list[TokenId]]
    max_tokens: int | None = Field(default=None, ge=1)
    min_tokens: int = Field(default=0, ge=0)
    ignore_eos: bool = False
    echo: bool = False
    n: int = Field(default=1, ge=1, le=128)
    stream: bool = False
    stream_options: StreamOptions | None = None
    user: str | None = None
    prompt_cache_key: str | None = None


class Completions:
    path = "/v1/completions"
    shape: Shape = "openai"
    reply_prefix = "cmpl-"

    def read(self, body: dict[str, Any], tokens: Tokens, headers: Mapping[str, str]) -> Call:
        asked = parse(CompletionBody, body)
        if asked.echo:
            raise ApiError(400, "echo: the prompt is not repeated here", param="echo")
        prompts = _prompts(asked.prompt)
        if not 1 <= len(prompts) <= MOST_PROMPTS or not all(prompts):
            raise ApiError(400, f"prompt: allowed: 1 to {MOST_PROMPTS}, none of them empty", param="prompt")
        rendered, said = [], []
        for prompt in prompts:
            ids = list(tokens.encode(prompt).ids) if isinstance(prompt, str) else prompt
            rendered.append(Rendered(ids, [len(ids)]))
            said.append(prompt if isinstance(prompt, str) else "")
        return Call(
            model=asked.model,
            prompts=rendered,
            wanted=Wanted(
                most_tokens=DEFAULT_TOKENS if asked.max_tokens is None else asked.max_tokens,
                exact=asked.ignore_eos,
                least_tokens=asked.min_tokens,
            ),
            said=said,
            choices=asked.n,
            stream=asked.stream,
            session=session_of(headers, asked.prompt_cache_key, asked.user),
            cache_key=asked.prompt_cache_key,
            body=body,
        )

    def writer(self, served: Served) -> CompletionWriter:
        return CompletionWriter(served)


def _prompts(prompt: str | list[int] | list[str] | list[list[int]]) -> list[str | list[int]]:
    if isinstance(prompt, str):
        return [prompt]
    numbers = [one for one in prompt if isinstance(one, int)]
    return [numbers] if numbers else [one for one in prompt if not isinstance(one, int)]


class CompletionWriter:
    """Chunks with ``text``; ``finish_reason`` comes with the last token."""

    def __init__(self, served: Served) -> None:
        self._answers = served.answers
        self._chunks = Chunks(served, Completions.reply_prefix, "text_completion")

    def opening(self) -> bytes:
        return b""

    def tokens(self, choice: int, bits: Sequence[tuple[int, str]], last: bool) -> bytes:
        said = bits[0][1] if len(bits) == 1 else "".join(bit for _, bit in bits)
        if not last and not self._chunks.continuous:
            one = b',"choices":[{"index":%d,"text":%b,"logprobs":null,"finish_reason":null}]}\n\n'
            return self._chunks.plain + one % (choice, dumped(said))
        finish = self._answers[choice].finish if last else None
        return self._chunks.chunk(_choice(choice, said, finish))

    def end(self) -> bytes:
        return self._chunks.end()

    def error(self, error: ApiError) -> bytes:
        return self._chunks.error(error)

    def whole(self) -> dict[str, Any]:
        return self._chunks.whole(
            [_choice(number, answer.text, answer.finish) for number, answer in enumerate(self._answers)]
        )


def _choice(number: int, said: str, finish: str | None) -> dict[str, Any]:
    return {"index": number, "text": said, "logprobs": None, "finish_reason": finish}
