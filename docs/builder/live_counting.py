"""Pictures that answer, for the lessons on counting, scoring and mixing; live.py says what such a picture is."""

import html
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import log, log2
from operator import mul
from typing import Any, Final

from builder.live import bar_cell, bars, figure, radios, share, slider
from builder.paths import ROOT, STORIES
from toy_gpt_train import load, train
from toy_gpt_train.a_tokenizer import SimpleTokenizer
from toy_gpt_train.math_training import softmax
from toy_gpt_train.models.mixer import squash
from toy_gpt_train.models.mixture import mix

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


# --- surprise -----------------------------------------------------------------------------------------------------

_MODELS: Final = ("100-unigram", "200-bigram", "400-context-3")
_SENTENCE: Final = ("a", "small", "pig", "fears", "the", "duck", ".")  # that of the chart in the same lesson


def surprise() -> str:
    """The surprise of a probability, and that of three tables at the words of a sentence, read after the animals."""
    before = SimpleTokenizer(_ANIMALS).get_tokens()[-3:]
    models = {}
    for name in _MODELS:
        run = load(_LADDER / name / "001_animals")
        scored = run.model.score(run.tokenizer.token_ids((*before, *_SENTENCE)), len(before))
        models[name] = [prediction.probability for prediction in scored]
    surprises = [-log(p) for p in models["200-bigram"]]
    words = " ".join(
        f"<span>{word}<small>{nats:.2f}</small></span>" for word, nats in zip(_SENTENCE, surprises, strict=True)
    )
    dial = slider("probability", "Probability of the token that came", 0.001, 1, 0.001, 0.25)
    body = (
        f'<div class="dial needs-script">{dial}</div><p class="said" data-part="said" role="status">'
        "A probability of 0.25 is a surprise of 1.386 nats, or 2 bits.</p>"
        f'<div class="dial needs-script">{radios("model", "Model", _MODELS, "200-bigram")}</div>'
        '<p class="shades" data-part="words" role="group" aria-label="The sentence, with the surprise of each word">'
        f'{words}</p><p class="said" data-part="loss" role="status">The mean of these 7 surprises, the loss: '
        f"{sum(surprises) / len(surprises):.3f} nats.</p>"
    )
    return figure("surprise", "From a probability to the loss", body, {"words": _SENTENCE, "models": models})


# --- a product of experts -----------------------------------------------------------------------------------------

_LOOK_BACK: Final = (3, 5, 8)  # characters, as the first experts of the mixture do
_PROMPTS: Final = ("the old w", "looked at the s")
_POWER: Final = 0.3


def product() -> str:
    """What three Kneser-Ney models that have read the stories expect next, with a power for each."""
    runs = [train("kneser-ney", STORIES, tokenizer="char", context=size) for size in _LOOK_BACK]
    tokenizer = runs[0].tokenizer
    texts = {
        prompt: [[float(f"{p:.4g}") for p in run.model.next_probs(tokenizer.encode(prompt))] for run in runs]
        for prompt in _PROMPTS
    }
    experts = texts[_PROMPTS[0]]
    mixed = mix([[log(p) for p in probs] for probs in experts], [[_POWER] * len(experts)])
    table = "".join(
        f'<tr><th scope="row">{tokenizer.tokens[w]}</th>{"".join(bar_cell(probs[w]) for probs in experts)}'
        f"{bar_cell(mixed[w], 'strong')}{bar_cell(sum(probs[w] for probs in experts) / len(experts))}</tr>"
        for w in sorted(range(len(mixed)), key=lambda w: -mixed[w])[:6]
    )
    sliders = "".join(
        slider(part, f"Power of last {size}", -0.5, 1.5, 0.1, _POWER)
        for part, size in zip(("first", "second", "third"), _LOOK_BACK, strict=True)
    )
    head = "".join(f'<th scope="col">last {size}</th>' for size in _LOOK_BACK)
    body = (
        f'<div class="dial needs-script">{radios("text", "After", _PROMPTS, _PROMPTS[0])}</div>'
        f'<div class="dial needs-script">{sliders}</div>'
        f'<p class="said" data-part="said" role="status">After “{_PROMPTS[0]}”, each with the power {_POWER}:</p>'
        f'<table class="walk"><thead><tr><th></th>{head}<th scope="col">product</th><th scope="col">mean</th></tr>'
        f'</thead><tbody data-part="table">{table}</tbody></table>'
    )
    return figure("product", "Multiply three experts", body, {"tokens": tokenizer.tokens, "texts": texts})


# --- two votes ----------------------------------------------------------------------------------------------------


def votes() -> str:
    """Two contexts vote for a bit, with a weight for each; what they say is added as log-odds."""
    opinions = (0.8, 0.9)  # those of the lesson's exercise
    evidence = [log(p / (1 - p)) for p in opinions]
    rows = [("vote 1", opinions[0], evidence[0]), ("vote 2", opinions[1], evidence[1])]
    rows.append(("mixer", squash(sum(evidence)), sum(evidence)))
    table = "".join(
        f'<tr><th scope="row">{name}</th><td>{p:.3f}</td><td>{x:.2f}</td><td>{x:.2f}</td></tr>' for name, p, x in rows
    )
    dials = "".join(
        f'<div class="dial needs-script">{slider(f"p{i}", f"Vote {i}", 0.01, 0.99, 0.01, p)}'
        f"{slider(f'w{i}', 'its weight', -0.5, 1.5, 0.05, 1)}</div>"
        for i, p in enumerate(opinions, start=1)
    )
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("p", "log-odds", "adds"))
    body = (
        f'{dials}<p class="said" data-part="said" role="status">Two votes, each with the weight 1:</p>'
        f'<table class="walk"><thead><tr><th></th>{heads}</tr></thead><tbody data-part="table">{table}</tbody></table>'
        '<div class="dial needs-script"><span role="group" aria-label="Learn">Learn: '
        '<button type="button" class="chip" data-part="one">a 1 came</button>'
        '<button type="button" class="chip" data-part="zero">a 0 came</button></span></div>'
    )
    return figure("votes", "Add up two votes", body, None)
