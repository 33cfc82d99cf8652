"""What a newcomer meets first: samples while a network learns, a story at the end, steps that fit the text."""

import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

import toy_gpt_train as tg
from toy_gpt_train import cli
from toy_gpt_train.cli.samples import Samples, sample, story
from toy_gpt_train.cli.train import train_arguments
from toy_gpt_train.corpus import corpus_of, read_corpus
from toy_gpt_train.errors import InputError
from toy_gpt_train.inference.sampling import Sampling
from toy_gpt_train.job import Job
from toy_gpt_train.models.registry import LADDER
from toy_gpt_train.models.sizes import SIZES
from toy_gpt_train.progress import Progress
from toy_gpt_train.project import read_toml
from toy_gpt_train.show import plain
from toy_gpt_train.tokenizers.encoded import encode_corpus
from toy_gpt_train.world.facts import NAMES
from toy_gpt_train.world.language import END
from toy_gpt_train.world.text import corpus_at, detokenize

ToyGpt = Callable[..., Any]
Listing = Callable[[Path], dict[str, bytes | None]]

SMALL = ("--embedding-dim", 8, "--heads", 2, "--context", 8, "--batch-size", 2)
NETWORK = ("train", "--model", "llama", *SMALL)
TEXT = "the cat sees the dog . the dog sees a cat . a cat runs to the dog . " * 5
END_OF_STORY = "<end>"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(*typed: object) -> tuple[int, str, str]:
    """Run the command line where standard output and standard error are terminals."""
    out, err = Terminal(), Terminal()
    with redirect_stdout(out), redirect_stderr(err):
        code = cli.main([str(word) for word in typed])
    return code, out.getvalue(), err.getvalue()


def samples_in(printed: str) -> dict[int, str]:
    """Return the samples by step."""
    return {int(step): text for step, text in re.findall(r"^sample    step (\d+), loss \S+: ?(.*)$", printed, re.M)}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, toy_gpt: ToyGpt) -> str:
    """What a small network on the story world prints, into a pipe."""
    base = tmp_path_factory.mktemp("told")
    outcome = toy_gpt(*NETWORK, "--steps", 8, "--sample-every", 4, "--corpus", "world:300", "--base-dir", base)
    assert outcome.code == 0, outcome.err
    printed: str = outcome.out
    return printed


# --- samples while it learns ------------------------------------------------------------------------------------


def test_samples_stand_at_the_records_nearest_to_every_few_steps(
    toy_gpt: ToyGpt, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    typed = (*NETWORK, "--corpus", corpus, "--steps", 20, "--eval-every", 2)
    outcome = toy_gpt(*typed, "--sample-every", 5, "--base-dir", tmp_path / "run")
    found = samples_in(outcome.out)
    assert list(found) == [4, 10, 14, 20]
    assert all(len(text.split()) == 20 for text in found.values())
    assert all(set(text.split()) <= set(TEXT.split()) for text in found.values())


@pytest.mark.parametrize(
    ("steps", "every", "asked", "expected"),
    [
        (100, 5, None, [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]),
        (30, 7, None, [7, 14, 21, 28, 30]),  # 3 and 6 by 7; 9 to 15 by 7 and 14; at the end what is left
        (100, 30, 50, [60, 100]),
        (100, 10, 70, [70]),
        (100, 10, 500, []),
        (90, 20, 50, [40]),  # 50 by 40; 100 is beyond the end
        (3, 1, None, [1, 2, 3]),
    ],
)
def test_when_a_sample_is_due(steps: int, every: int, asked: int | None, expected: list[int]) -> None:
    job = Job("gpt", 4, 0, {"steps": steps, "eval_every": every, "embedding_dim": 8, "heads": 2})
    job.prepare(encode_corpus(corpus_of(TEXT), "word", 300, 0.0), None)
    lines: list[str] = []
    samples = Samples(asked, lines.append)
    for step in [*range(every, steps, every), steps]:
        samples.record(job, {"step": step, "avg_loss": 1.0})
    assert list(samples_in("\n".join(lines))) == expected


def test_samples_change_no_number(toy_gpt: ToyGpt, corpus: Path, tmp_path: Path, listing: Listing) -> None:
    typed = (*NETWORK, "--corpus", corpus, "--steps", 6, "--dropout", 0.2, "--val-fraction", 0.2, "--checkpoint-every")
    for name, every in (("with", 1), ("without", 0)):
        assert toy_gpt(*typed, 3, "--sample-every", every, "--base-dir", tmp_path / name / "run").code == 0
    files = listing(tmp_path / "with")
    assert files == listing(tmp_path / "without")
    assert len(files) > 10


@pytest.mark.slow
def test_a_terminal_shows_a_sample_every_tenth_of_the_way(toy_gpt: ToyGpt, corpus: Path, tmp_path: Path) -> None:
    typed = (*NETWORK, "--corpus", corpus, "--steps", 20, "--base-dir", tmp_path / "run")
    code, out, _ = on_terminal(*typed)
    assert (code, list(samples_in(out))) == (0, list(range(2, 21, 2)))
    assert samples_in(on_terminal(*typed, "--sample-every", 0)[1]) == {}
    assert samples_in(toy_gpt(*typed).out) == {}  # a pipe
    assert json.loads(on_terminal(*typed, "--json")[1])["model"] == "llama"
    table = on_terminal("train", "--model", "bigram", "--corpus", corpus, "--base-dir", tmp_path / "table")
    assert (table[0], samples_in(table[1])) == (0, {})


def test_a_sample_is_one_harmless_line_of_the_terminals_width(
    toy_gpt: ToyGpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    corpus = tmp_path / "evil.txt"
    corpus.write_bytes("\x1b[2J\x07\r\n\u202e\x9b31m".encode() * 20)
    typed = (*NETWORK, "--tokenizer", "char", "--corpus", corpus, "--steps", 3, "--base-dir", tmp_path / "run")
    out = toy_gpt(*typed, "--sample-every", 1).out
    lines = [line for line in out.split("\n") if line.startswith("sample")]
    assert len(lines) == len(samples_in(out)) == 3
    assert all(len(line) <= 49 and plain(line) == line for line in lines)
    assert max(map(len, lines)) >= 45  # a space at the end is cut, too


def test_a_resumed_run_shows_samples_of_its_own_steps(toy_gpt: ToyGpt, corpus: Path, tmp_path: Path) -> None:
    typed = (*NETWORK, "--corpus", corpus, "--eval-every", 1, "--sample-every", 2, "--base-dir", tmp_path / "run")
    assert list(samples_in(toy_gpt(*typed, "--steps", 4).out)) == [2, 4]
    resumed = toy_gpt(*typed, "--resume", "--more-steps", 4)
    assert resumed.code == 0, resumed.err
    assert min(samples_in(resumed.out)) > 4
    assert max(samples_in(resumed.out)) >= 7


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (("--model", "bigram", "--sample-every", 5), "--sample-every does not apply to bigram"),
        (("--model", "gpt", "--sample-every", 5, "--json"), "--sample-every does not apply with --json"),
        (("--model", "gpt", "--sample-every", -1), "--sample-every must be at least 0, got -1"),
    ],
)
def test_samples_that_make_no_sense_are_refused(
    toy_gpt: ToyGpt, corpus: Path, tmp_path: Path, typed: tuple[object, ...], message: str
) -> None:
    outcome = toy_gpt("train", *typed, "--corpus", corpus, "--base-dir", tmp_path / "run")
    assert outcome.refused
    assert message in outcome.err
    assert not (tmp_path / "run").exists()


def test_no_samples_is_what_a_table_has_anyway(toy_gpt: ToyGpt, corpus: Path, tmp_path: Path) -> None:
    typed = ("train", "--model", "bigram", "--sample-every", 0, "--corpus", corpus)
    assert toy_gpt(*typed, "--base-dir", tmp_path / "run").code == 0


def test_a_line_takes_the_place_of_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 2.0])
    monkeypatch.setattr("toy_gpt_train.progress.time.monotonic", lambda: next(now))
    stream = Terminal()
    bar = Progress("training", stream)
    bar.clear()
    assert stream.getvalue() == ""
    bar.update(0.5)
    bar.clear()
    assert stream.getvalue().endswith("\r\033[K")
    assert stream.getvalue().count("\r") == 3
    assert stream.getvalue().split("\r")[2].isspace()  # for a notebook, which knows no code for erasing a line


# --- the story world --------------------------------------------------------------------------------------------


def test_a_network_of_the_story_world_ends_with_a_story(told: str) -> None:
    report, title, story = told.partition("\na story that it tells:\n")
    assert title
    assert "wrote" in report
    assert story.strip()
    assert all(len(line) <= 100 for line in story.splitlines())
    assert " ." not in story  # as a person writes it
    assert END_OF_STORY not in story
    assert 0 < len(re.findall(r"\w+", story)) <= 250


def test_text_of_the_story_world_is_shown_as_a_person_writes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job("llama", 8, 0, {"steps": 2, "embedding_dim": 8, "heads": 2})
    text = corpus_at(Path("world:300"))
    job.prepare(encode_corpus(text, "word", 300, 0.0), None)
    begun: list[Any] = []

    def writing(model: object, ids: list[int], sampling: Sampling) -> Iterator[tuple[object, int]]:
        begun.append(([job.encoded.tokenizer.tokens[i] for i in ids], sampling))
        return ((None, i) for i in job.encoded.ids)

    monkeypatch.setattr("toy_gpt_train.cli.samples.next_tokens", writing)
    monkeypatch.setenv("COLUMNS", "200")
    lines: list[str] = []
    Samples(2, lines.append).record(job, {"step": 2, "avg_loss": 1.25})
    first = text.text.splitlines()[0].split()
    assert first[-1] == END_OF_STORY
    assert lines == [f"sample    step 2, loss 1.250: {detokenize(first[:20])}"]
    assert story(job).split() == detokenize(first[:-1]).split()
    assert begun == [([END_OF_STORY], Sampling(0.8, seed=0))] * 2  # a new story


def test_who_tells_a_story(toy_gpt: ToyGpt, corpus: Path, tmp_path: Path) -> None:
    def printed(*typed: object) -> str:
        outcome = toy_gpt(*typed, "--base-dir", tmp_path / "run")
        assert outcome.code == 0, outcome.err
        out: str = outcome.out
        return out

    assert "a story" not in printed("train", "--model", "bigram", "--corpus", "world:300")
    assert "a story" not in printed(*NETWORK, "--steps", 2, "--corpus", corpus)
    world = (*NETWORK, "--steps", 2, "--corpus", "world:300")
    assert "sample" not in json.loads(printed(*world, "--json"))
    asked = printed(*world, "--sample", 5)
    assert "a story" not in asked
    assert "a sample of 5 tokens:" in asked


def test_a_sample_of_the_story_world_is_detokenized(toy_gpt: ToyGpt, tmp_path: Path) -> None:
    typed = ("train", "--model", "bigram", "--corpus", "world:300", "--sample", "--base-dir", tmp_path / "run")
    sample = toy_gpt(*typed).out.partition("a sample of 100 tokens:\n")[2]
    tokens = tg.load(tmp_path / "run").generate(num=100).split()
    assert len(tokens) == 101
    assert sample == detokenize(tokens) + "\n"


@pytest.mark.parametrize(("name", "expected"), [("word", True), ("char", False)])
def test_the_story_world_is_known_by_its_words(name: str, expected: bool) -> None:
    text = corpus_at(Path("world:300"))
    assert encode_corpus(text, name, 300, 0.0).is_world == expected  # with no held-out part, too
    assert not encode_corpus(corpus_of(TEXT), name, 300, 0.0).is_world


# --- steps follow the size of the text --------------------------------------------------------------------------


def prepared(model: str, num_tokens: int, **options: Any) -> Job:
    job = Job(model, options.pop("context", None), 0, options)
    job.prepare(encode_corpus(corpus_of("one two three four " * (num_tokens // 4)), "word", 300, 0.0), None)
    return job


@pytest.mark.parametrize(
    ("model", "num_tokens", "options", "steps"),
    [
        ("gpt", 400, {}, 125),  # 40 * 400 / (8 * 16)
        ("gpt", 40, {}, 20),  # 12 would be 40 epochs: too few to see anything
        ("gpt", 2560, {}, 800),  # exactly 40 epochs are the default
        ("gpt", 2556, {}, 798),
        ("gpt", 400, {"batch_size": 2}, 500),  # 40 * 400 / (2 * 16)
        ("gpt", 400, {"context": 8}, 250),
        ("embeddings", 400, {}, 125),  # 40 * 400 / 128: one prediction per window
        ("gpt", 400, {"steps": 801}, 801),
        ("gpt", 40, {"steps": 3}, 3),
    ],
)
def test_steps_by_hand(model: str, num_tokens: int, options: dict[str, Any], steps: int) -> None:
    settings = prepared(model, num_tokens, **options).settings
    assert settings.steps == steps
    assert (settings.warmup, settings.eval_every) == (steps // 20, max(steps // 20, 1))


def test_what_is_typed_stays_when_the_steps_are_fewer() -> None:
    job = prepared("gpt", 400, warmup=3, eval_every=50, embedding_dim=8)
    assert (job.settings.steps, job.settings.warmup, job.settings.eval_every) == (125, 3, 50)
    assert job.usual_length == 800
    assert prepared("gpt", 400, steps=9).usual_length is None


@pytest.mark.parametrize(
    ("model", "num_tokens", "options", "epochs"),
    [
        ("unigram", 600, {}, 50),  # 30,000 steps of its only row, no more
        ("unigram", 630, {}, 47),
        ("unigram", 70_000, {}, 1),
        ("unigram", 630, {"epochs": 60}, 60),
        ("unigram", 630, {"learning_rate": 0.01}, 50),  # smaller steps, ten times as many
        ("unigram", 6300, {"learning_rate": 0.01}, 47),
        ("unigram", 630, {"learning_rate": 1e-320}, 50),
        ("bigram", 630, {}, 50),  # each row has half the steps, or fewer
    ],
)
def test_epochs_by_hand(model: str, num_tokens: int, options: dict[str, Any], epochs: int) -> None:
    job = prepared(model, num_tokens, **options)
    assert job.settings.epochs == epochs
    assert job.usual_length == (50 if epochs < 50 else None)


def test_a_row_that_has_settled_says_so(toy_gpt: ToyGpt, tmp_path: Path) -> None:
    corpus = tmp_path / "long.txt"
    corpus.write_text("a b " * 20_000, encoding="utf-8")
    outcome = toy_gpt("train", "--model", "bigram", "--corpus", corpus, "--base-dir", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    assert "plan      1 epoch, each once through the text: 39,999 steps" in outcome.out
    assert "shortened: the usual 50 epochs would hardly teach it more" in outcome.out
    assert "train loss 0.00" in outcome.out


@pytest.mark.parametrize("model", [entry.name for entry in LADDER if entry.model_class.trains_in_steps])
def test_the_stories_are_long_enough_for_the_usual_steps(model: str, repository: Path) -> None:
    job = Job(model, None, 0, {})
    job.prepare(encode_corpus(read_corpus(repository / "corpus" / "030_stories.txt"), "word", 300, 0.1), None)
    assert (job.settings.steps, job.usual_length) == (SIZES[model]["tiny"].steps, None)


def test_two_sentences_are_not_read_for_thousands_of_epochs(toy_gpt: ToyGpt, tmp_path: Path) -> None:
    corpus = tmp_path / "two.txt"
    corpus.write_text("the cat sees the dog . the dog sees a cat .", encoding="utf-8")
    small = ("--embedding-dim", 8, "--heads", 2, "--context", 4)
    outcome = toy_gpt("train", "--model", "gpt", *small, "--corpus", corpus, "--base-dir", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    assert "plan      20 steps of 32 predictions each" in outcome.out
    # 800 steps of 32 predictions, from 12 tokens: 2,133 epochs
    assert "shortened: the usual 800 steps would read so short a text 2,133 times" in outcome.out
    meta = tg.load(tmp_path / "run").meta["training"]
    assert meta["steps"] == 20
    assert meta["epochs"] == pytest.approx(20 * 32 / 12, abs=1e-6)
    config = tmp_path / "run" / "outputs" / "config.toml"
    assert (read_toml(config)["steps"], read_toml(config)["warmup"]) == (20, 1)
    again = toy_gpt("train", "--config", config, "--base-dir", tmp_path / "again")
    assert "shortened" not in again.out
    weights = "artifacts/02_model_weights.csv"
    assert (tmp_path / "run" / weights).read_bytes() == (tmp_path / "again" / weights).read_bytes()


def test_a_resumed_run_keeps_its_steps(corpus: Path, tmp_path: Path) -> None:
    options = {"embedding_dim": 8, "heads": 2, "context": 8}
    begun = {"save_to": tmp_path, "checkpoint_every": 1, **options}

    def stopping(_: float, words: str) -> None:
        if words.startswith("step 2/"):
            raise KeyboardInterrupt

    short = TEXT[: len(TEXT) // 5]
    with pytest.raises(KeyboardInterrupt):
        tg.train("gpt", text=short, steps=22, progress=stopping, **begun)
    with pytest.warns(match="resumed from step 2 of 22"):
        resumed = tg.train("gpt", text=short, save_to=tmp_path, resume=True, **options)
    assert resumed.history[-1]["step"] == 22
    with pytest.warns(match="resumed from step 22 of 23"):
        more = tg.train("gpt", text=short, save_to=tmp_path, resume=True, more_steps=1, **options)
    assert more.history[-1]["step"] == 23


# --- the report, the preset -------------------------------------------------------------------------------------


def test_the_floor_of_a_network_is_not_shown(toy_gpt: ToyGpt, corpus: Path, tmp_path: Path) -> None:
    typed = ("--corpus", corpus, "--val-fraction", 0.2, "--base-dir", tmp_path / "run")
    network = toy_gpt("train", "--model", "embeddings", "--context", 1, "--steps", 2, *typed).out
    assert tg.load(tmp_path / "run").meta["loss_floor"] > 0.01
    assert "guessing by frequency" in network
    assert "lowest" not in network
    table = toy_gpt("train", "--model", "bigram", *typed).out
    [floor] = re.findall(r"^lowest possible on the training text +(\S+)", table, re.M)
    assert float(floor) > 0.01


def test_the_preset_of_the_story_world() -> None:
    arguments = train_arguments(cli.build_parser().parse_args(["train", "--preset", "world", "--base-dir", "nowhere"]))
    assert arguments["corpus"] == Path("world:200k")
    assert (arguments["val_fraction"], arguments["workers"]) == (0.05, 2)
    known = ("steps", "batch_size", "learning_rate", "embedding_dim", "layers", "heads")
    job = Job(arguments["model"], arguments["context"], arguments["seed"], {name: arguments[name] for name in known})
    settings, shape = job.settings, job.settings.architecture
    assert (job.entry.name, settings.context, settings.steps, settings.batch_size) == ("llama", 64, 600, 4)
    assert (settings.learning_rate, shape.embedding_dim, shape.layers, shape.heads) == (0.005, 32, 2, 4)


def test_a_text_of_the_story_world_needs_no_path_in_a_file(
    toy_gpt: ToyGpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listing: Listing
) -> None:
    monkeypatch.chdir(tmp_path)
    assert toy_gpt(*NETWORK, "--steps", 2, "--corpus", "world:300", "--base-dir", "one/run").code == 0
    config = Path("one/run/outputs/config.toml")
    assert read_toml(config)["corpus"] == "world:300"
    assert toy_gpt("train", "--config", config, "--base-dir", tmp_path / "a" / "folder" / "run").code == 0
    assert listing(tmp_path / "a" / "folder") == listing(tmp_path / "one")
    (config.parent / "world:300").write_text(TEXT, encoding="utf-8")  # a file of that name wins
    assert toy_gpt("train", "--config", config, "--base-dir", "file/run").code == 0
    assert tg.load("file/run").tokenizer.vocab_size == len(set(TEXT.split()))


def test_a_preset_with_another_text(toy_gpt: ToyGpt, corpus: Path, tmp_path: Path) -> None:
    small = ("--context", 8, "--steps", 2, "--workers", 1, "--layers", 1, "--val-fraction", 0.2)
    outcome = toy_gpt("train", "--preset", "world", "--corpus", corpus, *small, "--base-dir", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    assert "text.txt" in outcome.out
    assert "a story" not in outcome.out


def test_a_job_that_makes_no_sense_is_refused_before_its_steps_are_counted() -> None:
    with pytest.raises(InputError, match="at least 1"):
        prepared("gpt", 400, steps=0)


# --- a chat in the story world --------------------------------------------------------------------------------


def test_a_chat_in_the_story_world_remembers_what_was_told(toy_gpt: ToyGpt, tmp_path: Path) -> None:
    # WHY Kneser-Ney with a long context on one text: it answers as that text does, if it sees all that was told.
    names = " ".join((*NAMES, END))
    text = f"{names} . Mina is here . Tom is there . where is Mina ? Mina is here . {END} ".split() * 3
    tg.train("kneser-ney", text=" ".join(text), context=12, save_to=tmp_path)

    def said(*lines: str) -> list[str]:
        stdin = "".join(f"{line}\n" for line in lines)
        outcome = toy_gpt("chat", "--base-dir", tmp_path, "--greedy", "--topk", 1, "--num", 30, stdin=stdin)
        return [line for line in outcome.out.splitlines() if line and "#" not in line]

    assert said("Mina is here. Tom is there.", "Mina is here.") == ["Where is Mina?", "(the end)"]
    # An empty line begins a new story, in which nobody has asked.
    assert said("Mina is here. Tom is there.", "", "Tom is there.") == ["Where is Mina?", "Where is Mina?"]
    # What cannot be read is named, and the story goes on without it.
    first, unknown, last = said("Mina is here. Tom is there.", "A zebra!", "Mina is here.")
    assert "'zebra'" in unknown
    assert (first, last) == ("Where is Mina?", "(the end)")


# --- one who watches --------------------------------------------------------------------------------------------


def watched(on_start: Callable[[Job], None]) -> tg.Run:
    numbers: dict[str, Any] = {"context": 2, "embedding_dim": 4, "batch_size": 2, "steps": 6, "eval_every": 1}
    return tg.train("embeddings", text=TEXT, val_fraction=0.2, on_start=on_start, **numbers)


def test_who_watches_may_change_the_learning_rate() -> None:
    factors = iter([1.0, 1.0, 0.5, 0.5, 1.0, 1.0])
    changed = watched(lambda job: setattr(job, "rate_factor", lambda: next(factors)))
    usual = watched(lambda job: None)
    rates = [[record["learning_rate"] for record in run.history] for run in (changed, usual)]
    assert [a / b for a, b in zip(*rates, strict=True)] == [1.0, 1.0, 0.5, 0.5, 1.0, 1.0]
    assert changed.model.logits([0, 1]) != usual.model.logits([0, 1])
    changes = [{"from_step": 2, "factor": 0.5}, {"from_step": 4, "factor": 1.0}]
    assert changed.meta["training"]["rate_factors"] == changes
    assert "rate_factors" not in usual.meta["training"]


def test_who_watches_sees_the_model_before_its_scores() -> None:
    seen: list[tuple[dict[str, Any], list[float], str]] = []

    def watch(job: Job) -> None:
        job.on_learned = lambda meta: seen.append((meta, list(job.model.logits([0, 1])), sample(job)))

    run = watched(watch)
    ((meta, logits, text),) = seen
    assert logits == list(run.model.logits([0, 1]))  # it is the model that is then scored
    last = run.history[-1]
    assert meta["metrics"] == {"train_loss": last["avg_loss"], "train_accuracy": last["accuracy"]}
    final = {**run.meta, "metrics": None}
    assert {**meta, "metrics": None} == final
    assert text.split()[:2] == TEXT.split()[:2]
    assert len(text.split()) == 2 + 30
    assert {*text.split()} <= {*TEXT.split()}
