"""test_world.py - The story world: exact probabilities, texts that are read back, and the oracle beside a model."""

import csv
import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import toy_gpt_train as tg
from toy_gpt_train.errors import InputError
from toy_gpt_train.world.consistency import consistency
from toy_gpt_train.world.facts import GIRLS, NAMES
from toy_gpt_train.world.language import END, MOST_EVENTS, story
from toy_gpt_train.world.oracle import distance_of, grouped, kind_of
from toy_gpt_train.world.text import corpus_at, detokenize, line_of, read_truth, stories, true_entropy, write_world
from toy_gpt_train.world.trie import Memory, Node, Script, Truth, drawing, grow, read, tell, total_weight

SEEDS = st.integers(0, 10_000)


def tokens_of(one: list[Truth]) -> list[str]:
    return [truth.token for truth in one]


# --- tries, and a tiny world by hand ------------------------------------------------------------------------------


def tiny(memory: Memory) -> Script:
    """Three animals, of which two begin alike; then its name comes again, and perhaps a bell."""
    animal = yield [(1, "the cat", "cat"), (2, "the dog", "dog"), (3, "a cow", "cow")]
    memory.tell("animal", animal)
    yield [(1, f"is {animal}~thing~animal .", None), (3, "rings .", None)]


def test_tiny_world_by_hand() -> None:
    truth = list(read(tiny, ["the", "dog", "is", "dog", ".", "a", "cow", "rings", "."]))
    assert [one.token for one in truth] == ["the", "dog", "is", "dog", ".", "a", "cow", "rings", "."]
    by_hand = [1 / 2, 2 / 3, 1 / 4, 1, 1, 1 / 2, 1, 3 / 4, 1]
    assert [math.exp(-one.surprise) for one in truth] == pytest.approx(by_hand)
    assert [(one.kind, one.distance) for one in truth if one.kind != "grammar"] == [("thing", 2)]
    assert truth[3].kind == "thing"


def test_tiny_world_has_the_frequencies_it_claims() -> None:
    choose = drawing(Random(0))
    seen = Counter(" ".join(tokens_of(list(tell(tiny, choose)))[:2]) for _ in range(6000))
    assert {text: round(count / 1000) for text, count in seen.items()} == {"the cat": 1, "the dog": 2, "a cow": 3}


def test_the_mean_surprise_is_the_entropy() -> None:
    # H = (1/6 log 6 + 1/3 log 3 + 1/2 log 2) + (1/4 log 4 + 3/4 log 4/3) per story.
    entropy = math.log(6) / 6 + math.log(3) / 3 + math.log(2) / 2 + math.log(4) / 4 + 0.75 * math.log(4 / 3)
    choose = drawing(Random(1))
    mean = sum(sum(truth.surprise for truth in tell(tiny, choose)) for _ in range(20_000)) / 20_000
    assert mean == pytest.approx(entropy, abs=0.01)


@pytest.mark.parametrize("texts", [("the cat", "the"), ("the", "the cat"), ("a", "a"), ("", "a"), ("",)])
def test_options_that_cannot_be_told_apart_are_refused(texts: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="empty, or the beginning"):
        grow(tuple((1, text) for text in texts))


def test_equal_tokens_need_a_fact_only_if_it_is_the_same() -> None:
    shared, mixed = grow(((1, "red~color~a x"), (1, "red~color~a y"))), grow(((1, "red~color~a x"), (1, "red y")))
    assert (shared["red"].kind, shared["red"].fact) == ("color", "a")
    assert (mixed["red"].kind, mixed["red"].fact) == ("grammar", "")


def test_memory_by_hand() -> None:
    memory = Memory()
    assert [memory.add(token, fact) for token, fact in (("a", ""), ("red", ""), ("ball", ""))] == [None] * 3
    memory.tell("color", "red")
    assert memory.add("red", "color") == 2
    assert memory.add("blue", "color") == 1  # another token: it does not tell the fact
    assert memory.add("red", "color") == 2
    assert memory.add("ball", "ball") == 4  # a fact that nobody told is the last token of its name


# --- the language -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@given(SEEDS)
@settings(max_examples=25)
def test_what_was_written_is_read_back_with_the_same_probabilities(seed: int) -> None:
    written = [truth for one in stories(400, seed) for truth in one]
    assert list(read_truth(tokens_of(written))) == written


@given(SEEDS)
@settings(max_examples=10)
def test_probabilities_of_all_continuations_sum_to_one(seed: int) -> None:
    draw = drawing(Random(seed))
    taken: list[float] = []

    def choose(node: Node) -> str:
        shares = {token: edge.weight / total_weight(node) for token, edge in node.items()}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-12)
        assert min(shares.values()) > 0
        token = draw(node)
        taken.append(shares[token])
        return token

    told = list(tell(story, choose))
    assert [math.exp(-truth.surprise) for truth in told] == pytest.approx(taken)


@given(SEEDS)
@settings(max_examples=25)
def test_a_fact_stands_where_the_distance_says(seed: int) -> None:
    for one in stories(300, seed):
        tokens = tokens_of(one)
        for here, truth in enumerate(one):
            assert (truth.distance is None) == (truth.kind == "grammar")
            if truth.distance is None:
                continue
            told = tokens[here - truth.distance]
            if truth.kind == "pronoun":
                assert (truth.token in ("she", "her")) == (told in GIRLS)
            elif truth.token in ("in", "at", "under", "behind", "is", "are"):
                assert truth.kind in ("place", "number")
            elif truth.kind != "reason":
                assert told == truth.token


@given(SEEDS)
@settings(max_examples=25)
def test_a_story_is_a_story(seed: int) -> None:
    for one in stories(300, seed):
        tokens = tokens_of(one)
        assert tokens[-1] == END
        assert tokens.count(END) == 1
        assert 90 <= len(tokens) <= 250
        assert len(set(tokens) & set(NAMES)) == 2
        assert tokens.count('"') % 2 == 0
        events = sum(map(tokens.count, ("then", "soon", "later")))
        assert 2 <= events <= MOST_EVENTS
        assert consistency(tokens) == (consistency(tokens)[1],) * 2
        assert consistency(tokens)[1] >= 2


@pytest.mark.slow
def test_the_language_is_worth_learning() -> None:
    told = [truth for one in stories(60_000, 0) for truth in one]
    entropy = sum(truth.surprise for truth in told) / len(told)
    assert 0.3 < entropy < 0.4
    assert 140 <= len({truth.token for truth in told}) <= 400
    kinds = {*("grammar", "name", "pronoun", "place", "holder", "color", "thing", "number", "reason", "ending")}
    assert {truth.kind for truth in told} == kinds
    far = [truth.distance > 64 for truth in told if truth.distance is not None]
    assert 0.05 < sum(far) / len(far) < 0.25
    run = tg.train("kneser-ney", text="".join(map(line_of, stories(60_000, 0))), val_fraction=0.1)
    assert run.true_entropy is not None
    assert run.held_out is not None
    assert run.held_out.loss - run.true_entropy > 0.35


def test_the_same_seed_tells_the_same_stories_everywhere() -> None:
    # The hash is that of a text written once; another version of Python or another platform must not change it.
    text = "".join(map(line_of, stories(5_000, 7)))
    assert hashlib.sha256(text.encode()).hexdigest() == SHA256_OF_SEED_7
    assert text != "".join(map(line_of, stories(5_000, 8)))


SHA256_OF_SEED_7 = "194802d87cae7a5fabee11b748152a9b356a86d14877ef7348cd078314f25d71"


# --- texts that are damaged, cut, or not of the world ---------------------------------------------------------------


@given(SEEDS, st.integers(1, 600))
@settings(max_examples=25)
def test_a_text_may_end_anywhere(seed: int, length: int) -> None:
    written = [truth for one in stories(700, seed) for truth in one]
    read_back = list(read_truth(tokens_of(written)[:length]))
    assert [(one.token, one.surprise) for one in read_back] == [(one.token, one.surprise) for one in written[:length]]


@pytest.mark.slow
@given(SEEDS, st.integers(0, 10**6), st.sampled_from(["change", "drop", "double", "swap"]), st.data())
@settings(max_examples=100)
def test_a_damaged_text_is_refused_or_has_another_probability(
    seed: int, where: int, damage: str, data: st.DataObject
) -> None:
    tokens = [truth.token for one in stories(300, seed) for truth in one]
    i = where % (len(tokens) - 1)
    other = data.draw(st.sampled_from([*sorted(set(tokens)), "", "\x00", "Mina~name~Mina", "é"]))
    changed = {
        "change": [*tokens[:i], other, *tokens[i + 1 :]],
        "drop": [*tokens[:i], *tokens[i + 1 :]],
        "double": [*tokens[:i], tokens[i], *tokens[i:]],
        "swap": [*tokens[:i], tokens[i + 1], tokens[i], *tokens[i + 2 :]],
    }[damage]
    entropy = true_entropy(changed)
    if entropy is None:
        with pytest.raises(InputError, match=r"^not a text of the story world: token \d+ is [^\n]+$"):
            list(read_truth(changed))
    else:  # another text of the world: "then" for "soon", say
        assert 0 < entropy < 1
        assert tokens_of(list(read_truth(changed))) == changed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("the cat runs .", "token 0 is 'the', not 'it'"),
        ("it is a sunny day . <end>", "token 6 is '<end>', not 'Mina', 'Anna', 'Lily', ..."),
        ("it is a sunny day . Mina and Mina", "token 8 is 'Mina', not 'Anna'"),
    ],
)
def test_the_place_of_the_damage_is_named(text: str, message: str) -> None:
    with pytest.raises(InputError, match="not a text of the story world") as caught:
        list(read_truth(text.split()))
    assert message in str(caught.value)
    assert true_entropy(text.split()) is None


def test_true_entropy_of_a_part() -> None:
    tokens = ["it", "is", "a", "warm", "day", "."]
    assert true_entropy(tokens) == pytest.approx(math.log(10) / 6)
    assert true_entropy(tokens, 3) == pytest.approx(math.log(10) / 3)
    assert true_entropy(tokens, 6) is None
    assert list(read_truth([])) == []


def test_an_endless_text_is_read_as_it_comes() -> None:
    endless = (truth.token for one in stories(10_000_000, 0) for truth in one)
    assert [truth.token for truth, _ in zip(read_truth(endless), range(3), strict=False)] == ["it", "is", "a"]


# --- a text for people, and what it remembers -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("Mina has a red ball .", "Mina has a red ball."),
        (
            'Tom asks , " may I have it ? " " no ! " says Mina .',
            'Tom asks, "May I have it?" "No!" says Mina.',
        ),
        (
            '" where is it ? " asks Mina . " at the lake . " then',
            '"Where is it?" asks Mina. "At the lake." Then',
        ),
        ("what a hot day ! <end> it is", "What a hot day!\nIt is"),
        ("", ""),
        ('" <end> " a', '"\n"A'),
    ],
)
def test_detokenize(tokens: str, text: str) -> None:
    assert detokenize(tokens.split()) == text


@pytest.mark.parametrize(
    ("text", "right", "answered"),
    [
        ("Mina is in the garden . where is Mina ? Mina is in the garden .", 1, 1),
        ("Mina is in the garden . where is Mina ? Mina is in the park .", 0, 1),
        ("where is Mina ? Mina is in the park .", 0, 0),  # nobody has told
        ("Mina is in the garden . where is Mina ?", 0, 0),  # no answer
        ("Mina has a red ball . she is at the lake . where is Mina ? Mina is at the lake .", 1, 1),
        ("Mina has a red ball . then Mina paints the ball blue . what color is the ball ? the ball is red .", 0, 1),
        ("Mina has a red ball . then Mina gives the ball to Tom . who has the ball ? Tom has the ball .", 1, 1),
        ("Mina has a red ball . soon Tom takes the ball from Mina . what does Mina have ? Mina has nothing .", 1, 1),
        (
            "Tom has two red boots . Tom hides the boots in the box . where are the boots ? the boots are in the box .",
            1,
            1,
        ),
        ('Tom is at the lake . " where are you , Tom ? " asks Mina . " I am in the park . "', 0, 1),
        ("Tom wishes for a red cup . at last , Mina gives Tom a red cup . at last , Mina gives Tom a red hat .", 1, 2),
        ("Mina has a red ball . <end> who has the ball ? Mina has the ball .", 0, 0),  # another story
        ('the the ball . Mina Mina has ? who has " where', 0, 0),
    ],
)
def test_consistency_by_hand(text: str, right: int, answered: int) -> None:
    assert consistency(text.split()) == (right, answered)


def test_a_text_that_forgets_is_noticed() -> None:
    """Names exchanged in the second half of each story: what one child had or did is now said of the other."""
    right = answered = 0
    for one in stories(6_000, 5):
        tokens = tokens_of(one)
        hero, friend = dict.fromkeys(token for token in tokens if token in NAMES)
        other = {hero: friend, friend: hero}
        half = len(tokens) // 2
        found = consistency([*tokens[:half], *(other.get(token, token) for token in tokens[half:])])
        right, answered = right + found[0], answered + found[1]
    assert answered > 50
    assert 0.5 < right / answered < 0.9


@given(st.lists(st.sampled_from(sorted({truth.token for one in stories(3_000, 0) for truth in one})), max_size=80))
def test_noise_is_never_trouble(tokens: list[str]) -> None:
    right, answered = consistency(tokens)
    assert 0 <= right <= answered
    detokenize(tokens)


# --- the oracle -----------------------------------------------------------------------------------------------------


def test_grouped_by_hand() -> None:
    scored = [
        (Truth("red", "color", 5, 0.5), 1.0),
        (Truth("blue", "color", 200, 0.0), 3.0),
        (Truth("the", "grammar", None, 0.25), 0.5),
    ]
    assert grouped(scored, kind_of) == {"color": (2, 0.25, 2.0), "grammar": (1, 0.25, 0.5)}
    assert list(grouped(scored, distance_of)) == ["5 to 8", "129 or more", "no fact"]


# --- the command line -----------------------------------------------------------------------------------------------


def test_data_world(toy_gpt: Callable[..., Any], tmp_path: Path) -> None:
    out, truth = tmp_path / "w.txt", tmp_path / "t.csv"
    done = toy_gpt("data", "world", "--tokens", 1000, "--seed", 3, "--out", out, "--truth", truth)
    assert (done.code, done.err) == (0, "")
    tokens = out.read_text("utf-8").split()
    assert f"{len(tokens)} tokens, {tokens.count(END)} stories, true entropy 0.3" in done.out
    assert 1000 <= len(tokens) < 1250
    rows = list(csv.reader(truth.read_text("utf-8").splitlines()))
    assert rows[0] == ["position", "token", "kind", "distance", "true_surprise"]
    assert [row[1] for row in rows[1:]] == tokens
    assert [int(row[0]) for row in rows[1:]] == list(range(len(tokens)))
    for row, one in zip(rows[1:], read_truth(tokens), strict=True):
        assert row[2:4] == [one.kind, str(one.distance or "")]
        assert float(row[4]) == pytest.approx(one.surprise, abs=1e-6)
    assert corpus_at(Path("world:1k:3")).text == out.read_text("utf-8")


@pytest.mark.parametrize("options", [("--tokens", 0), ("--tokens", 10**12), ("--tokens", 9, "--seed", -1), ()])
def test_data_world_refuses(toy_gpt: Callable[..., Any], tmp_path: Path, options: tuple[object, ...]) -> None:
    assert toy_gpt("data", "world", "--out", tmp_path / "w.txt", *options).refused
    assert list(tmp_path.iterdir()) == []


def test_text_and_truth_need_two_files(toy_gpt: Callable[..., Any], tmp_path: Path) -> None:
    same = tmp_path / "w.txt"
    assert toy_gpt("data", "world", "--tokens", 9, "--out", same, "--truth", tmp_path / "." / "w.txt").refused
    assert not same.exists()


def test_train_and_evaluate_with_the_oracle(toy_gpt: Callable[..., Any], tmp_path: Path) -> None:
    base = tmp_path / "run"
    options = ("--model", "kneser-ney", "--val-fraction", 0.1, "--base-dir", base)
    trained = toy_gpt("train", "--corpus", "world:20k", *options)
    assert trained.code == 0, trained.err
    assert "true entropy of the held-out part 0.3" in trained.out
    tokens = corpus_at(Path("world:20k")).text.split()
    floor = true_entropy(tokens, int(len(tokens) * 0.9))
    assert f"{floor:.4f}" in trained.out
    told = toy_gpt("evaluate", "--base-dir", base, "--text", "world:2k:9", "--oracle")
    assert told.code == 0, told.err
    assert "tokens back to the fact" in told.out
    figures = json.loads(toy_gpt("evaluate", "--base-dir", base, "--text", "world:2k:9", "--oracle", "--json").out)
    assert figures["true_entropy"] == pytest.approx(true_entropy(corpus_at(Path("world:2k:9")).text.split()))
    for groups in (figures["by_kind"], figures["by_distance"]):
        assert sum(group["tokens"] for group in groups.values()) == figures["tokens"]
        whole = sum(group["tokens"] * group["loss"] for group in groups.values()) / figures["tokens"]
        assert whole == pytest.approx(figures["val_loss"])
        whole = sum(group["tokens"] * group["true_entropy"] for group in groups.values()) / figures["tokens"]
        assert whole == pytest.approx(figures["true_entropy"])
    other = tmp_path / "other.txt"
    other.write_text("the cat\n", encoding="utf-8")
    assert toy_gpt("evaluate", "--base-dir", base, "--text", other, "--oracle").refused
    assert toy_gpt("evaluate", "--base-dir", base, "--text", "world:2k", "--oracle", "--unknown", "skip").refused


def test_the_oracle_needs_words(toy_gpt: Callable[..., Any], trained: Callable[..., Path]) -> None:
    base = trained("bigram", "--tokenizer", "char")
    outcome = toy_gpt("evaluate", "--base-dir", base, "--text", "world:1k", "--oracle", "--unknown", "uniform")
    assert outcome.refused
    assert "--oracle needs a model of words" in outcome.err


def test_no_floor_for_other_texts(tiny_corpus: Path) -> None:
    assert tg.train("bigram", tiny_corpus, val_fraction=0.2, epochs=1).true_entropy is None


@pytest.mark.parametrize("name", ["world:0", "world:21m", "world:999999999m"])
def test_a_corpus_of_no_size_or_too_large_is_refused(toy_gpt: Callable[..., Any], tmp_path: Path, name: str) -> None:
    assert toy_gpt("train", "--model", "bigram", "--corpus", name, "--base-dir", tmp_path).refused


@pytest.mark.parametrize("name", ["world:", "world:4x", "world:-1", "world:1k:", "world:1k:x", "world:٣"])
def test_a_corpus_of_another_form_is_a_file_that_is_missing(
    toy_gpt: Callable[..., Any], tmp_path: Path, name: str
) -> None:
    assert toy_gpt("train", "--model", "bigram", "--corpus", name, "--base-dir", tmp_path).refused


@pytest.mark.slow
def test_the_committed_corpus_is_the_one_that_its_seed_tells(repository: Path, tmp_path: Path) -> None:
    write_world(tmp_path / "w.txt", 24_500, 40, tmp_path / "t.csv")
    for made, committed in (("w.txt", "040_story_world.txt"), ("t.csv", "040_story_world.truth.csv")):
        assert (tmp_path / made).read_bytes() == (repository / "corpus" / committed).read_bytes()
