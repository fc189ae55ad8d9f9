"""The same chat with bad habits, each beside the good one: where the prompt changes, the cache ends.

python -m sim serve configs/serve.yaml --system vllm      # in one terminal
python -m examples.bad_twins                              # in another
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import replace

from openai import OpenAI

from examples.chat import QUESTIONS, Chat, Habit, Prompt, append_only

KEPT_MESSAGES = 5
"""Of a truncated history: two turns and the question."""


def clock_in_system(prompt: Prompt) -> Prompt:
    """The current time leads the system message: nothing behind it is ever found again."""
    return replace(prompt, system=f"It is {time.time_ns()}. {prompt.system}")


def clock_in_question(prompt: Prompt) -> Prompt:
    """The same time at the end of the newest question: the good place for what changes."""
    *before, last = prompt.messages
    return replace(
        prompt, messages=(*before, {**last, "content": f"{last['content']} It is {time.time_ns()}."})
    )


def shuffled_tools(prompt: Prompt) -> Prompt:
    """The same tools in another order, as a set gives them: they come before everything else."""
    return replace(prompt, tools=tuple(random.sample(prompt.tools, len(prompt.tools))))


def truncated_history(prompt: Prompt) -> Prompt:
    """Only the latest messages: the history begins elsewhere each turn; tools and system are found."""
    return replace(prompt, messages=prompt.messages[-KEPT_MESSAGES:])


def edited_history(prompt: Prompt) -> Prompt:
    """The first question is written anew each turn: what stands behind it is lost."""
    first, *rest = prompt.messages
    return replace(
        prompt, messages=({**first, "content": f"[turn {len(rest) // 2}] {first['content']}"}, *rest)
    )


HABITS: dict[str, Habit] = {
    "append only": append_only,
    "clock in the question": clock_in_question,
    "clock in the system message": clock_in_system,
    "shuffled tools": shuffled_tools,
    "truncated history": truncated_history,
    "edited history": edited_history,
}


def cached_shares(client: OpenAI, name: str) -> list[float]:
    """What share of its prompt each turn found in the cache, under one habit."""
    chat = Chat(client, habit=HABITS[name])
    chat.prompt = replace(chat.prompt, system=f"Shop {name}. {chat.prompt.system}")  # habits share nothing
    turns = [chat.ask(question) for question in QUESTIONS]
    return [turn.cached_tokens / turn.prompt_tokens for turn in turns]


def main() -> None:
    """A line for each habit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default="http://127.0.0.1:8000/v1")
    parser.add_argument("--key", default="none")
    options = parser.parse_args()
    print("cached share of the prompt, turn by turn")
    with OpenAI(base_url=options.url, api_key=options.key) as client:
        for name in HABITS:
            shares = cached_shares(client, name)
            print(f"{name:28}", *(f"{share:4.0%}" for share in shares))


if __name__ == "__main__":
    main()
