"""noise.py - A model that has learned nothing: what it writes is noise, and shows what training adds."""

from collections.abc import Sequence
from typing import Any

from toy_gpt_train.corpus import Corpus
from toy_gpt_train.job import Job
from toy_gpt_train.run import Run
from toy_gpt_train.source_text import AnyPath, SourceText
from toy_gpt_train.tokenizers import DEFAULT_VOCAB_SIZE


def untrained(
    model: str = "context-3",
    corpus: AnyPath | Corpus | None = None,
    *,
    text: str | None = None,
    tokenizer: AnyPath = "word",
    special: Sequence[str] = (),
    bpe_vocab: int = DEFAULT_VOCAB_SIZE,
    context: int | None = None,
    seed: int = 0,
    **options: Any,
) -> Run:
    """Return the model that train() would start from: it has the vocabulary of a text, and has learned nothing.

    A network's weights are drawn at random from the ``seed``; a model that counts has counted nothing. What it writes
    is noise; it cannot be saved. Arguments and errors are those of train().

    Example:
        >>> untrained("bigram", text="one fish two fish").next("one", k=1)[0].probability  # one of three words
        0.3333333333333333
    """
    job = Job(model, context, seed, options)
    encoded = SourceText(corpus, text, tokenizer, special).encoded(bpe_vocab)
    job.prepare(encoded, None)
    tokens = [encoded.tokenizer.tokens[i] for i in encoded.ids[: job.model.context_size]]
    meta = {"model_kind": job.entry.name, "start_tokens": tokens, "metrics": {}}
    return Run(job.model, encoded.tokenizer, encoded.frequencies, meta, [])
