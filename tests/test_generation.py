"""The text that a model writes: where it ends, piece by piece, and how ``infer`` and ``chat`` show it."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import toy_gpt_train as tg
from conftest import needs_processes
from toy_gpt_train import cli
from toy_gpt_train.inference.generate import end_of_text, write, write_all
from toy_gpt_train.inference.sampling import GREEDY, Sampling
from toy_gpt_train.math_training import top_k
from toy_gpt_train.models.kneser_ney import KneserNey
from toy_gpt_train.show import plain
from toy_gpt_train.tokenizers.base import Tokenizer
from toy_gpt_train.tokenizers.bpe import BPETokenizer
from toy_gpt_train.tokenizers.char import CharTokenizer
from toy_gpt_train.tokenizers.word import WordTokenizer

ToyGpt = Callable[..., Any]
Trained = Callable[..., Path]

BYTES = BPETokenizer({byte: bytes([byte]) for byte in range(256)}, [])
SPECIAL = BPETokenizer({byte: bytes([byte]) for byte in range(256)}, [], ["<|pad|>", "<|endoftext|>"])


class Script(KneserNey):
    """A model that is sure of the next token: it says what is written in a script."""

    def __init__(self, vocab_size: int, script: Sequence[int]) -> None:
        super().__init__(vocab_size, 2)
        self.script = iter(script)

    def next_probs(self, ids: Sequence[int], cache: Any = None) -> list[float]:
        said = next(self.script)
        return [float(i == said) for i in range(self.vocab_size)]


def pieces_of(
    tokenizer: Tokenizer, ids: Sequence[int], stop: Sequence[str] = (), *, start: str = "x", ignore_eos: bool = False
) -> list[str]:
    sampling = Sampling(stop=tuple(stop), ignore_eos=ignore_eos)
    return [step.text for step in write(Script(tokenizer.vocab_size, ids), tokenizer, [], len(ids), sampling, start)]


def chars_of(text: str, *stop: str) -> list[str]:
    tokenizer = CharTokenizer.from_text(f"{text}?")
    return pieces_of(tokenizer, tokenizer.encode(text), stop)


# --- piece by piece -----------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 255), max_size=12) | st.text(max_size=6).map(lambda text: list(text.encode())))
@settings(max_examples=300, deadline=None)
def test_the_pieces_of_any_bytes_are_the_whole(ids: list[int]) -> None:
    pieces = pieces_of(BYTES, ids)
    assert "".join(pieces) == BYTES.decode(ids)
    assert "".join(map(plain, pieces)) == plain(BYTES.decode(ids))
    assert len(pieces) == len(ids)


def test_half_a_character_waits_for_the_other_half() -> None:
    assert pieces_of(BYTES, list("aé€😀z".encode())) == ["a", "", "é", "", "", "€", "", "", "", "😀", "z"]
    assert pieces_of(BYTES, [0xE2, 0x82]) == ["", "\ufffd"]
    assert pieces_of(BYTES, [0xE2, 0x82, 0x61]) == ["", "", "\ufffda"]


def test_words_come_with_the_space_before_them() -> None:
    words = WordTokenizer.from_text("the cat runs")
    ids = words.encode("the cat runs")
    assert pieces_of(words, ids) == [" the", " cat", " runs"]
    assert pieces_of(words, ids, start="") == ["the", " cat", " runs"]


# --- stop texts -----------------------------------------------------------------------------------------------------


def test_a_stop_text_and_what_follows_are_cut_off() -> None:
    assert chars_of("one. two. three", ".") == ["o", "n", "e", ""]
    assert "".join(chars_of("one. two. three", ". t")) == "one"
    assert "".join(chars_of("one. two. three", "two", "thr", "e. ")) == "on"
    assert "".join(chars_of("one. two. three", "four")) == "one. two. three"
    assert "".join(chars_of("one\ntwo", "\n")) == "one"
    assert chars_of("one", "o") == [""]


def test_what_may_be_a_stop_text_waits() -> None:
    assert chars_of("aab", "ab") == ["", "a", ""]
    assert chars_of("aac", "ab") == ["", "a", "ac"]
    assert chars_of("caa", "aab") == ["c", "", "aa"]  # the end of it all: nothing more can come
    assert chars_of("ababac", "abac") == ["", "", "", "ab", "", ""]


def test_the_text_that_was_given_does_not_stop_it() -> None:
    run = tg.train("bigram", text="a . b . " * 5, epochs=20)
    assert run.generate("b .", 4, temperature=0, stop="a b") == run.generate("b .", 4, temperature=0)
    assert run.generate(". a", 9, temperature=0, stop=["."]) == ". a"


def test_a_stop_text_may_lie_inside_a_token_or_across_two() -> None:
    words = WordTokenizer.from_text("the cat runs .")
    ids = words.encode("the cat runs . the")
    assert "".join(pieces_of(words, ids, ["."])) == " the cat runs"  # the space before it goes with it
    assert "".join(pieces_of(words, ids, ["at ru"])) == " the c"
    assert "".join(pieces_of(words, ids, ["the"])) == ""
    assert "".join(pieces_of(words, ids, [" cat"])) == " the"


@given(st.text("abc", max_size=14), st.lists(st.text("abc", min_size=1, max_size=4), max_size=3))
@settings(max_examples=300, deadline=None)
def test_it_ends_with_the_first_stop_text_that_is_complete(text: str, stop: list[str]) -> None:
    pieces = chars_of(text, *stop)
    expected = text
    for length in range(len(text) + 1):
        found = [one for one in stop if text[:length].endswith(one)]
        if found:
            expected = text[: length - max(map(len, found))]
            break
    assert "".join(pieces) == expected
    for number in range(len(pieces)):  # what was shown is never taken back
        assert expected.startswith("".join(pieces[:number]))


def test_nothing_is_asked_of_the_model_after_the_end() -> None:
    model = Script(256, list(b"ab.cd"))
    steps = list(write(model, BYTES, [], 5, Sampling(stop=(".",))))
    assert [step.stopped for step in steps] == [False, False, True]
    assert next(model.script) == ord("c")


def test_a_stop_text_that_can_never_come_is_refused(toy_gpt: ToyGpt, trained: Trained) -> None:
    for options in (("--stop-at-newline",), ("--stop", "a\tb"), ("--stop", "")):
        assert toy_gpt("infer", "--base-dir", trained("bigram"), *options).refused


# --- the end of a text -----------------------------------------------------------------------------------------


def with_special(*special: str) -> Tokenizer:
    tokenizer = BPETokenizer({byte: bytes([byte]) for byte in range(256)}, [], special)
    tokenizer.special = special
    return tokenizer


def test_which_token_ends_a_text() -> None:
    assert end_of_text(BYTES) is None
    assert end_of_text(with_special("<|pad|>", "<|endoftext|>")) == SPECIAL.special_tokens["<|endoftext|>"]
    assert end_of_text(with_special("<end>", "<pad>")) == 256 + sorted(["<end>", "<pad>"]).index("<end>")


def test_a_text_ends_at_its_special_token() -> None:
    tokenizer = with_special("<|endoftext|>")
    ids = tokenizer.encode("ab<|endoftext|>cd")
    assert pieces_of(tokenizer, ids) == ["a", "b", ""]
    assert "".join(pieces_of(tokenizer, ids, ignore_eos=True)) == "ab<|endoftext|>cd"
    assert "".join(pieces_of(tokenizer, ids, ["<|endoftext|>"], ignore_eos=True)) == "ab"
    assert pieces_of(tokenizer, [0xE2, *ids[2:]]) == ["", "\ufffd"]  # half a character is shown as one at the end
    assert pieces_of(tokenizer, tokenizer.encode("a<|endoftext|>"), ["ab"]) == ["", "a"]  # so is half a stop text


# --- from Python ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["word", "char", "bpe"])
def test_stream_is_generate_in_pieces(kind: str) -> None:
    run = tg.train("bigram", text="the cat sees the dog . é " * 4, tokenizer=kind, bpe_vocab=260, epochs=5)
    options: dict[str, Any] = {
        "temperature": 1.0,
        "top_k": 3,
        "top_p": 0.9,
        "repetition_penalty": 1.1,
        "seed": 7,
        "stop": "dog . the",
    }
    for prompt in ("the cat", None):
        pieces = list(run.stream(prompt, 30, **options))
        assert "".join(pieces) == run.generate(prompt, 30, **options)
        assert len(pieces) > 3
    assert list(run.stream("the", 0)) == ["the"]
    assert run.generate("the", 9, temperature=2, top_k=1) == run.generate("the", 9, temperature=0)


def test_stream_comes_as_it_is_asked_for() -> None:
    run = tg.train("bigram", text="one fish two fish", epochs=20)
    pieces = run.stream("one", 10**9, temperature=0)
    assert [next(pieces) for _ in range(4)] == ["one", " fish", " two", " fish"]


@pytest.mark.parametrize(
    "options", [{"num": -1}, {"top_k": -1}, {"repetition_penalty": 0}, {"stop": ""}, {"prompt": "zebra"}]
)
def test_stream_refuses_before_its_first_piece(options: dict[str, Any]) -> None:
    run = tg.train("bigram", text="one fish two fish", epochs=2)
    with pytest.raises(tg.InputError):
        run.stream(**options)
    with pytest.raises(tg.InputError):
        run.generate(**options)


# --- an untrained model ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("model", [name for name in tg.models() if name != "context-3"])
def test_an_untrained_model_writes_noise_and_cannot_be_saved(model: str, tmp_path: Path) -> None:
    text = "the cat sees the dog . " * 30
    run = tg.untrained(model, text=text, tokenizer="char", seed=3)
    assert run.tokenizer.tokens == sorted(set(text))
    assert repr(run) == f"<Run {model}, char, V={len(set(text))}, untrained>"
    assert len(set(run.generate("the cat sees the dog", 40, temperature=1)[20:])) > 5
    with pytest.raises(tg.InputError, match="untrained"):
        run.save(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_untrained_is_what_training_starts_from() -> None:
    text = "the cat sees the dog . " * 30
    one, other = (tg.untrained("gpt", text=text, seed=seed) for seed in (1, 2))
    assert one.next("the cat") != other.next("the cat")
    assert one.next("the cat") == tg.untrained("gpt", text=text, seed=1).next("the cat")
    starts: list[Any] = []

    def look(job: Any) -> None:
        starts.append(job.model.next_probs(job.encoded.ids[:8]))

    trained = tg.train("gpt", text=text, seed=1, steps=1, on_start=look)
    assert starts == [one.model.next_probs(one.tokenizer.encode(text)[:8])]
    assert trained.next("the cat") != one.next("the cat")
    counted = tg.untrained("kneser-ney", text=text).next("the", k=9)
    assert [token.probability for token in counted] == pytest.approx([1 / 5] * 5)


def test_infer_untrained(toy_gpt: ToyGpt, tiny_corpus: Path, tmp_path: Path, listing: Any) -> None:
    options = ("--untrained", "--corpus", tiny_corpus, "--base-dir", tmp_path, "--temperature", 1, "--num", 30)
    outcome = toy_gpt("infer", *options, "--model", "gpt", "--tokenizer", "char", "--layers", 1, "--seed", 5)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("model      gpt, untrained, vocabulary 14\n")
    assert listing(tmp_path) == {}
    run = tg.untrained("gpt", tiny_corpus, tokenizer="char", layers=1, seed=5)
    assert outcome.out.endswith(f"generated  {run.generate(num=30, temperature=1, seed=5)}\n")
    for more in (
        ("--model", "zebra"),
        ("--model", "bigram", "--layers", 2),
        ("--model", "gpt", "--layers", 0),
        ("--tokenizer", "zebra"),
        ("--tokenizer", "bpe", "--bpe-vocab", 2),
        ("--context", -1, "--model", "kneser-ney"),
        ("--corpus", tmp_path / "none"),
    ):
        assert toy_gpt("infer", *options, *more).refused, more
    for flag in ("--layers", "--hidden", "--bpe-vocab"):
        outcome = toy_gpt("infer", flag, 2)
        assert outcome.refused
        assert f"{flag} is for a model that is --untrained" in outcome.err
    assert toy_gpt("infer", "--corpus", tiny_corpus).refused


# --- the command line -----------------------------------------------------------------------------------------


def answer_of(toy_gpt: ToyGpt, base: Path, *options: object) -> dict[str, Any]:
    outcome = toy_gpt("infer", "--base-dir", base, "--json", *options)
    assert (outcome.code, outcome.err) == (0, "")
    answer: dict[str, Any] = json.loads(outcome.out)
    return answer


def test_options_are_those_of_generate(toy_gpt: ToyGpt, trained: Trained) -> None:
    base = trained("bigram", "--tokenizer", "char")
    drawing = ("--temperature", 1.3, "--top-k", 3, "--top-p", 0.95, "--repetition-penalty", 1.2, "--seed", 4)
    (sample,) = answer_of(toy_gpt, base, "--prompt", "the", "--num-tokens", 40, *drawing, "--stop", "ee", "g")[
        "samples"
    ]
    options: dict[str, Any] = {"temperature": 1.3, "top_k": 3, "top_p": 0.95, "repetition_penalty": 1.2, "seed": 4}
    assert sample["text"] == tg.load(base).generate("the", 40, stop=["ee", "g"], **options)
    assert sample["finish_reason"] == "stop"
    assert sample["seed"] == 4


def test_stopping_on_the_command_line(toy_gpt: ToyGpt, trained: Trained, tmp_path: Path) -> None:
    bigram = trained("bigram")
    (sample,) = answer_of(toy_gpt, bigram, "--greedy", "--prompt", "the", "--num", 50, "--stop", "zzz", "--stop", ".")[
        "samples"
    ]
    assert sample["text"] == "the dog"
    assert sample["generated"][-2:] == ["dog", "."]  # the tokens that were chosen
    assert sample["finish_reason"] == "stop"
    (sample,) = answer_of(toy_gpt, bigram, "--greedy", "--prompt", "the", "--num", 1, "--stop", ".")["samples"]
    assert sample["finish_reason"] == "length"
    tg.train("bigram", text="a\nb\n" * 5, tokenizer="char", epochs=20).save(tmp_path)
    assert toy_gpt("infer", "--base-dir", tmp_path, "--greedy", "--stop-at-newline").out.endswith("generated  a\n")


def test_samples_are_of_one_seed_after_the_other(toy_gpt: ToyGpt, trained: Trained, tmp_path: Path) -> None:
    base, options = trained("bigram"), ("--num", 20, "--temperature", 1, "--seed", 3)
    answer = answer_of(toy_gpt, base, *options, "--num-samples", 3)
    assert [sample["seed"] for sample in answer["samples"]] == [3, 4, 5]
    texts = [tg.load(base).generate(num=20, temperature=1, seed=seed) for seed in (3, 4, 5)]
    assert [sample["text"] for sample in answer["samples"]] == texts
    assert answer["generated"] == answer["samples"][0]["generated"]
    out = tmp_path / "samples.txt"
    outcome = toy_gpt("infer", "--base-dir", base, *options, "--num-samples", 3, "--output", out)
    assert [line[:11] for line in outcome.out.splitlines()[-4:-1]] == ["seed 3     ", "seed 4     ", "seed 5     "]
    assert [line[11:] for line in outcome.out.splitlines()[-4:-1]] == texts
    assert out.read_text("utf-8").split("\n---------------\n") == texts
    for wrong in (("--num-samples", 0), ("--num-samples", 1001), ("--num-samples", 2, "--temperature", 0)):
        assert toy_gpt("infer", "--base-dir", base, *options, *wrong).refused


def test_show_steps(toy_gpt: ToyGpt, trained: Trained) -> None:
    base = trained("bigram")
    run = tg.load(base)
    options = ("--prompt", "the", "--num", 6, "--temperature", 1.5, "--seed", 2, "--topk", 2, "--show-steps")
    (sample,) = answer_of(toy_gpt, base, *options)["samples"]
    ids = run.start_ids("the")
    assert len(sample["steps"]) == 6
    for step in sample["steps"]:
        probs = run.model.next_probs(ids)
        assert step["confidence"] == probs[step["id"]]
        assert [(row["id"], row["probability"]) for row in step["top_k"]] == top_k(probs, 2)
        assert step["token"] == run.tokenizer.tokens[step["id"]]
        ids = [step["id"]]
    lines = toy_gpt("infer", "--base-dir", base, *options).out.splitlines()[-7:]
    assert lines[0].split() == ["step", "chosen", "confidence", "candidate", "1", "candidate", "2"]
    for line, step in zip(lines[1:], sample["steps"], strict=True):
        assert line.split()[1:3] == [step["token"], f"{step['confidence']:.4f}"]
        among = [row for row in step["top_k"] if row["id"] == step["id"]]
        assert re.findall(r"\*(\S+) ([0-9.]+)", line) == [(row["token"], f"{row['probability']:.4f}") for row in among]
    assert any("*" in line for line in lines[1:])
    assert any("*" not in line for line in lines[1:])  # a token that was drawn and is not among the two


def test_lowercase(toy_gpt: ToyGpt, trained: Trained) -> None:
    base = trained("context-2")
    expected = answer_of(toy_gpt, base, "--prompt", "the cat")
    for start in (("--prompt", "THE Cat"), ("--start-tokens", "The", "CAT")):
        assert answer_of(toy_gpt, base, *start, "--lowercase") == expected
        assert toy_gpt("infer", "--base-dir", base, *start).refused
    chatted = toy_gpt("chat", "--base-dir", base, "--lowercase", stdin="THE CAT\n")
    assert f"the cat > {' '.join(expected['generated'][2:])}\n" in chatted.out


def test_options_in_a_file(toy_gpt: ToyGpt, trained: Trained, tmp_path: Path) -> None:
    base, config = trained("context-2"), tmp_path / "config.toml"
    config.write_text(
        '[inference]\nstart_tokens = ["the", "dog"]\nnum_tokens = 4\ntopk = 3\ntemperature = 0.5\nstop = ["zz", "."]\n',
        encoding="utf-8",
    )
    typed = ("--start-tokens", "the", "dog", "--num", 4, "--topk", 3, "--temperature", 0.5, "--stop", "zz", ".")
    assert answer_of(toy_gpt, base, "--config", config) == answer_of(toy_gpt, base, *typed)
    prompted = answer_of(toy_gpt, base, "--config", config, "--prompt", "the cat", "--num", 2)  # what you type wins
    assert prompted["start_tokens"] == ["the", "cat"]
    assert len(prompted["generated"]) <= 4
    for text in ("steps = 4\n", "num_tokens = 'x'\n", "num_samples = 0\n", "[\n", "raw = true\njson = true\n"):
        config.write_text(text, encoding="utf-8")
        assert toy_gpt("infer", "--base-dir", base, "--config", config).refused, text


# --- as it comes ----------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    """A terminal that keeps what it was given each time it had to show it."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[str] = []

    def isatty(self) -> bool:
        return True

    def flush(self) -> None:
        if self.getvalue() != "".join(self.shown):
            self.shown.append(self.getvalue()[len("".join(self.shown)) :])


EVIL = "\x1b[31m é\u202e\r\n\t\u200d€😀\x9b"


@pytest.fixture(scope="module")
def evil_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("evil")
    tg.train("bigram", text=EVIL * 6, tokenizer="bpe", bpe_vocab=258, epochs=20).save(base)
    return base


@pytest.mark.parametrize(
    "options",
    [(), ("--raw",), ("--temperature", 1, "--num-samples", 3), ("--json",), ("--stop", "31m €"), ("--num", 0)],
)
def test_what_a_terminal_shows_is_what_a_pipe_gets(
    toy_gpt: ToyGpt, evil_base: Path, options: tuple[object, ...]
) -> None:
    argv = [str(one) for one in ("infer", "--base-dir", evil_base, "--num", 60, "--show-steps", *options)]
    terminal = Terminal()
    with redirect_stdout(terminal):
        assert cli.main(argv) == 0
    assert terminal.getvalue() == toy_gpt(*argv).out
    assert (len(terminal.shown) > 20) == ("--json" not in options and "--num" not in options)


def test_chat_shows_text_as_it_comes(toy_gpt: ToyGpt, evil_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ["chat", "--base-dir", str(evil_base), "--num", "30", "--temperature", "1"]
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello\n"))
    with redirect_stdout(terminal):
        assert cli.main(argv) == 0
    assert terminal.getvalue() == toy_gpt(*argv, stdin="hello\n").out
    assert len(terminal.shown) > 15


def test_each_piece_is_shown_before_the_next_is_asked_for(evil_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from toy_gpt_train.cli import infer

    terminal, seen = Terminal(), []

    def watched(steps: Iterator[Any]) -> Iterator[Any]:
        for step in steps:
            yield step
            seen.append((step.text, "".join(terminal.shown)))

    monkeypatch.setattr(infer, "write_all", lambda *arguments: [watched(one) for one in write_all(*arguments)])
    with redirect_stdout(terminal):
        assert cli.main(["infer", "--base-dir", str(evil_base), "--num", "20"]) == 0
    assert len(seen) == 20
    assert all(shown.endswith(plain(text)) for text, shown in seen)


@pytest.mark.slow
@needs_processes
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminals here")
def test_a_real_terminal_gets_the_bytes_that_a_pipe_gets(evil_base: Path) -> None:
    termios = pytest.importorskip("termios")
    command = [sys.executable, "-m", "toy_gpt_train", "infer", "--base-dir", str(evil_base), "--num", "40"]
    environment = {**os.environ, "PYTHONUTF8": "1"}
    piped = subprocess.run(command, capture_output=True, check=True, env=environment, timeout=60).stdout
    reader, terminal = os.openpty()
    mode = termios.tcgetattr(terminal)
    mode[1] &= ~termios.OPOST  # WHY: otherwise the terminal makes \r\n of \n
    termios.tcsetattr(terminal, termios.TCSANOW, mode)
    with subprocess.Popen(command, stdout=terminal, env=environment) as process:
        os.close(terminal)
        got = b""
        try:
            while part := os.read(reader, 4096):
                got += part
        except OSError:  # Linux: the other end is closed
            pass
    os.close(reader)
    assert process.returncode == 0
    assert got == piped


def test_nothing_is_written_or_shown_where_the_file_cannot_be(
    toy_gpt: ToyGpt, trained: Trained, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("old", encoding="utf-8")
    assert toy_gpt("infer", "--base-dir", trained("bigram"), "--output", blocked / "out").refused
    assert blocked.read_text("utf-8") == "old"
    assert toy_gpt("infer", "--base-dir", trained("bigram"), "--output", tmp_path).refused
    assert list(tmp_path.iterdir()) == [blocked]


def test_greedy_settings_are_what_they_were() -> None:
    assert Sampling() == GREEDY == Sampling(0.0, 1.0, 0, None, 1.0, (), False)
