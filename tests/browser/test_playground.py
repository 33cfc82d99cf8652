"""test_playground.py - Training in the page: what a visitor does, sees and reads, and that it equals what CPython does.

The page is that of the built site, from a sub-folder of a plain server. What it trains is compared with what the same
command makes in this process. Every test ends with the same demands: no message in the console, no error in the page,
and no request to any other server; where a test takes something away from the page, the console may name that.
"""

from __future__ import annotations

import csv
import hashlib
import json
import random
import re
import shlex
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus, urlsplit

import pytest

from browser.kit import (
    AXE_COLORS,
    AXE_TAGS,
    PATIENCE,
    SAVES_DATA,
    SCRIPT_LIMIT,
    SITE,
    WIDTHS,
    Watch,
    assert_no_sideways_scrolling,
    axe_violations,
    has_added,
    needs_site,
    open_tab,
    rows_of,
    scroll_to,
    tab_to,
    table_of,
    written_of,
)
from toy_gpt_train.project import RESOURCE_ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (uv sync --group browser)")
expect = sync_api.expect
pytestmark = needs_site

PLAYGROUND = "playground/index.html"
LOADING = 120_000  # milliseconds; how long Python may take to be there, on a busy machine too
DEFAULT = "--model bigram --tokenizer word --corpus corpus/001_animals.txt --val-fraction 0.2"
LONG = "--model gpt --tokenizer char --steps 5000 --eval-every 1 --corpus corpus/030_stories.txt"
# More and more steps of little work, with a curve that soon has points.
ENDLESS = "--model embeddings --tokenizer char --steps 100000 --eval-every 5 --corpus corpus/001_animals.txt"
META = "artifacts/00_meta.json"
# WHY: its numbers are not rounded, and the page has a newer sum() and another exp(); they are about 1e-15 apart.
UNROUNDED = "artifacts/04_mixing_weights.csv"
TABS = ("Vocabulary", "Weights", "Embeddings", "Training", "Files")
ABSENT = "The lessons and the explorer work without it, and so does the command in a terminal."

ToyGpt = Callable[..., Any]
Visit = Callable[..., "Page"]


# --- pages ------------------------------------------------------------------------------------------------------

KEEP_URLS = """
  window.madeUrls = []; window.revokedUrls = [];
  const { createObjectURL, revokeObjectURL } = URL;
  URL.createObjectURL = (blob) => { const url = createObjectURL.call(URL, blob); madeUrls.push(url); return url; };
  URL.revokeObjectURL = (url) => { revokedUrls.push(url); revokeObjectURL.call(URL, url); };
"""


def open_playground(context: BrowserContext, address: str, arguments: str | None = None, width: int = 1280) -> Page:
    """The page, with its form; ``arguments`` fill it."""
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(address + PLAYGROUND + ("" if arguments is None else f"?train={quote_plus(arguments)}"))
    return page


@pytest.fixture
def visit(context: BrowserContext, watch: Watch, site_address: str) -> Iterator[Visit]:
    """``visit("--model gpt")`` opens a page of its own; any complaint fails the test at its end."""
    context.add_init_script(KEEP_URLS)
    yield lambda arguments=None, width=1280: open_playground(context, site_address, arguments, width)
    watch.assert_quiet(urlsplit(site_address).netloc)


@pytest.fixture(scope="module")
def warm_page(browser: Browser, site_address: str) -> Iterator[tuple[Page, Watch]]:
    """A page whose Python is there already."""
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    context.add_init_script(KEEP_URLS)
    watch = Watch(context)
    page = open_playground(context, site_address)
    trained(page, timeout=LOADING)
    yield page, watch
    context.close()


@pytest.fixture
def warm(warm_page: tuple[Page, Watch], site_address: str) -> Iterator[Page]:
    """The page whose Python is there already, as it was at its start; its complaints fail the test at its end."""
    page, watch = warm_page
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(color_scheme="light")
    if PLAYGROUND not in page.url or not button(page, "Train").is_visible():  # a test before this one has failed
        page.goto(site_address + PLAYGROUND)
        trained(page, timeout=LOADING)
    page.bring_to_front()
    watch.forget()
    yield page
    watch.assert_quiet(urlsplit(site_address).netloc)


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


FIELDS = {  # the flag of each, and what it is called on the page
    "--model": "Model",
    "--tokenizer": "A token is",
    "--context": "Context N",
    "--epochs": "Epochs",
    "--steps": "Steps",
    "--learning-rate": "Learning rate",
    "--val-fraction": "Held-out share",
    "--seed": "Seed",
}


def field(page: Page, flag: str) -> Locator:
    """The form's control for a flag."""
    role: Any = "combobox" if flag in ("--model", "--tokenizer") else "spinbutton"
    return page.locator("form").get_by_role(role, name=FIELDS[flag], exact=True)


def more_options(page: Page) -> Locator:
    return page.get_by_label("More options of toy-gpt train", exact=True)


def text_box(page: Page) -> Locator:
    return page.get_by_role("textbox", name="The text to train on; you can edit it", exact=True)


def texts_of(page: Page) -> Locator:
    """The list of the project's texts."""
    return page.get_by_role("combobox", name="Text", exact=True)


def fill_form(page: Page, line: str) -> None:
    """Fill the form by hand as an address with this line would."""
    words = shlex.split(line)
    values = dict(zip(words[::2], words[1::2], strict=True))
    page.locator("form details").evaluate_all("folds => folds.forEach((fold) => (fold.open = true))")
    field(page, "--model").select_option(values.pop("--model"))
    page.locator("form input[type=number]").evaluate_all("boxes => boxes.forEach((box) => (box.value = ''))")
    for flag in FIELDS:
        value = values.pop(flag, "")
        if flag == "--model":
            continue
        control = field(page, flag)
        if flag == "--tokenizer":
            control.select_option(value or "word")
        elif value:
            control.fill(value)
    choose_text(page, Path(values.pop("--corpus")).name)
    more_options(page).fill(shlex.join(part for pair in values.items() for part in pair))


def choose_text(page: Page, name: str) -> None:
    """Choose one of the project's texts, and wait until it is there."""
    texts_of(page).select_option(name)
    text = (RESOURCE_ROOT / "corpus" / name).read_text("utf-8")
    expect(text_box(page)).to_have_value(text)


def status_of(page: Page) -> Locator:
    return page.locator(".going p[role=status]")


def result_of(page: Page, timeout: float = PATIENCE) -> Locator:
    """The trained run, once it is there."""
    column = page.get_by_role("region", name="Your run", exact=True)
    said = page.locator("#message p")
    expect(column.or_(said).first).to_be_visible(timeout=timeout)
    assert said.all_text_contents() == []
    expect(column).to_be_visible()
    expect(button(page, "Train")).to_be_enabled(timeout=LOADING)  # the model is scored
    return column


def trained(page: Page, timeout: float = LOADING) -> Locator:
    """Press Train; gives the run."""
    old = page.locator("#result > *").element_handles()
    button(page, "Train").click()
    for node in old:
        node.wait_for_element_state("hidden")
    return result_of(page, timeout)


def begun(page: Page, timeout: float = LOADING) -> None:
    """Press Train, and wait until the network has taken some steps."""
    button(page, "Train").click()
    steps = status_of(page).filter(has_text=re.compile(r"^step ([2-9]|\d\d+)/"))
    said = page.locator("#message p")
    expect(steps.or_(said)).to_be_visible(timeout=timeout)
    assert said.all_text_contents() == []


def alert_of(page: Page, timeout: float = 30_000) -> str:
    """The one sentence of the alert, once something is said; nothing is going on any more."""
    said = page.locator("#message[role=alert] p")
    expect(said).to_have_count(1, timeout=timeout)
    expect(button(page, "Train")).to_be_enabled()
    expect(button(page, "Stop")).to_be_hidden()
    expect(page.get_by_role("progressbar")).to_be_hidden()
    sentence = said.text_content() or ""
    assert "\n" not in sentence
    return sentence


# --- what CPython makes of the same command ---------------------------------------------------------------------


def command_of(page: Page) -> list[str]:
    """The arguments of `toy-gpt train` in the command on the page."""
    words = shlex.split(page.locator(".command").text_content() or "")
    assert words[:4] == ["uv", "run", "toy-gpt", "train"]
    return words[4:]


@pytest.fixture
def in_python(toy_gpt: ToyGpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Page], Path]:
    """``in_python(page)`` runs the page's command where a folder corpus/ has its text; gives the folder of the run."""

    def run(page: Page) -> Path:
        base = tmp_path / "python"
        shutil.rmtree(base, ignore_errors=True)
        words = command_of(page)
        corpus = base / words[words.index("--corpus") + 1]
        corpus.parent.mkdir(parents=True)
        corpus.write_text(text_box(page).input_value(), encoding="utf-8", newline="")
        monkeypatch.chdir(base)
        outcome = toy_gpt("train", *words, "--base-dir", ".")
        assert outcome.code == 0, outcome.err
        shutil.rmtree(base / "outputs" / "checkpoints", ignore_errors=True)  # the page keeps none
        (base / "printed.txt").write_text(outcome.out, encoding="utf-8")
        return base

    return run


def downloaded(page: Page, folder: Path) -> Path:
    """The run of the page, from its ZIP file."""
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the run as a ZIP file").click()
    assert download.value.suggested_filename == "toy-gpt-run.zip"
    download.value.save_as(folder / "run.zip")
    with zipfile.ZipFile(folder / "run.zip") as archive:
        assert archive.testzip() is None
        archive.extractall(folder / "page")
    return folder / "page"


def numbers_of(table: bytes) -> list[float]:
    return [float(cell) for cell in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", table.decode("utf-8"))]


PREDICT = """async (prompt) => {
  const { loadRun } = await import(new URL("../explorer/core/run.js", document.baseURI).href);
  const urls = new Map([...document.querySelectorAll(".files a")].map((link) => [link.textContent, link.href]));
  const { model, tokenizer, vocabulary, meta } = await loadRun({ name: "", urls, log: null });
  const tokens = prompt === null ? meta.start_tokens : tokenizer.tokenize(prompt);
  return [...model.nextProbs(tokens.slice(-model.contextSize).map((token) => vocabulary.idOf.get(token)))];
}"""


def lines_of(report: str) -> list[str]:
    """Its lines, but for those that say how long it took, and where the files are."""
    return [line for line in report.splitlines() if not line.startswith(("time ", "learned ", "wrote "))]


def assert_as_in_python(page: Page, toy_gpt: ToyGpt, base: Path, listing: Callable[[Path], Any], folder: Path) -> None:
    """The run on the page is the run of CPython: its files, its probabilities, and the text it writes."""
    mine, theirs = listing(downloaded(page, folder)), listing(base)
    printed = theirs.pop("printed.txt").decode("utf-8")
    for name in ("config.toml", "train.log"):  # of the command alone
        del theirs[f"outputs/{name}"]
    meta, their_meta = json.loads(mine.pop(META)), json.loads(theirs.pop(META))
    # WHY not their names: a run outside of a checkout is named after its folder.
    del meta["repo_name"], their_meta["repo_name"]
    hashes, their_hashes = meta.pop("sha256"), their_meta.pop("sha256")
    assert meta == their_meta
    assert list(hashes) == list(their_hashes)
    written = {Path(name).name: hashlib.sha256(content).hexdigest() for name, content in mine.items() if content}
    assert {name: written[name] for name in hashes if name != Path(META).name}.items() <= hashes.items()
    assert list(mine) == list(theirs)
    for name in theirs:
        if name == UNROUNDED:
            assert numbers_of(mine[name]) == pytest.approx(numbers_of(theirs[name]), rel=1e-9, abs=1e-15)
        else:
            assert mine[name] == theirs[name], name
    shown = page.locator(".going pre").text_content() or ""
    assert lines_of(shown) == lines_of(printed)

    column = result_of(page)
    open_tab(column, "Files")
    size = meta["vocab_size"]
    for prompt in (None, "the dog sees the cat"):
        start = [] if prompt is None else ["--prompt", prompt]
        answers = [
            json.loads(
                toy_gpt("infer", "--base-dir", place, "--json", "--greedy", "--topk", size, "--num", 20, *start).out
            )
            for place in (base, folder / "page")  # what was downloaded can be used
        ]
        assert answers[0]["generated"] == answers[1]["generated"]
        probs = page.evaluate(PREDICT, prompt)
        assert len(probs) == size
        for answer in answers:
            theirs_by_id = {entry["id"]: entry["probability"] for entry in answer["top_k"]}
            assert probs == pytest.approx([theirs_by_id[i] for i in range(size)], rel=0, abs=1e-9)
    column.get_by_role("radio", name="Greedy").check()
    column.get_by_role("spinbutton", name="tokens").fill("20")
    column.get_by_role("button", name="Generate", exact=True).click()
    has_added(column, 20)
    text = toy_gpt("infer", "--greedy", "--base-dir", base, "--num", 20).out.partition("generated  ")[2]
    assert written_of(column) == text.removesuffix("\n")


# --- training ---------------------------------------------------------------------------------------------------

NOTE_ALL = """() => {
  window.noted = [];
  const note = () => noted.push({
    status: document.querySelector(".going [role=status]").textContent,
    points: document.querySelector(".going polyline")?.points.length ?? 0,
    isOver: document.querySelector("#result section") !== null,
  });
  new MutationObserver(note).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""


def test_the_page_trains_what_python_trains(
    visit: Visit,
    context: BrowserContext,
    toy_gpt: ToyGpt,
    in_python: Callable[[Page], Path],
    listing: Callable[[Path], Any],
    tmp_path: Path,
) -> None:
    context.add_init_script(SAVES_DATA)
    page = visit()
    choose_text(page, "001_animals.txt")
    assert page.locator(".command").text_content() == (
        "uv run toy-gpt train --model bigram --tokenizer word --val-fraction 0.2 --corpus corpus/001_animals.txt"
    )
    page.evaluate(NOTE_ALL)
    trained(page, timeout=LOADING)
    noted = page.evaluate("noted")
    loading = [re.fullmatch(r"Fetching Python: (.+) of (.+) MB, only once", one["status"]) for one in noted]
    fetched = [tuple(map(float, found.groups())) for found in loading if found]
    assert len(set(fetched)) > 2
    assert all(before <= after for (before, _), (after, _) in pairwise(fetched))
    assert all(megabytes <= total and 10 < total < 20 for megabytes, total in fetched)
    assert any(re.fullmatch(r"Python 3\.\d+\.\d+ is ready", one["status"]) for one in noted)
    assert any(one["points"] > 1 and not one["isOver"] for one in noted)  # the curve grows while it trains
    assert_as_in_python(page, toy_gpt, in_python(page), listing, tmp_path)
    losses = json.loads((tmp_path / "python" / META).read_text("utf-8"))["metrics"]
    assert [float(number) for number in re.findall(r"\d\.\d+(?=[ .])", status_of(page).text_content() or "")] == [
        round(losses[name], 4) for name in ("train_loss", "val_loss")
    ]


@pytest.mark.parametrize(
    "line",
    [
        "--model kneser-ney --tokenizer char --context 5 --val-fraction 0.1 --corpus corpus/001_animals.txt",
        "--model kneser-ney --tokenizer bpe --bpe-vocab 300 --corpus corpus/001_animals.txt",
        "--model mixture --tokenizer char --corpus corpus/000_cat_dog.txt",
        "--model context-2 --epochs 7 --learning-rate 0.5 --corpus corpus/000_cat_dog.txt",
        "--model embeddings --tokenizer char --steps 20 --val-fraction 0.1 --corpus corpus/001_animals.txt",
        "--model llama --tokenizer char --steps 4 --seed 3 --corpus corpus/000_cat_dog.txt",
    ],
    ids=lambda line: " ".join(line.split()[1:4:2]),
)
def test_other_models_too(
    warm: Page,
    toy_gpt: ToyGpt,
    in_python: Callable[[Page], Path],
    listing: Callable[[Path], Any],
    tmp_path: Path,
    line: str,
) -> None:
    fill_form(warm, line)
    trained(warm)
    assert_as_in_python(warm, toy_gpt, in_python(warm), listing, tmp_path)


def test_an_edited_text_is_learned(
    warm: Page, toy_gpt: ToyGpt, in_python: Callable[[Page], Path], listing: Callable[[Path], Any], tmp_path: Path
) -> None:
    fill_form(warm, DEFAULT)
    text_box(warm).fill("the dog sees the cat , naïve 日本 🙂 .\n" * 3)
    expect(texts_of(warm)).to_have_value("my_text.txt")
    assert command_of(warm)[-1] == "corpus/my_text.txt"
    field(warm, "--val-fraction").fill("")
    column = trained(warm)
    tokens = [row[0] for row in rows_of(table_of(open_tab(column, "Vocabulary"), "Vocabulary"))]
    assert sorted(tokens) == sorted({"the", "dog", "sees", "cat", ",", "naïve", "日本", "🙂", "."})
    assert_as_in_python(warm, toy_gpt, in_python(warm), listing, tmp_path)


def test_a_file_is_learned(warm: Page, tmp_path: Path) -> None:
    fill_form(warm, DEFAULT)
    path = tmp_path / "poem.txt"
    path.write_text("one two three one two four\n", encoding="utf-8")
    chooser = warm.get_by_label("Or your own file")
    chooser.set_input_files(path)
    expect(text_box(warm)).to_have_value("one two three one two four\n")
    expect(warm.get_by_text("27 characters, 1 line", exact=True)).to_be_visible()
    chooser.set_input_files([])  # the choice is taken back
    expect(text_box(warm)).to_have_value("one two three one two four\n")
    rows = rows_of(table_of(open_tab(trained(warm), "Vocabulary"), "Vocabulary"))
    assert {row[0] for row in rows} == {"one", "two", "three", "four"}


def test_one_training_after_the_other(warm: Page) -> None:
    fill_form(warm, "--model llama --tokenizer char --steps 2 --corpus corpus/000_cat_dog.txt")
    column = trained(warm)
    before = warm.evaluate("madeUrls.length")
    column.get_by_role("spinbutton", name="tokens").fill("1000")
    column.get_by_role("button", name="Generate", exact=True).click()
    expect(column.get_by_role("button", name="Stop", exact=True)).to_be_visible()  # it is writing
    fill_form(warm, "--model context-2 --epochs 2 --corpus corpus/000_cat_dog.txt")
    column = trained(warm)
    expect(column.get_by_role("definition").first).to_have_text("context-2")
    expect(warm.locator(".going .readout")).to_have_text(re.compile("^epoch 2 "))
    assert warm.evaluate(f"madeUrls.slice(0, {before}).filter((url) => !revokedUrls.includes(url))") == []
    for link in open_tab(column, "Files").get_by_role("link").all():
        assert warm.evaluate("async (url) => (await fetch(url)).ok", link.get_attribute("href"))


def test_a_file_of_the_run_is_saved_and_the_page_stays(warm: Page) -> None:
    fill_form(warm, DEFAULT)
    panel = open_tab(trained(warm), "Files")
    with warm.expect_download() as download:
        panel.get_by_role("link", name="01_vocabulary.csv").click()
    assert download.value.suggested_filename == "01_vocabulary.csv"
    expect(warm.get_by_role("region", name="Your run", exact=True)).to_be_visible()


# --- the form and its arguments ---------------------------------------------------------------------------------


def test_the_address_fills_the_form(visit: Visit) -> None:
    line = (
        "--model context-7 --tokenizer=char --epochs 9 --learning-rate 1e-2 --val-fraction=0.25 "
        "--bpe-vocab 300 --corpus corpus/010_llm_glossary.txt --json"
    )
    page = visit(line)
    expect(field(page, "--model")).to_have_value("context-7")
    values = {"--tokenizer": "char", "--epochs": "9", "--learning-rate": "1e-2", "--val-fraction": "0.25"}
    for flag, value in values.items():
        expect(field(page, flag)).to_have_value(value)
    for flag in ("--context", "--steps", "--seed"):
        expect(field(page, flag)).to_be_hidden()
    expect(more_options(page)).to_have_value("--bpe-vocab 300 --json")
    expect(texts_of(page)).to_have_value("010_llm_glossary.txt")
    expect(text_box(page)).to_have_value((RESOURCE_ROOT / "corpus" / "010_llm_glossary.txt").read_text("utf-8"))
    assert command_of(page) == [
        *("--model", "context-7", "--tokenizer", "char", "--epochs", "9", "--learning-rate", "1e-2"),
        *("--val-fraction", "0.25", "--corpus", "corpus/010_llm_glossary.txt", "--bpe-vocab", "300", "--json"),
    ]


def test_what_no_field_can_hold_is_not_lost(visit: Visit) -> None:
    page = visit("--model bigram --epochs many --corpus corpus/001_animals.txt")
    expect(more_options(page)).to_have_value("--epochs many")
    assert command_of(page)[-2:] == ["--epochs", "many"]


def test_an_unknown_text_is_named(visit: Visit) -> None:
    page = visit("--model bigram --corpus corpus/nowhere.txt")
    assert "nowhere.txt" in alert_of(page)


AWKWARD = (
    *("", "a b", " a  b ", "'a b' c", '"a b" c', "'it''s'", '"it\'s"', "'say \"so\"'", "a'b c'd", "''", '""', "'' ''"),
    *("--epochs=3", "--note='a = b'", "a\tb", "a\\ b", r"'a\b'", r'"a\"b"', r'"a\\b"', r'"a\b"', r"a\'b", "日本 'ï é'"),
    *("a\u00a0b", "'a\u00a0b'", "#a b", "$HOME `x` !y ~z *", "a;b|c&d>e<f", "(a) {b} [c]", "'\"'\"'\"'\"'"),
)


def test_arguments_are_cut_as_a_shell_cuts_them(visit: Visit) -> None:
    page = visit()
    draw = random.Random(5)
    lines = [*AWKWARD, *("".join(draw.choices("ab='\" \\-$é\t\u00a0", k=draw.randrange(12))) for _ in range(300))]
    lines = [line for line in lines if splits(line)]
    found = page.evaluate(
        """async (lines) => {
          const { cut, join } = await import(new URL("arguments.js", document.baseURI).href);
          const twice = (line) => join([line, "x", line]);
          return lines.map((line) => [cut(line), join(cut(line)), twice(line), cut(twice(line))]);
        }""",
        lines,
    )
    for line, (words, joined, quoted, cut_again) in zip(lines, found, strict=True):
        assert shlex.split(quoted) == cut_again == [line, "x", line]  # join and cut are inverses
        assert shlex.split(joined) == words
        assert words == shlex.split(line), line


def splits(line: str) -> bool:
    """Whether a shell has a way to cut the line; a quote may have no end."""
    try:
        shlex.split(line)
    except ValueError:
        return False
    return True


def test_the_last_text_chosen_counts(visit: Visit, context: BrowserContext) -> None:
    page = visit()
    choose_text(page, "001_animals.txt")
    late: list[Route] = []
    context.route("**/corpus/030_stories.txt", lambda route: late.append(route))
    names = texts_of(page)
    with page.expect_request("**/corpus/030_stories.txt"):
        names.select_option("030_stories.txt")
    choose_text(page, "000_cat_dog.txt")
    with page.expect_response("**/corpus/030_stories.txt"):
        late[0].continue_()
    page.wait_for_timeout(200)
    assert names.input_value() == "000_cat_dog.txt"
    assert text_box(page).input_value() == (RESOURCE_ROOT / "corpus" / "000_cat_dog.txt").read_text("utf-8")


# --- what cannot be done ----------------------------------------------------------------------------------------

SHORT = "--model context-3 --corpus corpus/000_cat_dog.txt"


@pytest.mark.parametrize(
    ("more", "text", "words"),
    [
        ("--epochs 0", None, "epochs must be at least 1, got 0"),
        ("--epochs many", None, "invalid int value"),
        ("--nonsense", None, "--nonsense"),
        ("--steps 5", None, "--steps does not apply to context-3"),
        ("--model gpt --workers 2", None, "--workers"),
        ("--help", None, "--help"),
        ("--note 'no end", None, "cannot be read"),
        ("", "", "the corpus is empty"),
        ("", "one two three", "too few"),
    ],
    ids=["epochs 0", "not a number", "nonsense", "wrong model", "workers", "help", "no end", "empty", "short"],
)
def test_bad_input_is_answered_with_a_sentence(warm: Page, more: str, text: str | None, words: str) -> None:
    fill_form(warm, SHORT)
    more_options(warm).fill(more)
    if text is not None:
        text_box(warm).fill(text)
    button(warm, "Train").click()
    said = alert_of(warm, timeout=PATIENCE)
    assert words in said
    assert not said.startswith("toy-gpt")  # that is for a terminal
    assert "run/" not in said  # a folder that the visitor knows nothing of
    expect(status_of(warm)).not_to_contain_text("Starting")
    more_options(warm).fill("")
    text_box(warm).fill("a b c d e f g")
    trained(warm)
    assert warm.locator("#message").text_content() == ""


def test_a_bad_number_in_a_field_is_answered_too(warm: Page) -> None:
    fill_form(warm, DEFAULT)
    field(warm, "--epochs").fill("0")
    button(warm, "Train").click()
    assert "epochs must be at least 1" in alert_of(warm, timeout=PATIENCE)
    field(warm, "--model").select_option("kneser-ney")  # for which there are no epochs: the field is gone
    trained(warm)


def test_without_webassembly_the_page_says_so(visit: Visit, context: BrowserContext) -> None:
    context.add_init_script("delete globalThis.WebAssembly")
    page = visit()
    said = page.locator("#message[role=alert] p")
    expect(said).to_contain_text("This browser has no WebAssembly")
    expect(said).to_contain_text(ABSENT)
    expect(button(page, "Train")).to_have_count(0)


def assert_only_of_its_own(watch: Watch, address: str) -> None:
    """What was taken away may be missed in the console, but nothing is asked of another host."""
    assert watch.hosts <= {urlsplit(address).netloc, ""}


@pytest.mark.parametrize("name", ["playground.json", "corpus/001_animals.txt"])
def test_without_what_the_form_needs(context: BrowserContext, watch: Watch, site_address: str, name: str) -> None:
    context.route(f"**/{name}", lambda route: route.fulfill(status=404, content_type="text/html", body="<h1>No</h1>"))
    page = open_playground(context, site_address)
    said = page.locator("#message[role=alert] p")
    expect(said).to_contain_text(ABSENT)
    expect(said).to_contain_text(name.rpartition("/")[2])
    expect(page.get_by_text("Reading the list of texts")).to_have_count(0)  # nothing is read any more
    assert_only_of_its_own(watch, site_address)


@pytest.mark.parametrize(
    "name",
    ["worker.js", "pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "*.whl"],
)
def test_without_what_trains(context: BrowserContext, watch: Watch, site_address: str, name: str) -> None:
    context.route(f"**/playground/**/{name}", lambda route: route.fulfill(status=404, body="No"))
    page = open_playground(context, site_address)
    button(page, "Train").click()
    said = alert_of(page, timeout=LOADING)
    assert said.endswith(ABSENT)
    assert ("worker" if name == "worker.js" else name.removeprefix("*")) in said
    assert_only_of_its_own(watch, site_address)


def test_a_network_that_comes_back(context: BrowserContext, watch: Watch, site_address: str) -> None:
    page = open_playground(context, site_address)
    context.route("**/*.wasm", lambda route: route.abort())
    button(page, "Train").click()
    assert "pyodide.asm.wasm" in alert_of(page)
    context.unroute("**/*.wasm")
    trained(page, timeout=LOADING)
    names = texts_of(page)
    context.route("**/030_stories.txt", lambda route: route.abort())
    names.select_option("030_stories.txt")
    assert "030_stories.txt" in alert_of(page)
    assert names.input_value() == "001_animals.txt"
    assert_only_of_its_own(watch, site_address)


# --- stopping ---------------------------------------------------------------------------------------------------


def test_a_long_training_is_stopped_and_kept(warm: Page, toy_gpt: ToyGpt, tmp_path: Path) -> None:
    fill_form(warm, LONG)
    begun(warm)
    button(warm, "Stop").click()
    expect(button(warm, "Stop")).to_be_disabled()  # once is enough
    column = result_of(warm, timeout=LOADING)
    meta = json.loads((downloaded(warm, tmp_path) / "artifacts" / "00_meta.json").read_text("utf-8"))
    stopped_after = meta["training"]["stopped_after_step"]
    assert 2 <= stopped_after < meta["training"]["steps"] == 5000
    panel = open_tab(column, "Files")
    said = panel.locator("dt", has_text=re.compile("^stopped_after_step$")).locator("+ dd")
    expect(said).to_have_text(str(stopped_after))
    assert toy_gpt("infer", "--base-dir", tmp_path / "page").code == 0


def test_a_run_that_no_page_can_compute_is_kept_and_named(warm: Page) -> None:
    fill_form(warm, "--model context-mixing --tokenizer char --corpus corpus/000_cat_dog.txt")
    button(warm, "Train").click()
    expect(warm.locator("#result").get_by_role("alert")).to_have_text(
        "This run cannot be shown here: this page cannot predict with the counts of this context-mixing run; open it "
        "with toy-gpt view --base-dir RUN, whose server predicts. Its files are in the ZIP file above.",
        timeout=LOADING,
    )
    expect(button(warm, "Train")).to_be_visible(timeout=LOADING)
    expect(warm.get_by_role("link", name="Download")).to_be_visible()
    expect(runs_of(warm).nth(0)).to_contain_text("context-mixing")


def test_pressing_stop_again_takes_nothing_away(warm: Page) -> None:
    fill_form(warm, ENDLESS)
    begun(warm)
    button(warm, "Stop").evaluate("stop => { stop.click(); stop.click(); }")
    result_of(warm, timeout=LOADING)
    warm.wait_for_timeout(4_200)  # the page has by then given up the one that does not answer
    assert warm.locator("#message").text_content() == ""
    result_of(warm)


def test_what_learns_in_one_pass_is_not_kept_when_stopped(warm: Page) -> None:
    fill_form(warm, "--model mixture --tokenizer char --corpus corpus/030_stories.txt")
    button(warm, "Train").click()
    expect(button(warm, "Stop")).to_be_enabled()
    warm.wait_for_timeout(300)
    button(warm, "Stop").click()
    assert alert_of(warm).startswith("Stopped")
    expect(warm.get_by_role("region", name="Your run", exact=True)).to_have_count(0)
    fill_form(warm, DEFAULT)
    trained(warm)


def test_stop_while_python_is_fetched(visit: Visit, context: BrowserContext) -> None:
    context.add_init_script(SAVES_DATA)
    page = visit(ENDLESS)
    button(page, "Train").click()
    expect(status_of(page)).to_have_text(re.compile("^Fetching"))
    button(page, "Stop").click()
    assert alert_of(page).startswith("Stopped")
    expect(status_of(page)).not_to_contain_text("Stopping")


def test_a_browser_that_cannot_suspend_webassembly(visit: Visit, context: BrowserContext) -> None:
    code = (SITE / "playground" / "worker.js").read_text("utf-8")
    lacking = "delete WebAssembly.Suspending; delete WebAssembly.promising;\n"
    context.route("**/worker.js", lambda route: route.fulfill(content_type="text/javascript", body=lacking + code))
    page = visit(ENDLESS)
    begun(page, timeout=LOADING)
    button(page, "Stop").click()  # the worker does not hear it, so the page ends it
    assert alert_of(page, timeout=PATIENCE) == "Stopped before there was anything to save."
    expect(status_of(page)).not_to_contain_text("Stopping")
    fill_form(page, DEFAULT)
    trained(page, timeout=LOADING)


# --- what is seen, changed and kept ---------------------------------------------------------------------------------


def runs_of(page: Page) -> Locator:
    """The runs that the browser has kept, the newest first."""
    return page.get_by_role("region", name="Your runs", exact=True).get_by_role("listitem")


def test_a_network_trains_about_a_minute_unless_told_otherwise(warm: Page) -> None:
    fill_form(warm, DEFAULT)
    field(warm, "--model").select_option("llama")
    expect(texts_of(warm)).to_have_value("040_story_world.txt")
    expect(field(warm, "--tokenizer")).to_have_value("word")
    said = warm.locator(".expected")
    expect(said).to_have_text(re.compile(r"^about \d+ s on this computer, \d+ steps$"), timeout=LOADING)
    seconds, steps = map(int, re.findall(r"\d+", said.text_content() or ""))
    assert seconds == pytest.approx(60, abs=30)  # a step that takes most of a minute is one, too
    words = command_of(warm)
    assert words[words.index("--steps") + 1] == str(steps)
    field(warm, "--steps").fill("7")
    expect(said).to_contain_text("7 steps", timeout=LOADING)
    assert command_of(warm).count("--steps") == 1


def test_it_waits_takes_a_step_and_changes_its_rate(warm: Page, tmp_path: Path) -> None:
    fill_form(warm, "--model embeddings --tokenizer char --steps 5000 --eval-every 1 --corpus corpus/001_animals.txt")
    begun(warm)
    expect(warm.locator(".samples li").first).to_contain_text("step 1 ")  # it writes while it learns
    button(warm, "Pause").click()
    expect(button(warm, "Continue")).to_be_visible()
    warm.wait_for_timeout(1000)
    before = status_of(warm).text_content() or ""
    warm.wait_for_timeout(1000)
    assert status_of(warm).text_content() == before  # it waits
    step = int(before.partition("/")[0].removeprefix("step "))
    warm.get_by_role("slider", name="Learning rate").fill("-1")
    warm.wait_for_timeout(1000)
    assert status_of(warm).text_content() == before  # another rate is no step
    button(warm, "One step").click()
    expect(status_of(warm)).to_contain_text(f"step {step + 1}/")
    button(warm, "Continue").click()
    expect(status_of(warm)).to_contain_text(re.compile(f"^step (?!({step}|{step + 1})/)"))
    button(warm, "Stop").click()
    result_of(warm, timeout=LOADING)
    base = downloaded(warm, tmp_path)
    training = json.loads((base / META).read_text("utf-8"))["training"]
    assert training["rate_factors"] == [{"factor": 0.5, "from_step": step}]
    with (base / "outputs" / "train_log.csv").open(encoding="utf-8", newline="") as file:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
    warmer = step / (step - 1)  # the schedule warms up meanwhile
    assert rates[step] / rates[step - 1] == pytest.approx(0.5 * warmer)


def test_runs_are_kept_compared_and_shared(warm: Page, context: BrowserContext, site_address: str) -> None:
    text = "one two three one two four .\n" * 3
    for model in ("bigram", "unigram"):
        fill_form(warm, f"--model {model} --epochs 5 --corpus corpus/000_cat_dog.txt")
        text_box(warm).fill(text)
        trained(warm)
    expect(runs_of(warm).nth(0)).to_contain_text("unigram, my_text.txt")
    expect(runs_of(warm).nth(1)).to_contain_text("bigram, my_text.txt")
    for i in range(2):
        runs_of(warm).nth(i).get_by_role("checkbox").check()
    chart = warm.get_by_role("img", name=re.compile("^Losses of .*unigram.*bigram"))
    expect(chart.locator("polyline")).to_have_count(2)
    fill_form(warm, "--model kneser-ney --context 2 --corpus corpus/000_cat_dog.txt")
    text_box(warm).fill(text)
    trained(warm)
    expect(warm.locator(".going svg")).to_have_count(0)  # one point is no curve
    (loss,) = re.findall(r"loss of the finished model is ([0-9.]+)\.", status_of(warm).text_content() or "")
    expect(runs_of(warm).nth(0)).to_contain_text(f"loss {round(float(loss), 3)}")
    runs_of(warm).nth(0).get_by_role("checkbox").check()
    lines = warm.get_by_role("img", name=re.compile("^Losses of .*kneser-ney")).locator("polyline")
    heights = lines.first.evaluate("line => [...line.points].map((point) => point.y)")  # learned in one pass
    assert len(heights) == 2
    assert heights[0] == heights[1]
    runs_of(warm).nth(0).get_by_role("button", name="Remove").click()
    assert_axe_finds_nothing(warm, "two runs")
    use_theme(warm, "light")
    warm.reload()  # nothing is lost
    expect(text_box(warm)).to_have_value(text)
    expect(field(warm, "--model")).to_have_value("kneser-ney")
    runs_of(warm).nth(1).get_by_role("button", name="Open").click()
    expect(result_of(warm).get_by_role("definition").first).to_have_text("bigram")
    expect(field(warm, "--model")).to_have_value("bigram")
    runs_of(warm).nth(1).get_by_role("button", name="Share").click()
    expect(warm.get_by_role("region", name="Your runs").get_by_role("status")).to_contain_text("The link is")
    other = context.new_page()  # of another browser, which has kept nothing
    other.goto(warm.url)
    expect(text_box(other)).to_have_value(text)
    expect(field(other, "--epochs")).to_have_value("5")
    expect(runs_of(other)).to_have_count(0)
    other.goto(warm.url.replace("text=", "text=A"))
    expect(other.locator("#message")).to_contain_text("the text in the address is damaged")
    other.close()
    expect(warm.locator(".expected")).to_contain_text("computer", timeout=LOADING)  # nothing is being fetched
    warm.goto(site_address + PLAYGROUND)
    expect(runs_of(warm)).not_to_have_count(0)
    count = runs_of(warm).count()
    runs_of(warm).nth(0).get_by_role("button", name="Remove").click()
    expect(runs_of(warm)).to_have_count(count - 1)
    expect(warm.locator(".expected")).to_contain_text("computer", timeout=LOADING)


# --- looks, names and the keyboard ------------------------------------------------------------------------------


def show_all_panels(column: Locator) -> None:
    """Open every tab, and let all that they show stand on the page at once."""
    for tab in TABS:
        open_tab(column, tab)
    column.evaluate("column => column.querySelectorAll('[role=tabpanel]').forEach((panel) => (panel.hidden = false))")


def use_theme(page: Page, theme: Any) -> None:
    """Let the system prefer light or dark, and wait for the page."""
    page.emulate_media(color_scheme=theme)
    expect(page.locator("html")).to_have_attribute("data-theme", theme)


def assert_fits(page: Page, where: str, tabs: Sequence[str] = ()) -> None:
    """Nothing scrolls sideways, on a telephone or on a desk, light or dark, whichever tab is open."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        for tab in tabs or [""]:
            if tab:
                open_tab(result_of(page), tab)
            for theme in ("light", "dark"):
                use_theme(page, theme)
                assert_no_sideways_scrolling(page, f"{where} {tab}, {width}, {theme}")


def test_nothing_scrolls_sideways(warm: Page) -> None:
    fill_form(warm, ENDLESS)
    more_options(warm).fill("--nonsense" + "9" * 80)
    button(warm, "Train").click()
    alert_of(warm)
    assert_fits(warm, "a problem")
    fill_form(warm, ENDLESS)
    begun(warm)
    expect(warm.locator(".going").get_by_role("img")).to_be_visible()
    assert_fits(warm, "training")
    button(warm, "Stop").click()
    result_of(warm, timeout=LOADING)
    warm.get_by_text("What the command prints").click()
    assert_fits(warm, "a run", TABS)


def assert_axe_finds_nothing(page: Page, where: str) -> None:
    """Nothing in light, and no color that is hard to read in dark."""
    for theme, rules in (("light", AXE_TAGS), ("dark", AXE_COLORS)):
        use_theme(page, theme)
        violations = axe_violations(page, rules)
        assert not violations, "\n".join([f"{where}, {theme}", *violations])


def test_axe_finds_nothing(warm: Page, visit: Visit) -> None:
    page = visit()
    expect(button(page, "Train")).to_be_visible()
    assert_axe_finds_nothing(page, "the form")
    fill_form(warm, SHORT)
    more_options(warm).fill("--nonsense")
    button(warm, "Train").click()
    alert_of(warm)
    assert_axe_finds_nothing(warm, "a problem")
    fill_form(warm, ENDLESS)
    begun(warm)
    assert_axe_finds_nothing(warm, "training")
    button(warm, "Stop").click()
    column = result_of(warm, timeout=LOADING)
    warm.get_by_text("What the command prints").click()
    show_all_panels(column)
    assert_axe_finds_nothing(warm, "a run")


@pytest.mark.parametrize("run", ["400-context-3 on 010_llm_glossary", "800-llama on 030_stories"])
def test_axe_finds_nothing_in_the_explorer(context: BrowserContext, watch: Watch, site_address: str, run: str) -> None:
    page = context.new_page()
    page.goto(f"{site_address}explorer/index.html?run={quote_plus(run)}")
    column = page.get_by_role("region", name=run, exact=True)
    scroll_to(column.get_by_role("heading", name="Inside the model"))
    if "llama" in run:
        expect(column.get_by_role("region", name="A step of the prediction")).to_be_visible()
        column.get_by_text("The whole triangle, with its numbers").click()
    show_all_panels(column)
    assert_axe_finds_nothing(page, run)
    watch.assert_quiet(urlsplit(site_address).netloc)


def test_the_keyboard_and_little_script_are_enough(visit: Visit, watch: Watch) -> None:
    page = visit("--model embeddings --tokenizer char --steps 5 --corpus corpus/000_cat_dog.txt")
    expect(button(page, "Train")).to_be_visible()
    tab_to(page, text_box(page))
    page.keyboard.press("Control+End")
    page.keyboard.type("the dog sees the cat and the cat sees the dog")
    tab_to(page, field(page, "--steps"))
    page.keyboard.press("Control+A")
    page.keyboard.type("10")
    tab_to(page, button(page, "Train"))
    page.keyboard.press("Enter")
    column = result_of(page, timeout=LOADING)
    own = {url: size for url, size in watch.scripts().items() if "/pyodide/" not in url}
    assert {"playground.js", "worker.js", "column.js", "network.js"} < {url.rpartition("/")[2] for url in own}
    assert sum(own.values()) < SCRIPT_LIMIT
    tab_to(page, column.get_by_role("button", name="Step", exact=True))
    page.keyboard.press("Enter")
    has_added(column, 1)
    tab_to(page, column.get_by_role("tab", name=TABS[0], exact=True))
    page.keyboard.press("End")
    expect(column.get_by_role("tabpanel", name="Files", exact=True)).to_be_visible()


# --- the site itself --------------------------------------------------------------------------------------------


def test_the_site_has_the_package_as_it_is() -> None:
    about = json.loads((SITE / "playground" / "playground.json").read_text("utf-8"))
    package = RESOURCE_ROOT / "src" / "toy_gpt_train"
    with zipfile.ZipFile(SITE / "playground" / about["wheel"]) as wheel:
        packed = {name: wheel.read(name) for name in wheel.namelist() if name.endswith(".py")}
    sources = {path.relative_to(package.parent).as_posix(): path.read_bytes() for path in package.rglob("*.py")}
    assert packed == sources, "the site is older than the package: build it again"
