"""A small byte-pair tokenizer, trained here: nothing is downloaded."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from sim.server.api.replies import WORDS


def write(folder: Path) -> Path:
    """``tokenizer.json`` in ``folder``, which transformers takes for a model's."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=2000, show_progress=False, initial_alphabet=alphabet)
    made.train_from_iterator([" ".join(WORDS)] * 3, trainer)
    path = folder / "tokenizer.json"
    made.save(str(path))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"})
    )
    return path
