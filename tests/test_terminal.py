"""test_terminal.py - What reaches a terminal: text and never commands, in lines that end, and exit codes that tell."""

import ast
import io
import json
import os
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import toy_gpt_train as tg
from conftest import needs_processes
from toy_gpt_train import cli
from toy_gpt_train.progress import Progress
from toy_gpt_train.show import one_line, plain

ToyGpt = Callable[..., Any]
Trained = Callable[..., Path]

needs_shell = pytest.mark.skipif(not Path("/bin/sh").exists(), reason="it closes streams as a shell does")
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux")
posix_names = pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are text there")

# Red, erase the screen, a title, the same as one C1 character, a return, a bell, a reversed line, half a character.
EVIL = "\x1b[31m\x1b[2J\x1b]0;title\x07\x9b31m\r\b\u202e\ud800"
EVIL_TEXT = EVIL[:-1]  # what UTF-8 can hold


def is_harmless(printed: str) -> bool:
    """Whether a terminal only shows it: no control character but the line end and the tab."""
    return all(char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf", "Cs") for char in printed)


@given(st.text())
def test_plain_text_is_harmless(text: str) -> None:
    shown = plain(text)
    assert is_harmless(shown.replace("\u200c", "").replace("\u200d", ""))
    assert plain(shown) == shown
    assert plain(text.replace("\n", "")) == shown.replace("\n", "")


def test_what_is_no_command_stays() -> None:
    text = "é \u00a0\t\n日本 \U0001f468\u200d\U0001f469 نمی\u200cشود"
    assert plain(text) == text
    assert plain(EVIL) == ("\\x1b[31m\\x1b[2J\\x1b]0;title\\x07\\x9b31m\\r\\x08\\u202e\\ud800")


@given(st.text(), st.integers(10, 500))
def test_a_message_is_one_line_of_limited_length(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert len(line) <= limit
    assert "\n" not in line
    assert line == one_line(line, limit) or len(line) == limit


def test_a_long_message_keeps_its_ends() -> None:
    line = one_line(f"name {'x' * 70_000} why")
    assert len(line) <= 500
    assert line.startswith("name x")
    assert line.endswith("x why")


def test_commands_print_through_one_function() -> None:
    """In cli/, print() is for standard error alone, where one_line() has been."""
    for path in sorted(Path(cli.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "sys.stdout.write"):
                assert "sys.stderr" in ast.unparse(node), f"{path.name}, line {node.lineno}"


# --- generated text ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def evil_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of characters that command a terminal: after each comes the next."""
    base = tmp_path_factory.mktemp("evil")
    tg.train("bigram", text=f"{EVIL_TEXT}\n" * 3, tokenizer="char", epochs=20).save(base)
    return base


def evil_arguments(base: Path) -> Sequence[object]:
    return ("infer", "--greedy", "--base-dir", base, "--prompt", "\x1b", "--num", len(EVIL_TEXT) * 2)


def test_generated_text_is_shown_and_not_obeyed(toy_gpt: ToyGpt, evil_run: Path) -> None:
    outcome = toy_gpt(*evil_arguments(evil_run))
    assert (outcome.code, outcome.err) == (0, "")
    assert is_harmless(outcome.out)
    assert "generated  \\x1b[" in outcome.out
    chatted = toy_gpt("chat", "--base-dir", evil_run, "--num", 40, "--temperature", 2, stdin="\x1b[\x1b\n")
    assert (chatted.code, chatted.err) == (0, "")
    assert is_harmless(chatted.out)


def test_raw_text_and_the_text_in_a_file_are_as_generated(toy_gpt: ToyGpt, evil_run: Path, tmp_path: Path) -> None:
    answer = json.loads(toy_gpt(*evil_arguments(evil_run), "--json").out)
    generated = "".join(answer["generated"])
    assert not is_harmless(generated)
    out = tmp_path / "new" / "story.txt"
    outcome = toy_gpt(*evil_arguments(evil_run), "--output", out)
    assert outcome.code == 0
    assert out.read_bytes() == generated.encode("utf-8")
    assert is_harmless(outcome.out)
    assert outcome.out.endswith(f"\nwritten    to {out}\n")
    raw = toy_gpt(*evil_arguments(evil_run), "--raw")
    assert f"generated  {generated}\n" in raw.out
    assert is_harmless(raw.out.replace(generated, ""))
    assert json.loads(toy_gpt(*evil_arguments(evil_run), "--json", "--output", out).out) == answer
    assert toy_gpt(*evil_arguments(evil_run), "--json", "--raw").refused


def test_a_prompt_that_utf8_cannot_hold_is_written(toy_gpt: ToyGpt, trained: Trained, tmp_path: Path) -> None:
    out = tmp_path / "out.txt"
    options = ("--prompt", "\udcff the cat", "--num", 1, "--output", out)
    assert toy_gpt("infer", "--base-dir", trained("bigram"), *options).code == 0
    assert out.read_text("utf-8").startswith("? the cat ")


# --- names and tokens in messages and tables ----------------------------------------------------------------------


@posix_names
def test_hostile_file_names_are_shown_and_not_obeyed(toy_gpt: ToyGpt, trained: Trained, tmp_path: Path) -> None:
    folder = tmp_path / EVIL_TEXT
    folder.mkdir()
    corpus, base = folder / f"{EVIL_TEXT}.txt", folder / "run"
    corpus.write_text("the cat sees the dog . " * 3, encoding="utf-8")
    good = trained("bigram")
    for argv in (
        ("train", "--model", "bigram", "--corpus", corpus, "--base-dir", base),
        ("infer", "--base-dir", base, "--output", folder / "out"),
        ("infer", "--base-dir", folder / "none"),
        ("evaluate", "--base-dir", good, "--text", corpus),
        ("evaluate", "--base-dir", good, "--text", folder),
        ("ladder", "--models", "bigram", "unigram", "--corpus", corpus, "--base-dir", base),
        ("tokenize", "--tokenizer", "word", "--corpus", corpus, "--text", "cat", "--save", folder / "saved"),
        ("tokenize", "--folder", folder / "none"),
        ("tokenize", "--corpus", corpus, "--word", EVIL),
        ("data", "vocabulary", "--kind", "char", "--text", corpus, "--out", folder / "chars"),
        ("data", "sample", "--text", corpus, "--lines", 1, "--out", folder / "sample"),
        ("data", "fetch", EVIL),
        ("data", "fetch", "names", "--url", EVIL_TEXT),
        ("check", "--base-dir", folder),
        ("train", "--model", EVIL),
        ("levels", EVIL),
        (EVIL,),
    ):
        outcome = toy_gpt(*argv)
        assert outcome.code in (0, 2), outcome
        assert is_harmless(outcome.out), argv
        assert is_harmless(outcome.err), argv
        assert outcome.code == 0 or outcome.refused


def test_hostile_tokens_are_shown_and_not_obeyed(toy_gpt: ToyGpt, tmp_path: Path) -> None:
    word = EVIL_TEXT.replace("\r", "")
    corpus = tmp_path / "corpus.txt"
    corpus.write_text(f"{word}a {word}b " * 4, encoding="utf-8")
    assert toy_gpt("train", "--model", "bigram", "--corpus", corpus, "--base-dir", tmp_path).code == 0
    for argv in (
        ("infer", "--base-dir", tmp_path),
        ("infer", "--base-dir", tmp_path, "--start-tokens", f"{word}c"),
        ("evaluate", "--base-dir", tmp_path, "--text", corpus),
        ("tokenize", "--tokenizer", "word", "--corpus", corpus, "--text", f"{word}a"),
    ):
        outcome = toy_gpt(*argv)
        assert is_harmless(outcome.out + outcome.err), argv
    assert "did you mean \\x1b[31m" in toy_gpt("infer", "--base-dir", tmp_path, "--start-tokens", f"{word}c").err


def test_a_hostile_manifest_is_shown_and_not_obeyed(toy_gpt: ToyGpt, tmp_path: Path, repository: Path) -> None:
    manifest = (repository / "SE_MANIFEST.toml").read_text("utf-8")
    hostile = "".join(f"\\u{ord(char):04x}" for char in EVIL_TEXT)
    (tmp_path / "SE_MANIFEST.toml").write_text(manifest.replace("001_animals", hostile), encoding="utf-8")
    outcome = toy_gpt("check", "--base-dir", tmp_path)
    assert outcome.code in (1, 2)
    assert is_harmless(outcome.out + outcome.err)
    assert "\\x1b[31m" in outcome.out + outcome.err
    assert max(map(len, (outcome.out + outcome.err).splitlines())) <= 506


def test_error_lines_are_limited(toy_gpt: ToyGpt, trained: Trained, tmp_path: Path) -> None:
    long = "x" * 70_000
    for argv in (
        ("infer", "--base-dir", trained("bigram"), "--start-tokens", *(f"{long}{i}" for i in range(5))),
        ("train", "--model", long),
        ("levels", long),
        ("evaluate", "--base-dir", trained("bigram"), "--text", tmp_path / long),
    ):
        outcome = toy_gpt(*argv)
        assert outcome.refused
        assert len(outcome.err) <= 501
        assert outcome.err.startswith("toy-gpt")


def test_a_progress_title_is_shown_and_not_obeyed() -> None:
    stream = io.StringIO()
    progress = Progress(f"encoding {EVIL}", stream)
    progress._start -= 10
    progress.update(0.5, "half")
    assert is_harmless(stream.getvalue())
    assert stream.getvalue().startswith("encoding \\x1b[31m")


# --- JSON ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@needs_processes
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "utf-16"])
def test_json_is_ascii_on_any_console(python: Callable[..., Any], tmp_path: Path, encoding: str) -> None:
    corpus = tmp_path / "é.txt"
    corpus.write_text("é 😀 \x1b é 😀 b é", encoding="utf-8")
    console = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    run = ("-m", "toy_gpt_train")
    base = ("--base-dir", tmp_path / "run")
    train = ("train", "--model", "bigram", "--corpus", corpus, "--val-fraction", 0.3, "--json", *base)
    for argv in (train, ("infer", "--json", *base), ("evaluate", "--text", corpus, "--json", *base)):
        if encoding == "utf-16":
            done = subprocess.run(
                [sys.executable, *map(str, (*run, *argv))],
                capture_output=True,
                env={**os.environ, **console},
                check=True,
            )
            printed = done.stdout.decode("utf-16")
        else:
            done = python(*run, *argv, **console)
            assert (done.code, done.err) == (0, "")
            printed = done.out
        assert printed.isascii()
        assert isinstance(json.loads(printed), dict)


# --- closed and full streams --------------------------------------------------------------------------------------


def in_shell(redirection: str, *argv: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a command with its streams redirected as the shell does it."""
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-m", "toy_gpt_train", *map(str, argv)],
        input=stdin,
        capture_output=True,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
        timeout=60,
        check=False,
    )


CLOSED = ("<&-", ">&-", "2>&-", "<&- >&- 2>&-")


@pytest.mark.slow
@needs_processes
@needs_shell
@pytest.mark.parametrize("redirection", CLOSED)
def test_closed_streams_change_no_exit_code(
    trained: Trained, tmp_path: Path, tiny_corpus: Path, redirection: str
) -> None:
    base = trained("bigram")
    train = ("train", "--model", "bigram", "--corpus", tiny_corpus, "--base-dir", tmp_path / "run", "--epochs", 2)
    for code, argv in (
        (0, train),
        (0, ("infer", "--base-dir", base)),
        (0, ("chat", "--base-dir", base)),
        (2, ("infer", "--base-dir", tmp_path / "none")),
        (2, ("nonsense",)),
    ):
        done = in_shell(redirection, *argv)
        assert done.returncode == code, done
        assert b"Traceback" not in done.stderr
        assert b"Exception" not in done.stderr
        assert (done.stdout == b"") == (">&-" in redirection.split() or code == 2)
        assert (done.stderr == b"") == ("2>&-" in redirection or code == 0)
    assert tg.load(tmp_path / "run").name == "bigram"


@needs_processes
@needs_shell
@pytest.mark.slow
@pytest.mark.parametrize("redirection", CLOSED)
def test_closed_streams_and_workers(tmp_path: Path, tiny_corpus: Path, redirection: str) -> None:
    options = ("--model", "gpt", "--steps", 3, "--context", 3, "--embedding-dim", 4, "--workers", 2)
    done = in_shell(redirection, "train", *options, "--corpus", tiny_corpus, "--base-dir", tmp_path)
    # WHY not the lines of progress: they come where the machine is busy, and all of this takes a second.
    others = [line for line in done.stderr.splitlines() if not line.startswith(b"training gpt")]
    assert (done.returncode, others) == (0, [])
    assert tg.load(tmp_path).name == "gpt"


@pytest.mark.slow
@needs_processes
@needs_shell
@needs_full
def test_full_streams(trained: Trained, tmp_path: Path) -> None:
    full = b"toy-gpt: error: standard output: No space left on device\n"
    base = ("--base-dir", trained("bigram"))
    for argv in (("levels",), ("--help",), ("infer", *base), ("infer", "--json", *base), ("chat", *base)):
        done = in_shell(">/dev/full", *argv, stdin=b"the cat\n")
        assert (done.returncode, done.stderr) == (2, full), argv
    missing = ("infer", "--base-dir", tmp_path / "none")
    assert [in_shell("2>/dev/full", *argv).returncode for argv in (("levels",), missing)] == [0, 2]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_progress_that_nobody_can_see_stops_nothing(is_terminal: bool) -> None:
    class Gone(io.StringIO):
        def isatty(self) -> bool:
            return is_terminal

        def write(self, text: str) -> int:
            written.append(text)
            raise BrokenPipeError

    written: list[str] = []
    progress = Progress("training", Gone())
    progress._start -= 10
    progress._last -= 10
    progress.update(0.5, "half")
    progress.close()
    assert written


@pytest.mark.slow
@needs_processes
@pytest.mark.skipif(os.name == "nt", reason="limits are POSIX")
def test_a_full_disk_is_named(tmp_path: Path, python: Callable[..., Any], tiny_corpus: Path) -> None:
    limited = (
        "import resource, signal, sys; from toy_gpt_train import cli\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))\n"
        "raise SystemExit(cli.main(sys.argv[1:]))"
    )
    text = ("--text", tiny_corpus)
    for name, argv in (
        ("sample", ("data", "sample", *text, "--lines", 1, "--out", tmp_path / "sample")),
        ("toy_tokenizer.json", ("data", "vocabulary", *text, "--kind", "word", "--out", tmp_path / "saved")),
        ("artifacts", ("train", "--model", "bigram", "--corpus", tiny_corpus, "--base-dir", tmp_path)),
    ):
        done = python("-c", limited, *argv)
        assert done.failed
        assert name in done.err
        assert done.err.endswith(": File too large\n")


# --- what is typed ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_chat_takes_lines_of_windows(python: Callable[..., Any], trained: Trained) -> None:
    argv = ("-m", "toy_gpt_train", "chat", "--base-dir", trained("bigram"), "--num", 2)
    assert python(*argv, stdin=b"the cat\r\na dog\r\n") == python(*argv, stdin=b"the cat\na dog\n")
    assert python(*argv, stdin=b"the cat\r\na dog").out.count(" > ") == 2


@needs_processes
@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals are POSIX")
def test_chat_at_a_terminal(evil_run: Path) -> None:
    import pty

    main, other = pty.openpty()
    argv = [sys.executable, "-m", "toy_gpt_train", "chat", "--base-dir", str(evil_run), "--num", "30"]
    child = subprocess.Popen(argv, stdin=other, stdout=other, stderr=other)
    os.close(other)
    os.write(main, b"[\n\x04")
    printed = b""
    while True:
        try:
            block = os.read(main, 4096)
        except OSError:  # the other end is closed
            break
        if not block:
            break
        printed += block
    assert child.wait(20) == 0
    os.close(main)
    shown = printed.decode("utf-8").replace("\r\n", "\n")
    assert "bigram on text: it looks back 1 token.\n" in shown
    # The terminal itself echoes what is typed; readline may switch bracketed paste on and off.
    assert is_harmless(shown.replace("\x1b[?2004h", "").replace("\x1b[?2004l", "").replace("\r", ""))
    assert "[ > 31m\\x1b[" in shown or "\\x1b" in shown


SURROGATE_RUNS = [
    ("tokenize", "--word", "\udcff"),
    ("tokenize", "--text", "\udcff"),
    ("tokenize", "--tokenizer", "word", "--text", "\ud800"),
    ("tokenize", "--tokenizer", "char", "--text", "\udcff"),
]


@pytest.mark.parametrize("argv", SURROGATE_RUNS)
def test_half_a_character_is_refused(toy_gpt: ToyGpt, argv: tuple[str, ...]) -> None:
    assert toy_gpt(*argv).refused


@pytest.mark.parametrize("kind", ["word", "char"])
def test_a_vocabulary_with_half_a_character_is_refused(toy_gpt: ToyGpt, tmp_path: Path, kind: str) -> None:
    saved = tmp_path / "toy_tokenizer.json"
    saved.write_text(json.dumps({"kind": kind, "tokens": ["a", "\ud800"]}), encoding="utf-8")
    for argv in (
        ("tokenize", "--folder", tmp_path, "--text", "\ud800"),
        ("tokenize", "--folder", tmp_path, "--text", "a", "--save", tmp_path / "again"),
        ("data", "encode", "--tokenizer", tmp_path, "--text", saved, "--out", tmp_path / "ids"),
    ):
        outcome = toy_gpt(*argv)
        assert outcome.refused
        assert "toy_tokenizer.json" in outcome.err
        assert "\\ud800" in outcome.err


# --- messages -----------------------------------------------------------------------------------------------------


def refused(toy_gpt: ToyGpt, corpus: Path, base: Path, model: str, *options: object) -> str:
    outcome = toy_gpt("train", "--model", model, "--corpus", corpus, "--base-dir", base, *options)
    assert outcome.refused, outcome
    message: str = outcome.err
    return message


def test_a_learning_rate_is_judged_alone(toy_gpt: ToyGpt, tiny_corpus: Path, tmp_path: Path) -> None:
    message = refused(toy_gpt, tiny_corpus, tmp_path, "gpt", "--context", 3, "--learning-rate", 10)
    assert message == "toy-gpt: error: the learning rate must be above 0 and below 10, got 10\n"
    options = ("--learning-rate", 10, "--weight-decay", 0.5)
    assert "weight decay" in refused(toy_gpt, tiny_corpus, tmp_path, "gpt", "--context", 3, *options)


def test_a_mark_inside_a_text_is_noted_with_its_line(toy_gpt: ToyGpt, tmp_path: Path) -> None:
    joined = tmp_path / "joined.txt"
    joined.write_bytes(b"\xef\xbb\xbfthe cat\nthe dog\n\xef\xbb\xbfthe cat\n")
    note = f"toy-gpt: note: {joined}, line 3: a byte-order mark (U+FEFF) inside the text"
    train = ("train", "--model", "bigram", "--corpus", joined, "--base-dir", tmp_path)
    for argv in (train, ("evaluate", "--base-dir", tmp_path, "--text", joined)):
        outcome = toy_gpt(*argv)
        assert outcome.code == 0
        assert outcome.err.startswith(note)
        assert outcome.err.count("\n") == 1
    with pytest.warns(tg.InputWarning, match="line 3: a byte-order mark"):
        tg.train("bigram", joined)
    joined.write_bytes(b"\xef\xbb\xbfthe cat\nthe dog\n")
    assert toy_gpt(*train).err == ""


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf16_is_named(toy_gpt: ToyGpt, tmp_path: Path, encoding: str) -> None:
    text = tmp_path / "text.txt"
    text.write_bytes("the café and the cat\n".encode(encoding))
    for argv in (
        ("train", "--corpus", text, "--base-dir", tmp_path),
        ("tokenize", "--file", text),
        ("data", "sample", "--text", text, "--lines", 1, "--out", tmp_path / "out"),
        ("data", "vocabulary", "--kind", "word", "--text", text, "--out", tmp_path / "out"),
    ):
        outcome = toy_gpt(*argv)
        assert outcome.refused
        assert "text.txt: this looks like UTF-16 text; save it as UTF-8" in outcome.err
    text.write_bytes(b"a text may hold a NUL \0 now and then, and is no UTF-16")
    assert toy_gpt("train", "--model", "bigram", "--corpus", text, "--base-dir", tmp_path).code == 0


def test_evaluate_says_how_many_tokens_are_unknown(toy_gpt: ToyGpt, trained: Trained, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the zebra sees the gnu and a zebra", encoding="utf-8")
    for how in ("skip", "uniform"):
        argv = ("evaluate", "--base-dir", trained("bigram"), "--text", text, "--unknown", how)
        assert json.loads(toy_gpt(*argv, "--json").out)["unknown_tokens"] == 4
        assert "4 tokens of the text are not in the vocabulary" in toy_gpt(*argv).out


def test_negative_seeds_are_refused(toy_gpt: ToyGpt, tiny_corpus: Path, tmp_path: Path) -> None:
    sample = ("data", "sample", "--text", tiny_corpus, "--lines", 1, "--out", tmp_path / "out", "--seed", -5)
    outcome = toy_gpt(*sample)
    assert outcome.refused
    assert "the seed must be at least 0, got -5" in outcome.err
    with pytest.raises(tg.InputError, match="seed"):
        tg.train("bigram", text="a b", seed=-5)
    with pytest.raises(tg.InputError, match="seed"):
        tg.train("bigram", text="a b").generate("a", seed=-1)


ABSURD: list[tuple[str, tuple[object, ...], str]] = [
    ("gpt", ("--batch-size", 10**9, "--context", 3), "16,777,216"),
    ("gpt", ("--batch-size", 10**6, "--context", 3), "30,000,000"),
    ("embeddings", ("--batch-size", 10**9), "16,777,216"),
    ("gpt", ("--embedding-dim", 65536, "--context", 3), "10,000,000"),
    ("gpt", ("--layers", 65536, "--context", 3), "10,000,000"),
    ("llama", ("--hidden", 65536, "--context", 3, "--embedding-dim", 64), "10,000,000"),
    ("gpt", ("--context", 10_000), "30,000,000"),
    ("attention", ("--context", 10_000), "30,000,000"),
    ("embeddings", ("--context", 10_000, "--embedding-dim", 4, "--batch-size", 1000), "30,000,000"),
    ("kneser-ney", ("--context", 10_000), "2,000,000,000"),
    ("context-9999", (), "100,000,000"),
    ("gpt", ("--workers", 5000, "--context", 3), "256"),
]


@pytest.mark.parametrize(("model", "options", "limit"), ABSURD)
def test_absurd_sizes_are_refused_with_the_limit(
    toy_gpt: ToyGpt, tmp_path: Path, model: str, options: tuple[object, ...], limit: str
) -> None:
    corpus = tmp_path / "long.txt"
    corpus.write_text("a b c d e " * 2_500, encoding="utf-8")
    assert limit in refused(toy_gpt, corpus, tmp_path / "run", model, *options)


@needs_processes
def test_no_more_workers_than_micro_batches(toy_gpt: ToyGpt, tiny_corpus: Path, tmp_path: Path) -> None:
    options = ("--context", 3, "--embedding-dim", 4, "--steps", 1, "--batch-size", 4, "--piece-size", 4)
    argv = ("train", "--model", "gpt", "--corpus", tiny_corpus, "--base-dir", tmp_path, *options, "--workers", 200)
    outcome = toy_gpt(*argv)
    assert outcome.code == 0
    assert outcome.err == "toy-gpt: note: a batch has 1 micro-batches, so that many workers are started, not 200\n"
