"""Compression by a model: every text comes back, the size is the loss, and what is not the file is refused."""

import json
from itertools import product
from math import log
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import toy_gpt_train as tg
from contributed_model import WittenBell
from toy_gpt_train.coding import compressed
from toy_gpt_train.coding.compressed import HEADER_BYTES, MOST_TOKENS, Header, compress, decompress, model_hash
from toy_gpt_train.coding.frequencies import ONE, in_whole_numbers
from toy_gpt_train.coding.pieces import cut, join, usual_gap
from toy_gpt_train.errors import InputError
from toy_gpt_train.models.registry import LADDER, find_model
from toy_gpt_train.tokenizers import TOKENIZERS, tokenizer_class

TEXT = "the cat sees the dog . the dog sees a cat . a cat runs to the dog ."
LINES = "the cat sees the dog .\nthe dog sees a cat .\r\n\n a cat  runs to the dog .\t<end>the dog 🐕 runs ."
KINDS = [entry.name for entry in LADDER]
ALL = list(product(KINDS, TOKENIZERS))
NETWORKS = [entry.name for entry in LADDER if entry.model_class.trains_in_steps]
SMALL = {"steps": 3, "batch_size": 2, "embedding_dim": 8, "context": 6}
PIECES = (
    "the",
    "cat",
    " ",
    " dog",
    ".",
    "\r",
    "\n",
    "\0",
    "🐕",
    "é",
    "\ufeff",
    "<end>",
    "<en",
    "zebra",
    "\u2028",
    "\t",
)
TEXTS = st.one_of(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), st.text(max_size=12))
MANY = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

runs: dict[tuple[Any, ...], tg.Run] = {}


def small(kind, tokenizer="word", text=LINES, **options):
    """Return a small run, trained once."""
    key = (kind, tokenizer, text, *sorted(options.items()))
    if key not in runs:
        own = SMALL if kind in NETWORKS else {"epochs": 2} if "epochs" in find_model(kind).model_class.options else {}
        how = {"tokenizer": tokenizer, "bpe_vocab": 262, "special": ["<end>"], **own, **options}
        runs[key] = tg.train(kind, text=text, **how)
    return runs[key]


def bits_of(run, text, **how):
    evaluation = run.score(text=text, **how)
    return evaluation.loss * evaluation.num_tokens / log(2)


# --- the text comes back ------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@MANY
@given(text=TEXTS)
@example(text="")
@example(text=" ")
@example(text="\r\n")
@example(text="<end><end>")
@example(text="\0the\0 cat")
def test_pieces_are_the_text(tokenizer, text):
    made = tokenizer_class(tokenizer).from_text(LINES, 262, ["<end>"])
    pieces = cut(text, made)
    assert len(pieces.gaps) == len(pieces.ids) + 1
    assert join(pieces, made) == text.encode()
    assert pieces.ids == [i for i in made.encode(text, made.vocab_size) if i < made.vocab_size]


@pytest.mark.parametrize("tokenizer", ["char", "bpe"])
def test_a_tokenizer_that_forgets_nothing_has_no_gaps(tokenizer):
    made = tokenizer_class(tokenizer).from_text(LINES, 262)
    assert set(cut(LINES, made).gaps) == {b""}


def test_usual_gaps_are_those_of_decode():
    made = tokenizer_class("word").from_text(TEXT)
    pieces = cut(TEXT, made)
    assert pieces.gaps == [usual_gap(place, 19, made) for place in range(20)] == [b"", *[b" "] * 18, b""]


@pytest.mark.parametrize(("kind", "tokenizer"), ALL)
@settings(MANY, max_examples=5)
@given(text=TEXTS)
@example(text=LINES)
@example(text="")
def test_every_text_comes_back(kind, tokenizer, text):
    run = small(kind, tokenizer)
    data = run.compress(text)
    assert run.decompress(data) == text
    assert run.compress(text) == data


def test_a_lone_surrogate_is_refused():
    with pytest.raises(InputError, match="lone surrogate"):
        small("bigram").compress("a \ud800")


def test_too_many_tokens_are_refused():
    with mock.patch.object(compressed, "MOST_TOKENS", 5), pytest.raises(InputError, match="6 tokens; at most 5"):
        small("bigram").compress("the cat the cat the cat")
    assert MOST_TOKENS == 2**24 - 1


# --- the size is the loss -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "tokenizer"), ALL)
def test_the_size_is_the_loss(kind, tokenizer):
    run = small(kind, tokenizer)
    text = "the dog sees the cat . a cat sees the dog . the cat runs . a dog runs to a cat . " * 3
    text = text.strip()
    made = compress(run.model, run.tokenizer, text)
    bits = bits_of(run, text)
    assert abs(made.token_bits - bits) < 0.001 * bits
    assert made.gap_bits == 0
    assert abs(8 * len(made.data) - bits) < 0.001 * bits + 8 * 16


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("length", [1, 2, 5, 6, 7, 9, 10, 23])
def test_the_contexts_are_those_of_score(kind, length):
    """An exact network is asked for the same windows, whatever the length of the text."""
    run = small(kind, "char")
    text = ("the cat runs to the dog ." * 2)[:length]
    made = compress(run.model, run.tokenizer, text)
    assert made.token_bits == pytest.approx(bits_of(run, text), rel=1e-5)


def test_whole_numbers_by_hand():
    assert in_whole_numbers([0.5, 0.25, 0.25, 0.0]) == [ONE // 2 + 1, ONE // 4 + 1, ONE // 4 + 1, 1]


def test_what_rounding_costs_is_bounded():
    """A certain token costs V / 2**28 / log(2) bits, and no token more than 28 bits and a little."""
    frequencies = in_whole_numbers([1.0, *[0.0] * 49_999])
    assert log(sum(frequencies) / frequencies[0]) / log(2) < 50_000 / 2**28 / log(2) < 0.0003
    assert log(sum(frequencies) / frequencies[1]) / log(2) < 28.001


def test_white_space_and_unknown_words_cost_what_they_say():
    run = small("kneser-ney")
    plain = compress(run.model, run.tokenizer, TEXT)
    lines = compress(run.model, run.tokenizer, TEXT.replace(" . ", " .\n"))
    unknown = compress(run.model, run.tokenizer, TEXT.replace("runs", "zebras"))
    assert plain.gap_bits == 0 < lines.gap_bits < unknown.gap_bits
    assert (plain.num_tokens, lines.num_tokens, unknown.num_tokens) == (19, 19, 18)
    assert lines.token_bits == pytest.approx(plain.token_bits, abs=1e-6)
    for made in (plain, lines, unknown):
        assert 8 * (len(made.data) - HEADER_BYTES) == pytest.approx(made.token_bits + made.gap_bits + 3.5, abs=4.5)


def test_probabilities_that_do_not_sum_to_1_gain_nothing():
    """Twice the probability of every token is half of the loss that is claimed, and not a bit in the file."""
    run = small("bigram")
    honest = compress(run.model, run.tokenizer, TEXT)
    next_probs = type(run.model).next_probs

    def doubled(model, ids, cache=None):
        return [2 * p for p in next_probs(model, ids, cache)]

    with mock.patch.object(type(run.model), "next_probs", doubled):
        made = compress(run.model, run.tokenizer, TEXT)
        assert decompress(run.model, run.tokenizer, made.data) == TEXT
    assert made.token_bits == pytest.approx(honest.token_bits, abs=1e-4)


# --- a model that learns while it reads ---------------------------------------------------------------------


class Online(WittenBell):
    """It counts each token that it has predicted; the cache says how many of a text it has learned."""

    def learner(self):
        return self

    def new_cache(self):
        return [0]

    def next_probs(self, ids, cache=None):
        for end in range(cache[0], len(ids)):
            self._count([(tuple(ids[max(end - self.context_size, 0) : end]), ids[end], 1)])
        cache[0] = len(ids)
        return super().next_probs(ids)


def test_a_learner_needs_fewer_bits_and_starts_anew():
    words = tokenizer_class("word").from_text(TEXT)
    text = " ".join([TEXT] * 6)
    data = compress(Online(8, 2), words, text, online=True)
    frozen = compress(WittenBell(8, 2), words, text)
    assert data.token_bits < frozen.token_bits / 2
    assert decompress(Online(8, 2), words, data.data) == text


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_context_mixing_learns_while_it_codes(tokenizer):
    run = small("context-mixing", tokenizer)
    text = LINES + LINES.replace("dog", "zebra")
    frozen, online = (compress(run.model, run.tokenizer, text, online=online) for online in (False, True))
    assert run.decompress(online.data) == text
    assert run.compress(text) == frozen.data  # the run itself has learned nothing
    assert abs(online.token_bits - frozen.token_bits) > 1
    scored = run.model.learner().score(cut(text, run.tokenizer).ids)
    bits = -sum(log(prediction.probability) for prediction in scored) / log(2)
    assert online.token_bits == pytest.approx(bits, rel=0.001)


def test_only_a_model_that_can_learn_is_asked_to():
    for kind in ("bigram", "kneser-ney", "gpt"):
        run = small(kind)
        with pytest.raises(InputError, match="frozen"):
            run.compress(TEXT, online=True)
        header = Header(True, False, model_hash(run.model, run.tokenizer), b"1234", 1)
        with pytest.raises(InputError, match="frozen"):
            run.decompress(header.to_bytes() + b"\x80")


# --- what is not the file -----------------------------------------------------------------------------------


def test_the_header_by_hand():
    header = Header(True, True, b"MODL", b"TEXT", 0x010203)
    assert header.to_bytes() == b"tg\x13MODLTEXT\x01\x02\x03"
    assert len(header.to_bytes()) == HEADER_BYTES == 14
    assert compressed.read_header(header.to_bytes() + b"\x80") == header
    run = small("bigram")
    data = run.compress("")
    assert data == b"tg\x10" + model_hash(run.model, run.tokenizer) + bytes.fromhex("e3b0c442") + b"\0\0\0\x80"


@pytest.mark.parametrize(
    "start", [b"", b"t", b"gt", b"PK\3\4 and so on", b"tg", b"tg\x20" + bytes(20), b"tg\x14" + bytes(20)]
)
def test_other_files_are_refused(start):
    with pytest.raises(InputError):
        small("bigram").decompress(start)


@pytest.mark.parametrize("text", ["the cat sees a dog .", " the zebra\n"])
def test_damage_at_every_bit_is_refused(text):
    run = small("bigram")
    data = run.compress(text)
    for place, bit in product(range(len(data)), range(8)):
        damaged = bytes([*data[:place], data[place] ^ (1 << bit), *data[place + 1 :]])
        with pytest.raises(InputError):
            run.decompress(damaged)


@pytest.mark.parametrize("text", ["the cat sees a dog .", " the zebra\n"])
def test_a_truncated_or_longer_file_is_refused(text):
    run = small("bigram")
    data = run.compress(text)
    for end in range(len(data)):
        with pytest.raises(InputError):
            run.decompress(data[:end])
    for more in (b"\0", b"\x80", data):
        with pytest.raises(InputError):
            run.decompress(data + more)


@MANY
@given(st.binary(max_size=40), st.integers(0, 3), st.integers(0, MOST_TOKENS))
def test_hostile_files_are_refused_soon(bits, flags, count):
    run = small("context-2")
    whose = model_hash(run.model, run.tokenizer)
    header = Header(False, bool(flags & 2), whose, b"1234", count)
    with pytest.raises(InputError):
        run.decompress(header.to_bytes() + bits)


@pytest.mark.parametrize("gaps", [False, True])
def test_a_text_that_would_not_fit_is_refused(gaps):
    """A model of one token is always sure: a file of a few bytes may claim millions of tokens."""
    run = tg.train("unigram", text="a" * 9, tokenizer="char", epochs=1)
    header = Header(False, False, model_hash(run.model, run.tokenizer), b"1234", 2000).to_bytes()
    data = run.compress("b" * 2000) if gaps else header + b"\x80"
    with (
        mock.patch.object(compressed, "MAX_BYTES", 1000),
        mock.patch("toy_gpt_train.coding.gaps.MAX_BYTES", 1000),
        pytest.raises(InputError, match="more than 1,000 bytes"),
    ):
        run.decompress(data)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_run_opens_what_the_trained_one_has_compressed(kind, tmp_path):
    for tokenizer in TOKENIZERS:
        run = small(kind, tokenizer)
        run.save(tmp_path / tokenizer)
        assert tg.load(tmp_path / tokenizer).decompress(run.compress(LINES)) == LINES


def test_another_model_seed_or_tokenizer_is_refused():
    data = small("gpt").compress(TEXT)
    others = [
        small("gpt", seed=1),
        small("gpt", "char"),
        small("gpt", text=LINES + " zebra"),
        small("gpt", special=("<end>", "the")),
        *(small(kind) for kind in KINDS if kind != "gpt"),
    ]
    for other in others:
        with pytest.raises(InputError, match="another model"):
            other.decompress(data)
    hashes = [model_hash(run.model, run.tokenizer) for run in (small("gpt"), *others)]
    assert len(set(hashes)) == len(hashes)


def test_a_large_network_has_a_hash_of_its_tensors(tmp_path):
    with mock.patch("toy_gpt_train.models.network.LARGEST_IN_TABLES", 10):
        run = tg.train("gpt", text=LINES, **SMALL)
        assert run.model.content().layout == "safetensors"
        run.save(tmp_path)
        with mock.patch("toy_gpt_train.models.network.LARGEST_UNPACKED", 10):
            loaded = tg.load(tmp_path)
            assert loaded.model.is_large
            assert model_hash(loaded.model, loaded.tokenizer) == model_hash(run.model, run.tokenizer)
            assert loaded.decompress(loaded.compress(LINES)) == LINES


def test_what_computes_the_model_changes_nothing():
    pytest.importorskip("torch")
    run = tg.train("gpt", text=LINES, **SMALL)
    data = run.compress(LINES)
    run.model.compute_with(tg.engine.Choice("torch", "cpu"))
    assert run.model.writes_together
    assert run.compress(LINES) == data
    assert run.model.writes_together


# --- the command line ---------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    path = tmp_path / "in.txt"
    path.write_bytes(b"\xef\xbb\xbf" + LINES.encode())
    return path, tmp_path / "out.tg", tmp_path / "again.txt"


def test_the_commands_give_every_byte_back(toy_gpt, trained, files):
    text, coded, again = files
    base = trained("bigram")
    done = toy_gpt("compress", "--base-dir", base, "--text", text, "--out", coded)
    assert (done.code, done.err) == (0, "")
    assert f"compressed  {coded.stat().st_size} bytes" in done.out
    back = toy_gpt("decompress", coded, "--base-dir", base, "--out", again)
    assert (back.code, back.out, back.err) == (0, f"wrote {again}, {text.stat().st_size} bytes\n", "")
    assert again.read_bytes() == text.read_bytes()
    run = tg.load(base)
    assert coded.read_bytes() == run.compress(text.read_bytes().decode())


def test_sizes_as_json(toy_gpt, trained, files):
    text, coded, again = files
    base = trained("bigram")
    found = json.loads(toy_gpt("compress", "--base-dir", base, "--text", text, "--out", coded, "--json").out)
    size = coded.stat().st_size
    assert (found["text_bytes"], found["text_chars"]) == (text.stat().st_size, len(text.read_bytes().decode()))
    assert (found["bytes"], found["header_bytes"]) == (size, 14)
    assert found["bits_per_char"] == pytest.approx(8 * size / found["text_chars"])
    assert size - 15 <= (found["token_bits"] + found["gap_bits"]) / 8 <= size - 14 + 0.25
    back = json.loads(toy_gpt("decompress", coded, "--base-dir", base, "--out", again, "--json").out)
    assert back == {"bytes": size, "text_bytes": text.stat().st_size}


def test_an_empty_text(toy_gpt, trained, files):
    text, coded, again = files
    text.write_bytes(b"")
    base = trained("bigram")
    assert toy_gpt("compress", "--base-dir", base, "--text", text, "--out", coded, "--json").code == 0
    assert toy_gpt("compress", "--base-dir", base, "--text", text, "--out", coded).code == 0
    assert toy_gpt("decompress", coded, "--base-dir", base, "--out", again).code == 0
    assert again.read_bytes() == b""


def test_what_cannot_be_done_is_one_line(toy_gpt, trained, files):
    text, coded, again = files
    base = trained("bigram")
    assert toy_gpt("compress", "--base-dir", base, "--text", text, "--out", coded).code == 0
    good = coded.read_bytes()
    another = toy_gpt("decompress", coded, "--base-dir", trained("context-2"), "--out", again)
    assert another.refused
    assert f"{coded}: compressed with another model" in another.err
    for damaged in (good[:-1], good[:5], b"", text.read_bytes()):
        coded.write_bytes(damaged)
        assert toy_gpt("decompress", coded, "--base-dir", base, "--out", again).refused
    text.write_bytes(b"\xff")
    assert toy_gpt("compress", "--base-dir", base, "--text", text, "--out", again).refused
    assert toy_gpt("compress", "--base-dir", base, "--text", Path("nowhere"), "--out", again).refused
    assert toy_gpt("compress", "--base-dir", base, "--text", coded, "--out", again, "--online").refused
    assert not again.exists()


def test_a_long_text_shows_how_far_it_is():
    told = []
    run = small("bigram")
    text = " ".join([TEXT] * 20)
    data = run.compress(text, progress=lambda fraction, words: told.append((fraction, words)))
    assert [fraction for fraction, _ in told] == pytest.approx([100 / 380, 200 / 380, 300 / 380])
    assert all(words.endswith(" tokens/s") for _, words in told)
    told.clear()
    assert run.decompress(data, progress=lambda fraction, words: told.append((fraction, words))) == text
    assert len(told) == 3
