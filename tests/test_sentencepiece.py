"""Tokenizers in the style of sentencepiece: against a plain algorithm, and against Hugging Face's library."""

import json
import random
import tracemalloc
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import toy_gpt_train as tg
from toy_gpt_train.errors import InputError
from toy_gpt_train.exchange.huggingface_tokenizer import read_tokenizer
from toy_gpt_train.inference.generate import end_of_text, write
from toy_gpt_train.tokenizers.base import Tokenizer
from toy_gpt_train.tokenizers.saved import load_tokenizer, tokenizer_files
from toy_gpt_train.tokenizers.sentencepiece import SentencePieceTokenizer
from toy_gpt_train.tokenizers.sentencepiece_json import PREFIXES, Merge, Parsed, text_of

SPACE = "▁"
SPECIAL = ["<unk>", "<s>", "</s>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
MERGES = [
    ("t", "h"), ("▁", "th"), ("▁th", "e"), ("c", "a"), ("▁", "▁"), ("ca", "t"), ("▁", "cat"), ("▁▁", "▁▁"), ("a", "a"),
    ("aa", "a"), ("e", "▁"), ("▁", "e"), ("é", "é"), ("▁the", "▁cat"), ("b", "aa"), ("aaa", "a"), ("h", "e"),
]  # fmt: skip
TOKENS = [*SPECIAL, *BYTES, *dict.fromkeys("▁theca b\né"), *dict.fromkeys(left + right for left, right in MERGES)]
TOKENS.remove(" ")
PIECES = st.sampled_from(
    [*"theca béx\n\t▁😀日", "  ", "the cat", " the", "aaaa", *SPECIAL, "<0x41>", "\u0301", "<", "s>"]
)
TEXTS = st.lists(PIECES, max_size=30).map("".join) | st.text(max_size=20)


def made(prefix: str = "every", *, strips: bool = True) -> SentencePieceTokenizer:
    return SentencePieceTokenizer(TOKENS, MERGES, SPECIAL, prefix=prefix, strips=strips)


def plain(tokenizer: SentencePieceTokenizer, text: str) -> list[str]:
    """The tokens of a text, in the plainest way."""
    tokens: list[str] = []
    rest, at = text, 0
    while rest:
        places = [(rest.find(one), -len(one), one) for one in SPECIAL if one in rest]
        place, _, mark = min(places, default=(len(rest), 0, ""))
        if part := rest[:place].replace(" ", SPACE):
            bare = not part.startswith(SPACE)
            prefixed = {"every": True, "always": bare, "first": bare and at == 0, "never": False}[tokenizer.prefix]
            tokens += merged_plainly(SPACE + part if prefixed else part)
        tokens += [mark] if mark else []
        at += place + len(mark)
        rest = rest[place + len(mark) :]
    return tokens


def merged_plainly(text: str, merges: Sequence[Merge] = MERGES, known: Sequence[str] = TOKENS) -> list[str]:
    tokens = [one for char in text for one in ([char] if char in known else [f"<0x{b:02X}>" for b in char.encode()])]
    ranks = {merge: rank for rank, merge in enumerate(merges)}
    while found := [(ranks[pair], start) for start, pair in enumerate(pairwise(tokens)) if pair in ranks]:
        _, start = min(found)
        tokens[start : start + 2] = [tokens[start] + tokens[start + 1]]
    return tokens


@pytest.mark.parametrize("prefix", PREFIXES)
def test_it_merges_as_the_plain_algorithm_does(prefix: str) -> None:
    tokenizer = made(prefix)

    @settings(max_examples=300, deadline=None)
    @given(TEXTS)
    def check(text: str) -> None:
        tokens = plain(tokenizer, text)
        assert tokenizer.tokenize(text) == tokens
        ids = tokenizer.encode(text)
        assert [tokenizer.tokens[i] for i in ids] == tokens
        assert sum(tokenizer.sizes(text)) == len(text.encode())
        assert len(tokenizer.sizes(text)) == len(ids)
        assert tokenizer.decode(ids).replace(" ", "") == text.replace(" ", "").replace(SPACE, "")

    check()


def test_a_token_that_looks_like_a_byte() -> None:
    """As in their library, <0x0A> is made of bytes alone; <0x0a> is made of letters, and yet decoded to a byte."""
    tokens = [*BYTES, *"▁<0xa>", "<0", "x0", "a>", "<0x0", "<0x0a>"]
    merges = [("<", "0"), ("x", "0"), ("a", ">"), ("<0", "x0"), ("<0x0", "a>")]
    tokenizer = SentencePieceTokenizer(tokens, merges, prefix="never")
    assert tokenizer.tokenize("<0x0a>é") == ["<0x0a>", "<0xC3>", "<0xA9>"]
    assert tokenizer.sizes("<0x0a>é") == [6, 1, 1]
    assert tokenizer.decode(tokenizer.encode("<0x0a>é")) == "\né"


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.lists(st.integers(1, 4), min_size=1, max_size=8), st.sampled_from(PREFIXES))
def test_a_stream_gives_the_ids_of_the_text(text: str, sizes: list[int], prefix: str) -> None:
    tokenizer = made(prefix)
    parts, rest = [], text
    while rest:
        size = sizes[len(parts) % len(sizes)]
        parts.append(rest[:size])
        rest = rest[size:]
    assert list(tokenizer.encode_iterable(parts)) == tokenizer.encode(text)


def test_by_hand() -> None:
    tokenizer = made()
    assert tokenizer.tokenize("the cat") == ["▁the▁cat"]
    assert tokenizer.tokenize("the  cat") == ["▁the", "▁▁", "cat"]
    assert tokenizer.tokenize(" the") == ["▁", "▁the"]
    assert tokenizer.tokenize("a<s>the</s>") == ["▁", "a", "<s>", "▁the", "</s>"]
    assert tokenizer.tokenize("x😀") == ["▁", "<0x78>", "<0xF0>", "<0x9F>", "<0x98>", "<0x80>"]
    assert tokenizer.tokenize("") == []
    assert tokenizer.decode(tokenizer.encode("the cat😀")) == "the cat😀"
    assert tokenizer.decode(tokenizer.encode("<s>the")) == "<s> the"
    assert tokenizer.sizes("the  cat") == [3, 2, 3]
    assert [made(prefix).tokenize(" the") for prefix in PREFIXES[1:]] == [["▁the"]] * 3
    assert [made(prefix).tokenize("<s>the") for prefix in PREFIXES[1:]] == [
        ["<s>", "▁the"],
        ["<s>", "th", "e"],
        ["<s>", "th", "e"],
    ]
    assert tokenizer.shown(tokenizer.encode("the\nx")) == [" the", "\\n", "x"]
    # In the middle of a text no space is left out.
    ids = tokenizer.encode("the cat")
    assert (tokenizer.decode_bytes(ids), tokenizer.decode_bytes(ids, begins=False)) == (b"the cat", b" the cat")
    assert made(strips=False).decode(ids) == " the cat"


def test_a_long_text_in_one_piece() -> None:
    """No cut divides it, so half a million characters are merged at once; in quadratic time this would take hours."""
    merges = [("a", "a"), ("b", "aa"), ("aa", "b"), ("b", "b"), ("baa", "b")]
    tokens = [*BYTES, *"▁ab", *dict.fromkeys(left + right for left, right in merges)]
    tokenizer = SentencePieceTokenizer(tokens, merges, prefix="never")
    draw = random.Random(1)
    text = "".join(draw.choices("aab", k=500_000))
    assert tokenizer._pieces(text) == [text]
    found = tokenizer.tokenize(text)
    assert "".join(found) == text
    assert {*found} >= {"aa", "baa", "bb", "baab"}
    assert tokenizer.tokenize(text[:300]) == merged_plainly(text[:300], merges, tokens)
    assert tokenizer.tokenize("a" * 131_073) == ["aa"] * 65_536 + ["a"]


@pytest.mark.slow
def test_a_stream_takes_constant_memory() -> None:
    tokenizer = made()
    lines = ("the cat the cat, the cat.\n" for _ in range(20_000))
    tracemalloc.start()
    try:
        assert sum(1 for _ in tokenizer.encode_iterable(lines)) > 100_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100_000  # the text has 520,000 bytes


@pytest.mark.parametrize("text", ["\ud800", "the \udfff", "<\ud83d>"])
def test_a_lone_surrogate_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"lone surrogate \(U\+D"):
        made().encode(text)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda parts: parts["tokens"].remove("<0x41>"), "'<0x41>' is not in the vocabulary"),
        (lambda parts: parts["tokens"].remove("▁"), "'▁' is not in the vocabulary"),
        (lambda parts: parts["tokens"].append(""), "a token is empty"),
        (lambda parts: parts["tokens"].append("a"), "the token 'a' has two ids"),
        (lambda parts: parts["tokens"].append("\ud800"), "lone surrogate"),
        (lambda parts: parts["special"].append("<pad>"), "'<pad>' is not in the vocabulary"),
        (lambda parts: parts["merges"].append(("t", "t")), "merge 17: 'tt' is not in the vocabulary"),
        (lambda parts: parts["merges"].append(("t", "h")), "merge 17: 't' and 'h' are merged twice"),
        (
            lambda parts: parts["merges"].append(("<0x41>", "h")),
            "merge 17: '<0x41>' is not in the vocabulary, or stands",
        ),
    ],
)
def test_what_does_not_fit_is_refused(change: Any, words: str) -> None:
    parts = {"tokens": list(TOKENS), "merges": list(MERGES), "special": list(SPECIAL)}
    change(parts)
    with pytest.raises(InputError) as caught:
        SentencePieceTokenizer(parts["tokens"], parts["merges"], parts["special"])
    assert words in str(caught.value)


def test_it_is_imported_and_not_trained(tmp_path: Path) -> None:
    for make in (
        lambda: SentencePieceTokenizer.from_text("a"),
        lambda: SentencePieceTokenizer.from_file(tmp_path, 300, (), 1, lambda *_: None),
    ):
        with pytest.raises(InputError, match="are imported, not trained: choose --tokenizer bpe"):
            make()
    with pytest.raises(InputError, match="unknown tokenizer 'sentencepiece'; there are word, char, bpe, and folders"):
        tg.train("bigram", text="a b", tokenizer="sentencepiece")


# --- files --------------------------------------------------------------------------------------------------


def same(one: Tokenizer, other: Tokenizer) -> bool:
    text = "the  cat <s>aaaaa</s> é😀"
    return one.encode(text) == other.encode(text) and one.description() == other.description()


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("strips", [True, False])
def test_what_is_saved_is_read(tmp_path: Path, prefix: str, strips: bool) -> None:
    tokenizer = made(prefix, strips=strips)
    assert [path.name for path in tokenizer.save(tmp_path)] == ["tokenizer.json"]
    assert tokenizer_files(tmp_path) == [tmp_path / "tokenizer.json"]
    for read in (load_tokenizer(tmp_path), SentencePieceTokenizer.from_vocabulary(TOKENS, tmp_path, SPECIAL)):
        assert isinstance(read, SentencePieceTokenizer)
        assert (read.tokens, read.merges, read.prefix, read.strips) == (TOKENS, MERGES, prefix, strips)
        assert same(read, tokenizer)
        assert read.files() == tokenizer.files()
    with pytest.raises(InputError, match=r"01_vocabulary.csv and tokenizer.json do not number the same tokens"):
        SentencePieceTokenizer.from_vocabulary(TOKENS[::-1], tmp_path, SPECIAL)
    with pytest.raises(InputError, match="do not have the same special tokens"):
        SentencePieceTokenizer.from_vocabulary(TOKENS, tmp_path)


def description(prefix: str = "every") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text_of(Parsed(TOKENS, MERGES, SPECIAL, prefix, True)))
    return found


def metaspace(**changes: Any) -> dict[str, Any]:
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False, **changes}


WRONG: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (
        {"normalizer": {"type": "NFC"}},
        {},
        "has byte_fallback, but its normalizer (NFC) or pre_tokenizer (None) is not that of Llama 2",
    ),
    ({"normalizer": {"type": "Sequence", "normalizers": []}}, {}, "its normalizer (Sequence of )"),
    ({"normalizer": {"type": "Sequence", "normalizers": 3}}, {}, "its normalizer (Sequence)"),
    ({"normalizer": []}, {}, "its normalizer ([])"),
    ({"pre_tokenizer": metaspace()}, {}, "pre_tokenizer (Metaspace)"),
    ({"normalizer": None, "pre_tokenizer": metaspace(split=True)}, {}, "pre_tokenizer (Metaspace)"),
    ({"normalizer": None, "pre_tokenizer": metaspace(replacement="_")}, {}, "pre_tokenizer (Metaspace)"),
    ({"normalizer": None, "pre_tokenizer": metaspace(prepend_scheme="every")}, {}, "pre_tokenizer (Metaspace)"),
    ({"normalizer": None, "pre_tokenizer": metaspace(prepend_scheme=["first"])}, {}, "pre_tokenizer (Metaspace)"),
    ({"normalizer": None, "pre_tokenizer": {"type": "Metaspace"}}, {}, "pre_tokenizer (Metaspace)"),
    ({"normalizer": None}, {}, "its normalizer (None) or pre_tokenizer (None)"),
    ({"decoder": None}, {}, "its decoder (None) joins tokens in another way"),
    ({"decoder": {"type": "Sequence", "decoders": [{"type": "Fuse"}]}}, {}, "its decoder (Sequence"),
    ({"decoder": {"type": "Metaspace"}}, {}, "its decoder (Metaspace)"),
    ({"post_processor": {"type": "BertProcessing"}}, {}, "its post_processor (BertProcessing) adds tokens"),
    ({"added_tokens": 5}, {}, "its added_tokens are not a list"),
    ({"added_tokens": [{"content": "<s>", "id": 1, "normalized": True}]}, {}, "normalized of the added token '<s>'"),
    ({"added_tokens": [{"content": "<s>", "id": 1, "rstrip": True}]}, {}, "rstrip of the added token '<s>'"),
    ({"added_tokens": [{"content": "<s>", "id": 2}]}, {}, "give '<s>' different ids"),
    ({"added_tokens": [{"content": "<pad>", "id": 9}]}, {}, "the ids of its tokens are not 0 to"),
    ({}, {"type": "Unigram"}, "its model is 'Unigram'; only BPE with byte_fallback"),
    ({}, {"byte_fallback": "yes"}, "only BPE with byte_fallback"),
    ({}, {"dropout": 0.1}, "dropout of its model is not supported"),
    ({}, {"ignore_merges": True}, "ignore_merges of its model is not supported"),
    ({}, {"vocab": []}, "the vocab of its model is not an object"),
    ({}, {"merges": {}}, "or its merges are not a list"),
    ({}, {"merges": ["t h", "t"]}, "merge 1 is not two tokens: 't'"),
    ({}, {"merges": [["t", "h", "e"]]}, "merge 0 is not two tokens"),
    ({}, {"merges": [["t", ""]]}, "merge 0 is not two tokens"),
    ({}, {"merges": [[1, 2]]}, "merge 0 is not two tokens"),
    ({}, {"merges": ["t é"]}, "merge 0: 'té' is not in the vocabulary"),
    ({}, {"vocab": {"a": 0, "b": 0}}, "the ids of its tokens are not 0 to"),
    ({}, {"vocab": {"a": "0"}}, "the ids of its tokens are not 0 to"),
    ({}, {"vocab": {}}, "'<0x00>' is not in the vocabulary"),
]


@pytest.mark.parametrize(("change", "in_model", "words"), WRONG, ids=str)
def test_other_descriptions_are_refused(tmp_path: Path, change: Any, in_model: Any, words: str) -> None:
    content = description()
    content["model"] |= in_model
    (tmp_path / "tokenizer.json").write_text(json.dumps(content | change), "utf-8")
    with pytest.raises(InputError) as caught:
        load_tokenizer(tmp_path)
    assert words in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path))
    assert len(str(caught.value).splitlines()) == 1


def test_merges_may_be_texts(tmp_path: Path) -> None:
    content = description()
    content["model"]["merges"] = [" ".join(pair) for pair in MERGES]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), "utf-8")
    assert load_tokenizer(tmp_path).encode("the cat") == made().encode("the cat")


# --- runs ---------------------------------------------------------------------------------------------------


def test_a_run_has_its_tokenizer_with_it(toy_gpt: Any, tmp_path: Path) -> None:
    made().save(tmp_path / "tokenizer")
    text = tmp_path / "text.txt"
    text.write_text("the cat sees aaa the  cat.\n" * 20, "utf-8")
    how = {"tokenizer": tmp_path / "tokenizer", "context": 4}
    run = tg.train("kneser-ney", text, **how, save_to=tmp_path / "run")
    assert run.meta["tokenizer"] == {"kind": "sentencepiece", "special": SPECIAL}
    read = tg.load(tmp_path / "run", strict=True)
    assert read.tokenizer.files() == made().files()
    assert read.score(text).loss == run.score(text).loss
    assert read.generate("the cat", 12, temperature=0).startswith("the cat")
    outcome = toy_gpt("evaluate", "--base-dir", tmp_path / "run", "--text", text)
    assert outcome.code == 0
    outcome = toy_gpt("infer", "--base-dir", tmp_path / "run", "--prompt", "the", "--num", 5, "--temperature", 0)
    assert outcome.code == 0
    for to, words in (("arpa", "cannot express how a sentencepiece tokenizer cuts text"),):
        outcome = toy_gpt("export", "--base-dir", tmp_path / "run", "--to", to, "--out", tmp_path / to)
        assert (outcome.code, words in outcome.err) == (2, True)
    arpa = tmp_path / "there.arpa"
    arpa.write_text(
        '# toy-gpt {"kind": "sentencepiece"}\n\\data\\\nngram 1=1\n\n\\1-grams:\n0\ta\n\n\\end\\\n', "utf-8"
    )
    with pytest.raises(InputError, match="cannot express how a sentencepiece tokenizer cuts text"):
        tg.load(arpa)
    shown = toy_gpt("tokenize", "--tokenizer", tmp_path / "tokenizer", "--text", "the cat").out
    assert shown.splitlines()[0] == "pieces  [ the cat]"


def test_a_text_that_is_written_keeps_its_spaces() -> None:
    tokenizer = made()
    ids = tokenizer.encode("the  cat é aaa")

    class Fixed:
        min_context, context_size, writes_together = 0, 100, False

        def new_cache(self) -> None:
            return None

        def next_probs(self, seen: list[int], cache: Any = None) -> list[float]:
            chosen = ids[len(seen)]
            return [float(i == chosen) for i in range(len(TOKENS))]

    for known in range(len(ids)):
        start = tokenizer.decode(ids[:known])
        steps = write(Fixed(), tokenizer, ids[:known], len(ids) - known, start=start)  # type: ignore[arg-type]
        assert start + "".join(step.text for step in steps) == "the  cat é aaa"


def test_a_text_ends_at_its_own_token() -> None:
    tokenizer = made()
    assert end_of_text(tokenizer) == tokenizer.token_ids(["</s>"])[0]


# --- Hugging Face's library ---------------------------------------------------------------------------------


def their_tokenizer(form: str) -> Any:
    """A small vocabulary learned by their library, with the parts that Llama 2 has."""
    tokenizers = pytest.importorskip("tokenizers")
    from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors, trainers

    model = models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>")
    theirs = tokenizers.Tokenizer(model)
    special = [AddedToken(one, normalized=False, special=True) for one in SPECIAL]
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=[*special, *BYTES], show_progress=False)
    draw = random.Random(1)
    words = ["".join(draw.choices(["the", "ca", "t", "b", "é", "a", "x"], k=draw.randint(1, 4))) for _ in range(60)]
    text = ["the cat sees the  dog.", "a cat,\nthe cat    runs!", "Zoë: «é» ---- ===="] * 9
    text += [" ".join(draw.choices(words, k=8)) for _ in range(200)]
    if form == "every":
        steps = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        theirs.normalizer = normalizers.Sequence(steps)
    elif form == "replace":
        theirs.normalizer = normalizers.Sequence([normalizers.Replace(" ", "▁")])
    else:
        theirs.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme=form, split=False)
    theirs.train_from_iterator(text, trainer)
    # WHY: in training, the bytes were special tokens; in Llama 2 they are ordinary ones.
    content = json.loads(theirs.to_str())
    content["added_tokens"] = [one for one in content["added_tokens"] if one["content"] in SPECIAL]
    theirs = tokenizers.Tokenizer.from_str(json.dumps(content))
    back = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    theirs.decoder = decoders.Sequence(back + ([decoders.Strip(" ", 1, 0)] if form != "replace" else []))
    theirs.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return theirs


@pytest.mark.parametrize("form", ["every", "replace", "always", "first", "never"])
def test_their_library_gives_the_same_ids_and_texts(tmp_path: Path, form: str) -> None:
    theirs = their_tokenizer(form)
    theirs.save(str(tmp_path / "tokenizer.json"))
    ours, before = read_tokenizer(tmp_path)
    assert isinstance(ours, SentencePieceTokenizer)
    assert (before, ours.vocab_size, len(ours.merges) > 100) == (["<s>"], theirs.get_vocab_size(), True)
    assert list(ours.tokens) == [theirs.id_to_token(i) for i in range(ours.vocab_size)]
    ours.save(tmp_path / "again")
    import tokenizers

    again = tokenizers.Tokenizer.from_file(str(tmp_path / "again" / "tokenizer.json"))
    pieces = st.sampled_from(
        [*"theca béx\n\t▁😀日-=", "  ", "    ", "the cat", " the", "----", *SPECIAL, "<0x41>", "\u0301"]
    )

    @settings(max_examples=600, deadline=None)
    @given(st.lists(pieces, max_size=30).map("".join) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
    def check(text: str) -> None:
        ids = theirs.encode(text, add_special_tokens=False).ids
        assert ours.encode(text) == ids == again.encode(text).ids
        assert theirs.encode(text).ids == [1, *ids]
        decoded = theirs.decode(ids, skip_special_tokens=False)
        assert ours.decode(ids) == decoded == again.decode(ids, skip_special_tokens=False)
        assert sum(ours.sizes(text)) == len(text.encode())

    check()
