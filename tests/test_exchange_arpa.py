"""test_exchange_arpa.py - ARPA files: what is written, what is read, and the same numbers as KenLM's."""

import importlib.util
import math
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toy_gpt_train import run as api
from toy_gpt_train.errors import InputError
from toy_gpt_train.exchange import arpa
from toy_gpt_train.exchange.arpa_tokens import MARKS, escape, unescape
from toy_gpt_train.models import backoff
from toy_gpt_train.models.backoff import Backoff
from toy_gpt_train.models.base import Model
from toy_gpt_train.models.interpolated import interpolated_ngrams
from toy_gpt_train.models.kneser_ney import KneserNey
from toy_gpt_train.models.ngram_trie import sorted_trie
from toy_gpt_train.models.registry import LADDER, find_model
from toy_gpt_train.run import Run, train

BENCH = Path(__file__).parent.parent / "benchmarks" / "arpa_kenlm.py"
TEXT = "the cat sees the dog . the dog sees a cat . a cat runs to the dog . the dog runs ."
AWKWARD = (
    'a|b \\ \\x20 <s> </s> <unk> <UNK> "q", \r x*\r\n é 😀 \u2028\x85\u00a0Üß \x0b\x1c \ufeff*\n # \\data\\ -1 ' * 2
)

# What lmplz writes: sentences, probability 0 for <s>, which is 1 as a logarithm, and a weight for all but the longest.
SENTENCES = """\\data\\
ngram 1=5
ngram 2=5
ngram 3=2

\\1-grams:
-1.0\t<unk>\t0
0\t<s>\t-0.3
-0.7\t</s>\t0
-0.4\tcat\t-0.2
-0.39794\tdog\t-0.1

\\2-grams:
-0.5\t<s> cat\t-0.25
-0.6\tcat </s>\t0
-0.2\tcat dog\t-0.15
-0.9\tdog cat
-0.8\t<s> dog

\\3-grams:
-0.1\t<s> cat dog
-0.05\tcat dog cat

\\end\\
"""

# What lmplz -o 3 --discount_fallback really wrote of: the cat sat, the dog sat, a cat ran.
LMPLZ = """\\data\\
ngram 1=9
ngram 2=10
ngram 3=9

\\1-grams:
-1.20412\t<unk>\t0
0\t<s>\t-0.30103
-0.78914666\t</s>\t0
-0.9488475\tthe\t-0.30103
-0.78914666\tcat\t-0.30103
-0.78914666\tsat\t-0.30103
-0.9488475\tdog\t-0.30103
-0.9488475\ta\t-0.30103
-0.9488475\tran\t-0.30103

\\2-grams:
-0.23563702\tsat </s>\t0
-0.23563702\tran </s>\t0
-0.40939963\t<s> the\t-0.30103
-0.4798441\tthe cat\t-0.30103
-0.23563702\ta cat\t-0.30103
-0.4798441\tcat sat\t-0.30103
-0.23563702\tdog sat\t-0.30103
-0.5139239\tthe dog\t-0.30103
-0.6518575\t<s> a\t-0.30103
-0.5139239\tcat ran\t-0.30103

\\3-grams:
-0.10202947\tcat sat </s>
-0.10202947\tdog sat </s>
-0.10202947\tcat ran </s>
-0.38129833\t<s> the cat
-0.10202947\t<s> a cat
-0.17677039\tthe cat sat
-0.10202947\tthe dog sat
-0.39456028\t<s> the dog
-0.18500371\ta cat ran

\\end\\
"""


def load_bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("arpa_kenlm", BENCH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load(path: Path) -> Run:
    """Open an ARPA file."""
    run = api.load(path)
    assert run.meta["origin"].startswith("an import of an ARPA file: back-off")
    return run


@pytest.fixture
def arpa_file(tmp_path: Path) -> Callable[[str | bytes], Path]:
    """``arpa_file(text)`` writes a file."""

    def write(content: str | bytes) -> Path:
        path = tmp_path / "given.arpa"
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return write


def some_contexts(model: Model, count: int = 30) -> Iterable[list[int]]:
    generator = random.Random(3)
    for length in range(count):
        yield [generator.randrange(model.vocab_size) for _ in range(length % (model.context_size + 3))]


def assert_same(model: Model, other: Model, contexts: Iterable[list[int]], within: float = 1e-8) -> None:
    for context in contexts:
        assert other.next_probs(context) == pytest.approx(model.next_probs(context), rel=0, abs=within), context


# --- a case by hand -----------------------------------------------------------------------------------------------


def test_by_hand(tmp_path: Path) -> None:
    """The text is a b a: after a came b, after b came a, and each of these once.

    The discounts are the fallback, 0.5 of 1. So of a context's total of 1 half is kept, and half is passed on. Without
    a context, a and b each have the continuation count 1 of 2: (1 - 0.5) / 2 + 0.5 / 2 = 0.5. After a, b has 0.5 + 0.5
    x 0.5 = 0.75.
    """
    run = train("kneser-ney", text="a b a", context=1)
    (path,) = run.export("arpa", tmp_path / "hand.arpa")
    half, more = f"{math.log10(0.5):.9g}", f"{math.log10(0.75):.9g}"
    assert path.read_text("utf-8") == (
        '# toy-gpt {"kind": "word"}\n\\data\\\nngram 1=5\nngram 2=2\n\n'
        "\\1-grams:\n-99\t<s>\n-99\t</s>\n-99\t<unk>\n"
        f"{half}\ta\t{half}\n{half}\tb\t{half}\n\n"
        f"\\2-grams:\n{more}\ta b\n{more}\tb a\n\n\\end\\\n"
    )


def test_the_start_of_the_text_is_listed_though_it_was_never_counted(tmp_path: Path) -> None:
    """Of a b c d, with two tokens of context, a b has a weight, but came after nothing, so it has no count."""
    run = train("kneser-ney", text="a b c d", context=2)
    model = run.model
    assert isinstance(model, KneserNey)
    unigrams, bigrams, trigrams = (list(rows) for _, rows in interpolated_ngrams(model))
    assert [row[:-2] for row in bigrams] == [(1, 2), (2, 3), (0, 1)]
    assert [row[:-2] for row in trigrams] == [(0, 1, 2), (1, 2, 3)]
    assert bigrams[2][2] == pytest.approx(math.log10(model.next_probs([0])[1]))
    assert bigrams[2][3] == math.log10(model.matched("\1\0")[2].gamma) != 0
    assert [size for size, _ in interpolated_ngrams(model)] == [len(unigrams), len(bigrams), len(trigrams)]


# --- KenLM --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", [1, 2, 3, 5])
@pytest.mark.parametrize("tokenizer", ["word", "char", "bpe"])
@pytest.mark.parametrize("seed", [1, 2])
def test_kenlm_gives_the_same_scores(tmp_path: Path, tokenizer: str, context: int, seed: int) -> None:
    pytest.importorskip("kenlm")
    generator = random.Random(seed)
    words = ["a", "<s>", "the", "\\", "x\u2028y", "😀", "é", "<unk>", "b|c", "</s>", "ab", "#"]
    text = "".join(generator.choice(words) + generator.choice([" ", " ", "\n", "\t", "\u00a0"]) for _ in range(300))
    run = train("kneser-ney", text=text, tokenizer=tokenizer, context=context, bpe_vocab=280)
    ids = run.tokenizer.encode(text)
    ids += [generator.randrange(run.model.vocab_size) for _ in range(300)]
    assert load_bench().largest_difference(run, ids, tmp_path / "model.arpa") < 1e-5


def test_an_imported_file_predicts_as_kenlm_does(arpa_file: Callable[[str], Path]) -> None:
    kenlm = pytest.importorskip("kenlm")
    path = arpa_file(SENTENCES)
    model, run = kenlm.Model(str(path)), load(path)
    tokens = run.tokenizer.tokens
    ratios = []
    for text in ("cat dog cat", "dog", "cat cat dog", "<unk> cat"):
        for begins in (False, True):
            begun = f"</s> {text}" if begins else text
            probs = run.model.next_probs(run.tokenizer.encode(begun))
            state, after = kenlm.State(), kenlm.State()
            (model.BeginSentenceWrite if begins else model.NullContextWrite)(state)
            for word in text.split():
                model.BaseScore(state, word, after)
                state, after = after, state
            theirs = [10 ** model.BaseScore(state, token, after) for token in tokens]
            # WHY divided: the numbers of this file are made up, and do not sum to 1.
            assert probs == pytest.approx([p / math.fsum(theirs) for p in theirs], rel=1e-5)
            ratios.append(math.fsum(theirs))
    assert len({round(ratio, 3) for ratio in ratios}) == 3  # of the contexts: cat dog, dog, and cat


# --- there and back -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", [0, 1, 3, 11])
@pytest.mark.parametrize(
    "how",
    [
        {"tokenizer": "word"},
        {"tokenizer": "char"},
        {"tokenizer": "bpe", "bpe_vocab": 270},
        {"tokenizer": "word", "special": ["<unk>", "</s>"]},
        {"tokenizer": "char", "special": ["a|b", " \n"]},
        {"tokenizer": "bpe", "bpe_vocab": 270, "special": ["<|end|>", "x y\\"]},
    ],
    ids=str,
)
def test_round_trip(tmp_path: Path, how: dict[str, Any], context: int) -> None:
    run = train("kneser-ney", text=AWKWARD, context=context, **how)
    (path,) = run.export("arpa", tmp_path / "there.arpa")
    back = load(path)
    assert (back.name, back.tokenizer.kind) == ("back-off", run.tokenizer.kind)
    assert (back.model.vocab_size, back.model.context_size) == (run.model.vocab_size, context)
    assert back.tokenizer.tokens == run.tokenizer.tokens
    assert list(back.tokenizer.special) == list(run.tokenizer.special)
    ids = run.tokenizer.encode(AWKWARD)
    assert back.tokenizer.encode(AWKWARD) == ids
    assert_same(run.model, back.model, [*some_contexts(run.model), *(ids[:end] for end in range(0, len(ids), 7))])
    for ours, theirs in zip(run.model.score(ids), back.model.score(ids), strict=True):
        assert theirs.probability == pytest.approx(ours.probability, rel=1e-7)
        assert theirs.context_seen == ours.context_seen
    saved = api.load(back.save(tmp_path / "base")[-1].parent)
    assert_same(back.model, saved.model, some_contexts(run.model), within=0)
    assert saved.meta["origin"] == back.meta["origin"]
    assert (saved.changed_files, saved.tokenizer.encode(AWKWARD)) == ([], ids)


@settings(deadline=None, max_examples=60)
@given(
    ids=st.lists(st.integers(0, 5), min_size=2, max_size=40),
    context=st.integers(0, 6),
    history=st.lists(st.integers(0, 5), max_size=8),
)
def test_back_off_is_the_interpolated_model(ids: list[int], context: int, history: list[int]) -> None:
    if len(ids) <= context:
        return
    counted = KneserNey(6, context)
    back = "".join(map(chr, reversed(ids)))
    ngrams = {back[i + 1 : i + 1 + context] + back[i]: 1 + i % 3 for i in range(len(ids) - context)}
    counted.learn_counts(sorted_trie(ngrams))
    model = back_off_of(counted)
    assert model.next_probs(history) == pytest.approx(counted.next_probs(history), rel=1e-12)
    wanted = [(p.probability, p.context_seen) for p in counted.score(history + ids)]
    found = list(model.score(history + ids))
    assert [p.probability for p in found] == pytest.approx([p for p, _ in wanted], rel=1e-9)
    assert [p.context_seen for p in found] == [seen for _, seen in wanted]


def back_off_of(counted: KneserNey) -> Backoff:
    model = Backoff(counted.vocab_size, counted.context_size)
    lengths = enumerate(counted.ngrams(), start=1)
    model.load_tables({backoff.ngrams_name(length): list(rows) for length, (_, rows) in lengths})
    return model


@settings(deadline=None, max_examples=80)
@given(data=st.data())
def test_any_list_of_ngrams_sums_to_one_and_is_scored_as_predicted(data: st.DataObject) -> None:
    """Also where numbers are made up, lower orders are missing, and nothing is in order."""
    size, context = data.draw(st.integers(1, 4)), data.draw(st.integers(0, 3))
    number = st.one_of(st.floats(-3, 0), st.sampled_from([0.0, -99.0, -1e6]))
    weight = st.one_of(st.floats(-3, 3), st.sampled_from([0.0, -99.0]))
    tables: dict[str, list[tuple[Any, ...]]] = {
        backoff.ngrams_name(1): [(i, data.draw(st.floats(-3, 0)), data.draw(weight)) for i in range(size)]
    }
    for length in range(2, context + 2):
        ngram = st.tuples(*[st.integers(0, size - 1)] * length)
        ngrams = data.draw(st.lists(ngram, max_size=6, unique=True))
        tables[backoff.ngrams_name(length)] = [(*ids, data.draw(number), data.draw(weight)) for ids in ngrams]
    model = Backoff(size, context)
    model.load_tables(tables)
    ids = data.draw(st.lists(st.integers(0, size - 1), max_size=8))
    for prediction, wanted in zip(model.score(ids), Model.score(model, ids), strict=True):
        assert prediction.probability == pytest.approx(wanted.probability, rel=1e-6, abs=1e-12)
    for end in range(len(ids) + 1):
        probs = model.next_probs(ids[:end])
        assert math.fsum(probs) == pytest.approx(1)
        assert min(probs) >= 0
        (prediction,) = model.score([*ids[:end], 0], end)
        assert probs[prediction.most_likely] == pytest.approx(max(probs))
    again = Backoff(size, context)
    names = again.expected_tables("tables", ())
    content = {table.name: list(table.rows) for table in model.content().tables}
    assert content.keys() == names.keys()
    assert all(len(row) == len(names[name]) for name, rows in content.items() for row in rows)
    again.load_tables(content)
    assert again.next_probs(ids) == model.next_probs(ids)
    assert {table.name: list(table.rows) for table in again.content().tables} == content


@given(st.lists(st.text(min_size=1), unique=True, max_size=5))
def test_an_escaped_token_is_a_word_and_comes_back(tokens: list[str]) -> None:
    words = [escape(token) for token in (*tokens, *MARKS, "<UNK>")]
    assert [unescape(word) for word in words] == [*tokens, *MARKS, "<UNK>"]
    assert not {*words} & {*MARKS, "<UNK>"}
    assert all(word.split() == [word] and "\0" not in word for word in words)


# --- files of other software --------------------------------------------------------------------------------------


def test_sentences_by_hand(arpa_file: Callable[[str], Path]) -> None:
    run = load(arpa_file(SENTENCES))
    assert run.tokenizer.tokens == ["</s>", "<unk>", "cat", "dog"]
    assert (run.tokenizer.special, run.meta["start_tokens"]) == (("</s>",), ["</s>"])
    assert (run.model.context_size, run.frequencies, run.history) == (2, [0, 0, 0, 0], [])

    def after(*logs: float) -> list[float]:
        weights = [10**log for log in logs]
        return pytest.approx([weight / math.fsum(weights) for weight in weights])  # type: ignore[no-any-return]

    tell = run.model.next_probs
    assert tell([]) == after(-0.7, -1, -0.4, -0.39794)
    assert tell([2]) == after(-0.6, -0.2 - 1, -0.2 - 0.4, -0.2)
    assert tell([0]) == after(-0.3 - 0.7, -0.3 - 1, -0.5, -0.8)  # a sentence begins
    assert tell([3, 0]) == tell([0])
    assert tell([0, 2]) == after(-0.25 - 0.6, -0.25 - 0.2 - 1, -0.25 - 0.2 - 0.4, -0.1)
    assert tell([2, 3]) == after(-0.15 - 0.1 - 0.7, -0.15 - 0.1 - 1, -0.05, -0.15 - 0.1 - 0.39794)
    assert tell([3, 3]) == tell([3]) == after(-0.1 - 0.7, -0.1 - 1, -0.9, -0.1 - 0.39794)


def test_a_file_of_lmplz_sums_to_one_as_it_is(arpa_file: Callable[[str], Path]) -> None:
    run = load(arpa_file(LMPLZ))
    model = run.model
    assert isinstance(model, Backoff)
    assert run.tokenizer.tokens == ["</s>", "<unk>", "a", "cat", "dog", "ran", "sat", "the"]
    contexts = ["", "the", "the cat", "cat cat", "</s>", "</s> the", "sat </s>", "<unk> a", "cat sat"]
    for context in contexts:
        levels = model.levels("".join(map(chr, run.tokenizer.encode(context))))
        said = [backoff._probability(levels, token_id) for token_id in range(8)]
        assert math.fsum(said) == pytest.approx(1, abs=1e-6)
        assert run.model.next_probs(run.tokenizer.encode(context)) == pytest.approx(said, abs=1e-6)
    scored = run.score(text="</s> the cat sat </s> a cat ran </s>")
    assert scored.accuracy == 8 / 9  # all but the first word of the second sentence
    assert list(run.model.score(run.tokenizer.encode("</s> the cat sat"), 1))[2].probability == pytest.approx(
        10**-0.17677039, rel=1e-6
    )


def test_order_blank_lines_line_ends_and_remarks_change_nothing(arpa_file: Callable[[str], Path]) -> None:
    wanted = load(arpa_file(SENTENCES)).model.next_probs([0, 2])
    head, _, rest = SENTENCES.partition("\\3-grams:\n")
    swapped = f"{head}\\3-grams:\n-0.05  cat dog\tcat \n\n-0.1 <s> cat dog\n\\end\\"
    assert rest
    for text in (
        swapped,
        SENTENCES.replace("\n", "\r\n"),
        f"made by hand\n# really\n\n{SENTENCES}\n\n",
        SENTENCES.replace("-0.7\t</s>\t0", "-0.7\t</s>"),
        SENTENCES.replace("ngram 1=5", "ngram  1 = 5"),
    ):
        assert load(arpa_file(text)).model.next_probs([0, 2]) == wanted


def test_a_file_without_marks_has_only_its_words(arpa_file: Callable[[str], Path]) -> None:
    run = load(arpa_file("\\data\\\nngram 1=2\n\\1-grams:\n-0.30103 b\n-0.30103 a\n\\end\\\n"))
    assert (run.tokenizer.tokens, run.tokenizer.special, run.meta["start_tokens"]) == (["a", "b"], (), [])
    assert run.model.next_probs([]) == [0.5, 0.5]
    assert run.generate("a", 3, temperature=0) == "a a a a"


def test_what_nobody_can_ask_for_is_left_out(arpa_file: Callable[[str], Path]) -> None:
    text = SENTENCES.replace("ngram 2=5", "ngram 2=7").replace("\\3-grams", "-0.1\tcat <s>\n-0.1\t</s> cat\n\\3-grams")
    run = load(arpa_file(text))
    assert run.model.next_probs([0, 2]) == load(arpa_file(SENTENCES)).model.next_probs([0, 2])


def test_ten_lengths(arpa_file: Callable[[str], Path]) -> None:
    sizes = "".join(f"ngram {n}=1\n" for n in range(2, 13))
    ngrams = "".join(f"\\{n}-grams:\n-0.{n:02}\t{'a ' * n}\n" for n in range(2, 13))
    run = load(arpa_file(f"\\data\\\nngram 1=2\n{sizes}\\1-grams:\n-1 a\n-1 b -0.5\n{ngrams}\\end\\\n"))
    assert run.model.context_size == 11
    p, q = 10**-0.12, 10**-1
    assert run.model.next_probs([0] * 20) == pytest.approx([p / (p + q), q / (p + q)])


def test_a_missing_shorter_context_is_passed_over(arpa_file: Callable[[str], Path]) -> None:
    text = SENTENCES.replace("ngram 2=5", "ngram 2=4").replace("-0.2\tcat dog\t-0.15\n", "")
    probs = load(arpa_file(text)).model.next_probs([2, 3])
    weights = [10 ** (-0.1 - 0.7), 10 ** (-0.1 - 1), 10**-0.05, 10 ** (-0.1 - 0.39794)]
    assert probs == pytest.approx([weight / math.fsum(weights) for weight in weights])


DAMAGE: dict[str, tuple[str, str, str]] = {
    "no data": ("\\data\\", "\\date\\", "line 24: there is no \\data\\, so this is not an ARPA file"),
    "a count of another length": ("ngram 2=5", "ngram 4=5", "line 3: not how many 2-grams"),
    "a count of nothing": ("ngram 1=5", "ngram 1=0", "more 1-grams than 0"),
    "a negative count": ("ngram 1=5", "ngram 1=-5", "line 2: not how many 1-grams"),
    "a count beyond all memory": ("ngram 1=5", "ngram 1=999999999999999", "there must be 1 to"),
    "a count beyond all digits": ("ngram 2=5", f"ngram 2={'9' * 5000}", "not how many 2-grams"),
    "a large count": ("ngram 2=5", "ngram 2=999999999999999", "line 20: 5 2-grams, but the header says 9999"),
    "one more than counted": ("ngram 3=2", "ngram 3=1", "line 22: not 3 words"),
    "one fewer than counted": ("ngram 3=2", "ngram 3=3", "2 3-grams, but the header says 3"),
    "a length that is missing": ("\\2-grams:", "\\3-grams:", "where \\2-grams: should be"),
    "a length too many": ("\\end\\", "\\4-grams:\n\\end\\", "there is more than the header says"),
    "a word too few": ("cat dog\t-0.15", "cat", "line 16: not 2 words"),
    "a word too many": ("-0.8\t<s> dog", "-0.8\t<s> dog dog cat", "line 18: not 2 words"),
    "an unknown word": ("dog cat\n", "dog cow\n", "line 17: 'cow' is not among the 1-grams"),
    "a word twice": ("dog\t-0.1\n", "cat\t-0.1\n", "line 11: the word 'cat' occurs twice"),
    "an n-gram twice": ("<s> dog", "<s> cat", "an n-gram occurs twice"),
    "a probability above 1": ("-0.5\t<s> cat", "0.5\t<s> cat", "line 14: 0.5 is not the logarithm of a probability"),
    "no number": ("-0.5\t<s> cat", "half\t<s> cat", "line 14: could not convert"),
    "not a number": ("-0.5\t<s> cat", "nan\t<s> cat", "line 14: nan is not the logarithm"),
    "a weight that is no number": ("cat dog\t-0.15", "cat dog\tnan", "line 16: the back-off weight nan"),
    "a weight without end": ("cat dog\t-0.15", "cat dog\tinf", "line 16: the back-off weight inf"),
    "no end": ("\\end\\", "", "the file is cut off: there is no \\end\\"),
    "something after the end": ("\\end\\", "\\end\\\nmore", "there is more than the header says"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_refused_in_one_line(
    arpa_file: Callable[[str], Path], toy_gpt: Callable[..., Any], tmp_path: Path, damage: str
) -> None:
    old, new, said = DAMAGE[damage]
    assert SENTENCES.count(old) >= 1
    path = arpa_file(SENTENCES.replace(old, new, 1))
    outcome = toy_gpt("import", path, "--base-dir", tmp_path / "base")
    assert outcome.refused
    assert outcome.err.startswith(f"toy-gpt: error: {path}")
    assert said in outcome.err
    assert not (tmp_path / "base").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"there is no \\data\\"),
        (b"\\data\\\n\\end\\\n", "there must be 1 to"),
        (b"\x1f\x8b\x08\0\0\0", "line 1: 'utf-8' codec"),
        (SENTENCES.replace("dog", "dög").encode("latin-1"), "line 11: 'utf-8' codec"),
        (b"#" * (arpa._LONGEST_LINE + 1), "line 1: the line is too long"),
        (b"\\data\\\n" + b"".join(b"ngram %d=1\n" % n for n in range(1, 200)), "of at most 100-grams"),
        (b'# toy-gpt {"kind": "runes"}\n' + SENTENCES.encode(), "unknown tokenizer 'runes'"),
        (SENTENCES.replace("-0.39794", "x" * 100_000).encode(), "line 11: could not convert"),
        (b"# toy-gpt [\n" + SENTENCES.encode(), "not JSON"),
        (b'# toy-gpt {"kind": "word", "special": [3]}\n' + SENTENCES.encode(), "does not describe a tokenizer"),
        (b'# toy-gpt {"kind": "word", "special": ["x"]}\n' + SENTENCES.encode(), "'x' is not in the vocabulary"),
        (b'# toy-gpt {"kind": "bpe", "merges": ["a b"]}\n' + SENTENCES.encode(), "no token"),
        (b'# toy-gpt {"kind": "word"}\n' + SENTENCES.replace("dog", "\\x63at").encode(), "has two ids"),
        (b'# toy-gpt {"kind": "word"}\n' + SENTENCES.replace("dog", "\\ud800").encode(), "a lone surrogate"),
    ],
)
def test_what_is_no_arpa_file_is_refused(arpa_file: Callable[[bytes], Path], content: bytes, said: str) -> None:
    path = arpa_file(content)
    with pytest.raises(InputError, match=said) as refused:
        api.load(path)
    assert str(refused.value).startswith(str(path))
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < len(str(path)) + 400


def test_a_file_that_is_cut_anywhere_is_refused(arpa_file: Callable[[str], Path]) -> None:
    for end in range(len(SENTENCES.rstrip())):
        with pytest.raises(InputError):
            api.load(arpa_file(SENTENCES[:end]))


@settings(deadline=None, max_examples=150)
@given(at=st.integers(0, len(SENTENCES) - 1), gone=st.integers(0, 4), instead=st.binary(max_size=3))
def test_an_edited_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, at: int, gone: int, instead: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "edited.arpa"
    data = SENTENCES.encode()
    path.write_bytes(data[:at] + instead + data[at + gone :])
    try:
        run = api.load(path)
    except InputError:
        return
    for context in some_contexts(run.model, 6):
        assert math.fsum(run.model.next_probs(context)) == pytest.approx(1)


def test_a_missing_file_is_named(tmp_path: Path, toy_gpt: Callable[..., Any]) -> None:
    outcome = toy_gpt("import", tmp_path / "no.arpa")
    assert outcome.refused
    assert "no.arpa" in outcome.err


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [entry.name for entry in LADDER if entry.name != "kneser-ney"])
def test_other_models_are_refused_with_the_reason(tmp_path: Path, model: str) -> None:
    run = api.train(model, text=TEXT * 3, **({"steps": 1} if find_model(model).model_class.trains_in_steps else {}))
    with pytest.raises(
        InputError, match=f"^an ARPA file cannot express {model}: it predicts in another way than by n-grams"
    ):
        run.export("arpa", tmp_path / "x.arpa")
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_stays(tmp_path: Path) -> None:
    run = train("kneser-ney", text=TEXT)
    path = tmp_path / "x.arpa"
    path.write_text("mine")
    for there in (path, tmp_path):
        with pytest.raises(InputError, match="already exists; choose another name"):
            run.export("arpa", there)
    assert path.read_text() == "mine"


def test_an_imported_model_is_neither_trained_nor_exported(
    arpa_file: Callable[[str], Path], toy_gpt: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="imported from an ARPA file"):
        load(arpa_file(SENTENCES)).export("arpa", tmp_path / "again.arpa")
    for command in (("train", "--model"), ("ladder", "--models"), ("infer", "--untrained", "--model")):
        outcome = toy_gpt(*command, "back-off")
        assert outcome.refused
        assert "back-off is imported (toy-gpt import), not trained" in outcome.err
    assert "back-off" not in [line.split()[1] for line in toy_gpt("levels").out.splitlines()]
    with pytest.raises(InputError, match="imported, not trained"):
        Backoff(2, 1).fit(None, None)  # type: ignore[arg-type]


# --- the commands -------------------------------------------------------------------------------------------------


def test_commands_work_on_an_imported_run(
    toy_gpt: Callable[..., Any], trained: Callable[..., Path], tmp_path: Path, tiny_corpus: Path
) -> None:
    path, base = tmp_path / "out.arpa", tmp_path / "base"
    outcome = toy_gpt("export", "--base-dir", trained("kneser-ney"), "--to", "arpa", "--out", path)
    assert (outcome.code, outcome.out) == (0, f"wrote {path}, {path.stat().st_size:,} bytes\n")
    outcome = toy_gpt("import", path, "--base-dir", base)
    names = ["00_meta.json", "01_vocabulary.csv", *(f"02_ngrams_{n}.csv" for n in range(1, 6))]
    assert (outcome.code, outcome.out) == (
        0,
        f"wrote 7 files to {base}; try: toy-gpt infer --base-dir {base} --prompt TEXT\n",
    )
    assert sorted(file.name for file in (base / "artifacts").iterdir()) == names
    ours, theirs = (
        toy_gpt("infer", "--base-dir", run, "--prompt", "the", "--num", 20, "--seed", 3)
        for run in (trained("kneser-ney"), base)
    )
    assert (theirs.code, theirs.err) == (0, "")
    assert ours.out.splitlines()[1:-1] == theirs.out.splitlines()[1:-1]  # what comes next; the text is drawn
    scored = toy_gpt("evaluate", "--base-dir", base, "--text", tiny_corpus)
    assert scored.code == 0
    assert "guessing evenly on tiny.txt" in scored.out
    wanted = toy_gpt("evaluate", "--base-dir", trained("kneser-ney"), "--text", tiny_corpus).out.splitlines()
    assert scored.out.splitlines()[0] == wanted[0]
    assert [line.split()[-4:] for line in scored.out.splitlines() if "back-off on" in line] == [
        line.split()[-4:] for line in wanted if "kneser-ney on tiny" in line
    ]
    chat = toy_gpt("chat", "--base-dir", base, "--num", 3, "--greedy", stdin="the cat\n")
    assert chat.code == 0
    assert "the cat > " in chat.out


def test_a_sentence_ends_where_the_file_says(arpa_file: Callable[[str], Path], toy_gpt: Callable[..., Any]) -> None:
    path = arpa_file(SENTENCES.replace("-0.6\tcat </s>", "0\tcat </s>"))
    base = path.parent
    assert toy_gpt("import", path, "--base-dir", base).code == 0
    outcome = toy_gpt("infer", "--base-dir", base, "--prompt", "dog cat", "--greedy", "--num", 9)
    assert outcome.out.splitlines()[-1].endswith("dog cat")
    outcome = toy_gpt("infer", "--base-dir", base, "--prompt", "dog cat", "--greedy", "--num", 2, "--ignore-eos")
    assert outcome.out.splitlines()[-1].endswith("dog cat </s> cat")


# --- its files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("02_ngrams_1.csv", "cat,-0.4,-0.2\n", "", "1-grams|rows"),
        ("02_ngrams_2.csv", "cat,</s>", "cat,dog", "occurs twice"),
        ("02_ngrams_2.csv", "cat,</s>", "cow,</s>", "not in the vocabulary"),
        ("02_ngrams_2.csv", "-0.6", "0.6", "not the logarithm"),
        ("00_meta.json", '"context_size": 2', '"context_size": 1', "3 tables of n-grams for a context of 1"),
        ("00_meta.json", '"context_size": 2', '"context_size": 1000000000000', "3 tables of n-grams"),
    ],
)
def test_damaged_artifacts_are_refused(
    arpa_file: Callable[[str], Path], file: str, old: str, new: str, said: str
) -> None:
    path = arpa_file(SENTENCES)
    load(path).save(path.parent)
    damaged = path.parent / "artifacts" / file
    text = damaged.read_bytes().decode("utf-8")
    assert old in text
    damaged.write_bytes(text.replace(old, new, 1).encode("utf-8"))
    with pytest.raises(InputError, match=said) as refused:
        api.load(path.parent)
    assert file in str(refused.value)
