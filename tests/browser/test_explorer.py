"""test_explorer.py - The explorer in a real browser: what a visitor does, sees, and reads.

Playwright drives a Chromium that is installed already. The runs are the committed ones, and their numbers are compared
with those of toy-gpt infer. Every test ends with the same demands: no message in the console, no error in the page, and
no request to any other server.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable, Iterator
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from math import exp
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pytest

from browser.kit import (
    FOCUS,
    SCRIPT_LIMIT,
    Watch,
    assert_no_sideways_scrolling,
    has_added,
    open_tab,
    plain_server,
    rows_of,
    running,
    scroll_to,
    tab_to,
    table_of,
    written_of,
)
from toy_gpt_train.models import network
from toy_gpt_train.project import RESOURCE_ROOT
from toy_gpt_train.run import load, train
from toy_gpt_train.show import visible
from toy_gpt_train.view import predictions
from toy_gpt_train.view.server import VIEW_DIR, open_server, runs_index

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Locator, Page

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (uv sync --group browser)")
expect = sync_api.expect

ARTIFACTS = RESOURCE_ROOT / "artifacts"
pytestmark = pytest.mark.skipif(
    not (ARTIFACTS / "00_meta.json").is_file(), reason="the committed runs lie in the repository"
)

TABLE, GLOSSARY = "300-context-2 on 001_animals", "400-context-3 on 010_llm_glossary"
KNESER_NEY, LLAMA = "450-kneser-ney on 030_stories", "800-llama on 030_stories"
EMBEDDINGS, ATTENTION, GPT = (f"{model} on 030_stories" for model in ("500-embeddings", "600-attention", "700-gpt"))
UNIGRAM, BIGRAM = "100-unigram on 001_animals", "200-bigram on 001_animals"
# A text for each kind that is longer than some contexts, shorter than others.
PROMPTS = {
    TABLE: "the dog sees the cat",
    KNESER_NEY: "Mina saw the",
    EMBEDDINGS: "Mina saw the",
    ATTENTION: "Mina saw",
    GPT: "Mina saw the little bird",
    LLAMA: "Mina saw the little bird",
}
EVERY_KIND = (UNIGRAM, TABLE, GLOSSARY, KNESER_NEY, EMBEDDINGS, ATTENTION, GPT, LLAMA)
TABS = ("Vocabulary", "Weights", "Embeddings", "Training", "Files")

ToyGpt = Callable[..., Any]
Visit = Callable[..., "Page"]


# --- servers and the browser ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def explorer() -> Iterator[str]:
    """The address of an explorer of the committed runs."""
    with running(open_server(RESOURCE_ROOT, 0)) as address:
        yield address


@pytest.fixture
def visit(context: BrowserContext, watch: Watch, explorer: str) -> Iterator[Visit]:
    """``visit(TABLE, beside=LLAMA)`` opens the page; any complaint fails the test at its end."""
    asked: set[str] = set()

    def open_page(
        run: str | None = None, beside: str | None = None, address: str = explorer, width: int = 1280
    ) -> Page:
        names = [("run", run), ("beside", beside)]
        query = "&".join(f"{name}={quote(value)}" for name, value in names if value is not None)
        page = context.new_page()
        page.set_viewport_size({"width": width, "height": 900})
        asked.add(urlsplit(address).netloc)
        page.goto(f"{address}?{query}")
        return page

    yield open_page
    assert watch.complaints == []
    assert watch.hosts == asked
    assert [answer.url for answer in watch.responses if answer.status != 200] == []


# --- what is on the page ----------------------------------------------------------------------------------------


def column_of(page: Page, run: str) -> Locator:
    """The part of the page that shows a run, once it is there."""
    column = page.get_by_role("region", name=run, exact=True)
    expect(column).to_be_visible()
    return column


def prompt_of(column: Locator) -> Locator:
    return column.get_by_role("textbox", name="Text to start from")


def write(column: Locator, prompt: str) -> None:
    """Put a text to start from into its box, and leave the box."""
    box = prompt_of(column)
    box.fill(prompt)
    box.blur()


def be_greedy(column: Locator) -> None:
    column.get_by_role("radio", name="Greedy").check()


def next_rows(column: Locator) -> list[tuple[str, int, str]]:
    """What may come next, as it is shown: token, id, probability."""
    return [(token, int(number), text) for token, _, number, text, *_ in rows_of(table_of(column, "The next token"))]


def explanation_of(column: Locator) -> Locator:
    return column.locator("details", has=column.page.get_by_role("heading", name="Why this token?"))


def problems_on(page: Page) -> list[str]:
    """All that is said in an alert."""
    return [text for text in page.get_by_role("alert").all_text_contents() if text]


def number(text: str) -> float:
    return float(text.replace("\u2212", "-").replace("\u202f", ""))


# --- what Python says -------------------------------------------------------------------------------------------


def folder_of(run: str) -> Path:
    return ARTIFACTS.joinpath("ladder", *run.split(" on "))


@cache
def meta_of(run: str) -> dict[str, Any]:
    meta: dict[str, Any] = json.loads((folder_of(run) / "00_meta.json").read_text("utf-8"))
    return meta


def infer(toy_gpt: ToyGpt, run: str, *options: object) -> dict[str, Any]:
    """The answer of toy-gpt infer --json, with all tokens."""
    size = meta_of(run)["vocab_size"]
    outcome = toy_gpt("infer", "--base-dir", folder_of(run), "--topk", size, "--json", *options)
    assert outcome.code == 0, outcome.err
    answer: dict[str, Any] = json.loads(outcome.out)
    return answer


def infer_text(toy_gpt: ToyGpt, run: str, *options: object) -> str:
    """The text that toy-gpt infer writes."""
    outcome = toy_gpt("infer", "--base-dir", folder_of(run), *options)
    assert outcome.code == 0, outcome.err
    text: str = outcome.out.partition("generated  ")[2].removesuffix("\n")
    return text


def four_decimals(probability: float) -> str:
    """A probability as the page writes it; a half is rounded up."""
    if 0 < probability < 0.00005:
        digits, power = f"{probability:.1e}".split("e")
        return f"{digits}e{int(power)}"
    return str(Decimal(probability).quantize(Decimal("0.0001"), ROUND_HALF_UP))


# --- predicting and writing -------------------------------------------------------------------------------------

PREDICT = """async ([name, prompt]) => {
  const { loadRun, loadRuns } = await import(new URL("core/run.js", document.baseURI).href);
  const runs = await loadRuns(new URL("runs.json", document.baseURI).href);
  const { model, tokenizer, vocabulary } = await loadRun(runs.find((run) => run.name === name));
  const ids = tokenizer.tokenize(prompt).map((token) => vocabulary.idOf.get(token));
  return [...model.nextProbs(ids.slice(-model.contextSize))];
}"""


@pytest.mark.parametrize("run", PROMPTS)
def test_the_page_predicts_what_infer_predicts(visit: Visit, toy_gpt: ToyGpt, run: str) -> None:
    expected = infer(toy_gpt, run, "--prompt", PROMPTS[run])["top_k"]
    page = visit(run)
    probs = page.evaluate(PREDICT, [run, PROMPTS[run]])
    assert len(probs) == len(expected) == meta_of(run)["vocab_size"]
    for entry in expected:
        assert probs[entry["id"]] == pytest.approx(entry["probability"], rel=0, abs=1e-9)
    column = column_of(page, run)
    write(column, PROMPTS[run])
    shown = [(visible(one["token"]), one["id"], four_decimals(one["probability"])) for one in expected]
    assert next_rows(column) == shown[:10]
    column.get_by_role("button", name=f"Show all {len(shown)}").click()
    assert next_rows(column) == shown
    widths = (
        table_of(column, "The next token")
        .locator("span.filled")
        .evaluate_all("bars => bars.map((bar) => bar.getBoundingClientRect().width / bar.parentElement.clientWidth)")
    )
    assert widths == pytest.approx([one["probability"] for one in expected], abs=0.02)


@pytest.mark.parametrize("run", [TABLE, KNESER_NEY, LLAMA])
def test_greedy_writing_is_that_of_infer(visit: Visit, toy_gpt: ToyGpt, run: str) -> None:
    prompt = PROMPTS[run]
    column = column_of(visit(run), run)
    be_greedy(column)
    write(column, prompt)
    before = next_rows(column)
    column.get_by_role("button", name="Step", exact=True).click()
    has_added(column, 1)
    assert written_of(column) == infer_text(toy_gpt, run, "--prompt", prompt, "--greedy", "--num", 1)
    assert next_rows(column) != before
    column.get_by_role("spinbutton", name="tokens").fill("19")
    column.get_by_role("button", name="Generate", exact=True).click()
    has_added(column, 20)
    assert written_of(column) == infer_text(toy_gpt, run, "--prompt", prompt, "--greedy", "--num", 20)
    column.get_by_role("button", name="Reset", exact=True).click()
    assert written_of(column) == prompt
    assert next_rows(column) == before


@pytest.mark.parametrize("run", [TABLE, KNESER_NEY, LLAMA])
def test_sampling_is_that_of_infer(visit: Visit, toy_gpt: ToyGpt, run: str) -> None:
    column = column_of(visit(run), run)
    write(column, PROMPTS[run])
    column.get_by_role("radio", name="Sample").check()
    column.get_by_role("slider", name="Temperature").fill("1.3")
    column.get_by_role("slider", name="Top-p").fill("0.9")
    seed = column.get_by_role("spinbutton", name="Seed")
    generate = column.get_by_role("button", name="Generate", exact=True)
    texts = []
    for chosen in (7, 8):
        seed.fill(str(chosen))
        seed.blur()
        column.get_by_role("button", name="Reset", exact=True).click()
        generate.click()
        has_added(column, 20)
        options = ("--temperature", 1.3, "--top-p", 0.9, "--seed", chosen, "--num", 20)
        texts.append(infer_text(toy_gpt, run, "--prompt", PROMPTS[run], *options))
        assert written_of(column) == texts[-1]
    assert texts[0] != texts[1]
    drawn = [float(row[4]) for row in rows_of(table_of(column, "The next token"))]
    assert 0 < sum(drawn) <= 1.001


def test_an_unknown_token_is_named_and_can_be_replaced(visit: Visit) -> None:
    column = column_of(visit(TABLE), TABLE)
    write(column, "the dgo")
    expect(column.get_by_role("alert").filter(has_text="does not know dgo")).to_be_visible()
    expect(column.get_by_role("button", name="Step", exact=True)).to_be_disabled()
    column.get_by_role("button", name="dog", exact=True).click()
    expect(prompt_of(column)).to_have_value("the dog")
    expect(prompt_of(column)).to_be_focused()
    assert problems_on(column.page) == []
    assert len(next_rows(column)) == 10


@pytest.mark.parametrize("run", [KNESER_NEY, LLAMA])
def test_a_token_of_the_text_shows_what_may_follow_it(visit: Visit, toy_gpt: ToyGpt, run: str) -> None:
    column = column_of(visit(run), run)
    write(column, "Mina saw a bird")
    chips = column.get_by_role("listbox", name=re.compile("^Tokens")).get_by_role("option")
    expect(chips).to_have_count(15)
    expect(chips.last).to_have_attribute("aria-selected", "true")
    at_the_end = next_rows(column)
    chips.nth(5).click()  # the s of saw
    expect(column.get_by_role("heading", name="What comes after “s”, token 6?")).to_be_visible()
    best, *others = infer(toy_gpt, run, "--prompt", "Mina s")["top_k"]
    assert [row[1] for row in next_rows(column)] == [one["id"] for one in (best, *others)[:10]]
    said = f"the model expects “{visible(best['token'])}” ({four_decimals(best['probability'])})."
    follows = next((one["probability"] for one in others if one["token"] == "a"), None)
    more = "And that is what follows." if follows is None else f"The text goes on with “a” ({four_decimals(follows)})."
    expect(column.get_by_role("status").filter(has_text=f"After token 6 of 15, “s”, {said} {more}")).to_be_visible()
    page = column.page
    prompt_of(column).focus()
    tab_to(page, column.get_by_role("listbox"))
    for key, at in (("ArrowRight", 6), ("ArrowLeft", 5), ("ArrowLeft", 4), ("Home", 0), ("End", 14), ("ArrowLeft", 13)):
        page.keyboard.press(key)
        expect(chips.nth(at)).to_have_attribute("aria-selected", "true")
        expect(column.get_by_role("option", selected=True)).to_have_count(1)
    most = meta_of(run)["context_size"]
    expect(column.locator(".chip.used")).to_have_count(min(most, 14))
    column.get_by_role("button", name="Back to the end").click()
    assert next_rows(column) == at_the_end
    chips.first.click()
    column.get_by_role("button", name="Step", exact=True).click()  # it is added to the end
    has_added(column, 1)
    assert written_of(column).startswith("Mina saw a bird")
    expect(chips.last).to_have_attribute("aria-selected", "true")


def test_a_table_asks_for_as_many_tokens_as_it_looks_back(visit: Visit) -> None:
    column = column_of(visit(TABLE), TABLE)
    write(column, PROMPTS[TABLE])
    chips = column.get_by_role("listbox", name=re.compile("^Tokens")).get_by_role("option")
    expect(chips.nth(0)).to_be_disabled()
    column.get_by_role("listbox").press("Home")
    expect(chips.nth(1)).to_have_attribute("aria-selected", "true")
    chips.nth(1).click()
    expect(explanation_of(column)).to_contain_text("The row used here is the|dog.")


@pytest.mark.parametrize(
    ("name", "first", "looks_at"),
    [("800-llama on world:4m (demo)", "market", "market"), ("800-llama on world_400k", "boat", "boat")],
)
def test_a_network_begins_with_what_it_is_sure_of(visit: Visit, name: str, first: str, looks_at: str) -> None:
    column = column_of(visit(name), name)
    token, _, probability = next_rows(column)[0]
    assert token == first
    assert float(probability) > 0.6
    scroll_to(column.get_by_role("heading", name="Inside the model"))  # what is read is loaded
    walk = column.get_by_role("region", name="A step of the prediction")
    while "Step 6 of" not in (walk.text_content() or ""):
        column.get_by_role("button", name="Next", exact=True).click()
    expect(walk).to_contain_text(f"This head looks most at “{looks_at}”.")
    expect(column.get_by_role("term").filter(has_text="true entropy")).to_have_count(1)
    floor = column.get_by_role("definition").filter(has_text="0.33")
    expect(floor).to_have_count(1)
    expect(open_tab(column, "Training").locator("li.floor")).to_have_text("true entropy 0.33")


# --- why this token? --------------------------------------------------------------------------------------------


def test_a_table_shows_its_row(visit: Visit, toy_gpt: ToyGpt) -> None:
    column = column_of(visit(TABLE), TABLE)
    write(column, PROMPTS[TABLE])
    why = explanation_of(column)
    expect(why).to_contain_text("The row used here is the|cat.")
    expected = infer(toy_gpt, TABLE, "--prompt", PROMPTS[TABLE])["top_k"]
    run = load(folder_of(TABLE))
    logits = run.model.logits(run.tokenizer.token_ids(["the", "cat"]))
    rows = rows_of(table_of(why, "Largest weights of the row"))
    assert [row[0] for row in rows] == [one["token"] for one in expected[:8]]
    for (_, weight, power, probability), one in zip(rows, expected, strict=False):
        assert number(weight) == pytest.approx(logits[one["id"]], abs=0.5001e-4)
        assert number(power) == pytest.approx(exp(logits[one["id"]]), abs=0.5001e-4)
        assert probability == four_decimals(one["probability"])


def test_kneser_ney_shows_how_it_backs_off(visit: Visit) -> None:
    column = column_of(visit(KNESER_NEY), KNESER_NEY)
    write(column, "Mina")
    steps = explanation_of(column).locator("div.step")
    titles = [steps.nth(i).locator("h4").first.text_content() for i in range(5)]
    assert titles == ["After M i n a", "After i n a", "After n a", "After a", "Without any context"]
    assert steps.count() == 6
    says = [step.locator("> p").first.text_content() or "" for step in steps.all()]
    # What the contexts decide, and what is left, are the whole.
    decided = [re.search(r"decides ([0-9.]+)\s%", text) for text in says[:-1]]
    left = re.search(r"What is left, ([0-9.]+)\s%", says[-1])
    assert left
    assert all(decided)
    assert sum(float(found[1]) for found in (*decided, left) if found) == pytest.approx(100, abs=3)
    probability_of = {token: probability for token, _, probability in next_rows(column)}
    longest = rows_of(table_of(steps.first, "Followers").first)
    assert [row[3] for row in longest] == [probability_of[row[0]] for row in longest]
    write(column, "aaaa")
    expect(steps.first).to_contain_text("Never seen, so everything is passed on: 100")


def test_llama_shows_logits_and_attention(visit: Visit, toy_gpt: ToyGpt) -> None:
    prompt = "Mina saw"  # 8 tokens: all of them fit in the table of attention
    column = column_of(visit(LLAMA), LLAMA)
    write(column, prompt)
    why = explanation_of(column)
    why.locator("summary").first.click()
    answer = infer(toy_gpt, LLAMA, "--prompt", prompt, "--explain")
    logits = table_of(why, "Logits, step by step")
    places = [place["place"] for place in answer["explanation"]]
    assert logits.locator("thead th").all_text_contents() == ["token", *places, "probability"]
    rows = rows_of(logits)
    assert [row[0] for row in rows] == [visible(one["token"]) for one in answer["top_k"][:8]]
    for row, one in zip(rows, answer["top_k"], strict=False):
        expected = [place["logits"][one["token"]] for place in answer["explanation"]]
        assert [number(cell) for cell in row[1:-1]] == pytest.approx(expected, rel=0, abs=0.5001e-4)
        assert row[-1] == four_decimals(one["probability"])
    why.get_by_text("The values as a table").click()
    shares = rows_of(table_of(why, "Attention of the last token, values"))
    expected = [list(head) for place in answer["explanation"] for head in place["attention"]]
    assert len(shares) == len(expected) > 0
    for row, head in zip(shares, expected, strict=True):
        assert [number(cell) for cell in row[1:]] == pytest.approx(head, rel=0, abs=1e-6)
        assert sum(number(cell) for cell in row[1:]) == pytest.approx(1, abs=1e-5)


def test_a_prediction_is_walked_through(visit: Visit, toy_gpt: ToyGpt) -> None:
    prompt = "Mina saw"
    column = column_of(visit(LLAMA), LLAMA)
    write(column, prompt)
    answer = infer(toy_gpt, LLAMA, "--prompt", prompt, "--explain")
    scroll_to(column.get_by_role("heading", name="Inside the model"))  # what is read is loaded
    walk = column.get_by_role("region", name="A step of the prediction")
    expect(column.locator(".flow .title")).to_have_count(10)
    titles = column.locator(".flow .title").all_text_contents()
    shares = [head for place in answer["explanation"] for head in place["attention"]]
    column.get_by_role("combobox", name="Head").select_option("1 of 4")
    for i, title in enumerate(titles, start=1):
        expect(walk).to_contain_text(f"Step {i} of 10")
        expect(walk.get_by_role("heading", name=title)).to_be_visible()
        expect(column.locator(".flow [aria-current=step]")).to_have_text(re.compile(re.escape(title)))
        if title == "Attention":
            most = max(range(len(prompt)), key=shares[0].__getitem__)
            expect(walk).to_contain_text(f"This head looks most at “{visible(prompt[most])}”.")
        if i < len(titles):
            column.get_by_role("button", name="Next", exact=True).click()
    expect(column.get_by_role("button", name="Next", exact=True)).to_be_disabled()
    best = answer["top_k"][0]
    first = rows_of(table_of(walk, "Most likely"))[0]
    assert (first[0], first[-1]) == (visible(best["token"]), four_decimals(best["probability"]))


def test_every_head_shows_what_each_token_looks_at(visit: Visit, toy_gpt: ToyGpt) -> None:
    prompt = "Mina saw"
    column = column_of(visit(LLAMA), LLAMA)
    write(column, prompt)
    scroll_to(column.get_by_role("heading", name="Inside the model"))
    heads = column.get_by_role("group", name="Heads").get_by_role("button")
    expect(heads).to_have_count(4)
    heads.nth(2).click()
    expect(heads.nth(2)).to_have_attribute("aria-pressed", "true")
    lookers = column.get_by_role("group", name="Tokens; choose one to see what it looks at")
    expect(lookers.get_by_role("button")).to_have_text([visible(token) for token in prompt])
    column.get_by_text("The whole triangle, with its numbers").click()
    column.get_by_text("The values as a table").last.click()
    table = rows_of(table_of(column, "Attention of block 1, head 3, values"))
    for end in (4, len(prompt)):
        lookers.get_by_role("button").nth(end - 1).click()
        answer = infer(toy_gpt, LLAMA, "--prompt", prompt[:end], "--explain")
        shares = [head for place in answer["explanation"] for head in place["attention"]][2]
        row = [number(cell) for cell in table[end - 1][1:]]
        assert row == pytest.approx([*shares, *[0.0] * (len(prompt) - end)], rel=0, abs=1e-6)
        most = max(range(end), key=shares.__getitem__)
        said = f"“{visible(prompt[end - 1])}” looks at “{visible(prompt[most])}” {shares[most] * 100:.0f}"
        expect(column.get_by_role("status").filter(has_text=said)).to_be_visible()
        expect(lookers.locator("path").first).to_be_attached()


# --- every tab of every kind ------------------------------------------------------------------------------------


def check_vocabulary(panel: Locator, meta: dict[str, Any]) -> None:
    size = meta["vocab_size"]
    expect(table_of(panel, f"Vocabulary: {size} tokens")).to_be_visible()
    assert len(rows_of(table_of(panel, "Vocabulary"))) == min(size, 100)
    expect(panel.get_by_text(f"{min(size, 100)} of {size} shown")).to_be_visible()
    more = panel.get_by_role("button", name=re.compile("^Show .* more$"))
    while more.is_visible():
        more.click()
    assert len(rows_of(table_of(panel, "Vocabulary"))) == size
    panel.get_by_role("button", name="frequency").click()
    counts = [number(row[2]) for row in rows_of(table_of(panel, "Vocabulary"))]
    assert counts == sorted(counts, reverse=True)


COLORS = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return new Set(new Uint32Array(data.buffer)).size;
}"""


def check_weights(panel: Locator) -> None:
    cells = panel.get_by_role("application")
    expect(cells).to_be_visible()
    # WHY a wait: the canvas is painted once it has a width.
    panel.page.wait_for_function(f"canvas => ({COLORS})(canvas) > 3", arg=panel.locator("canvas").element_handle())
    cells.press("Home")
    readout = panel.locator("output.readout")
    expect(readout).to_have_text(re.compile(r", .+: \u2212?[0-9.e\u2212+]+$"))
    value = number((readout.text_content() or "").rpartition(": ")[2])
    panel.get_by_text("The values as a table").click()
    assert number(rows_of(panel.get_by_role("table"))[0][1]) == value
    matrix = panel.get_by_role("combobox", name="Matrix")
    for chosen in range(1, matrix.locator("option").count()):
        matrix.select_option(index=chosen)
        expect(panel.get_by_role("application")).to_be_visible()


def check_embeddings(panel: Locator, path: Path) -> None:
    if not path.is_file():
        expect(panel).to_have_text("This model counts; it has no vectors to show.")
        return
    dots = panel.get_by_role("img", name=re.compile("vectors? in two dimensions")).locator("circle.dot")
    with path.open(encoding="utf-8", newline="") as file:
        count = min(sum(1 for _ in csv.reader(file)) - 1, 1500)
    expect(dots).to_have_count(count)  # WHY not count(): the drawing is made once the panel has a width
    if count == 1:
        expect(panel.get_by_text("has no neighbors")).to_be_visible()
        return
    near = rows_of(table_of(panel, "Pointing in nearly the same direction"))
    cosines = [number(row[1]) for row in near]
    assert cosines == sorted(cosines, reverse=True)
    assert all(-1.0001 <= cosine <= 1.0001 for cosine in cosines)


def check_training(panel: Locator, meta: dict[str, Any]) -> None:
    drawing = panel.get_by_role("img", name=re.compile("^training loss"))
    panel.get_by_text("The log as a table").click()
    count = len(rows_of(table_of(panel, "The training log")))
    assert count > 0
    if count == 1:
        expect(panel).to_contain_text("The log has one line, so there is no curve to draw")
        expect(drawing).to_have_count(0)
        return
    expect(drawing).to_be_visible()
    if "architecture" in meta or meta["loss_floor"] == 0:  # it would say nothing of a network
        expect(drawing.locator("line.floor")).to_have_count(0)
        expect(panel).not_to_contain_text("floor")
    else:
        expect(drawing.locator("line.floor")).to_have_count(1)
        floor = (panel.locator("li.floor").text_content() or "").removeprefix("loss floor ")
        assert number(floor) == pytest.approx(meta["loss_floor"], abs=0.5001e-4)


def check_files(panel: Locator, meta: dict[str, Any]) -> None:
    links = panel.get_by_role("link")
    assert links.all_text_contents() == [*sorted(meta["artifacts"]), "train_log.csv"]
    for link in links.all():
        assert panel.page.request.get(link.evaluate("link => link.href")).ok
    expect(panel.get_by_role("definition").filter(has_text=meta["model_kind"]).first).to_be_visible()


@pytest.mark.parametrize("run", EVERY_KIND)
def test_every_tab_opens(visit: Visit, watch: Watch, run: str) -> None:
    meta = meta_of(run)
    column = column_of(visit(run), run)
    scripts = watch.scripts()
    assert {"app.js", "column.js", "run.js"} < {url.rpartition("/")[2] for url in scripts}
    assert sum(scripts.values()) < SCRIPT_LIMIT
    check_vocabulary(open_tab(column, "Vocabulary"), meta)
    check_weights(open_tab(column, "Weights"))
    check_embeddings(open_tab(column, "Embeddings"), folder_of(run) / "03_token_embeddings.csv")
    check_training(open_tab(column, "Training"), meta)
    check_files(open_tab(column, "Files"), meta)


def test_a_mixture_opens_too(visit: Visit, trained: Callable[..., Path]) -> None:
    base = trained("mixture")
    meta = json.loads((base / "artifacts" / "00_meta.json").read_text("utf-8"))
    with running(open_server(base, 0)) as address:
        page = visit(address=address)
        column = page.get_by_role("region", name=re.compile("mixture"))
        expect(column).to_be_visible()
        weights = rows_of(table_of(explanation_of(column), "Mixture weights"))
        together = rows_of(table_of(explanation_of(column), "Together"))
        assert len(weights) > 1
        assert together == [[token, text] for token, _, text in next_rows(column)[: len(together)]]
        check_vocabulary(open_tab(column, "Vocabulary"), meta)
        open_tab(column, "Weights")
        open_tab(column, "Embeddings")
        check_training(open_tab(column, "Training"), meta)
        check_files(open_tab(column, "Files"), meta)
        page.close()


# --- looks and the keyboard -------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [(GLOSSARY,), (LLAMA, KNESER_NEY)], ids=["one run", "two runs"])
@pytest.mark.parametrize("width", [375, 1440])
def test_nothing_scrolls_sideways(visit: Visit, width: int, names: tuple[str, ...]) -> None:
    page = visit(*names, width=width)
    for name in names:
        column = column_of(page, name)
        column.get_by_role("radio", name="Sample").check()
        for tab in TABS:
            open_tab(column, tab)
            for theme in ("light", "dark"):
                page.emulate_media(color_scheme=theme)
                expect(page.locator("html")).to_have_attribute("data-theme", theme)
                assert_no_sideways_scrolling(page, f"{name}, {tab}, {theme}")


def test_the_theme_is_chosen_and_remembered(visit: Visit) -> None:
    page = visit(TABLE)
    column_of(page, TABLE)
    color = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(color)
    button = page.get_by_role("button", name="Dark")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    assert page.evaluate(color) != light
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    column_of(page, TABLE)


def test_the_keyboard_is_enough(visit: Visit, toy_gpt: ToyGpt) -> None:
    page = visit(TABLE)
    column = column_of(page, TABLE)
    be_greedy(column)
    page.locator(".skip").focus()
    tab_to(page, prompt_of(column))
    page.keyboard.press("Control+A")
    page.keyboard.type("a dog")
    tab_to(page, column.get_by_role("button", name="Step", exact=True))
    page.keyboard.press("Enter")
    has_added(column, 1)
    assert written_of(column) == infer_text(toy_gpt, TABLE, "--prompt", "a dog", "--greedy", "--num", 1)
    tab_to(page, column.get_by_role("tab", name=TABS[0], exact=True))
    keys = [*(("ArrowRight", name) for name in (*TABS[1:], TABS[0])), ("ArrowLeft", "Files")]
    for key, name in [*keys, ("Home", "Vocabulary"), ("End", "Files")]:
        page.keyboard.press(key)
        tab = column.get_by_role("tab", name=name, exact=True)
        expect(tab).to_be_focused()
        expect(tab).to_have_attribute("aria-selected", "true")
        assert page.evaluate(FOCUS)
        expect(column.get_by_role("tabpanel")).to_have_count(1)
        expect(column.get_by_role("tabpanel", name=name, exact=True)).to_be_visible()


# --- two runs, wrong names, damaged files -----------------------------------------------------------------------


def test_two_runs_side_by_side(visit: Visit, toy_gpt: ToyGpt) -> None:
    page = visit(KNESER_NEY)
    first = column_of(page, KNESER_NEY)
    page.get_by_role("combobox", name="Beside it").select_option(LLAMA)
    second = column_of(page, LLAMA)
    assert f"run={quote(KNESER_NEY)}" in page.url.replace("+", "%20")
    assert f"beside={quote(LLAMA)}" in page.url.replace("+", "%20")
    left, right = first.bounding_box(), second.bounding_box()
    assert left
    assert right
    assert left["x"] + left["width"] <= right["x"]
    write(first, "Mina saw the")
    expect(prompt_of(second)).to_have_value("Mina saw the")
    for run, column in ((KNESER_NEY, first), (LLAMA, second)):
        expected = infer(toy_gpt, run, "--prompt", "Mina saw the")["top_k"][:10]
        assert [row[2] for row in next_rows(column)] == [four_decimals(one["probability"]) for one in expected]
    page.get_by_role("checkbox", name="Same text in both").uncheck()
    write(first, "Otto")
    assert prompt_of(second).input_value() == "Mina saw the"
    page.reload()
    column_of(page, KNESER_NEY)
    column_of(page, LLAMA)
    page.get_by_role("combobox", name="Beside it").select_option("nothing")
    expect(page.get_by_role("region", name=LLAMA)).to_have_count(0)


def test_an_unknown_run_is_answered_with_a_sentence(visit: Visit) -> None:
    page = visit("<b>nowhere</b>")
    expect(page.get_by_role("alert").filter(has_text='There is no run called "<b>nowhere</b>"')).to_be_visible()
    assert len(problems_on(page)) == 1
    column_of(page, "400-context-3 on 000_cat_dog (default run)")


@pytest.mark.parametrize("name", ["02_model_weights.csv", "01_vocabulary.csv", "00_meta.json"])
def test_a_damaged_file_is_named(visit: Visit, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "artifacts" / "ladder" / "200-bigram" / "tiny"
    shutil.copytree(folder_of(BIGRAM), copy)
    shutil.copytree(folder_of(UNIGRAM), tmp_path / "artifacts" / "ladder" / "100-unigram" / "tiny")
    whole = (copy / name).read_bytes()
    (copy / name).write_bytes(whole[: len(whole) // 2])
    with running(open_server(tmp_path, 0)) as address:
        page = visit("200-bigram on tiny", address=address)
        if name == "00_meta.json":  # such a run is left out, and it is said why
            column_of(page, "100-unigram on tiny")
            said = [text for text in page.locator("p.notice").all_text_contents() if text]
        else:
            expect(page.get_by_role("alert").filter(has_text="cannot be shown")).to_be_visible()
            said = problems_on(page)
        page.close()
    (sentence,) = said
    assert name in sentence
    assert "\n" not in sentence
    assert str(tmp_path) not in sentence


# --- a plain folder on any server -------------------------------------------------------------------------------


def test_the_page_works_from_a_plain_folder(visit: Visit, toy_gpt: ToyGpt, tmp_path: Path) -> None:
    folder = tmp_path / "sub" / "explorer"
    shutil.copytree(VIEW_DIR, folder)
    for run in (TABLE, LLAMA):
        for kind in ("artifacts", "outputs"):
            place = Path(kind).joinpath("ladder", *run.split(" on "))
            shutil.copytree(RESOURCE_ROOT / place, folder / place)
    (folder / "runs.json").write_text(json.dumps(runs_index(folder)), encoding="utf-8")

    with running(plain_server(tmp_path)) as address:
        page = visit(TABLE, LLAMA, address=f"{address}sub/explorer/index.html")
        table, llama = column_of(page, TABLE), column_of(page, LLAMA)
        page.get_by_role("checkbox", name="Same text in both").uncheck()
        for run, column in ((TABLE, table), (LLAMA, llama)):
            write(column, PROMPTS[run])
            expected = infer(toy_gpt, run, "--prompt", PROMPTS[run])["top_k"][:10]
            assert [row[1] for row in next_rows(column)] == [one["id"] for one in expected]
            check_training(open_tab(column, "Training"), meta_of(run))
            check_files(open_tab(column, "Files"), meta_of(run))
        page.close()


# --- a run that is too large to send ----------------------------------------------------------------------------


@pytest.fixture
def large_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small one, with the limit lowered."""
    monkeypatch.setattr(network, "LARGEST_IN_TABLES", 1)
    monkeypatch.setattr(predictions, "LARGEST_SENT", 0)
    text = "the cat sat on the mat. the dog sat on the cat. " * 9
    train("gpt", text=text, tokenizer="char", steps=30, embedding_dim=8, heads=2, layers=2, context=6).save(tmp_path)
    return tmp_path


def test_python_predicts_where_the_weights_stay_with_the_server(
    visit: Visit, watch: Watch, toy_gpt: ToyGpt, large_run: Path
) -> None:
    (name,) = (run["name"] for run in runs_index(large_run)["runs"])
    outcome = toy_gpt(
        "infer", "--base-dir", large_run, "--prompt", "the c", "--explain", "--greedy", "--num", 6, "--json"
    )
    expected = json.loads(outcome.out)
    with running(open_server(large_run, 0)) as address:
        column = column_of(visit(name, address=address), name)
        be_greedy(column)
        write(column, "the c")
        expect(column.get_by_text("Python is computing")).to_have_count(0)
        logits = table_of(explanation_of(column), "Logits, step by step")
        shown = [(visible(one["token"]), one["id"], four_decimals(one["probability"])) for one in expected["top_k"]]
        assert next_rows(column)[: len(shown)] == shown
        for row, one in zip(rows_of(logits), expected["top_k"], strict=False):
            steps = [place["logits"][one["token"]] for place in expected["explanation"]]
            assert [number(cell) for cell in row[1:-1]] == pytest.approx(steps, rel=0, abs=0.5001e-4)
        column.get_by_role("spinbutton", name="tokens").fill("6")
        column.get_by_role("button", name="Generate", exact=True).click()
        has_added(column, 6)
        assert written_of(column) == "".join(expected["generated"])
        column.get_by_role("option").nth(2).click()  # "the" of "the c"
        after = json.loads(toy_gpt("infer", "--base-dir", large_run, "--prompt", "the", "--json").out)["top_k"][0]
        said = f"the model expects “{visible(after['token'])}” ({four_decimals(after['probability'])})."
        expect(column.get_by_role("status").filter(has_text=f"After token 3 of 11, “e”, {said}")).to_be_visible()
        column.get_by_role("spinbutton", name="tokens").fill("1")
        column.get_by_role("button", name="Generate", exact=True).click()  # to the end of the text
        has_added(column, 7)
        assert written_of(column).startswith("".join(expected["generated"]))
        for tab in ("Weights", "Embeddings"):
            expect(open_tab(column, tab)).to_contain_text("too large for this page")
        assert not [answer.url for answer in watch.responses if "safetensors" in answer.url]
