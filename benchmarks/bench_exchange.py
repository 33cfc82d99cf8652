"""bench_exchange.py - The same models in other software: how far are its numbers from ours?

    python benchmarks/bench_exchange.py    beside torch, transformers, xllamacpp and kenlm, as far as installed

Small models learn the animals, and are exported in each format. The other software computes the logits, or the log
probabilities of all tokens, after random contexts of every length, or the score of every token of the text. Last comes
what a GPT-2 of 124 million weights takes in plain Python, and its largest difference: bench_gpt2.py, which also runs
alone.
"""

import random
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from math import log
from pathlib import Path

import bench_gpt2
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
    """Return the largest difference of a log probability in llama.cpp."""
    import xllamacpp

    run.export("gguf", out)
    how = xllamacpp.CommonParams()
    how.model.path, how.n_ctx, how.n_parallel, how.warmup, how.verbosity = str(out), LONGEST, 1, False, 0
    how.cache_type_k = how.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    how.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(how)
    differences = []
    # WHY: it keeps room for the token that it predicts.
    for ids in (ids for ids in contexts(run) if len(ids) < LONGEST):
        asked = {"prompt": ids, "n_predict": 1, "n_probs": run.model.vocab_size, "temperature": 0}
        (said,) = server.handle_completions(asked)["choices"][0]["logprobs"]["content"]
        probs = run.model.next_probs(ids)
        differences += [abs(log(probs[token["id"]]) - token["logprob"]) for token in said["top_logprobs"]]
    return max(differences)


def main() -> None:
    """Print one line for each model and format."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for kind in ("gpt", "llama"):
            run = tg.train(kind, CORPUS, tokenizer="bpe", context=LONGEST, heads=2, layers=2, steps=40)
            for to, package, what, compare in (
                ("hf", "transformers", "logit", by_transformers),
                ("gguf", "xllamacpp", "log of a probability", by_llama_cpp),
            ):
                if find_spec(package):
                    rows.append([kind, to, package, what, f"{compare(run, Path(name, f'{kind}.{to}')):.1e}"])
        if find_spec("kenlm"):
            counted = tg.train("kneser-ney", CORPUS, context=3)
            ids = counted.tokenizer.encode(CORPUS.read_text("utf-8"))
            difference = largest_difference(counted, ids, Path(name, "counted.arpa"))
            rows.append(["kneser-ney", "arpa", "kenlm", "log10 of a probability", f"{difference:.1e}"])
    print(table(["model", "format", "software", "of what", "largest difference"], rows))
    if find_spec("transformers"):
        bench_gpt2.main()


if __name__ == "__main__":
    main()
