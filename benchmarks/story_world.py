"""story_world.py - What does each model know of a language whose true entropy is known?

    uv run toy-gpt ladder --long --workers 2     (first, and only if the committed networks are to be trained again)
    uv run python benchmarks/story_world.py

Each model has learned nine tenths of 400,000 tokens of the story world. The networks are the committed ones; the models
that count are trained here. All are measured on the last tenth, and each tells some stories of its own. It writes three
CSV files to outputs/bench/, and prints their lines; a further run writes the same bytes.

1. story_world.csv: ``loss`` on the held-out part in nats per token, beside the ``floor``, the true entropy, and the
   ``unigram_loss`` of guessing by frequency; ``captured`` is the share of the way from there to the floor. ``right`` of
   the ``answers`` in its own stories (drawn at temperature 0.8) agree with what it had told before.
2. story_world_kinds.csv: the loss by kind of knowledge.
3. story_world_distances.csv: the loss by how many tokens back the fact was told.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from multiprocessing import Pool
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import toy_gpt_train as tg
from measured import RESULTS, write_csv
from toy_gpt_train.corpus import Corpus
from toy_gpt_train.inference.evaluate import evaluate
from toy_gpt_train.inference.sampling import Sampling, choose_token
from toy_gpt_train.tokenizers.encoded import EncodedText, encode_corpus
from toy_gpt_train.world.consistency import consistency
from toy_gpt_train.world.language import END
from toy_gpt_train.world.oracle import Group, distance_of, grouped, kind_of
from toy_gpt_train.world.text import corpus_at, read_truth

ROOT = Path(__file__).resolve().parents[1]
TEXT = "world:400k"
VAL_FRACTION = 0.1
COUNTING: dict[str, dict[str, Any]] = {
    "unigram": {"epochs": 1},
    "bigram": {"epochs": 2},
    "context-2": {"epochs": 4},
    "context-3": {"epochs": 4},
    "kneser-ney": {"context": 8},
}
NETWORKS = {
    "embeddings": "500-embeddings",
    "attention": "600-attention",
    "gpt": "700-gpt",
    "llama": "800-llama",
}
STORIES = 100  # that each model tells
LONGEST_STORY = 250  # tokens
LONG_WINDOW = 64

COLUMNS = ("model", "context", "numbers", "loss", "floor", "unigram_loss", "captured", "answers", "right")
GROUP_COLUMNS = ("tokens", "true_loss", "loss")


class Measured(NamedTuple):
    """What is known of one model: a line of the first file, and its groups for the others."""

    line: Sequence[object]
    kinds: dict[str, Group]
    distances: dict[str, Group]


@cache
def the_text() -> tuple[Corpus, EncodedText]:
    """Return the text that all models learn."""
    corpus = corpus_at(Path(TEXT))
    return corpus, encode_corpus(corpus, "word", 0, VAL_FRACTION)


def model_named(name: str) -> tg.Run:
    """Train a model that counts, or load a committed network."""
    if name in NETWORKS:
        return tg.load(ROOT / "artifacts" / "ladder" / NETWORKS[name] / "world_400k")
    corpus, _ = the_text()
    return tg.train(name, corpus, val_fraction=VAL_FRACTION, **COUNTING[name])


def measured(name: str) -> Measured:
    """Measure one model on the held-out part, and on what it writes."""
    run = model_named(name)
    _, text = the_text()
    surprises: list[float] = []
    scores = evaluate(run.model, text.ids, text.held_out_sizes, text.frequencies, text.num_train, surprises=surprises)
    truth = list(read_truth(map(text.tokenizer.tokens.__getitem__, text.ids)))[text.num_train :]
    scored = list(zip(truth, surprises, strict=True))
    floor = grouped(scored, lambda _: "all")["all"].true_entropy
    captured = (scores.unigram_loss - scores.loss) / (scores.unigram_loss - floor)
    right, answers = consistency(token for seed in range(STORIES) for token in story(run, text, seed))
    figures = (f"{number:.6f}" for number in (scores.loss, floor, scores.unigram_loss, captured))
    line = name, run.model.context_size, run.model.num_parameters(), *figures, answers, right
    return Measured(line, grouped(scored, kind_of), grouped(scored, distance_of))


def story(run: tg.Run, text: EncodedText, seed: int) -> Iterator[str]:
    """Yield the tokens of a story that a model tells, up to the end mark."""
    tokens = text.tokenizer.tokens
    end = tokens.index(END)
    # WHY: what a model continues ends with the end of a story, so it begins a new one.
    begin = list(text.ids[: text.ids.index(end, run.model.min_context) + 1])[-max(run.model.min_context, 1) :]
    size, cache, generator = run.model.context_size, run.model.new_cache(), Random(seed)
    ids = begin
    for _ in range(LONGEST_STORY):
        # WHY half of a long window, as in scoring: a Transformer reads all of it again when it slides by one token.
        if len(ids) > size >= LONG_WINDOW:
            ids = ids[-size // 2 :]
        token_id = choose_token(run.model.next_probs(ids, cache), Sampling(temperature=0.8), generator)
        yield tokens[token_id]
        if token_id == end:
            return
        ids = [*ids, token_id]


def group_lines(name: str, models: Sequence[str], groups: Sequence[dict[str, Group]]) -> list[Sequence[object]]:
    """Return the lines of a file with a line for each model and group."""
    lines: list[Sequence[object]] = [("model", name, *GROUP_COLUMNS)]
    for model, of_model in zip(models, groups, strict=True):
        for group_name, group in sorted(of_model.items()):
            losses = (f"{loss:.6f}" for loss in (group.true_entropy, group.loss))
            lines.append((model, group_name, group.tokens, *losses))
    return lines


def main() -> None:
    """Measure all models, two at a time, and write the files."""
    models = [*COUNTING, *NETWORKS]
    found: list[Measured] = []
    with Pool(2) as pool:
        for one in pool.imap(measured, models):
            print(*one.line, flush=True)
            found.append(one)
    write_csv(RESULTS / "story_world.csv", [COLUMNS, *(one.line for one in found)])
    write_csv(RESULTS / "story_world_kinds.csv", group_lines("kind", models, [one.kinds for one in found]))
    write_csv(RESULTS / "story_world_distances.csv", group_lines("distance", models, [one.distances for one in found]))


if __name__ == "__main__":
    main()
