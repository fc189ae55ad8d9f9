"""The figure of what trace formats know of one chat."""

from __future__ import annotations

from matplotlib.container import BarContainer

from reports.format_figures import BLOCK_TOKENS, families


def test_families_of_formats() -> None:
    """By token all but the question is known, by block no reply and no partial block, by length nothing."""
    tokens, blocks, lengths = (
        [[bar.get_height() for bar in bars] for bars in axes.containers if isinstance(bars, BarContainer)]
        for axes in families().axes
    )
    (prompts,) = lengths
    assert prompts == [prompts[0] + 420 * turn for turn in range(6)]
    known, new = tokens
    assert (known, new) == ([0, *(prompt - 120 for prompt in prompts[1:])], [prompts[0], *[120] * 5])
    known, new = blocks
    assert known == [0, *(prompt // BLOCK_TOKENS * BLOCK_TOKENS for prompt in prompts[:-1])]
    assert [a + b for a, b in zip(known, new, strict=True)] == prompts
