"""test_live_networks.py - The pictures on networks and the story world: what they show is what Python computes."""

from __future__ import annotations

import re
from math import cos, hypot, radians, sin
from operator import mul
from typing import TYPE_CHECKING

import pytest

from browser.kit import needs_site, scroll_to
from browser.pictures import LADDER, part, slide
from toy_gpt_train.nn.attention import attention_weights, rope, scaled_dot_product_attention
from toy_gpt_train.nn.tensor import from_lists
from toy_gpt_train.project import RESOURCE_ROOT
from toy_gpt_train.run import load
from toy_gpt_train.world.text import read_truth

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (uv sync --group browser)")
expect = sync_api.expect
pytestmark = needs_site


def numbers_in(text: str | None) -> list[float]:
    return [float(number) for number in re.findall(r"-?[0-9]+(?:[.][0-9]+)?", (text or "").replace("\u2212", "-"))]


def test_attention(picture: Callable[[str], Locator]) -> None:
    shown = picture("600-attention")
    keys, values = ([[2.0, 0.5], [-0.5, 2.0], [-1.5, -1.5]], [[2.0, -1.5], [0.0, 2.0], [-2.0, -1.5]])
    rows = part(shown, "table").locator("tr")
    for angle, length in ((40, 2), (0, 0), (105, 3), (225, 1.5), (360, 0.5)):
        slide(shown, "angle", angle)
        slide(shown, "length", length)
        query = from_lists([[length * cos(radians(angle)), length * sin(radians(angle))]])
        shares = attention_weights(query, from_lists(keys))
        mix = scaled_dot_product_attention(query, from_lists(keys), from_lists(values)).data
        assert [numbers_in(text)[0] for text in rows.locator("td.measured").all_text_contents()] == pytest.approx(
            [100 * share for share in shares], rel=0.051, abs=0.011
        )
        assert numbers_in(rows.last.locator("td").last.text_content()) == pytest.approx(list(mix), abs=0.006)
        point = [float(part(shown, "mix").get_attribute(name) or "") for name in ("cx", "cy")]
        assert point == pytest.approx([mix[0], -mix[1]], abs=1e-6)
    plane = part(shown, "plane")
    scroll_to(plane)
    box = plane.bounding_box()
    assert box is not None
    shown.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    shown.page.mouse.down()
    shown.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 5)  # straight up
    shown.page.mouse.up()
    assert part(shown, "angle").input_value() == "90"
    expect(part(shown, "said")).to_contain_text("matches key 2 best")


def test_the_rotation(picture: Callable[[str], Locator]) -> None:
    shown = picture("800-llama")

    def score_of(m: int, n: int) -> float:
        query, key = rope(from_lists([[1, 2]]), start=m).data, rope(from_lists([[3, -1]]), start=n).data
        return sum(map(mul, query, key))

    def dot() -> list[float]:
        return [float(part(shown, "dot").get_attribute(name) or "") for name in ("cx", "cy")]

    for m, n in ((5, 3), (12, 10), (5, 4), (0, 20), (20, 0)):
        slide(shown, "query-at", m)
        slide(shown, "key-at", n)
        *_, apart, score = numbers_in(part(shown, "said").text_content())
        assert apart == m - n
        assert score == pytest.approx(score_of(m, n), abs=0.006)
        assert dot() == pytest.approx([m - n, -score_of(m, n)], abs=1e-9)
        ray = [float(part(shown, "key").get_attribute(name) or "") for name in ("x2", "y2")]
        key = rope(from_lists([[3, -1]]), start=n).data
        assert ray == pytest.approx([key[0], -key[1]], abs=1e-9)
        cell = part(shown, "table").locator("tr").last.locator("td").last
        assert numbers_in(cell.text_content()) == pytest.approx(list(key), abs=0.006)
    slide(shown, "query-at", 17)
    slide(shown, "key-at", 15)
    before = dot()
    for _ in range(3):
        part(shown, "on").click()
        assert dot() == pytest.approx(before, abs=1e-9)  # both have moved, and the score has not
    expect(part(shown, "on")).to_be_disabled()
    part(shown, "back").click()
    assert part(shown, "query-at").input_value() == "19"


def test_the_neighbors(picture: Callable[[str], Locator]) -> None:
    run, shown = load(LADDER / "500-embeddings" / "world_400k"), picture("500-embeddings")
    vectors = dict(zip(run.tokenizer.tokens, run.model.network.token_embeddings.weight.tolist(), strict=True))
    tokens = part(shown, "token").locator("option").all_text_contents()
    assert shown.locator(".dot").count() == len(tokens) == 50

    def cosine(a: str, b: str) -> float:
        return sum(map(mul, vectors[a], vectors[b])) / (hypot(*vectors[a]) * hypot(*vectors[b]))

    def listed() -> list[str]:
        return part(shown, "list").locator("button").all_text_contents()

    for token, count in (("Mina", 5), ("red", 1), ("boots", 10)):
        part(shown, "token").select_option(token)
        slide(shown, "count", count)
        others = sorted((cosine(token, other), other) for other in tokens if other != token)
        assert listed() == [f"{other}{near:.2f}" for near, other in others[: -count - 1 : -1]]
        assert shown.locator(".dot.near").count() == count
        assert shown.locator(".dot.main title").text_content() == token
    part(shown, "list").locator("button").first.click()
    assert part(shown, "token").input_value() == "ribbons"
    shown.locator(".dot").nth(tokens.index("Mina")).click(force=True)
    assert part(shown, "token").input_value() == "Mina"
    slide(shown, "count", 5)
    assert all(re.match("Anna|Ella|Lily|Nora|Rosa", text) for text in listed())  # the other girls


def test_the_story(picture: Callable[[str], Locator]) -> None:
    line = (RESOURCE_ROOT / "corpus" / "040_story_world.txt").read_text("utf-8").splitlines()[6]
    truths, shown = list(read_truth(line.split())), picture("world")
    tokens = [truth.token for truth in truths]
    slide(shown, "sentence", 0)
    begin, orange = 0, 0
    ends = [i for i, token in enumerate(tokens, start=1) if token in (".", "?", "!")]
    for number, end in enumerate(ends):
        spans = part(shown, "text").locator("span")
        colored = spans.evaluate_all("spans => spans.map((span) => span.className)")
        assert [i for i, name in enumerate(colored) if name and i >= begin] == list(range(begin, end))
        said = part(shown, "said").text_content() or ""
        if "needs no fact" in said:
            assert "next" not in colored
        else:
            told, needs = (i for i, name in enumerate(colored) if name == "next")
            orange += 1
            assert begin <= needs < end
            assert truths[needs].distance == needs - told
            assert said == f"“{tokens[needs]}” takes a fact that was told {needs - told} tokens before."
        if number + 1 < len(ends):
            part(shown, "next").click()
        begin = end
    assert orange > 10
    expect(part(shown, "next")).to_be_disabled()
    # What the story tells itself in its last sentences.
    rows = [row.locator("th, td").all_text_contents() for row in part(shown, "table").locator("tr").all()]
    assert rows == [
        ["Ella", "in the garden", "nothing", "a yellow lamp"],
        ["Sam", "in the garden", "two black pencils and two gray flowers", ""],
    ]
    spans.nth(tokens.index("black")).click()
    expect(part(shown, "table")).to_contain_text("two black pencils")
    part(shown, "back").click()
    expect(part(shown, "table")).to_contain_text("two blue pencils")
