"""Pictures that answer, for the lessons on networks and on the story world; live.py says what such a picture is."""

import html
from collections.abc import Sequence
from math import cos, hypot, radians, sin
from operator import mul
from typing import Final

from builder.chart import csv_columns
from builder.live import bar_cell, figure, slider
from builder.paths import ROOT
from builder.pca import in_the_plane
from toy_gpt_train.nn.attention import attention_weights, rope
from toy_gpt_train.nn.tensor import from_lists
from toy_gpt_train.world.consistency import Story
from toy_gpt_train.world.facts import BOYS, COLORS, GIRLS, NAMES, SEVERAL, SINGLE
from toy_gpt_train.world.language import WEATHER
from toy_gpt_train.world.text import QUOTE, read_truth
from toy_gpt_train.world.trie import Truth

Point = tuple[float, float]


def _plane(label: str, reach: float, parts: Sequence[str], attributes: str = "") -> str:
    """Return a drawing of the plane up to ``reach`` from its middle."""
    return (
        f'<svg viewBox="{-reach} {-reach} {2 * reach} {2 * reach}" role="img" aria-label="{label}"{attributes}>'
        f'<line class="axis" x1="{-reach}" x2="{reach}"/><line class="axis" y1="{-reach}" y2="{reach}"/>'
        f"{''.join(parts)}</svg>"
    )


def _ray(end: Point, attributes: str = "") -> str:
    """Return a line from the middle of a plane."""
    return f'<line x2="{end[0]:.3f}" y2="{-end[1]:.3f}"{attributes}/>'


def _name(text: str, place: Point) -> str:
    return f'<text x="{place[0]:.2f}" y="{-place[1]:.2f}">{text}</text>'


def _signed(number: float) -> str:
    return f"{number:.2f}".replace("-", "&minus;")


def _written(point: Sequence[float], digits: int = 2) -> str:
    return f"({point[0]:.{digits}f}, {point[1]:.{digits}f})".replace("-", "&minus;")


# --- one query and three keys -------------------------------------------------------------------------------------

_KEYS: Final = ((2.0, 0.5), (-0.5, 2.0), (-1.5, -1.5))
_VALUES: Final = ((2.0, -1.5), (0.0, 2.0), (-2.0, -1.5))
_ANGLE, _LENGTH = 40, 2.0


def attention() -> str:
    """A query that turns among three keys, and the mix of their values."""
    query = (_LENGTH * cos(radians(_ANGLE)), _LENGTH * sin(radians(_ANGLE)))
    shares = attention_weights(from_lists([query]), from_lists(_KEYS))
    mix = [sum(share * value[i] for share, value in zip(shares, _VALUES, strict=True)) for i in (0, 1)]
    keys = _plane(
        "The query and the keys",
        3.2,
        [
            *map(_ray, _KEYS),
            *(_name(f"key {j}", (1.25 * x, 1.25 * y)) for j, (x, y) in enumerate(_KEYS, start=1)),
            _ray(query, ' class="main" data-part="query"'),
        ],
        ' class="held" data-part="plane"',
    )
    dots = [
        f'<circle class="value" cx="{x}" cy="{-y}" r="{0.08 + 0.4 * share:.3f}"/>'
        for share, (x, y) in zip(shares, _VALUES, strict=True)
    ]
    values = _plane(
        "The values and their mix",
        3.2,
        [
            *dots,
            *(_name(f"value {j}", (x, y + (0.7 if y > 0 else -0.9))) for j, (x, y) in enumerate(_VALUES, start=1)),
            f'<circle class="main" data-part="mix" cx="{mix[0]:.3f}" cy="{-mix[1]:.3f}" r="0.14"/>',
        ],
    )
    rows = "".join(
        f'<tr><th scope="row">key {j}</th><td></td>{bar_cell(share)}<td>{_written(value, 1)}</td></tr>'
        for j, (share, value) in enumerate(zip(shares, _VALUES, strict=True), start=1)
    )
    body = (
        f'<div class="dial needs-script">{slider("angle", "The query points to", 0, 360, 5, _ANGLE)}'
        f"{slider('length', 'Its length', 0, 3, 0.1, _LENGTH)}</div>"
        f'<div class="planes">{keys}{values}</div>'
        f'<p class="said" data-part="said" role="status">The query is {_written(query)}.</p>'
        '<table class="walk"><thead><tr><th></th><th scope="col">score</th><th scope="col">share</th>'
        f'<th scope="col">value</th></tr></thead><tbody data-part="table">{rows}<tr class="drawn">'
        f'<th scope="row">mix</th><td></td><td></td><td>{_written(mix)}</td></tr></tbody></table>'
        '<p class="note">Orange: the query, and the mix of the values.</p>'
    )
    return figure("attention", "Turn a query among three keys", body, {"keys": _KEYS, "values": _VALUES})


# --- two tokens that move -----------------------------------------------------------------------------------------

_QUERY, _KEY = (1.0, 2.0), (3.0, -1.0)  # those of the lesson
_FARTHEST = 20


def rotation() -> str:
    """A query and a key, turned by their positions, and their score by how far apart they are."""
    query, key = (rope(from_lists([vector]), start=place).data for vector, place in ((_QUERY, 5), (_KEY, 3)))
    score = query[0] * key[0] + query[1] * key[1]
    table = "".join(
        f'<tr><th scope="row">{name}</th><td>{_written(vector)}</td><td>{_written(turned)}</td></tr>'
        for name, vector, turned in (("query", _QUERY, query), ("key", _KEY, key))
    )
    plane = _plane(
        "The query and the key, turned",
        3.4,
        [_ray((query[0], query[1]), ' class="main" data-part="query"'), _ray((key[0], key[1]), ' data-part="key"')],
    )
    labels = "".join(_name(str(distance), (distance, -11)) for distance in range(-15, 16, 5))
    chart = (
        f'<svg class="wide" viewBox="{-_FARTHEST - 1} -9 {2 * _FARTHEST + 2} 21" role="img" '
        'aria-label="The score by how many positions the query is after the key">'
        f'<line class="axis" x1="{-_FARTHEST - 1}" x2="{_FARTHEST + 1}"/><line class="axis" y1="-9" y2="9"/>{labels}'
        f'<polyline data-part="curve"/><circle class="main" data-part="dot" cx="2" cy="{-score:.3f}" r="0.7"/></svg>'
    )
    body = (
        f'<div class="dial needs-script">{slider("query-at", "Query at position", 0, _FARTHEST, 1, 5)}'
        f"{slider('key-at', 'Key at position', 0, _FARTHEST, 1, 3)}"
        '<span role="group" aria-label="Move both">Move both: '
        '<button type="button" class="chip" data-part="back">back</button>'
        '<button type="button" class="chip" data-part="on">on</button></span></div>'
        f'<div class="planes">{plane}{chart}</div>'
        '<p class="said" data-part="said" role="status">The query at 5, the key at 3: 2 apart. '
        f"Score: {_signed(score)}.</p>"
        '<table class="walk"><thead><tr><th></th><th scope="col">as it is</th><th scope="col">turned</th></tr></thead>'
        f'<tbody data-part="table">{table}</tbody></table>'
        '<p class="note">The query (orange) and the key, turned; the score by how far the query is after the key.</p>'
    )
    return figure("rotation", "Move a query and a key", body, {"query": _QUERY, "key": _KEY})


# --- neighbors ----------------------------------------------------------------------------------------------------

_WORLD: Final = "artifacts/ladder/500-embeddings/world_400k"
_KINDS: Final = {
    "girls": GIRLS,
    "boys": BOYS,
    "colors": COLORS,
    "things": SINGLE,
    "things, several": SEVERAL,
    "weather": WEATHER,
}
_PICKED, _NEAREST = "Mina", 5


def neighbors() -> str:
    """Words of the story world in the plane in which their vectors differ most, and the nearest ones of a word."""
    table = csv_columns(f"{_WORLD}/03_token_embeddings.csv")
    rows = zip(*(map(float, table[name]) for name in table if name.startswith("dim_")), strict=True)
    by_token = dict(zip(table["token"], rows, strict=True))
    tokens = [token for kind in _KINDS.values() for token in kind]
    vectors = [by_token[token] for token in tokens]
    places, share = in_the_plane(vectors)
    (left, right), (low, high) = ((min(along) - 0.2, max(along) + 0.2) for along in zip(*places, strict=True))
    view = f"{left:.2f} {-high:.2f} {right - left:.2f} {high - low:.2f}"
    dots = "".join(
        f'<circle class="dot" cx="{x}" cy="{-y}" r="0.03"><title>{token}</title></circle>'
        for token, (x, y) in zip(tokens, places, strict=True)
    )
    options = "".join(
        f'<optgroup label="{kind}">{"".join(f"<option>{token}</option>" for token in words)}</optgroup>'
        for kind, words in _KINDS.items()
    )
    small = [[round(x, 4) for x in vector] for vector in vectors]
    picked = by_token[_PICKED]
    nearest = sorted(
        (token for token in tokens if token != _PICKED), key=lambda token: -_cosine(picked, by_token[token])
    )
    found = " ".join(
        f"<span>{token}<small>{_cosine(picked, by_token[token]):.2f}</small></span>" for token in nearest[:_NEAREST]
    )
    body = (
        f'<div class="dial needs-script"><label>Word <select data-part="token">{options}</select></label>'
        f"{slider('count', 'Neighbors', 1, 10, 1, _NEAREST)}</div>"
        f'<div class="planes"><svg class="map" viewBox="{view}" role="img" '
        f'aria-label="The words in the plane in which their vectors differ most"><path data-part="links"/>{dots}'
        '<text data-part="label"></text></svg></div>'
        f'<p class="said" data-part="said" role="status">The nearest neighbors of “{_PICKED}”, with the cosine:</p>'
        f'<p class="shades" data-part="list" role="group" aria-label="The nearest neighbors">{found}</p>'
        f'<p class="note">The drawing shows {share:.0%} of the variance; the cosine is of all 16 numbers.</p>'
    )
    return figure("neighbors", "Pick a word and see its neighbors", body, {"tokens": tokens, "vectors": small})


def _cosine(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(map(mul, a, b)) / (hypot(*a) * hypot(*b))


# --- a story ------------------------------------------------------------------------------------------------------

_STORY_LINE: Final = 6  # of the committed stories: in it a thing is painted, and taken
_ENDS: Final = (".", "?", "!")
# The kinds of knowledge that a sentence can need, the most telling ones first.
_NEEDS: Final = (("place", "holder", "color", "number", "ending"), ("pronoun", "thing"))


def story() -> str:
    """A story, what is true after each of its sentences, and how far back the fact is that a sentence needs."""
    line = (ROOT / "corpus" / "040_story_world.txt").read_text(encoding="utf-8").splitlines()[_STORY_LINE]
    truths = [*read_truth(line.split())][:-1]  # without the end mark
    tokens = [truth.token for truth in truths]
    children = [token for token in dict.fromkeys(tokens) if token in NAMES]
    told, sentences, begin = Story(), [], 0
    for end in (i for i, token in enumerate(tokens, start=1) if token in _ENDS):
        told.hear(" ".join(token for token in tokens[begin : end - 1] if token != QUOTE))
        facts = [
            [told.place.get(child, ""), told.all_of(child) if told.look else "", told.wish.get(child, "")]
            for child in children
        ]
        sentences.append({"begin": begin, "end": end, "needs": _needed(truths, begin, end), "facts": facts})
        begin = end
    table = "".join(
        f'<tr><th scope="row">{child}</th>{"".join(f"<td>{fact}</td>" for fact in facts)}</tr>'
        for child, facts in zip(children, sentences[-1]["facts"], strict=True)
    )
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("is", "has", "wished for"))
    body = (
        f'<div class="dial needs-script">{slider("sentence", "Sentence", 0, len(sentences) - 1, 1, 0)}'
        '<button type="button" class="chip" data-part="back">Back</button>'
        '<button type="button" class="chip" data-part="next">Next sentence</button></div>'
        '<p class="strip" data-part="text" tabindex="0" role="group" aria-label="The story">'
        f"{html.escape(' '.join(tokens))}</p>"
        '<p class="said" data-part="said" role="status">At the end of the story:</p>'
        f'<table class="walk facts"><thead><tr><th></th>{heads}</tr></thead>'
        f'<tbody data-part="table">{table}</tbody></table>'
    )
    return figure("story", "Read a story, fact by fact", body, {"tokens": tokens, "sentences": sentences})


def _needed(truths: Sequence[Truth], begin: int, end: int) -> dict[str, int] | None:
    """Return which token of a sentence needs the fact that is furthest back, and where it was told last."""
    for kinds in _NEEDS:
        known = [i for i in range(begin, end) if truths[i].kind in kinds]
        if known:
            token = max(known, key=lambda i: truths[i].distance or 0)
            return {"token": token, "told": token - (truths[token].distance or 0)}
    return None
