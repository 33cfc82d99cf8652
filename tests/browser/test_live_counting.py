"""test_live_counting.py - The pictures on counting, scoring and mixing: what they show is what Python computes."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from math import log, log2
from operator import mul
from typing import TYPE_CHECKING

import pytest

from browser.kit import needs_site
from browser.pictures import LADDER, near, part, shares_of, slide, words_of_animals
from toy_gpt_train.coding.arithmetic import Encoder
from toy_gpt_train.coding.frequencies import in_whole_numbers
from toy_gpt_train.models.mixer import squash
from toy_gpt_train.models.mixture import mix
from toy_gpt_train.models.scores import summarize
from toy_gpt_train.project import RESOURCE_ROOT
from toy_gpt_train.run import load, train

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (uv sync --group browser)")
expect = sync_api.expect
pytestmark = needs_site


def test_the_row(picture: Callable[[str], Locator]) -> None:
    run, words = load(LADDER / "200-bigram" / "001_animals"), words_of_animals()
    shown = picture("200-bigram")
    for place in (0, 1, 25, len(words) - 2):
        slide(shown, "place", place)
        context = words[place]
        after = Counter(b for a, b in pairwise(words) if a == context)
        expect(part(shown, "said")).to_contain_text(f"“{context}”, which was trained {after.total()} times")
        ids = run.tokenizer.token_ids([context])
        probs = dict(zip(run.tokenizer.tokens, run.model.next_probs(ids), strict=True))
        weights = dict(zip(run.tokenizer.tokens, run.model.logits(ids), strict=True))
        found = shares_of(shown)
        assert len(found) == 7
        assert found == near({word: probs[word] for word in found})
        assert min(probs[word] for word in found) >= sorted(probs.values())[-7]
        for choice, wanted in (
            ("counts", [f"{after[word]} of {after.total()}" for word in found]),
            ("weights", [f"{weights[word]:.2f}".replace("-", "\u2212") for word in found]),
        ):
            shown.get_by_role("radio", name=choice).check()
            assert part(shown, "bars").locator(".beside").all_text_contents() == wanted
        assert part(shown, "text").locator(".same-next").count() >= len(after) - 1
    part(shown, "text").locator("span").nth(40).click()
    assert part(shown, "place").input_value() == "40"


def test_the_interval(picture: Callable[[str], Locator]) -> None:
    run, shown = load(LADDER / "200-bigram" / "001_animals"), picture("compression")
    for end in ("mud", "milk"):
        shown.get_by_role("radio", name=end).check()
        slide(shown, "step", 0)
        encoder, context, written = Encoder(), ".", ""
        words = ["the", "dog", "sleeps", "in", end, "."]
        for number, word in enumerate(words, start=1):
            part(shown, "next").click()
            probs = run.model.next_probs(run.tokenizer.token_ids([context]))
            (token_id,) = run.tokenizer.token_ids([word])
            encoder.code(in_whole_numbers(probs), token_id)
            row = part(shown, "table").locator("tr").nth(number - 1)
            token, share, bits, written = row.locator("th, td").all_text_contents()
            assert token == word
            assert {word: float(re.sub("[^0-9.]", "", share))} == near({word: probs[token_id]})
            assert float(bits) == pytest.approx(encoder.num_bits, abs=0.01)
            context = word
        in_file = "".join(f"{byte:08b}" for byte in encoder.finish())
        assert in_file.startswith(written)
        said = part(shown, "said").text_content() or ""
        assert said.startswith(f"The surprise is {encoder.num_bits:.2f} bits. {len(written)} bits are certain")
        sent = int(re.findall(r"(\d+) bits are sent", said)[0])
        assert in_file[:sent].rstrip("0") == in_file.rstrip("0")
        assert encoder.num_bits - 1 < sent < encoder.num_bits + 2  # what the file lacks is taken for zeros
        expect(part(shown, "next")).to_be_disabled()
        part(shown, "back").click()
        assert part(shown, "table").locator("tr").last.locator("td").all_text_contents() == ["", "", ""]


def test_surprise(picture: Callable[[str], Locator]) -> None:
    shown = picture("evaluation")
    for p in (0.001, 0.25, 0.5, 1):
        slide(shown, "probability", p)
        wanted = f"Surprise: {abs(-log(p)):.3f} nats, or {abs(-log2(p)):.3f} bits. It is that of {1 / p:g} equally"
        expect(part(shown, "said")).to_contain_text(wanted)
    words = ["a", "small", "pig", "fears", "the", "duck", "."]
    before = words_of_animals()[-3:]
    for name in ("100-unigram", "200-bigram", "400-context-3"):
        shown.get_by_role("radio", name=name).check()
        run = load(LADDER / name / "001_animals")
        scored = list(run.model.score(run.tokenizer.token_ids([*before, *words]), len(before)))
        surprises = [-log(prediction.probability) for prediction in scored]
        found = part(shown, "words").locator("button").all_text_contents()
        assert found == [f"{word}{nats:.2f}" for word, nats in zip(words, surprises, strict=True)]
        scores = summarize((prediction, 0) for prediction in scored)
        expect(part(shown, "loss")).to_contain_text(f"{scores.loss:.3f} nats. Perplexity: {scores.perplexity:.1f}.")
        part(shown, "words").locator("button").nth(2).click()
        expect(part(shown, "said")).to_contain_text(f"Surprise: {surprises[2]:.3f} nats")


def test_the_product(picture: Callable[[str], Locator]) -> None:
    stories = RESOURCE_ROOT / "corpus" / "030_stories.txt"
    runs = [train("kneser-ney", stories, tokenizer="char", context=size) for size in (3, 5, 8)]
    tokenizer = runs[0].tokenizer
    shown = picture("460-mixture")
    for text in ("the old w", "looked at the s"):
        shown.get_by_role("radio", name=text).check()
        experts = [run.model.next_probs(tokenizer.encode(text)) for run in runs]
        for powers in ((0.3, 0.3, 0.3), (1, 1, 1), (0, 1, 0), (-0.5, 0.5, 1)):
            for name, power in zip(("first", "second", "third"), powers, strict=True):
                slide(shown, name, power)
            mixed = mix([[log(p) for p in probs] for probs in experts], [powers])
            ranked = sorted(range(len(mixed)), key=lambda w: -mixed[w])[:6]
            for row, w in zip(part(shown, "table").locator("tr").all(), ranked, strict=True):
                opinions = [probs[w] for probs in experts]
                token, *cells = row.locator("th, td").all_text_contents()
                assert token == tokenizer.tokens[w].replace(" ", "␣")
                found = {str(i): float(re.sub("[^0-9.]", "", cell)) for i, cell in enumerate(cells)}
                assert found == near({str(i): p for i, p in enumerate([*opinions, mixed[w], sum(opinions) / 3])})


def test_the_votes(picture: Callable[[str], Locator]) -> None:
    shown = picture("470-context-mixing")

    def column(number: int) -> list[float]:
        cells = part(shown, "table").locator(f"tr td:nth-child({number})").all_text_contents()
        return [float(cell.replace("\u2212", "-")) for cell in cells if cell]

    expect(part(shown, "said")).to_have_text("The mixer says 0.973. The mean of both votes is 0.850.")  # the exercise
    for p1, w1, p2, w2 in ((0.8, 1, 0.5, 1), (0.1, 0.5, 0.99, 0.3), (0.9, -0.5, 0.9, 1.5)):
        for name, value in (("p1", p1), ("w1", w1), ("p2", p2), ("w2", w2)):
            slide(shown, name, value)
        inputs, weights = [log(p / (1 - p)) for p in (p1, p2)], [w1, w2]
        for bit, button in ((None, ""), (0, "zero"), (1, "one"), (0, "zero")):
            p = squash(sum(map(mul, weights, inputs)))
            if bit is not None:
                part(shown, button).click()
                weights = [weight + 0.1 * (bit - p) * x for weight, x in zip(weights, inputs, strict=True)]
            total = sum(map(mul, weights, inputs))
            assert column(2) == pytest.approx([p1, p2, squash(total)], abs=0.001)
            assert column(3) == pytest.approx([*inputs, total], abs=0.006)
            shown_weights = [
                part(shown, name).evaluate("node => node.nextElementSibling.textContent") for name in ("w1", "w2")
            ]
            assert [float(w.replace("\u2212", "-")) for w in shown_weights] == pytest.approx(weights, abs=0.006)
            assert column(4) == pytest.approx([*map(mul, weights, inputs), total], abs=0.006)
