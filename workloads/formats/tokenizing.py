"""Tokens of a text: counted by a model's tokenizer where one is given, else estimated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from workloads.errors import InputError
from workloads.formats.files import find_file
from workloads.shown import why


def counter(tokenizer: Path | None, tokens_per_character: float, folder: Path) -> Callable[[str], float]:
    """What counts the tokens of a text; nothing is downloaded.

    ``tokenizer`` is a Hugging Face ``tokenizer.json``; reading it needs the package ``tokenizers``.
    """
    if tokenizer is None:
        return lambda text: len(text) * tokens_per_character
    path = find_file(tokenizer, folder)
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise InputError(
            f"tokenizer = {tokenizer}: the package tokenizers is not installed; allowed: "
            "pip install 'prefixsim[tokenizer]', or no tokenizer (tokens are then estimated)"
        ) from None
    try:
        encode = Tokenizer.from_file(str(path)).encode
    except Exception as error:  # the package raises bare Exception
        raise InputError(f"{path}: no tokenizer ({why(error)}); allowed: a tokenizer.json") from None

    def count(text: str) -> float:
        try:
            return float(len(encode(text, add_special_tokens=False).ids))
        except Exception as error:  # it knows no token for something in it, say
            said = f"{path}: no tokenizer of every text ({why(error)})"
            raise InputError(f"{said}; allowed: a whole tokenizer.json") from None

    return count
