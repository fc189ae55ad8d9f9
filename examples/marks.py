"""Cache marks on Anthropic's SDK: on a long stable block, behind a block that changes, and none at all.

    python -m sim serve configs/serve.yaml --system anthropic      # in one terminal
    python -m examples.marks                                       # in another

A mark behind what changes is the worst of the three: each turn pays for a write that nobody reads.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from anthropic import Anthropic

RULES = "The catalogue of the shop, article by article, with prices and terms. " * 600
MARK = {"cache_control": {"type": "ephemeral"}}
TURNS = 5


def system(marks: str) -> list[dict[str, Any]]:
    """The stable block and the one that changes; ``marks``: stable, changing or none."""
    stable: dict[str, Any] = {"type": "text", "text": f"{marks:8} {RULES}"}  # the three share nothing
    changing: dict[str, Any] = {"type": "text", "text": f"It is {time.time_ns()}."}
    if marks == "stable":
        stable |= MARK
    elif marks == "changing":
        changing |= MARK
    return [stable, changing]


def usages(client: Anthropic, marks: str) -> list[tuple[int, int, int]]:
    """(read, written, neither) tokens of each turn."""
    out = []
    for turn in range(TURNS):
        blocks: Any = system(marks)
        reply = client.messages.create(
            model="any",
            max_tokens=40,
            system=blocks,
            messages=[{"role": "user", "content": f"Question {turn}: what about article {turn}?"}],
        )
        usage = reply.usage
        read, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
        out.append((read, written, usage.input_tokens))
    return out


def main() -> None:
    """Three tables of a few lines."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--key", default="none")
    options = parser.parse_args()
    with Anthropic(base_url=options.url, api_key=options.key) as client:
        for marks in ("stable", "changing", "none"):
            print(f"mark: {marks}")
            for read, written, rest in usages(client, marks):
                print(f"  read {read:6}, written {written:6}, neither {rest:6}")


if __name__ == "__main__":
    main()
