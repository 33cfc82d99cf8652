"""Tokenizers that other programs saved: GPT-2's two files alone, ids as names, and tokenizer.json alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import toy_gpt_train as tg
from toy_gpt_train.errors import InputError
from toy_gpt_train.files import MAX_JSON_BYTES
from toy_gpt_train.tokenizers.bpe import BPETokenizer
from toy_gpt_train.tokenizers.bpe_train import train_bpe
from toy_gpt_train.tokenizers.char import CharTokenizer
from toy_gpt_train.tokenizers.saved import load_tokenizer, tokenizer_files, tokenizer_sha256

END = "<|endoftext|>"
TEXT = f"hug pug{END}hug hugs, naïve 7 hug{END}"


@pytest.fixture
def trained(tmp_path: Path) -> BPETokenizer:
    """A tokenizer, whose files are in tmp_path / "ours"."""
    tokenizer = BPETokenizer.from_text(TEXT, 262, [END])
    tokenizer.save(tmp_path / "ours")
    return tokenizer


def copy_of(tmp_path: Path, *names: str) -> Path:
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes((tmp_path / "ours" / name).read_bytes())
    return folder


def assert_same(folder: Path, tokenizer: BPETokenizer) -> None:
    read = load_tokenizer(folder)
    assert isinstance(read, BPETokenizer)
    assert (read.vocab, read.merges, read.special_tokens) == (tokenizer.vocab, tokenizer.merges, {END: 0})
    assert read.encode(TEXT) == tokenizer.encode(TEXT)
    assert read.files() == tokenizer.files()


# --- GPT-2's two files --------------------------------------------------------------------------------------


def test_training_in_memory_is_training_on_a_file(trained: BPETokenizer, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    told: list[float] = []
    vocab, merges = train_bpe(tmp_path / "text.txt", 262, [END], on_progress=lambda share, status: told.append(share))
    assert (vocab, merges) == (trained.vocab, trained.merges)
    assert [*trained.tokens[:2], *trained.tokens[-5:]] == [END, "Ā", "ug", "hug", "Ġhug", "Ã¯", "Ã¯v"]
    assert told == sorted(told)
    assert told[-1] == 1


def test_two_files_alone_know_a_marked_token_that_no_merge_makes(trained: BPETokenizer, tmp_path: Path) -> None:
    folder = copy_of(tmp_path, "vocab.json", "merges.txt")
    assert_same(folder, trained)
    assert [path.name for path in tokenizer_files(folder)] == ["merges.txt", "vocab.json"]


def test_other_special_tokens_of_two_files_must_be_named(tmp_path: Path) -> None:
    BPETokenizer.from_text("hug hug", 260, ["<end>", "<|a|>"]).save(tmp_path / "ours")
    folder = copy_of(tmp_path, "vocab.json", "merges.txt")
    with pytest.raises(InputError, match=r"merges\.txt: no merge makes '<end>', which is in vocab\.json$"):
        load_tokenizer(folder)
    assert load_tokenizer(folder, ["<end>"]).special == ("<end>", "<|a|>")
    with pytest.raises(InputError, match="a saved tokenizer has special tokens of its own, or none"):
        load_tokenizer(tmp_path / "ours", ["<end>"])
    CharTokenizer("ab").save(tmp_path / "chars")
    with pytest.raises(InputError, match="a saved tokenizer has special tokens of its own, or none"):
        load_tokenizer(tmp_path / "chars", ["<end>"])


def test_a_marked_token_that_a_merge_makes_is_an_ordinary_one(tmp_path: Path) -> None:
    # Signs are one pre-token, so "<||>" can be learned.
    learned = BPETokenizer.from_text("<||> <||>", 259)
    assert "<||>" in learned.tokens
    learned.save(tmp_path / "ours")
    assert load_tokenizer(copy_of(tmp_path, "vocab.json", "merges.txt")).special == ()


# --- ids as names -------------------------------------------------------------------------------------------


def by_id(tmp_path: Path, change: Callable[[dict[str, str]], object] = lambda names: None) -> Path:
    """Two files as a program writes them that saves ids as names, and merges without header and last line end."""
    folder = copy_of(tmp_path, "vocab.json", "merges.txt")
    names = {str(i): token for token, i in json.loads((folder / "vocab.json").read_bytes()).items()}
    change(names)
    (folder / "vocab.json").write_text(json.dumps(names))
    lines = (folder / "merges.txt").read_text("utf-8").splitlines()[1:]
    (folder / "merges.txt").write_text("\n".join(lines), "utf-8")
    return folder


def test_ids_as_names(trained: BPETokenizer, tmp_path: Path) -> None:
    folder = by_id(tmp_path)
    assert (folder / "vocab.json").read_text().startswith('{"0": "<|endoftext|>", "1": ')
    assert_same(folder, trained)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda names: names.pop("7"), "the id of '0' is not a whole number"),
        (lambda names: names.update({"262": "x"}), "ids 121 and 262 are the same token 'x'"),
        (lambda names: names.update({"300": "xy"}), "the id of '0' is not a whole number"),
        (lambda names: names.update({"262": "xy"}), r"no merge makes 'xy'"),
        (lambda names: names.update({"262": ""}), "a token is empty"),
        (lambda names: names.update({"262": "a b"}), "' ' in 'a b' is not in GPT-2's printable alphabet"),
        (lambda names: names.update({"5": 5}), "is not a whole number"),
        (lambda names: names.update({"-1": "xy"}), "is not a whole number"),
    ],
)
@pytest.mark.usefixtures("trained")
def test_damaged_ids_as_names(change: Callable[[dict[str, str]], object], message: str, tmp_path: Path) -> None:
    folder = by_id(tmp_path, change)
    with pytest.raises(InputError, match=message) as caught:
        load_tokenizer(folder)
    assert str(caught.value).startswith(str(folder))
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("trained")
def test_merges_that_lack_their_end_are_refused_where_tokens_are_missing(tmp_path: Path) -> None:
    folder = by_id(tmp_path)
    whole = (folder / "merges.txt").read_text("utf-8")
    for end in range(len(whole)):
        (folder / "merges.txt").write_text(whole[:end], "utf-8")
        with pytest.raises(InputError, match=r"merges\.txt"):
            load_tokenizer(folder)


# --- tokenizer.json alone -----------------------------------------------------------------------------------


def alone(tmp_path: Path, change: Callable[[dict[str, Any]], object] = lambda content: None) -> Path:
    folder = copy_of(tmp_path, "tokenizer.json")
    content = json.loads((folder / "tokenizer.json").read_bytes())
    change(content)
    (folder / "tokenizer.json").write_text(json.dumps(content))
    return folder


def as_gpt2_has_it(content: dict[str, Any]) -> None:
    """Its model does not say its type; its pre-tokenizer does not say use_regex; empty texts stand for nothing."""
    del content["model"]["type"], content["pre_tokenizer"]["use_regex"]
    content["model"] |= {"continuing_subword_prefix": "", "end_of_word_suffix": ""}
    content["post_processor"] = content["pre_tokenizer"]


def as_new_versions_have_it(content: dict[str, Any]) -> None:
    """Merges are pairs, and special tokens may be outside the model's vocabulary."""
    content["model"]["merges"] = [line.split(" ") for line in content["model"]["merges"]]
    del content["model"]["vocab"][END]


@pytest.mark.parametrize("change", [lambda content: None, as_gpt2_has_it, as_new_versions_have_it])
def test_one_file_is_a_tokenizer(
    trained: BPETokenizer, tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    folder = alone(tmp_path, change)
    assert_same(folder, trained)
    assert [path.name for path in tokenizer_files(folder)] == ["tokenizer.json"]
    assert tokenizer_sha256(folder) != tokenizer_sha256(tmp_path / "ours")


SPLIT = {"type": "Split", "pattern": {"Regex": r"\p{L}+"}, "behavior": "Isolated"}
SEQUENCE = {"type": "Sequence", "pretokenizers": [SPLIT, {"type": "ByteLevel"}]}
NESTED: dict[str, Any] = {"type": "Sequence"}
NESTED["pretokenizers"] = [{"type": "Sequence", "pretokenizers": [SEQUENCE] * 100}] * 100
REFUSED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "model": (lambda d: d["model"].update(type="WordPiece"), "its model is 'WordPiece'; only byte-level BPE"),
    "type of a model": (lambda d: d["model"].update(type=[1]), r"its model is \[1\]; only"),
    "no model": (lambda d: d.pop("model"), "its model or its pre_tokenizer is not an object"),
    "normalizer": (
        lambda d: d.update(normalizer={"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "Lowercase"}]}),
        r"its normalizer \(Sequence of NFD, Lowercase\) changes the text",
    ),
    "pre-tokenizer": (lambda d: d.update(pre_tokenizer={"type": "Metaspace"}), r"its pre_tokenizer \(Metaspace\)"),
    "pattern": (lambda d: d.update(pre_tokenizer=SEQUENCE), r"\(Sequence of Split with the pattern .*ByteLevel\)"),
    "nested": (lambda d: d.update(pre_tokenizer=NESTED), r"\(Sequence of Sequence, Sequence, Sequence\)"),
    "no pattern": (lambda d: d["pre_tokenizer"].update(use_regex=False), "use_regex of its pre_tokenizer is False"),
    "space": (lambda d: d["pre_tokenizer"].pop("add_prefix_space"), "add_prefix_space of its pre_tokenizer is True"),
    "post-processor": (lambda d: d.update(post_processor={"type": "TemplateProcessing"}), "TemplateProcessing"),
    "byte_fallback": (
        lambda d: d["model"].update(byte_fallback=True),
        "its model has byte_fallback, but its normalizer",
    ),
    "lstrip": (lambda d: d["added_tokens"][0].update(lstrip=True), "lstrip of the added token"),
    "id": (lambda d: d["added_tokens"][0].update(id=5), r"give '<\|endoftext\|>' different ids"),
    "vocab": (lambda d: d["model"].update(vocab=[]), "the vocab of its model is not an object"),
    "merges": (lambda d: d["model"].update(merges={}), "its merges are not a list"),
    "merge": (lambda d: d["model"].update(merges=[1]), "merge 0: not two tokens with a space"),
    "merge of three": (lambda d: d["model"].update(merges=[["a", "b", "c"]]), "merge 0: not two tokens"),
    "merge of nothing": (lambda d: d["model"]["merges"].insert(1, ["q", "q"]), "merge 1: 'qq' is not in the vocab"),
    "token": (lambda d: d["model"]["vocab"].update(xyz=262), "no merge makes 'xyz', which is in its vocab"),
    "large id": (lambda d: d["model"]["vocab"].update(xyz=10**300), "ids must be 0 to 262"),
    "byte": (lambda d: d["model"]["vocab"].pop("a"), "ids must be 0 to 260"),
    "list as id": (lambda d: d["model"]["vocab"].update(xyz=[]), "the id of 'xyz' is not a whole number"),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.usefixtures("trained")
def test_what_is_not_gpt2s_is_refused_by_name(what: str, tmp_path: Path) -> None:
    change, message = REFUSED[what]
    folder = alone(tmp_path, change)
    with pytest.raises(InputError, match=message) as caught:
        load_tokenizer(folder)
    assert str(caught.value).startswith(str(folder / "tokenizer.json"))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500 + len(str(folder))


@pytest.mark.usefixtures("trained")
def test_damage_in_one_file_is_one_line(tmp_path: Path) -> None:
    folder = alone(tmp_path)
    path = folder / "tokenizer.json"
    whole = path.read_bytes()
    for damaged in (b"", b"[]", b"{}", b"[" * 100_000, whole[:-3], whole[: len(whole) // 2], b"\xff" + whole):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"tokenizer\.json") as caught:
            load_tokenizer(folder)
        assert "\n" not in str(caught.value)
    with path.open("wb") as file:
        file.truncate(MAX_JSON_BYTES + 1)  # a file with a hole takes no room, whatever its size
    with pytest.raises(InputError, match="too large"):
        load_tokenizer(folder)


@pytest.mark.usefixtures("trained")
def test_one_file_beside_another_tokenizer_is_two(tmp_path: Path) -> None:
    folder = alone(tmp_path)
    CharTokenizer("ab").save(folder)
    with pytest.raises(InputError, match=r"holds two tokenizers, toy_tokenizer\.json and tokenizer\.json$"):
        load_tokenizer(folder)


# --- training with them -------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [by_id, alone])
def test_a_run_keeps_the_whole_tokenizer(trained: BPETokenizer, make: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = make(tmp_path)
    run = tg.train("bigram", text="hug hug", tokenizer=folder, epochs=1, save_to=tmp_path / "run")
    for path in folder.iterdir():
        path.unlink()
    again = tg.load(tmp_path / "run")
    assert isinstance(again.tokenizer, BPETokenizer)
    assert (again.tokenizer.files(), again.tokenizer.special) == (trained.files(), (END,))
    assert again.model.vocab_size == trained.vocab_size == 262
    assert again.meta["tokenizer"] == run.meta["tokenizer"] == {"kind": "bpe", "special": [END]}
