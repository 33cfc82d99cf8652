"""test_api.py - ``import toy_gpt_train as tg``: what a notebook does with it."""

import inspect
import io
import math
import sys
import typing
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest

import toy_gpt_train as tg
from toy_gpt_train.errors import StopTraining
from toy_gpt_train.progress import Progress
from toy_gpt_train.run import NextToken

TEXT = "the cat sees the dog . the dog sees a cat . a cat runs to the dog ."
QUICK_GPT = {"tokenizer": "char", "steps": 3, "embedding_dim": 8, "batch_size": 2, "context": 4, "val_fraction": 0.1}


@pytest.fixture(autouse=True)
def silence(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Nothing here prints."""
    yield
    assert capfd.readouterr() == ("", "")


@pytest.fixture(scope="module")
def run() -> tg.Run:
    return tg.train("bigram", text=TEXT, epochs=5, val_fraction=0.2)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- the example of the README ------------------------------------------------------------------------------------


def test_from_text_to_text(here: Path) -> None:
    Path("my.txt").write_text(TEXT, "utf-8")
    Path("held_out.txt").write_text("the cat sees a dog", "utf-8")
    run = tg.train("gpt", "my.txt", **QUICK_GPT)
    assert repr(run) == f"<Run gpt, char, V={len(set(TEXT))}, val loss {run.meta['metrics']['val_loss']:.2f}>"

    written = run.generate("the ", 100, temperature=0.8, seed=1)
    assert written.startswith("the ")
    assert len(written) == 4 + 100
    assert written == run.generate("the ", 100, temperature=0.8, seed=1)
    assert written != run.generate("the ", 100, temperature=0.8, seed=2)

    likely = run.next("the ", k=5)
    assert [token for token, _, _ in likely] == [run.tokenizer.decode([token_id]) for _, token_id, _ in likely]
    assert [p for _, _, p in likely] == sorted(run.model.next_probs(run.tokenizer.encode("the ")), reverse=True)[:5]

    scored = run.score("held_out.txt")
    assert scored.perplexity == pytest.approx(math.exp(scored.loss))
    assert scored.bits_per_byte == pytest.approx(scored.loss / math.log(2))  # each character is a byte
    assert scored.unknown_tokens == 0
    assert repr(scored) == repr(run.score(text="the cat sees a dog"))

    assert [record["step"] for record in run.history] == [1, 2, 3]
    assert sorted(path.name for path in here.iterdir()) == ["held_out.txt", "my.txt"]

    run.save("my_run")
    again = tg.load("my_run")
    assert repr(again) == repr(run)
    assert again.generate("the ", 100, seed=1) == run.generate("the ", 100, seed=1)
    assert again.next("the ") == run.next("the ")
    assert again.score("held_out.txt").loss == run.score("held_out.txt").loss
    assert again.history == [{name: round(value, 6) for name, value in record.items()} for record in run.history]


def test_models() -> None:
    assert tg.models()[:3] == ["unigram", "bigram", "context-2"]
    assert tg.models()[-2:] == ["gpt", "llama"]


@pytest.mark.parametrize("name", tg.models())
def test_every_model_has_the_same_doors(name: str, tmp_path: Path) -> None:
    sizes = {"steps": 2, "batch_size": 2, "embedding_dim": 8, "context": 8}
    options: dict[str, Any] = sizes if name in ("embeddings", "attention", "gpt", "llama") else {}
    run = tg.train(name, text=TEXT * 3, tokenizer="char", **options)
    assert run.name == name
    probabilities = [p for _, _, p in run.next("the cat sees the dog . the cat", k=1000)]
    assert len(probabilities) == len(set(TEXT))
    assert sum(probabilities) == pytest.approx(1)
    run.save(tmp_path)
    again = tg.load(tmp_path)
    assert again.next() == run.next()
    assert again.generate(num=9) == run.generate(num=9)
    assert again.score(text=TEXT).loss == run.score(text=TEXT).loss


# --- train ----------------------------------------------------------------------------------------------------------


def test_text_and_path_teach_the_same(here: Path) -> None:
    Path("my.txt").write_text(TEXT, "utf-8")
    from_path = tg.train("context-2", Path("my.txt"), epochs=3)
    from_text = tg.train("context-2", text=TEXT, epochs=3)
    assert from_path.history == from_text.history
    assert from_path.meta["corpus"] == {**from_text.meta["corpus"], "filename": "my.txt"}
    assert [path.name for path in here.iterdir()] == ["my.txt"]


def test_default_is_the_manifests_corpus() -> None:
    run = tg.train(epochs=1)
    assert (run.name, run.meta["corpus"]["filename"]) == ("context-3", "000_cat_dog.txt")


def test_records_come_as_they_are_made() -> None:
    seen: list[dict[str, float]] = []
    run = tg.train("bigram", text=TEXT, epochs=4, on_record=seen.append)
    assert [record["epoch"] for record in seen] == [1, 2, 3, 4]
    assert seen == run.history


def test_own_progress_and_stopping() -> None:
    told: list[float] = []

    def stop_at_half(fraction: float, status: str) -> None:
        told.append(fraction)
        if fraction >= 0.5:
            raise StopTraining

    run = tg.train("bigram", text=TEXT, epochs=10, progress=stop_at_half)
    assert told == sorted(told)
    assert len(run.history) == 5
    assert run.meta["training"]["epochs"] == 5
    with pytest.raises(StopTraining):  # it learns in one pass
        tg.train("mixture", text=TEXT * 400, progress=stop_at_half)


def test_seed_decides() -> None:
    first, same, other = (tg.train("gpt", text=TEXT, **QUICK_GPT, seed=seed) for seed in (1, 1, 2))
    assert first.history == same.history
    assert first.history[0]["avg_loss"] != other.history[0]["avg_loss"]


def test_option_of_none_is_not_given() -> None:
    assert tg.train("bigram", text=TEXT, epochs=None).history == tg.train("bigram", text=TEXT).history


def test_checkpoints(tmp_path: Path) -> None:
    whole = tg.train("gpt", text=TEXT, **QUICK_GPT)

    def stop(fraction: float, status: str) -> None:
        if fraction > 0.6:
            raise KeyboardInterrupt

    keep = {"save_to": tmp_path / "run", "checkpoint_every": 1}
    kept = tmp_path / "run" / "outputs" / "checkpoints"
    with pytest.raises(KeyboardInterrupt):
        tg.train("gpt", text=TEXT, **QUICK_GPT, **keep, progress=stop)
    assert any(kept.iterdir())
    with pytest.warns(tg.InputWarning, match="^resumed from step 2 of 3$"):
        resumed = tg.train("gpt", text=TEXT, **QUICK_GPT, **keep, resume=True)
    assert resumed.next("the ") == whole.next("the ")
    assert tg.load(tmp_path / "run").next("the ") == whole.next("the ")
    assert [path.name for path in kept.iterdir()] == ["step-00000003"]


def test_more_steps(tmp_path: Path) -> None:
    where: dict[str, Any] = {"save_to": tmp_path, "text": TEXT}
    kept = tmp_path / "outputs" / "checkpoints"
    first = tg.train("gpt", **where, **QUICK_GPT)
    told: list[float] = []
    sizes = {name: value for name, value in QUICK_GPT.items() if name != "steps"}
    with pytest.warns(tg.InputWarning, match="^resumed from step 3 of 8$"):
        more = tg.train("gpt", **where, **sizes, resume=True, more_steps=5, progress=lambda done, _: told.append(done))
    assert told[:5] == [4 / 8, 5 / 8, 6 / 8, 7 / 8, 1]
    assert [record["step"] for record in more.history] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [record["avg_loss"] for record in more.history[:3]] == [record["avg_loss"] for record in first.history]
    assert more.meta["training"]["steps"] == 8
    assert more.meta["training"]["resumed_from_step"] == 3
    assert "resumed_from_step" not in first.meta["training"]
    with pytest.raises(tg.InputError, match="nothing to resume: step 8 of 8 is done"):
        tg.train("gpt", **where, **sizes, resume=True)
    tg.train("gpt", **where, **QUICK_GPT, keep_checkpoint=False)  # that of a finished run is no hindrance
    assert not kept.exists()


def test_keep_best() -> None:
    options: dict[str, Any] = {**QUICK_GPT, "text": TEXT, "steps": 12, "learning_rate": 0.3, "val_fraction": 0.3}
    last, best = tg.train("gpt", **options), tg.train("gpt", **options, keep="best")
    losses = [record["val_loss"] for record in last.history]
    step = losses.index(min(losses)) + 1
    assert step < 12
    assert best.history == last.history
    stopped = tg.train("gpt", **options, progress=stop_after(step))
    assert best.next("the ") == stopped.next("the ") != last.next("the ")
    training = best.meta["training"]
    assert (training["keep"], training["kept_step"]) == ("best", step)
    assert training["keep_note"].startswith("The held-out loss was used to choose")
    assert not {"keep", "kept_step", "keep_note"} & {*last.meta["training"]}


def stop_after(step: int) -> Callable[[float, str], None]:
    def stop(_: float, status: str) -> None:
        if status.startswith(f"step {step}/"):
            raise StopTraining

    return stop


REFUSED: dict[str, dict[str, Any]] = {
    "unknown model": {"model": "gtp"},
    "context-2 looks back 2 tokens": {"model": "context-2", "context": 3},
    "unknown tokenizer 'letters'": {"tokenizer": "letters"},
    "held-out share": {"val_fraction": 1.0},
    "steps does not apply to bigram": {"steps": 5},
    "its options are: epochs, learning_rate": {"step": 5},
    "checkpoint_every does not apply to bigram": {"checkpoint_every": 5},
    "epochs does not apply to gpt": {"model": "gpt", "epochs": 5},
    "epochs must be at least 1": {"epochs": 0},
    "epochs must be a whole number, got 2.5": {"epochs": 2.5},
    "epochs must be a whole number, got '5'": {"epochs": "5"},
    "learning_rate must be a number": {"learning_rate": "fast"},
    "size must be a word": {"model": "gpt", "size": 3},
    "at least 1 worker": {"model": "gpt", "workers": 0},
    "give save_to": {"model": "gpt", "checkpoint_every": 2},
    "folder: give save_to": {"model": "gpt", "resume": True},
    "needs --resume": {"model": "gpt", "more_steps": 2},
    "give one of them": {"model": "gpt", "more_steps": 2, "steps": 9, "resume": True},
    "more steps must be at least 1": {"model": "gpt", "more_steps": 0, "resume": True},
    "keep_checkpoint does not apply to bigram": {"keep_checkpoint": False},
    "keep does not apply to bigram": {"keep": "best"},
    "keep must be last or best, got 'first'": {"model": "gpt", "keep": "first"},
    "hold out at least 17 tokens": {"model": "gpt", "keep": "best", "val_fraction": 0.05},
    "vocabulary size": {"tokenizer": "bpe", "bpe_vocab": 5},
    "text is empty|corpus is empty": {"text": " "},
    "1 training tokens are too few": {"text": "a"},
    "not both": {"corpus": "my.txt"},
}


@pytest.mark.parametrize("words", REFUSED)
def test_train_refuses(words: str) -> None:
    with pytest.raises(tg.InputError, match=words) as refused:
        tg.train(**{"model": "bigram", "text": TEXT, **REFUSED[words]})
    assert isinstance(refused.value, ValueError)
    assert "\n" not in str(refused.value)


def test_file_that_cannot_be_read(here: Path) -> None:
    with pytest.raises(FileNotFoundError):
        tg.train("bigram", "my.txt")
    with pytest.raises(OSError, match=r"[Dd]irectory|denied"):
        tg.train("bigram", here)
    Path("bad.txt").write_bytes(b"a \xff")
    with pytest.raises(tg.InputError, match=r"bad.txt, line 1: not UTF-8"):
        tg.train("bigram", "bad.txt")


@pytest.mark.parametrize("text", ["one fish two fish", "one fish\ntwo fish", "one fish " * 1000])
def test_a_text_in_the_place_of_a_file(run: tg.Run, here: Path, text: str) -> None:
    for use in (run.score, partial(tg.train, "bigram")):
        with pytest.raises(tg.InputError, match=r"no file 'one fish.* write text=$") as refused:
            use(text)
        assert len(str(refused.value)) < 120
        assert "\n" not in str(refused.value)
    Path("one fish two fish").write_text(TEXT, encoding="utf-8")  # a file may be called that
    assert tg.train("bigram", "one fish two fish", epochs=1).name == "bigram"


# --- a run ----------------------------------------------------------------------------------------------------------


def test_repr_is_one_line(run: tg.Run) -> None:
    assert repr(run) == f"<Run bigram, word, V=8, val loss {run.meta['metrics']['val_loss']:.2f}>"
    without = tg.train("kneser-ney", text=TEXT)
    assert repr(without).startswith("<Run kneser-ney, word, V=8, train loss ")
    assert "\n" not in repr(run.score(text="the zebra"))
    assert "1 unknown" in repr(run.score(text="the zebra"))


def test_next_by_hand() -> None:
    run = tg.train("unigram", text="a a a b", epochs=1, learning_rate=1e-9)
    assert run.next(k=9) == [NextToken("a", 0, 0.5), NextToken("b", 1, 0.5)]


def test_generate(run: tg.Run) -> None:
    greedy = run.generate("the", 4, temperature=0)
    assert greedy.split()[0] == "the"
    ids = run.tokenizer.encode("the")
    for _ in range(4):
        probs = run.model.next_probs(ids)
        ids.append(probs.index(max(probs)))
    assert greedy == run.tokenizer.decode(ids)
    assert run.generate("zebra the", 0) == "zebra the"  # only the last token is looked at
    assert run.generate(num=2, temperature=0).startswith("the ")  # the text began so
    assert run.start_text == "the"


def test_prompt_of_nothing_is_not_the_start_of_the_text(run: tg.Run) -> None:
    with pytest.raises(tg.InputError, match="needs 1 token"):
        run.next("")
    backing_off = tg.train("kneser-ney", text=TEXT)
    assert backing_off.next("") != backing_off.next()
    assert backing_off.generate("", 3, temperature=0).count(" ") == 2


def test_byte_level_bpe_refuses_nothing() -> None:
    run = tg.train("bigram", text=TEXT, tokenizer="bpe", bpe_vocab=260)
    assert run.model.vocab_size == run.tokenizer.vocab_size == 260
    assert run.generate("café 7 日本", 5).startswith("café 7 日本")
    assert run.score(text="日本").unknown_tokens == 0


@pytest.mark.parametrize(
    ("words", "ask"),
    [
        ("num must be", lambda run: run.generate("the", -1)),
        ("temperature", lambda run: run.generate("the", temperature=-1)),
        ("top-p", lambda run: run.generate("the", top_p=0)),
        ("unknown token 'teh': did you mean the", lambda run: run.generate("teh")),
        ("unknown token 'teh'", lambda run: run.next("teh")),
        ("k must be", lambda run: run.next("the", k=0)),
        ("text is empty", lambda run: run.score(text="")),
        ("not both", lambda run: run.score("my.txt", text="the")),
        ("give a text", lambda run: run.score()),
        ("unknown must be", lambda run: run.score(text="the", unknown="guess")),
        ("none of its tokens", lambda run: run.score(text="zebra", unknown="skip")),
        ("1 different tokens", lambda run: run.score(text="the zebra", unknown="error")),
    ],
)
def test_run_refuses(run: tg.Run, words: str, ask: Callable[[tg.Run], object]) -> None:
    with pytest.raises(tg.InputError, match=words):
        ask(run)


def test_score_of_unknown_tokens(run: tg.Run) -> None:
    uniform = run.score(text="zebra")
    assert uniform.loss == pytest.approx(math.log(8))
    assert uniform.unknown_tokens == 1
    assert run.score(text="the zebra", unknown="skip").loss == run.score(text="the").loss


def test_held_out_part_is_scored(run: tg.Run) -> None:
    assert run.held_out is not None
    assert run.held_out.loss == run.meta["metrics"]["val_loss"]
    assert tg.train("bigram", text=TEXT, epochs=1).held_out is None


def test_save_and_load(run: tg.Run, here: Path) -> None:
    paths = run.save("runs", "first")
    assert [path.as_posix() for path in paths][-1] == "runs/artifacts/first/00_meta.json"
    for path in ("runs/artifacts/first", Path("runs/artifacts/first")):
        assert tg.load(path).next("the") == run.next("the")
    with pytest.raises(tg.InputError, match=r"missing .*00_meta.json"):
        tg.load("runs")
    run.save("runs")
    again = tg.load("runs")
    assert again.history == [{name: round(value, 6) for name, value in record.items()} for record in run.history]
    # What is written again is the same, but for the folder's own name.
    again.save("copy/runs")
    for path in Path("runs/artifacts").glob("*.*"):
        assert (Path("copy/runs/artifacts") / path.name).read_bytes() == path.read_bytes()


def test_file_in_the_way(run: tg.Run, here: Path) -> None:
    Path("taken").write_text("mine", "utf-8")
    with pytest.raises(OSError, match="taken"):
        run.save("taken")
    assert Path("taken").read_text("utf-8") == "mine"


# --- in a notebook --------------------------------------------------------------------------------------------------


def test_loss_curve(run: tg.Run) -> None:
    figure = ElementTree.fromstring(run._repr_html_())
    caption, svg = figure
    assert caption.text == repr(run)[1:-1]
    lines = svg.findall("polyline")
    assert [len(line.attrib["points"].split()) for line in lines] == [5, 5]
    xs, ys = zip(*(map(float, point.split(",")) for point in lines[0].attrib["points"].split()), strict=True)
    assert list(xs) == sorted(xs)
    assert list(ys) == sorted(ys)  # the loss falls, and y grows downward
    width, height = map(float, svg.attrib["viewBox"].split()[2:])
    assert all(0 <= x <= width for x in xs)
    assert all(0 <= y <= height for y in ys)
    assert f"{max(record['avg_loss'] for record in run.history):.2f}" in [text.text for text in svg.findall("text")]


def test_no_curve_of_one_record() -> None:
    assert "<svg" not in tg.train("kneser-ney", text=TEXT)._repr_html_()


class FakeDisplay:
    """Stands for IPython.display.display, and for the handle that it gives."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.displays = 0

    def __call__(self, data: dict[str, str], *, raw: bool, display_id: bool) -> "FakeDisplay":
        self.displays += 1
        self.update(data, raw=raw)
        return self

    def update(self, data: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.lines.append(data["text/plain"])


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> FakeDisplay:
    """A process that a notebook runs, and a clock that is a second further on each time it is read."""
    shown = FakeDisplay()
    ipython, display = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = lambda: object()  # type: ignore[attr-defined]
    display.display = shown  # type: ignore[attr-defined]
    for name, module in {"ipykernel": ModuleType("ipykernel"), "IPython": ipython, "IPython.display": display}.items():
        monkeypatch.setitem(sys.modules, name, module)
    ticks = iter(range(10_000))
    monkeypatch.setattr("toy_gpt_train.progress.time.monotonic", lambda: float(next(ticks)))
    return shown


def test_one_line_in_a_notebook(notebook: FakeDisplay) -> None:
    run = tg.train("bigram", text=TEXT, epochs=4, progress=True)
    assert notebook.displays == 1
    assert notebook.lines[0].startswith("training bigram [#")
    assert len(notebook.lines) > 4
    assert notebook.lines[-1].startswith("training bigram: ")
    assert notebook.lines[-1].endswith(" s")
    assert len(run.history) == 4


def test_a_stream_that_was_asked_for_is_used_in_a_notebook(notebook: FakeDisplay) -> None:
    stream = io.StringIO()
    shown = Progress("reading", stream)
    shown.update(0.5)
    shown.close()
    assert stream.getvalue() == "reading 50% , 1.0 s, 1 s left\n"
    assert notebook.lines == []


def test_bar_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    ticks = iter(range(10_000))
    monkeypatch.setattr("toy_gpt_train.progress.time.monotonic", lambda: float(next(ticks)))
    out, err = io.StringIO(), Terminal()
    with redirect_stdout(out), redirect_stderr(err):
        tg.train("bigram", text=TEXT, epochs=4, progress=True)
    assert out.getvalue() == ""
    assert "\rtraining bigram [" in err.getvalue()
    assert err.getvalue().endswith("\r\033[K")


# --- what is loaded, and what is said --------------------------------------------------------------------------------

LOADED = "import sys; print(*sorted(name for name in sys.modules if name.startswith('toy_gpt_train')))"


@pytest.mark.parametrize(
    ("statement", "rooms"),
    [
        ("import toy_gpt_train as tg", {"toy_gpt_train"}),
        ("import toy_gpt_train as tg; tg.InputError", {"toy_gpt_train", "errors"}),
    ],
)
def test_import_loads_nothing_more(python: Callable[..., Any], statement: str, rooms: set[str]) -> None:
    done = python("-c", f"{statement}; {LOADED}")
    assert (done.code, done.err) == (0, "")
    assert {name.removeprefix("toy_gpt_train.") for name in done.out.split()} == rooms


def test_table_loads_no_network(python: Callable[..., Any]) -> None:
    done = python("-c", f"import toy_gpt_train as tg; tg.train('bigram', text='a b a', epochs=1).generate(); {LOADED}")
    assert (done.code, done.err) == (0, "")
    loaded = set(done.out.split())
    assert "toy_gpt_train.models.ngram_table" in loaded
    strangers = ("toy_gpt_train.nn", "toy_gpt_train.models.network", "toy_gpt_train.cli", "toy_gpt_train.view")
    assert [name for name in loaded if name.startswith(strangers)] == []


def test_names_are_there() -> None:
    assert dir(tg) == tg.__all__
    for name in tg.__all__:
        assert getattr(tg, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        tg.trian  # noqa: B018


PUBLIC = [tg.train, tg.load, tg.models.__call__, tg.Run.generate, tg.Run.next, tg.Run.score, tg.Run.save]


@pytest.mark.parametrize("function", PUBLIC, ids=lambda function: function.__qualname__)
def test_public_functions_are_typed_and_documented(function: Callable[..., Any]) -> None:
    hints = typing.get_type_hints(function, vars(sys.modules["toy_gpt_train.run"]) | {"self": object})
    parameters = [name for name in inspect.signature(function).parameters if name != "self"]
    assert set(hints) >= {*parameters, "return"}
    said = inspect.getdoc(function) or ""
    assert said.split("\n")[0].endswith(".")
    assert [
        name for name in parameters if not (f"{name}: " in said or f"``{name}``" in said or f" {name} " in said)
    ] == []


def test_public_classes_are_documented() -> None:
    for made in (tg, tg.Run, tg.InputError, tg.StopTraining, NextToken):
        assert len((made.__doc__ or "").split()) > 5


def test_another_programs_config_beside_a_run_is_not_opened(tmp_path):
    tg.train("bigram", text="one fish two fish", epochs=2, save_to=tmp_path)
    (tmp_path / "config.json").write_text("{}", "utf-8")
    assert tg.load(tmp_path).name == "bigram"
    (tmp_path / "artifacts" / "00_meta.json").unlink()
    with pytest.raises(tg.InputError, match=r"config\.json"):
        tg.load(tmp_path)
