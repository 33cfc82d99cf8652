"""Charts of how text is drawn from probabilities: top-p, and what they do to the text."""

import re
from itertools import accumulate

from builder.chart import Chart
from builder.paths import ROOT, STORIES
from toy_gpt_train import load

_BIGRAM = "artifacts/ladder/200-bigram/001_animals"
_KNESER_NEY = "artifacts/ladder/450-kneser-ney/030_stories"
_NUM_CHARACTERS, _SEED = 900, 1


def nucleus() -> Chart:
    """How many tokens top-p leaves to draw from, after three words."""
    shares = (0.5, 0.8, 0.9, 0.95)
    rows = []
    for word in ("plays", "the", "duck"):
        sums = list(accumulate(sorted(_after(word)[0], reverse=True)))
        rows.append([word, *(1 + next(i for i, total in enumerate(sums) if total >= share) for share in shares)])
    return Chart(
        "bars",
        "How many of the 40 tokens top-p keeps after the words plays, the and duck",
        ["word", *(f"top-p {share}" for share in shares)],
        rows,
        up="tokens kept",
        source=_BIGRAM,
        values=True,
    )


def repetition() -> Chart:
    """Written text by temperature: how much it repeats itself, and how many of its words do not exist."""
    run = load(ROOT / _KNESER_NEY)
    known = set(_words(STORIES.read_text(encoding="utf-8")))
    rows = []
    for temperature in (step / 10 for step in range(16)):
        words = _words(run.generate("The dog ", _NUM_CHARACTERS, temperature=temperature, seed=_SEED))
        runs = list(zip(words, words[1:], words[2:], strict=False))
        again = 1 - len(set(runs)) / len(runs)
        unknown = sum(word not in known for word in words) / len(words)
        rows.append((temperature, round(100 * again, 1), round(100 * unknown, 1)))
    return Chart(
        "lines",
        "Text written at a low temperature repeats itself; at a high one, its words fall apart",
        ["temperature", "three-word sequences that came before", "words that are not in the stories"],
        rows,
        across="temperature",
        up="percent",
        source=f"{_KNESER_NEY}, {_NUM_CHARACTERS} characters written at each temperature",
    )


def _after(word: str) -> tuple[list[float], list[str]]:
    """Return the bigram's distribution after a word, and its tokens."""
    run = load(ROOT / _BIGRAM)
    return run.model.next_probs(run.tokenizer.encode(word)), list(run.tokenizer.tokens)


def _words(text: str) -> list[str]:
    return re.findall(r"[A-Za-z']+", text)
