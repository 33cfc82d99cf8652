"""The lessons: each has all its parts, the glossary says where words are explained, all are read in good time."""

import re
import sys
from pathlib import Path

import pytest

from toy_gpt_train.models.registry import LADDER

DOCS = Path(__file__).resolve().parents[1] / "docs"
if not (DOCS / "builder").is_dir():
    pytest.skip("the docs lie in the repository", allow_module_level=True)
sys.path.insert(0, str(DOCS))

from builder.summaries import minutes_of, reading_order  # noqa: E402

LESSONS = {path.name: path.read_text(encoding="utf-8") for _, path in reading_order()}
HEADINGS = ("The idea", "A picture", "The mathematics", "The code", "An experiment", "Exercises", "Sources")
MINUTES_IN_ALL = 195


def without_blocks(markdown: str) -> str:
    """Return the prose of a page on one line."""
    return " ".join(re.sub(r"^```.*?^```$", "", markdown, flags=re.MULTILINE | re.DOTALL).split())


def test_every_model_has_a_lesson():
    codes = [name.split("-")[0] for name in LESSONS if name[0].isdigit()]
    assert codes == [str(entry.code) for entry in LADDER]
    for entry in LADDER:
        assert f"{entry.folder}.md" in LESSONS


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_has_all_its_parts(name):
    page = LESSONS[name]
    headings = re.findall(r"^## (.+)$", page, flags=re.MULTILINE)
    assert [heading for heading in headings if heading in HEADINGS] == list(HEADINGS)
    assert {"The artifacts", "The files it reads"} & set(headings)
    assert {"What it still cannot do", "What it cannot tell"} & set(headings)
    assert re.search(r"^\{\{ source .+ \}\}$", page, flags=re.MULTILINE)
    assert re.search(r"^\{\{ (csv|file) .+ \}\}$|^```run$", page, flags=re.MULTILINE)
    assert re.search(r"^\{\{ (chart|picture) .+ \}\}$", page, flags=re.MULTILINE)
    assert re.search(r"^```try$", page, flags=re.MULTILINE)


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_has_two_exercises_with_checks(name):
    exercises = LESSONS[name].partition("\n## Exercises\n")[2].partition("\n## ")[0]
    assert len(re.findall(r"^\*\*[12]\. ", exercises, flags=re.MULTILINE)) == 2
    assert exercises.count("<summary>Check</summary>") == 2


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_leads_to_the_next(name):
    later = list(LESSONS)[list(LESSONS).index(name) + 1 :]
    last_parts = LESSONS[name].partition("\n## What it ")[2]
    assert not later or any(f"({other})" in last_parts or f"({other}#" in last_parts for other in later)


def test_the_lessons_take_less_than_three_hours_and_a_quarter():
    assert sum(map(minutes_of, LESSONS.values())) < MINUTES_IN_ALL


def test_minutes_by_hand():
    # 550 words (two in the tag) are 150 seconds, a source 45, three other blocks 15 each, an exercise 60.
    page = (
        "word " * 548 + "\n{{ source a:b }}\n{{ chart a:b }}\n```run\nmany words\n```\n$$\nx\n$$\n<details markdown>\n"
    )
    assert minutes_of(page) == 5
    assert minutes_of(page + "word\n") == 6


def test_the_glossary_names_the_lesson_that_explains_a_word_first():
    glossary = (DOCS / "lessons" / "glossary.md").read_text(encoding="utf-8")
    entries = re.findall(r"^- \*\*(.+?)\*\*: .+ \[.+\]\((.+?)\)$", glossary, flags=re.MULTILINE)
    assert len(entries) == glossary.count("\n- ") > 60
    pages = {name: without_blocks(page).lower() for name, page in LESSONS.items()}
    for term, lesson in entries:
        explained = re.compile(rf"\*\*(?:byte-level )?{re.escape(term.lower())}(?:s|d|ed)?\.?\*\*")
        assert next((name for name, page in pages.items() if explained.search(page)), None) == lesson, term
