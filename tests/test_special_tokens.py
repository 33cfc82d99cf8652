"""Special tokens: one token wherever they stand, for every kind of tokenizer, in memory, in files and in runs."""

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import toy_gpt_train as tg
from conftest import Outcome
from toy_gpt_train.errors import InputError
from toy_gpt_train.tokenizers import tokenizer_class
from toy_gpt_train.tokenizers.char import CharTokenizer
from toy_gpt_train.tokenizers.saved import load_tokenizer
from toy_gpt_train.tokenizers.special import TextSplitter, outside_special
from toy_gpt_train.tokenizers.word import WordTokenizer

END = "<|endoftext|>"
DOCUMENTS = f"the cat ran.{END}The dog sat\n{END}the cat"
kinds = pytest.mark.parametrize("kind", ["word", "char", "bpe"])
# They contain each other, overlap, and have line ends and signs of regular expressions in them.
SPECIAL = ["<e>", "<e><e>", "ab", "bca", "\n\n", ".*"]
pieces = st.lists(st.sampled_from([*SPECIAL, *"abc<e>. \n\té", "日", "\u3000"]), max_size=25)


def naive_split(text: str, special: Sequence[str]) -> list[str]:
    """Texts between special tokens at even indices, special tokens at odd ones; the longest at the leftmost place."""
    parts, start = [""], 0
    while start < len(text):
        found = max((one for one in special if text.startswith(one, start)), key=len, default="")
        if found:
            parts += [found, ""]
        else:
            parts[-1] += text[start]
        start += len(found or text[start])
    return parts


def naive_tokens(kind: str, text: str, special: Sequence[str]) -> list[str]:
    cut: dict[str, Callable[[str], list[str]]] = {"word": str.split, "char": list}
    parts = naive_split(text, special)
    return [token for i, part in enumerate(parts) for token in ([part] if i % 2 else cut[kind](part))]


# --- cutting ------------------------------------------------------------------------------------------------


def test_special_tokens_by_hand() -> None:
    words = WordTokenizer.from_text(f"end.{END}The end.", special=[END, "<pad>"])
    assert words.tokens == ["<pad>", END, "The", "end."]
    assert words.encode(f"end.{END}The") == [3, 1, 2]
    assert words.decode([3, 1, 2]) == f"end. {END} The"
    assert words.sizes(f" end.{END} The\n") == [5, 14, 4]
    chars = CharTokenizer.from_text(f"b{END}a", special=[END, "\n"])
    assert chars.tokens == ["\n", END, "a", "b"]
    assert (chars.encode(f"a{END}{END}b\n"), chars.sizes(f"a{END}\n")) == ([2, 1, 1, 3, 0], [1, 13, 1])
    assert chars.decode([2, 1, 3]) == f"a{END}b"


@pytest.mark.parametrize("kind", ["word", "char"])
@given(parts=pieces, special=st.lists(st.sampled_from(SPECIAL), unique=True))
@example(parts=["ab", "ca"], special=["ab", "bca"])
@example(parts=["<e>", "<e>", "<e>"], special=["<e>", "<e><e>"])
@settings(max_examples=150, deadline=None)
def test_words_and_characters_are_cut_around_special_tokens(kind: str, parts: list[str], special: list[str]) -> None:
    text = "".join(parts)
    tokenizer = tokenizer_class(kind).from_text(text, special=special)
    tokens = naive_tokens(kind, text, special)
    assert tokenizer.tokenize(text) == tokens
    assert tokenizer.tokens == sorted({*tokens, *special})
    assert tokenizer.special == tuple(special)
    decoded = tokenizer.decode(tokenizer.encode(text))
    assert decoded == (text if kind == "char" else " ".join(tokens))
    assert tokenizer.tokenize(decoded) == tokens


@kinds
@given(parts=pieces, special=st.lists(st.sampled_from(SPECIAL), unique=True))
@example(parts=["<e", "><e>", "<e>", "a"], special=["<e>", "<e><e>"])
@settings(max_examples=100, deadline=None)
def test_streams_and_sizes_agree_with_the_whole(kind: str, parts: list[str], special: list[str]) -> None:
    text = "".join(parts)
    tokenizer = tokenizer_class(kind).from_text(text, 270, special)
    ids = tokenizer.encode(text)
    assert list(tokenizer.encode_iterable(parts)) == ids == list(tokenizer.encode_iterable(text))
    sizes = tokenizer.sizes(text)
    assert len(sizes) == len(ids)
    assert sum(sizes) == (len(text.encode()) if ids else 0)
    if kind != "word":
        assert tokenizer.decode(ids) == text
    if isinstance(tokenizer, WordTokenizer | CharTokenizer):
        assert type(tokenizer).from_lines(parts, special).tokens == tokenizer.tokens


@kinds
@given(parts=pieces, special=st.lists(st.sampled_from(SPECIAL), unique=True), share=st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_a_text_is_never_cut_inside_a_special_token(
    kind: str, parts: list[str], special: list[str], share: float
) -> None:
    text = "".join(parts)
    cut = tokenizer_class(kind).cut(text, share, special)
    borders = [0]
    for part in naive_split(text, special):
        borders.append(borders[-1] + len(part))
    inside = [range(start + 1, end) for start, end in pairwise(borders)][1::2]
    assert not any(cut in span for span in inside)
    if kind == "word":
        tokens = naive_tokens(kind, text, special)
        assert naive_tokens(kind, text[:cut], special) == tokens[: int(round(len(tokens) * share, 6))]


def test_a_stream_ends_a_special_token_only_when_nothing_longer_can_come() -> None:
    words = WordTokenizer(["<e>", "<e><e>", "a"], ["<e>", "<e><e>"])
    seen: list[str] = []

    def parts() -> Any:
        for part in ("a<", "e>", "<e", ">a ", "a"):
            yield part
            seen.append(part)

    ids = words.encode_iterable(parts())
    assert [next(ids), next(ids)] == [2, 1]
    assert seen == ["a<", "e>", "<e"]
    assert list(ids) == [2, 2]


def test_a_position_in_special_tokens_that_touch() -> None:
    assert [outside_special("<a><a>b", position, ["<a>"]) for position in range(8)] == [0, 0, 0, 3, 3, 3, 6, 7]


# --- what makes no sense ------------------------------------------------------------------------------------


@kinds
@pytest.mark.parametrize(
    ("special", "message"),
    [
        ([""], "a special token is empty"),
        (["<a>", "<b>", "<a>"], "special token '<a>' is given twice"),
        (["x" * 257], "has more than 256 characters"),
        (["\ud800"], "lone surrogate"),
        ([f"{i:0200}" for i in range(501)], "the special tokens have 100,200 characters; the limit is 100,000"),
    ],
)
def test_special_tokens_that_make_no_sense(kind: str, special: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        tokenizer_class(kind).from_text("a", 400, special)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_a_space_in_a_special_token_of_words_is_refused() -> None:
    # Decoded, the words "a", "b" are "a b", which would be another token.
    with pytest.raises(InputError, match=r"^special token 'a b' has a space, which stands between words$"):
        WordTokenizer.from_text("a", special=["a b"])
    assert CharTokenizer.from_text("a b", special=["a b"]).encode("a b") == [0]
    assert WordTokenizer.from_text("a\nb", special=["\n"]).tokenize(" a\nb \n") == ["a", "\n", "b", "\n"]


# --- files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["word", "char"])
def test_a_saved_list_says_what_is_special(kind: str, tmp_path: Path) -> None:
    made = tokenizer_class(kind).from_text("b a", special=[END, "<pad>"])
    made.save(tmp_path / "special")
    read = load_tokenizer(tmp_path / "special")
    assert (read.tokens, read.special, type(read)) == (made.tokens, (END, "<pad>"), type(made))
    tokenizer_class(kind).from_text("b a").save(tmp_path / "plain")
    content = json.loads((tmp_path / "plain" / "toy_tokenizer.json").read_bytes())
    assert list(content) == ["kind", "tokens"]


@pytest.mark.parametrize(
    ("special", "message"),
    [
        ('"a"', "its special are not a list of texts"),
        ("[1]", "its special are not a list of texts"),
        ("null", "its special are not a list of texts"),
        ('[""]', "a special token is empty"),
        ('["a", "a"]', "special token 'a' is given twice"),
        ('["c"]', "special token 'c' is not in the vocabulary"),
    ],
)
def test_a_damaged_list_of_special_tokens(special: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "toy_tokenizer.json").write_text(f'{{"kind": "word", "special": {special}, "tokens": ["a", "b"]}}')
    with pytest.raises(InputError, match=rf"toy_tokenizer\.json: {message}$"):
        load_tokenizer(tmp_path)


# --- runs ---------------------------------------------------------------------------------------------------


@kinds
def test_a_run_has_its_special_tokens_again(kind: str, tmp_path: Path) -> None:
    run = tg.train("bigram", text=DOCUMENTS, tokenizer=kind, special=[END, "<pad>"], bpe_vocab=265, epochs=1)
    assert run.meta["tokenizer"] == {"kind": kind, "special": [END, "<pad>"]}
    run.save(tmp_path)
    again = tg.load(tmp_path)
    assert again.tokenizer.special == (END, "<pad>")
    assert (again.tokenizer.tokens, again.meta["tokenizer"]) == (run.tokenizer.tokens, run.meta["tokenizer"])
    text = f"cat{END}the" if kind != "word" else f"cat{END}the{END}"
    assert again.tokenizer.encode(text) == run.tokenizer.encode(text)
    assert run.frequencies[run.tokenizer.token_ids([END])[0]] == 2
    assert run.frequencies[run.tokenizer.token_ids(["<pad>"])[0]] == 0
    space = " " if kind == "word" else ""
    assert run.generate(f"cat{END}the", 0) == f"cat{space}{END}{space}the"
    assert tg.train("bigram", text=DOCUMENTS, tokenizer=kind, epochs=1).meta["tokenizer"] == {"kind": kind}


@kinds
@pytest.mark.parametrize(
    "special", ["<pad>", [1], [""], [END, END], [END, "<other>"], {"a": 1}, None, ["x" * 1_000_000], []]
)
def test_damaged_special_tokens_in_metadata(
    kind: str, special: object, tmp_path: Path, toy_gpt: Callable[..., Outcome]
) -> None:
    tg.train("bigram", text=DOCUMENTS, tokenizer=kind, special=[END], bpe_vocab=260, epochs=1, save_to=tmp_path)
    path = tmp_path / "artifacts" / "00_meta.json"
    meta = json.loads(path.read_bytes())
    path.write_text(json.dumps({**meta, "tokenizer": {"kind": kind, "special": special}}))
    outcome = toy_gpt("infer", "--base-dir", tmp_path)
    if special == [] and kind != "bpe":  # valid by itself; BPE's own files say otherwise
        assert outcome.code == 0
    else:
        assert outcome.refused, outcome
        assert "artifacts" in outcome.err


def test_the_course_leaves_special_tokens_to_the_package(tmp_path: Path) -> None:
    from toy_gpt_train.e_infer import load_run

    tg.train("bigram", text="a b a", epochs=1, save_to=tmp_path / "plain")
    assert load_run(tmp_path / "plain")[2].context_size == 1
    tg.train("bigram", text="a b a", special=[END], epochs=1, save_to=tmp_path / "special")
    with pytest.raises(ValueError, match="needs toy-gpt infer"):
        load_run(tmp_path / "special")


@pytest.mark.parametrize(("model", "options"), [("bigram", {"epochs": 2}), ("embeddings", {"steps": 2})])
def test_a_run_with_a_saved_list_in_another_order_comes_back(
    model: str, options: dict[str, int], tmp_path: Path, toy_gpt: Callable[..., Outcome]
) -> None:
    WordTokenizer(["the", "cat", END], [END]).save(tmp_path / "words")
    text = f"the cat{END}cat the{END}" * 3
    run = tg.train(model, text=text, tokenizer=tmp_path / "words", save_to=tmp_path / "run", **options)
    (tmp_path / "words" / "toy_tokenizer.json").unlink()
    again = tg.load(tmp_path / "run")
    assert (again.tokenizer.tokens, again.tokenizer.special) == (["the", "cat", END], (END,))
    assert again.model.next_probs([0] * 8) == run.model.next_probs([0] * 8)
    # Rows in another order than training wrote are refused, as for sorted ones.
    path = tmp_path / "run" / "artifacts" / "01_vocabulary.csv"
    swapped = path.read_bytes().replace(b"0,the,", b"0,tmp,").replace(b"1,cat,", b"1,the,").replace(b"tmp", b"cat")
    path.write_bytes(swapped)
    assert toy_gpt("infer", "--base-dir", tmp_path / "run").refused


def test_splitting_knows_no_tokenizer() -> None:
    splitter = TextSplitter([], lambda text, start, end: end)
    assert splitter.split("a<e>b") == ["a<e>b"]
    assert list(splitter.blocks(["a", "b"])) == ["a", "b"]
