"""pictures.py - What tests of the pictures that answer share: which lesson has which, and what one shows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from toy_gpt_train.a_tokenizer import SimpleTokenizer
from toy_gpt_train.project import RESOURCE_ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Locator

LADDER = RESOURCE_ROOT / "artifacts" / "ladder"
PICTURES = {
    "200-bigram": "row",
    "300-context-2": "window",
    "450-kneser-ney": "discount",
    "460-mixture": "product",
    "470-context-mixing": "votes",
    "500-embeddings": "neighbors",
    "600-attention": "attention",
    "800-llama": "rotation",
    "compression": "interval",
    "evaluation": "surprise",
    "world": "story",
    "sampling": "temperature",
    "tokenization": "merges",
    "training-networks": "gradient",
}


def words_of_animals() -> list[str]:
    return SimpleTokenizer(RESOURCE_ROOT / "corpus" / "001_animals.txt").get_tokens()


def part(picture: Locator, name: str) -> Locator:
    return picture.locator(f'[data-part="{name}"]')


def slide(picture: Locator, name: str, value: float) -> None:
    part(picture, name).fill(f"{value:g}")


def shares_of(picture: Locator) -> dict[str, float]:
    """What the bars say: each word's share, in percent with two digits."""
    found: list[tuple[str, str]] = part(picture, "bars").evaluate(
        """list => [...list.querySelectorAll("li:not(.empty)")].map((row) =>
          [".word", ".share"].map((one) => row.querySelector(one).textContent))"""
    )
    return {word: float(re.sub("[^0-9.]", "", share)) for word, share in found}


def near(probs: dict[str, float]) -> Any:
    """Probabilities as percentages, as exact as two digits are."""
    return pytest.approx({word: 100 * p for word, p in probs.items()}, rel=0.051, abs=0.011)
