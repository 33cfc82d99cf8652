"""bench_exchange.py - The same models in other software: how far are its numbers from ours?

    python benchmarks/bench_exchange.py    beside torch, transformers, llama-cpp-python and kenlm, as far as installed

Small models learn the animals, and are exported in each format. The other software computes the logits after random
contexts of every length, or the score of every token of the text.
"""

import random
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import toy_gpt_train as tg
from arpa_kenlm import largest_difference
from toy_gpt_train.project import RESOURCE_ROOT
from toy_gpt_train.show import table

CORPUS = RESOURCE_ROOT / "corpus" / "001_animals.txt"
LONGEST = 24


def contexts(run: tg.Run) -> Iterator[list[int]]:
    """Yield random contexts, eight of every length."""
    generator = random.Random(1)
    for length in range(1, LONGEST + 1):
        for _ in range(8):
            yield [generator.randrange(run.model.vocab_size) for _ in range(length)]


def by_transformers(run: tg.Run, out: Path) -> float:
    """Return the largest difference of a logit in transformers."""
    import torch
    from transformers import AutoModelForCausalLM

    run.export("hf", out)
    model = AutoModelForCausalLM.from_pretrained(out).eval()
    differences = []
    with torch.no_grad():
        for ids in contexts(run):
            theirs = model(torch.tensor([ids])).logits[0, -1].tolist()
            differences += [abs(a - b) for a, b in zip(run.model.logits(ids), theirs, strict=True)]
    return max(differences)


def by_llama_cpp(run: tg.Run, out: Path) -> float:
    """Return the largest difference of a logit in llama.cpp."""
    from llama_cpp import GGML_TYPE_F32, Llama

    run.export("gguf", out)
    exact = {"type_k": GGML_TYPE_F32, "type_v": GGML_TYPE_F32}
    model = Llama(str(out), n_ctx=LONGEST, logits_all=True, verbose=False, **exact)
    differences = []
    for ids in contexts(run):
        model.reset()
        model.eval(ids)
        theirs = model.scores[len(ids) - 1].tolist()
        differences += [abs(a - b) for a, b in zip(run.model.logits(ids), theirs, strict=True)]
    return max(differences)


def main() -> None:
    """Print one line for each model and format."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for kind in ("gpt", "llama"):
            run = tg.train(kind, CORPUS, tokenizer="bpe", context=LONGEST, heads=2, layers=2, steps=40)
            for to, package, compare in (
                ("hf", "transformers", by_transformers),
                ("gguf", "llama_cpp", by_llama_cpp),
            ):
                if find_spec(package):
                    rows.append([kind, to, package, "logit", f"{compare(run, Path(name, f'{kind}.{to}')):.1e}"])
        if find_spec("kenlm"):
            counted = tg.train("kneser-ney", CORPUS, context=3)
            ids = counted.tokenizer.encode(CORPUS.read_text("utf-8"))
            difference = largest_difference(counted, ids, Path(name, "counted.arpa"))
            rows.append(["kneser-ney", "arpa", "kenlm", "log10 of a probability", f"{difference:.1e}"])
    print(table(["model", "format", "software", "of what", "largest difference"], rows))


if __name__ == "__main__":
    main()
