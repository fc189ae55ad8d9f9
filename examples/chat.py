"""A chat client on OpenAI's SDK with a fixed system prompt: each turn resends the history and adds to it.

    python -m sim serve configs/serve.yaml --system vllm      # in one terminal
    python -m examples.chat                                   # in another

What the server finds of a prompt in its cache it says in ``usage.prompt_tokens_details.cached_tokens``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from openai import OpenAI

SYSTEM = "You help the customers of a small shop. Answer briefly, and never promise a date. " * 12
QUESTIONS = (
    "Do you have the blue kettle?", "What does it cost?", "Does it come with a filter?", "And in red?",
    "How long does sending it take?", "Can I pay by invoice?", "What if it breaks?", "Do you take it back?",
    "Is there a larger one?", "Thank you. I take the blue one.",
)  # fmt: skip
NAMES = (
    ("stock", "The stock"), ("price", "The price"), ("parts", "Spare parts"), ("terms", "Terms"),
    ("colours", "The colours"), ("size", "The size"), ("sending", "How it is sent"), ("reviews", "Reviews"),
)  # fmt: skip
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"{what} of an article of the shop, by its number in the catalogue.",
            "parameters": {"type": "object", "properties": {"article": {"type": "integer"}}},
        },
    }
    for name, what in NAMES
]


@dataclass(frozen=True)
class Prompt:
    """What a request says: everything that decides whether the cache is hit."""

    system: str = SYSTEM
    tools: tuple[dict[str, Any], ...] = tuple(TOOLS)
    messages: tuple[dict[str, Any], ...] = ()


Habit = Callable[[Prompt], Prompt]


def append_only(prompt: Prompt) -> Prompt:
    """The good habit: the prompt is sent as it is, so it begins with the prompt before."""
    return prompt


@dataclass
class Turn:
    """What one turn took."""

    prompt_tokens: int
    cached_tokens: int
    reply: str


@dataclass
class Chat:
    """One conversation. ``habit`` may spoil each prompt before it is sent; the history stays whole."""

    client: OpenAI
    model: str = "any"
    habit: Habit = append_only
    prompt: Prompt = field(default_factory=Prompt)

    def ask(self, question: str) -> Turn:
        """Send the history and the question; both and the reply are the history of the next turn."""
        self.prompt = self._with({"role": "user", "content": question})
        sent = self.habit(self.prompt)
        messages: list[Any] = [{"role": "system", "content": sent.system}, *sent.messages]
        tools: list[Any] = list(sent.tools)
        reply = self.client.chat.completions.create(
            model=self.model, messages=messages, tools=tools, tool_choice="none", max_completion_tokens=60
        )
        text, usage = reply.choices[0].message.content or "", reply.usage
        self.prompt = self._with({"role": "assistant", "content": text})
        assert usage is not None
        cached = usage.prompt_tokens_details and usage.prompt_tokens_details.cached_tokens
        return Turn(usage.prompt_tokens, cached or 0, text)

    def _with(self, message: dict[str, Any]) -> Prompt:
        return replace(self.prompt, messages=(*self.prompt.messages, message))


def main() -> None:
    """Ten turns, each with what the cache knew of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default="http://127.0.0.1:8000/v1")
    parser.add_argument("--key", default="none")
    options = parser.parse_args()
    with OpenAI(base_url=options.url, api_key=options.key) as client:
        chat = Chat(client)
        for number, question in enumerate(QUESTIONS, 1):
            turn = chat.ask(question)
            share = turn.cached_tokens / turn.prompt_tokens
            print(f"turn {number:2}: {turn.prompt_tokens:5} prompt tokens, {share:4.0%} of them cached")


if __name__ == "__main__":
    main()
