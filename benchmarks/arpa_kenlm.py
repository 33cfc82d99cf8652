"""arpa_kenlm.py - Kneser-Ney in KenLM: how far are its scores from ours?

    pip install kenlm
    python benchmarks/arpa_kenlm.py

Each model is exported as an ARPA file, which KenLM opens. Both score every token of a text; KenLM computes in floats of
32 bits.
"""

import math
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

from toy_gpt_train import run
from toy_gpt_train.exchange.arpa_tokens import escape
from toy_gpt_train.project import RESOURCE_ROOT


def largest_difference(trained: run.Run, ids: Sequence[int], path: Path) -> float:
    """Return the largest difference of two log10 scores of a token; the model is exported to ``path``."""
    import kenlm  # WHY here: it is no part of the project

    trained.export("arpa", path)
    model = kenlm.Model(str(path))
    words = " ".join(escape(trained.tokenizer.tokens[i]) for i in ids)
    theirs = [log10 for log10, _, _ in model.full_scores(words, bos=False, eos=False)]
    ours = [math.log10(prediction.probability) for prediction in trained.model.score(ids)]
    return max(abs(a - b) for a, b in zip(ours, theirs, strict=True))


def main() -> None:
    """Print a line for each tokenizer and context."""
    text = (RESOURCE_ROOT / "corpus" / "030_stories.txt").read_text("utf-8")
    print("tokenizer  context  n-grams  largest difference in log10")
    for kind in ("word", "char", "bpe"):
        for context in (1, 2, 3, 5):
            trained = run.train("kneser-ney", text=text, tokenizer=kind, context=context)
            generator = random.Random(7)
            ids = trained.tokenizer.encode(text)
            ids += [generator.randrange(trained.model.vocab_size) for _ in ids]
            with tempfile.TemporaryDirectory() as folder:
                difference = largest_difference(trained, ids, Path(folder) / "model.arpa")
            size = sum(count for count, _ in trained.model.ngrams())
            print(f"{kind:9}  {context:7}  {size:7}  {difference:.1e}", flush=True)


if __name__ == "__main__":
    main()
