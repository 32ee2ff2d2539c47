"""Makes a tiny cross-encoder with random weights, saved as a user's folder would be: a real model, and no download."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


def main(folder: str, labels: str) -> None:
    """Save a RoBERTa of two layers with so many labels, and a tokenizer that knows single letters."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import (
        AutoConfig,
        PreTrainedTokenizerFast,
        RobertaForSequenceClassification,
        set_seed,
    )

    set_seed(0)
    words = ["<s>", "<pad>", "</s>", "<unk>", *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789?.,"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers left its constructor untyped
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_max_length=128,
    )
    config: Any = AutoConfig.for_model(
        "roberta",
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=130,
        type_vocab_size=1,
        num_labels=int(labels),
        initializer_range=0.5,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    RobertaForSequenceClassification(config).save_pretrained(folder)
    fast.save_pretrained(Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
