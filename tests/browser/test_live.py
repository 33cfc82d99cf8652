"""test_live.py - The pictures in the lessons that answer: what they show is what Python computes, at every setting."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate
from math import log
from typing import TYPE_CHECKING, Any

import pytest

from browser.kit import (
    AXE_COLORS,
    AXE_TAGS,
    SITE,
    WIDTHS,
    assert_no_sideways_scrolling,
    axe_violations,
    needs_site,
    tab_to,
)
from browser.pictures import LADDER, PICTURES, near, part, shares_of, slide, words_of_animals
from toy_gpt_train.math_training import softmax
from toy_gpt_train.run import load
from toy_gpt_train.tokenizers import bpe_naive
from toy_gpt_train.tokenizers.pretokenize import pretokenize

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator, Page

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (uv sync --group browser)")
expect = sync_api.expect
pytestmark = needs_site


@pytest.mark.parametrize("lesson", [name for name, kind in PICTURES.items() if kind == "window"])
def test_the_window(picture: Callable[[str], Locator], lesson: str) -> None:
    words, shown = words_of_animals(), picture(lesson)
    for size in (1, 2, 3):
        shown.get_by_role("radio", name=str(size)).check()
        for place in (3, 26, 106, len(words) - 1):
            slide(shown, "place", place)
            context = words[place - size : place]
            after = [words[i] for i in range(size, len(words)) if words[i - size : i] == context]
            counts = Counter(after)
            wanted = {word: count / len(after) for word, count in counts.most_common(7)}
            assert shares_of(shown) == near(wanted)
            marked = part(shown, "text").locator(".in").all_text_contents()
            assert marked == context
            assert part(shown, "text").locator(".next").all_text_contents() == [words[place]]
            assert part(shown, "text").locator(".same-next").count() == len(after) - 1
    part(shown, "text").locator("span").nth(40).click()
    assert part(shown, "place").input_value() == "40"


def test_temperature_and_top_p(picture: Callable[[str], Locator]) -> None:
    run, shown = load(LADDER / "200-bigram" / "001_animals"), picture("sampling")
    for word, temperature, top_p in (
        ("duck", 1, 1),
        ("duck", 0.5, 0.9),
        ("plays", 2, 0.8),
        ("the", 3, 1),
        ("the", 1, 0.05),
    ):
        shown.get_by_role("button", name=word, exact=True).click()
        slide(shown, "temperature", temperature)
        slide(shown, "top-p", top_p)
        probs = run.model.next_probs(run.tokenizer.token_ids([word]))
        heated = softmax([log(p) / temperature for p in probs])
        ranked = sorted(zip(run.tokenizer.tokens, heated, strict=True), key=lambda entry: -entry[1])
        kept = 1 + sum(total < top_p - 1e-6 for total in accumulate(p for _, p in ranked))
        ranked = ranked[: min(kept, len(ranked))]
        total = sum(p for _, p in ranked)
        expect(part(shown, "said")).to_have_text(f"After “{word}”, {len(ranked)} of 40 tokens can be drawn:")
        assert list(shares_of(shown).values()) == pytest.approx(
            [100 * p / total for _, p in ranked[:8]], rel=0.051, abs=0.011
        )
    slide(shown, "temperature", 0)
    expect(part(shown, "said")).to_contain_text("1 of 40 tokens")
    part(shown, "draw").click()
    drawn = (part(shown, "drawn").text_content() or "").split()
    assert len(drawn) == 20
    assert len(set(drawn)) == 1


def test_merges(picture: Callable[[str], Locator]) -> None:
    shown = picture("tokenization")
    given = part(shown, "text").input_value()
    for text, most in ((given, 0), (given, 5), (given, 40), ("hug pug hugs, it's 2024", 3), ("aaaa aaaa", 2), ("", 1)):
        part(shown, "text").fill(text)
        slide(shown, "merges", most)
        words = pretokenize(text)
        merges = bpe_naive.train(words, most)
        tokens = [token.decode() for word in words for token in bpe_naive.encode(word, merges)]
        found = [piece.replace("␣", " ") for piece in part(shown, "pieces").locator("span").all_text_contents()]
        assert found == tokens
        expect(part(shown, "said")).to_contain_text(f"{len(tokens)} tokens, {len(set(tokens))} of them different")
    part(shown, "text").fill("ab")
    slide(shown, "merges", 9)
    expect(part(shown, "said")).to_contain_text("After 1 merges nothing is left to merge")


def test_the_discount(picture: Callable[[str], Locator]) -> None:
    words, shown = words_of_animals(), picture("450-kneser-ney")
    for context in ("big dog", "the dog", "a small"):
        shown.get_by_role("button", name=context, exact=True).click()
        first, second = context.split()
        counts = Counter(w for u, v, w in zip(words, words[1:], words[2:], strict=False) if (u, v) == (first, second))
        trigrams = {(u, w) for u, v, w in zip(words, words[1:], words[2:], strict=False) if v == second}
        lower = Counter(w for _, w in trigrams)
        for discount in (0, 0.5, 1):
            slide(shown, "discount", discount)
            total, share = counts.total(), discount * len(counts) / counts.total()
            wanted = {
                word: max(counts[word] - discount, 0) / total + share * lower[word] / lower.total() for word in lower
            }
            assert sum(wanted.values()) == pytest.approx(1)
            found = shares_of(shown)
            assert len(found) == min(7, len(wanted))
            assert found == near({word: wanted[word] for word in found})


def test_the_gradient(picture: Callable[[str], Locator]) -> None:
    shown = picture("training-networks")

    def column(number: int) -> list[str]:
        cells = part(shown, "table").locator(f"tr td:nth-child({number})").all_text_contents()
        return [cell.replace("\u2212", "-") for cell in cells]

    assert column(2) == ["3", "2", "-4", "6", "2", "4"]
    assert column(3) == ["?"] * 6
    slide(shown, "walk", 6)
    assert column(3) == ["8", "12", "4", "4", "4", "1"]  # as in the lesson
    for w, x, b in ((1.5, -2, 0.5), (-5, 5, 5), (0, 1, 0)):
        for name, value in (("w", w), ("x", x), ("b", b)):
            slide(shown, name, value)
        y = w * x + b
        assert [float(cell) for cell in column(3)] == pytest.approx([2 * y * x, 2 * y * w, 2 * y, 2 * y, 2 * y, 1])
    for name, value in (("w", 3), ("x", 2), ("b", -4)):
        slide(shown, name, value)
    w, b = 3.0, -4.0
    for _ in range(3):
        part(shown, "step").click()
        slope = 2 * (2 * w + b)
        w, b = w - 0.02 * slope * 2, b - 0.02 * slope
    assert [float(cell) for cell in column(2)][:3] == pytest.approx([w, 2, b], abs=0.006)
    losses = (part(shown, "losses").text_content() or "").removeprefix("L: ").split(" → ")
    assert losses[0] == "4"
    assert [float(loss) for loss in losses] == sorted(map(float, losses), reverse=True)


@pytest.mark.parametrize("lesson", PICTURES)
def test_a_picture_is_for_everybody(picture: Callable[[str], Locator], lesson: str) -> None:
    shown = picture(lesson)
    page: Page = shown.page
    first = shown.locator("input, button, textarea").first
    first.focus()
    page.keyboard.press("Shift+Tab")
    tab_to(page, shown.locator("input[type=range]").first)
    before = shown.inner_text()
    page.keyboard.press("ArrowRight")
    assert shown.inner_text() != before  # the arrow keys move it
    for scheme, rules in (("light", AXE_TAGS), ("dark", AXE_COLORS)):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(300)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert_no_sideways_scrolling(page, f"{lesson}, {width}")
        others = ["article > :not(figure)", "figure[data-chart]", "header", ".md-sidebar", "footer"]
        assert axe_violations(page, rules, exclude=others) == []


@pytest.mark.parametrize("lesson", PICTURES)
def test_a_picture_without_scripts(browser: Any, site_address: str, lesson: str) -> None:
    if not (SITE / "lessons" / f"{lesson}.html").is_file():
        pytest.skip("this site has been built without the lesson")
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site_address}lessons/{lesson}.html")
    shown = page.locator(f'[data-picture="{PICTURES[lesson]}"]')
    expect(shown.locator('[data-part="said"]')).to_be_visible()
    expect(shown.locator("input").first).to_be_hidden()
    assert shown.locator(".bars li, .pieces span, .shades span, tbody tr").count() >= 1
    context.close()
