"""test_teach.py - The pages for teachers: the minutes add up, and every question has its answer."""

import os
import re
from pathlib import Path

import pytest

from conftest import IN_WEBASSEMBLY

PAGES = Path(__file__).resolve().parents[1] / "docs" / "teach"
if not PAGES.is_dir():
    pytest.skip("the docs lie in the repository", allow_module_level=True)


def page(name: str) -> str:
    return (PAGES / name).read_text(encoding="utf-8")


def test_each_lesson_fills_its_fifty_minutes() -> None:
    lessons = page("three-lessons.md").split("\n## Lesson ")[1:]
    assert len(lessons) == 3
    for lesson in lessons:
        spans = [(int(a), int(b)) for a, b in re.findall(r"^\| (\d+)\u2013(\d+) \| \*\*", lesson, re.M)]
        assert [start for start, _ in spans] == [0, *(end for _, end in spans[:-1])]
        assert spans[-1][1] == 50


def test_each_afternoon_fills_its_ninety_minutes() -> None:
    days = re.findall(r"^\*\*Minute by minute, afternoon \(90 minutes\)\.\*\* ((?:.+\n)+)", page("week.md"), re.M)
    assert len(days) == 3
    for day in days:
        spans = [(int(a), int(b)) for a, b in re.findall(r"(\d+)\u2013(\d+):", day)]
        assert [start for start, _ in spans] == [0, *(end for _, end in spans[:-1])]
        assert spans[-1][1] == 90


def test_each_task_has_its_answer() -> None:
    tasks = re.findall(r"^\*\*(\d+)\.\*\* ", page("worksheet.md"), re.M)
    answers = [
        number
        for found in re.findall(r"^\*\*([\d, ]+)\.\*\* ", page("worksheet-key.md"), re.M)
        for number in found.split(", ")
    ]
    assert tasks == answers == [str(number) for number in range(1, 13)]
    mentioned = {int(n) for n in re.findall(r"\btasks? (\d+)", page("three-lessons.md"))}
    assert mentioned <= set(range(1, 13))


def test_each_question_has_its_answer() -> None:
    questions, _, key = page("questionnaire.md").partition("## Key for the teacher")
    asked = re.findall(r"^\*\*(\d+)\.\*\* (.+(?:\n.+)*)", questions, re.M)
    rows = re.findall(r"^\| (\d+) \| .+ \| (.+) \| \[.+\]\((.+)\) \|$", key, re.M)
    assert [number for number, _ in asked] == [number for number, *_ in rows] == [str(n) for n in range(1, 11)]
    for _, text in asked:
        assert text.count("☐") == 4
        assert " ".join(text.split()).endswith("☐ I do not know")
    for _, _, lesson in rows:
        assert (PAGES / lesson).is_file()


def test_a_refusal_on_a_page_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if IN_WEBASSEMBLY:
        pytest.skip("no processes in WebAssembly")
    monkeypatch.syspath_prepend(str(PAGES.parent))
    from builder.commands import _run

    def run(line: str) -> str:
        return _run(line, tmp_path, dict(os.environ))

    assert run("! toy-gpt train --model bigramm").startswith(
        "toy-gpt: error: unknown model 'bigramm'; there are unigram, "
    )
    for line in ("! toy-gpt levels", "toy-gpt train --model bigramm", "! python -c 1/0"):
        with pytest.raises(RuntimeError, match="ended with exit code"):
            run(line)


def test_no_line_to_write_on_becomes_a_rule() -> None:
    # Markdown draws a line of underscores that stands alone across the page.
    assert not re.search(r"^_+$", page("worksheet.md") + page("questionnaire.md"), re.M)
