"""Pictures that answer, for the lessons on counting, scoring and mixing; live.py says what such a picture is."""

import html
from collections import Counter
from typing import Final

from builder.live import bars, figure, radios, slider
from builder.paths import ROOT
from toy_gpt_train import load
from toy_gpt_train.a_tokenizer import SimpleTokenizer
from toy_gpt_train.math_training import softmax

_ANIMALS: Final = ROOT / "corpus" / "001_animals.txt"
_LADDER: Final = ROOT / "artifacts" / "ladder"


# --- a row of the bigram ------------------------------------------------------------------------------------------


def row() -> str:
    """Each word of the animals, and its row in the committed table: most tokens of a row share one weight."""
    words, run = SimpleTokenizer(_ANIMALS).get_tokens(), load(_LADDER / "200-bigram" / "001_animals")
    tokens = run.tokenizer.tokens
    rows = {}
    for token in tokens:
        weights = run.model.logits(run.tokenizer.token_ids([token]))
        ((rest, _),) = Counter(weights).most_common(1)
        seen = {other: weight for other, weight in zip(tokens, weights, strict=True) if weight != rest}
        rows[token] = {"rest": rest, "seen": seen}
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
