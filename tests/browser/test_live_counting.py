"""test_live_counting.py - The pictures on counting, scoring and mixing: what they show is what Python computes."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from browser.kit import needs_site
from browser.pictures import LADDER, near, part, shares_of, slide, words_of_animals
from toy_gpt_train.coding.arithmetic import Encoder
from toy_gpt_train.coding.frequencies import in_whole_numbers
from toy_gpt_train.run import load

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
