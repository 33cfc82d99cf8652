"""Pictures that answer: a static part that is read without scripts, the numbers, and the script that brings it to life.

Each has a file in docs/live/. The numbers come from committed runs and texts; what follows from them is computed in the
page.
"""

import html
import json
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from builder.paths import ROOT
from toy_gpt_train import load
from toy_gpt_train.a_tokenizer import SimpleTokenizer
from toy_gpt_train.tokenizers import bpe_naive
from toy_gpt_train.tokenizers.pretokenize import pretokenize

_ANIMALS: Final = ROOT / "corpus" / "001_animals.txt"
_BIGRAM: Final = ROOT / "artifacts" / "ladder" / "200-bigram" / "001_animals"


def share(p: float) -> str:
    """Return a probability as a percentage with two digits.

    Example:
        >>> share(0.5), share(0.0893), share(1.0)
        ('50 %', '8.9 %', '100 %')
    """
    return "100 %" if p >= 0.995 else f"{100 * p:#.2g}".rstrip(".") + " %"


def bars(entries: Iterable[tuple[str, float]], attributes: str = "") -> str:
    """Return names and probabilities as a list of bars."""
    rows = [
        f'<li><span class="bar"><span class="word">{html.escape(name)}</span>'
        f'<span class="track"><span style="width: {100 * p:.1f}%"></span></span>'
        f'<span class="share">{share(p)}</span><span class="beside"></span></span></li>'
        for name, p in entries
    ]
    return f'<ol class="bars"{attributes}>{"".join(rows)}</ol>'


def bar_cell(p: float, kind: str = "") -> str:
    """Return a cell of a table with a probability and its bar behind it."""
    return f'<td class="measured {kind}" style="--p: {100 * p:.1f}%">{share(p)}</td>'


def figure(name: str, title: str, body: str, numbers: Any) -> str:
    """Return a picture; the lessons, which it is for, are one folder below the scripts' parent."""
    data = json.dumps(numbers, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    styles = "".join(f'<link rel="stylesheet" href="../live/{style}.css">' for style in ("live", "pictures"))
    return (
        f'<figure class="picture" markdown="0">{styles}'
        f'<form class="live" data-picture="{name}"><p class="title">{title}</p>{body}'
        f'<script type="application/json">{data}</script></form>'
        f'<script defer src="../live/parts.js"></script><script defer src="../live/{name}.js"></script></figure>'
    )


def slider(name: str, label: str, low: float, high: float, step: float, value: float) -> str:
    """Return a slider, and room for what it says."""
    limits = f'min="{low}" max="{high}" step="{step}" value="{value}"'
    return f'<label>{label} <input type="range" data-part="{name}" {limits}> <output></output></label>'


def radios(name: str, label: str, choices: Iterable[object], chosen: object) -> str:
    """Return a choice between a few."""
    buttons = "".join(
        f'<label><input type="radio" name="{name}" value="{one}"{" checked" if one == chosen else ""}> {one}</label>'
        for one in choices
    )
    return f'<span role="group" aria-label="{label}">{label}: {buttons}</span>'


# --- a window that slides over a text -----------------------------------------------------------------------------


def _window(size: int, place: int) -> str:
    """A text, a window of ``size`` words before word number ``place``, and what came after the same words elsewhere."""
    words = SimpleTokenizer(_ANIMALS).get_tokens()
    context = words[place - size : place]
    after = [words[i] for i in range(size, len(words)) if words[i - size : i] == context]
    counts = Counter(after).most_common(7)
    text = " ".join(words[max(place - 12, 0) : place + 6])
    body = (
        f'<p class="strip" data-part="text" tabindex="0" role="group" aria-label="The text">… {html.escape(text)} …</p>'
        f'<div class="dial needs-script">{slider("place", "Slide the window", 3, len(words) - 1, 1, place)}'
        f"{radios('size', 'Words in it', (1, 2, 3), size)}</div>"
        f'<p class="said" data-part="said" role="status">After “{html.escape(" ".join(context))}”, '
        f"which the text has {len(after)} times, came:</p>"
        + bars(((word, count / len(after)) for word, count in counts), ' data-part="bars"')
    )
    return figure("window", "The window, and every place where the same words stand", body, {"words": words})


def window() -> str:
    """Two words at first; the reader may take one or three."""
    return _window(2, 7)


# --- temperature and top-p ----------------------------------------------------------------------------------------


def temperature() -> str:
    """The bigram's rows after three words, to be heated and cut."""
    run = load(_BIGRAM)
    tokens = run.tokenizer.tokens
    rows = {
        word: [round(p, 6) for p in run.model.next_probs(run.tokenizer.token_ids([word]))]
        for word in ("duck", "plays", "the")
    }
    first = sorted(zip(tokens, rows["duck"], strict=True), key=lambda entry: -entry[1])[:8]
    words = "".join(f'<button type="button" class="chip" data-word="{word}">{word}</button>' for word in rows)
    body = (
        f'<div class="needs-script"><span role="group" aria-label="The word before">After {words}</span>'
        f'<div class="dial">{slider("temperature", "Temperature", 0, 3, 0.1, 1)}'
        f"{slider('top-p', 'Top-p', 0.05, 1, 0.05, 1)}</div></div>"
        '<p class="said" data-part="said" role="status">After “duck”:</p>'
        + bars(first, ' data-part="bars"')
        + '<p class="note" data-part="others">the other 32 tokens share the rest</p>'
        '<div class="dial needs-script"><button type="button" class="go" data-part="draw">Draw 20 words</button>'
        '<output data-part="drawn"></output></div>'
    )
    return figure("temperature", "What is drawn after a word", body, {"tokens": tokens, "rows": rows})


# --- byte-level BPE, merge by merge -------------------------------------------------------------------------------

_TEXT: Final = "the hen has ten eggs. then the hens sat on the nest, and ten wet chicks came out of the ten eggs."
_MERGES: Final = 12


def merges() -> str:
    """A text in pieces, and a slider for how many merges are learned from it."""
    words = pretokenize(_TEXT)
    split = [bpe_naive.encode(word, bpe_naive.train(words, _MERGES)) for word in words]
    pieces = "".join(f"<span>{html.escape(token.decode())}</span>" for tokens in split for token in tokens)
    body = (
        '<label class="needs-script">A text to learn from<textarea data-part="text" rows="2" spellcheck="false" '
        f'autocomplete="off">{_TEXT}</textarea></label>'
        f'<div class="dial needs-script">{slider("merges", "Merges", 0, 40, 1, _MERGES)}</div>'
        f'<p class="said" data-part="said" role="status">After {_MERGES} merges the text has '
        f"{sum(map(len, split))} tokens instead of {len(_TEXT)}:</p>"
        f'<p class="pieces" data-part="pieces">{pieces}</p>'
        '<p class="note" data-part="learned">A piece with its space is one token where it came often enough.</p>'
    )
    return figure("merges", "Watch tokens grow", body, None)


# --- one discount -------------------------------------------------------------------------------------------------


def discount() -> str:
    """What two words say about the next one, with a discount of 0.5, and what the shorter context adds to it."""
    words = SimpleTokenizer(_ANIMALS).get_tokens()
    counts = Counter(w for u, v, w in zip(words, words[1:], words[2:], strict=False) if (u, v) == ("big", "dog"))
    lower = Counter(w for _, v, w in set(zip(words, words[1:], words[2:], strict=False)) if v == "dog")
    given = 0.5 * len(counts) / counts.total()
    mixed = {w: max(counts[w] - 0.5, 0) / counts.total() + given * lower[w] / lower.total() for w in lower}
    ranked = sorted(mixed.items(), key=lambda entry: (-entry[1], entry[0]))
    body = (
        '<div class="needs-script"><span role="group" aria-label="The context">After '
        '<button type="button" class="chip" data-context="big dog">big dog</button>'
        '<button type="button" class="chip" data-context="the dog">the dog</button>'
        '<button type="button" class="chip" data-context="a small">a small</button></span>'
        f'<div class="dial">{slider("discount", "Discount", 0, 1, 0.05, 0.5)}</div></div>'
        '<p class="said" data-part="said" role="status">After “big dog” the text has “eats” once and “likes” '
        "once. With a discount of 0.5, each count keeps 0.5 of 2: 25 %. “dog” alone shares out the other 50 %:</p>"
        + bars(ranked, ' data-part="bars"')
        + '<p class="note needs-script">Green: what is left of the counts. Orange: what the shorter context adds.</p>'
    )
    return figure("discount", "Take from the counts, give to the shorter context", body, {"words": words})


# --- a gradient by hand -------------------------------------------------------------------------------------------


def gradient() -> str:
    """Three numbers and a loss: forward, backward, and a step downhill."""
    rows = (("w", 3, 8), ("x", 2, 12), ("b", -4, 4), ("w x", 6, 4), ("y = w x + b", 2, 4), ("L = y y", 4, 1))
    table = "".join(
        f'<tr><th scope="row">{name}</th><td>{value}</td><td>{slope}</td></tr>'.replace("-", "&minus;")
        for name, value, slope in rows
    )
    sliders = "".join(slider(name, name, -5, 5, 0.5, value) for name, value, _ in rows[:3])
    body = (
        f'<div class="dial needs-script">{sliders}</div>'
        f'<div class="dial needs-script">{slider("walk", "Walk backward", 0, 6, 1, 0)}</div>'
        '<table class="walk"><thead><tr><th></th><th scope="col">value</th><th scope="col">gradient</th></tr></thead>'
        f'<tbody data-part="table">{table}</tbody></table>'
        '<p class="said" data-part="said" role="status">Forward, from the top to the bottom: the values. '
        "Backward, from the bottom to the top: the gradients.</p>"
        '<div class="dial needs-script"><button type="button" class="go" data-part="step">One step downhill</button>'
        '<output data-part="losses"></output></div>'
    )
    return figure("gradient", "Walk back from the loss", body, None)
