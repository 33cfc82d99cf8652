"""Pictures that answer, for the lessons on counting, scoring and mixing; live.py says what such a picture is."""

import html
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import log2
from operator import mul
from typing import Any, Final

from builder.live import bars, figure, radios, share, slider
from builder.paths import ROOT
from toy_gpt_train import load
from toy_gpt_train.a_tokenizer import SimpleTokenizer
from toy_gpt_train.math_training import softmax

_ANIMALS: Final = ROOT / "corpus" / "001_animals.txt"
_LADDER: Final = ROOT / "artifacts" / "ladder"


def _sparse(tokens: Sequence[str], values: Sequence[float]) -> dict[str, Any]:
    """Return a table's row, small: most of its tokens share one value."""
    ((rest, _),) = Counter(values).most_common(1)
    return {"rest": rest, "seen": {token: value for token, value in zip(tokens, values, strict=True) if value != rest}}


# --- a row of the bigram ------------------------------------------------------------------------------------------


def row() -> str:
    """Each word of the animals, and its row in the committed table: most tokens of a row share one weight."""
    words, run = SimpleTokenizer(_ANIMALS).get_tokens(), load(_LADDER / "200-bigram" / "001_animals")
    tokens = run.tokenizer.tokens
    rows = {token: _sparse(tokens, run.model.logits(run.tokenizer.token_ids([token]))) for token in tokens}
    place = words.index("cow")
    probs = softmax(run.model.logits(run.tokenizer.token_ids(["cow"])))
    first = sorted(zip(tokens, probs, strict=True), key=lambda entry: -entry[1])[:7]
    body = (
        f'<p class="strip" data-part="text" tabindex="0" role="group" aria-label="The text">'
        f"{html.escape(' '.join(words[: place + 10]))} …</p>"
        f'<div class="dial needs-script">{slider("place", "The context", 0, len(words) - 2, 1, place)}'
        f"{radios('beside', 'Beside the bars', ['counts', 'weights'], 'counts')}</div>"
        '<p class="said" data-part="said" role="status">The row of “cow”:</p>'
        + bars(first, ' data-part="bars"')
        + '<p class="note needs-script">The orange line is the share that the counts give.</p>'
    )
    return figure("row", "Pick a word and see its row", body, {"words": words, "tokens": tokens, "rows": rows})


# --- an interval that narrows -------------------------------------------------------------------------------------

_BEGIN: Final = ("the", "dog", "sleeps", "in")
_ENDS: Final = ("mud", "milk")  # what the corpus has, and what it has not


def interval() -> str:
    """The bigram writes a sentence after a period: each token keeps its part of the interval."""
    run = load(_LADDER / "200-bigram" / "001_animals")
    tokens = run.tokenizer.tokens
    words = (".", *_BEGIN, _ENDS[0], ".")
    probs = {one: run.model.next_probs(run.tokenizer.token_ids([one])) for one in (*words[:-1], *_ENDS)}
    shares = [probs[context][tokens.index(word)] for context, word in pairwise(words)]
    table = "".join(
        f'<tr><th scope="row">{word}</th><td>{share(p)}</td><td>{-log2(size):.2f}</td><td></td></tr>'
        for word, p, size in zip(words[1:], shares, accumulate(shares, mul), strict=True)
    )
    body = (
        f'<div class="dial needs-script">{radios("end", " ".join(_BEGIN), _ENDS, _ENDS[0])}</div>'
        f'<div class="dial needs-script">{slider("step", "Tokens written", 0, len(words) - 1, 1, 0)}'
        '<button type="button" class="chip" data-part="back">Back</button>'
        '<button type="button" class="chip" data-part="next">Next token</button></div>'
        '<div class="zoom needs-script" aria-hidden="true"><div class="track whole" data-part="whole"></div>'
        '<svg viewBox="0 0 100 10" preserveAspectRatio="none">'
        '<polygon data-part="lines" points="0,0 100,0 100,10 0,10"/></svg>'
        '<div class="parts" data-part="parts"></div></div>'
        '<p class="said" data-part="said" role="status">Each token narrows the interval to its share:</p>'
        '<table class="walk"><thead><tr><th scope="col">token</th><th scope="col">its share</th>'
        '<th scope="col">bits needed</th><th scope="col">bits written</th></tr></thead>'
        f'<tbody data-part="table">{table}</tbody></table>'
    )
    rows = {context: _sparse(tokens, [round(p, 6) for p in row]) for context, row in probs.items()}
    return figure(
        "interval", "Narrow the interval, token by token", body, {"tokens": tokens, "rows": rows, "begin": _BEGIN}
    )
