"""GGUF: our bytes against the published layout, the reference reader, and llama.cpp, which computes with them."""

import json
import struct
from array import array
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from math import log
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.request import Request, urlopen

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import toy_gpt_train as tg
from toy_gpt_train.artifacts.run_folder import SavedRun
from toy_gpt_train.cli import main
from toy_gpt_train.errors import InputError
from toy_gpt_train.exchange import gguf as module
from toy_gpt_train.exchange.gguf import write
from toy_gpt_train.math_training import argmax
from toy_gpt_train.models.architecture import Architecture
from toy_gpt_train.models.gpt import GPTModel
from toy_gpt_train.models.llama import LlamaModel
from toy_gpt_train.nn.rotation import RopeScaling, rope_frequencies
from toy_gpt_train.tokenizers.bpe import BPETokenizer
from toy_gpt_train.tokenizers.char import CharTokenizer
from toy_gpt_train.tokenizers.sentencepiece import SentencePieceTokenizer
from toy_gpt_train.tokenizers.word import WordTokenizer

MODELS = {"gpt": GPTModel, "llama": LlamaModel}
END = "<|endoftext|>"
CONTEXT = 64
TEXT = "the cat sat on the mat.\nthe “old” dog sat, too: é € 𝄞!\n" * 20 + "Zoë saw\tit all. "

# --- a reader, written from the published layout ------------------------------------------------------------

UINT8, UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 0, 4, 5, 6, 7, 8, 9
CODES = {UINT8: "B", UINT32: "I", INT32: "i", FLOAT32: "f", BOOL: "?"}


class Reader:
    """A file's fields, and its tensors as (lengths, the innermost first; bytes)."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0
        assert self.take(4) == b"GGUF"
        assert self.number("I") == 3
        num_tensors, num_fields = self.number("Q"), self.number("Q")
        self.types: dict[str, Any] = {}
        self.fields: dict[str, Any] = {}
        for _ in range(num_fields):
            key = self.text()
            assert key not in self.fields
            kind = self.number("I")
            self.types[key], self.fields[key] = self.value(kind)
        assert self.fields.get("general.alignment", 32) == 32
        found = []
        for _ in range(num_tensors):
            name = self.text()
            lengths = [self.number("Q") for _ in range(self.number("I"))]
            assert self.number("I") == 0  # float32
            found.append((name, lengths, self.number("Q")))
        assert not any(self.take(-self.at % 32))
        self.tensors: dict[str, tuple[list[int], bytes]] = {}
        start = self.at
        for name, lengths, offset in found:
            assert self.at - start == offset
            assert offset % 32 == 0
            assert name not in self.tensors
            size = 4
            for length in lengths:
                size *= length
            self.tensors[name] = lengths, self.take(size)
            assert not any(self.take(-size % 32))
        assert self.at == len(data)

    def take(self, size: int) -> bytes:
        assert self.at + size <= len(self.data)
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, code: str) -> Any:
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def text(self) -> str:
        return self.take(self.number("Q")).decode("utf-8")

    def value(self, kind: int) -> tuple[Any, Any]:
        """The type and the value; a list's type is that of its items, in a list."""
        if kind == ARRAY:
            kind, length = self.number("I"), self.number("Q")
            return [kind], [self.value(kind)[1] for _ in range(length)]
        return kind, self.text() if kind == STRING else self.number(CODES[kind])


def floats(values: Any) -> bytes:
    return array("f", values).tobytes()


def a_run(
    kind: str = "llama", tokenizer: Any = None, architecture: Architecture | None = None, context: int = 4
) -> Any:
    """A run with random weights."""
    tokenizer = tokenizer or CharTokenizer("abc")
    size = architecture or Architecture(embedding_dim=8, hidden_dim=6, heads=2)
    model = MODELS[kind](tokenizer.vocab_size, context, size, seed=1)
    return SavedRun({"model_kind": kind}, tokenizer, [2] * tokenizer.vocab_size, model, [])


def written(run: SavedRun, folder: Path) -> Reader:
    assert write(run, folder / "model.gguf") == [folder / "model.gguf"]
    return Reader((folder / "model.gguf").read_bytes())


def tokenizer_fields(tokenizer: Any, folder: Path) -> SimpleNamespace:
    fields = written(a_run(tokenizer=tokenizer), folder).fields
    return SimpleNamespace(
        **{key.removeprefix("tokenizer.ggml."): value for key, value in fields.items() if key.startswith("tokenizer")}
    )


# --- the file -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("gguf")


def sizes() -> Any:
    return st.builds(
        lambda kv, share, pairs, **others: Architecture(
            embedding_dim=kv * share * pairs * 2, heads=kv * share, kv_heads=kv if share > 1 else 0, **others
        ),
        *(st.integers(1, 2), st.integers(1, 2), st.integers(1, 3)),
        hidden_dim=st.integers(1, 9),
        layers=st.integers(1, 3),
        rope_base=st.sampled_from([10.0, 5e5]),
        tied=st.booleans(),
        norm_eps=st.sampled_from([1e-5, 1e-6]),
        head_dim=st.sampled_from([0, 0, 4]),
        attention_bias=st.booleans(),
        mlp_bias=st.booleans(),
        rope_scaling=st.sampled_from([None, RopeScaling(2.0), RopeScaling(8.0, 1.0, 4.0, 16)]),
    )


@settings(max_examples=40, deadline=None)
@given(kind=st.sampled_from(["gpt", "llama"]), size=sizes(), vocab=st.integers(1, 40), context=st.integers(1, 9))
def test_sizes_and_weights_of_any_network(folder, kind, size, vocab, context):
    run = a_run(kind, CharTokenizer(chr(97 + i) for i in range(vocab)), size, context)
    file = written(run, folder)
    prefix = {"gpt": "gpt2", "llama": "llama"}[kind]
    own = {k.removeprefix(f"{prefix}."): v for k, v in file.fields.items() if k.startswith(prefix)}
    epsilon = struct.unpack("<f", struct.pack("<f", size.norm_eps))[0]
    assert file.fields["general.architecture"] == prefix
    is_linear = size.rope_scaling == RopeScaling(2.0)
    assert own == {
        "vocab_size": vocab,
        "context_length": context,
        "embedding_length": size.embedding_dim,
        "block_count": size.layers,
        "feed_forward_length": size.hidden_dim,
        "attention.head_count": size.heads,
        "attention.head_count_kv": (size.kv_heads or size.heads) if kind == "llama" else size.heads,
        **(
            {
                "attention.layer_norm_rms_epsilon": epsilon,
                "rope.dimension_count": size.head_size,
                "rope.freq_base": size.rope_base,
                **dict.fromkeys(["attention.key_length", "attention.value_length"] if size.head_dim else [], 4),
                **({"rope.scaling.factor": 2.0, "rope.scaling.type": "linear"} if is_linear else {}),
            }
            if kind == "llama"
            else {"attention.layer_norm_epsilon": epsilon}
        ),
    }
    assert {key: file.types[f"{prefix}.{key}"] for key, value in own.items()} == {
        key: {float: FLOAT32, int: UINT32, str: STRING}[type(value)] for key, value in own.items()
    }
    check_weights(file, run.model.network.state_dict(), kind, size)


def check_weights(file: Reader, weights: Any, kind: str, size: Architecture) -> None:
    c, f = size.embedding_dim, size.hidden_dim
    if kind == "gpt":
        size = replace(size, head_dim=0, attention_bias=True, mlp_bias=True, rope_scaling=None)
    q, kv = size.head_size * size.heads, size.head_size * (size.kv_heads or size.heads)
    vocab = weights["token_embeddings.weight"].shape[0]
    expected = {"token_embd.weight": ([c, vocab], floats(weights.pop("token_embeddings.weight").data))}

    def expect(name: str, lengths: list[int], *ours: str) -> None:
        assert name not in expected
        expected[name] = lengths, b"".join(floats(weights.pop(one).data) for one in ours)

    for i in range(size.layers):
        ours, theirs = f"blocks.{i}.", f"blk.{i}."
        for part in ["weight", "bias"] if kind == "gpt" else ["weight"]:
            expect(f"{theirs}attn_norm.{part}", [c], f"{ours}norm_1.{part}")
            expect(f"{theirs}ffn_norm.{part}", [c], f"{ours}norm_2.{part}")
        for part in ["weight", "bias"] if size.attention_bias else ["weight"]:
            width = {"weight": [c], "bias": []}[part]
            maps = [f"{ours}attention.{one}_proj.{part}" for one in "qkv"]
            if kind == "gpt":
                expect(f"{theirs}attn_qkv.{part}", [*width, 3 * c], *maps)
            else:
                for one, rows, name in zip("qkv", (q, kv, kv), maps, strict=True):
                    expect(f"{theirs}attn_{one}.{part}", [*width, rows], name)
            expect(f"{theirs}attn_output.{part}", [q, c] if width else [c], f"{ours}attention.o_proj.{part}")
        for part in ["weight", "bias"] if size.mlp_bias else ["weight"]:
            width = {"weight": [c], "bias": []}[part]
            if kind == "llama":
                expect(f"{theirs}ffn_gate.{part}", [*width, f], f"{ours}feed_forward.gate_proj.{part}")
            expect(f"{theirs}ffn_up.{part}", [*width, f], f"{ours}feed_forward.up_proj.{part}")
            expect(f"{theirs}ffn_down.{part}", [f, c] if width else [c], f"{ours}feed_forward.down_proj.{part}")
    if size.rope_scaling is not None and size.rope_scaling.original_context:
        # llama.cpp divides the frequency of a pair by it.
        turns = rope_frequencies(size.head_size, size.rope_base)
        slow = rope_frequencies(size.head_size, size.rope_base, size.rope_scaling)
        expected["rope_freqs.weight"] = [len(turns)], floats(a / b for a, b in zip(turns, slow, strict=True))
    expect("output_norm.weight", [c], "norm.weight")
    if kind == "gpt":
        context = weights["position_embeddings.weight"].shape[0]
        expect("position_embd.weight", [c, context], "position_embeddings.weight")
        expect("output_norm.bias", [c], "norm.bias")
    if not size.tied:
        expect("output.weight", [c, vocab], "output.weight")
    assert not weights
    assert file.tensors == expected


def test_big_endian_machines_write_the_same_bytes(tmp_path, monkeypatch):
    run = a_run()
    first = written(run, tmp_path).tensors["token_embd.weight"][1]
    monkeypatch.setattr(module.sys, "byteorder", "big")
    swapped = array("f", written(run, tmp_path).tensors["token_embd.weight"][1])
    swapped.byteswap()
    assert swapped.tobytes() == first


@pytest.mark.parametrize("kind", ["gpt", "llama"])
@pytest.mark.parametrize("tokenizer", ["word", "char", "bpe"])
def test_the_reference_reader_reads_every_field_and_tensor(tmp_path, kind, tokenizer):
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "model.gguf"
    trained(kind, tokenizer).export("gguf", path)
    ours, theirs = Reader(path.read_bytes()), gguf.GGUFReader(path)
    fields = {key: field.contents() for key, field in theirs.fields.items() if not key.startswith("GGUF.")}
    assert fields == ours.fields
    assert {t.name: ([int(n) for n in t.shape], t.data.tobytes()) for t in theirs.tensors} == ours.tensors
    assert {t.tensor_type for t in theirs.tensors} == {gguf.GGMLQuantizationType.F32}
    arch = {"gpt": gguf.MODEL_ARCH.GPT2, "llama": gguf.MODEL_ARCH.LLAMA}[kind]
    named = {gguf.TENSOR_NAMES[one] for one in gguf.MODEL_TENSORS[arch]}
    for name in ours.tensors:
        block = name.split(".")[1] if name.startswith("blk.") else ""
        assert name.rpartition(".")[0] in {one.format(bid=block) for one in named}


def test_what_gguf_cannot_say_is_refused_and_nothing_is_written(tmp_path):
    path = tmp_path / "model.gguf"
    for kind in ("unigram", "bigram", "context-2", "kneser-ney"):
        run = tg.train(kind, text=TEXT)
        with pytest.raises(InputError, match=f"gpt or llama, but not {kind}"):
            run.export("gguf", path)
    for kind in ("mixture", "embeddings", "attention"):
        with pytest.raises(InputError, match=f"gpt or llama, but not {kind}"):
            tg.untrained(kind, text=TEXT).export("gguf", path)
    assert list(tmp_path.iterdir()) == []


def test_the_old_file_stays_if_the_new_one_cannot_be_written(tmp_path, monkeypatch):
    path = tmp_path / "model.gguf"
    path.write_bytes(b"old")

    def full(values: Any) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_numbers", full)
    with pytest.raises(OSError, match="No space left"):
        write(a_run(), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_command(tmp_path, capsys):
    base, out = tmp_path / "run", tmp_path / "model.gguf"
    run = trained("llama", "char")
    run.save(base)
    assert main(["export", "--base-dir", str(base), "--to", "gguf", "--out", str(out)]) == 0
    assert f"{out.stat().st_size:,} bytes" in capsys.readouterr().out
    assert run.export("gguf", tmp_path / "again.gguf") == [tmp_path / "again.gguf"]
    assert out.read_bytes() == (tmp_path / "again.gguf").read_bytes()


# --- the tokenizer ------------------------------------------------------------------------------------------


def test_bpe_is_gpt2s(tmp_path):
    tokenizer = BPETokenizer.from_text("hug hug hug hug", 260, [END])
    fields = tokenizer_fields(tokenizer, tmp_path)
    assert (fields.model, fields.pre) == ("gpt2", "gpt-2")
    assert fields.tokens == [*tokenizer.tokens]
    assert fields.tokens[0] == END
    assert fields.tokens[257:] == ["ug", "hug", "Ġhug"]
    assert fields.merges == ["u g", "h ug", "Ġ hug"]
    assert fields.token_type == [3] + [1] * 259
    assert (fields.bos_token_id, fields.eos_token_id) == (0, 0)
    assert (fields.add_bos_token, fields.add_eos_token) == (False, False)


@pytest.mark.parametrize(("cut", "whole", "name"), [("llama3", True, "llama-bpe"), ("digits", False, "smollm")])
def test_other_ways_to_cut_have_other_names(tmp_path, cut, whole, name):
    tokenizer = BPETokenizer({i: bytes([i]) for i in range(256)}, [], cut=cut, ignore_merges=whole)
    assert tokenizer_fields(tokenizer, tmp_path).pre == name


def test_characters_are_merges_of_their_bytes(tmp_path):
    fields = tokenizer_fields(CharTokenizer.from_text("a \n€é" + END, special=[END]), tmp_path)
    assert (fields.model, fields.pre) == ("gpt2", "gpt-2")
    assert fields.tokens == ["Ċ", "Ġ", END, "a", "Ã©", "âĤ¬"]
    assert fields.merges == ["Ã ©", "â Ĥ", "âĤ ¬"]
    assert fields.token_type == [1, 1, 3, 1, 1, 1]
    assert fields.eos_token_id == 2


def test_words_have_the_space_before_them(tmp_path):
    fields = tokenizer_fields(WordTokenizer.from_text("the cat" + END, special=[END]), tmp_path)
    assert fields.model == "t5"
    assert fields.tokens == [END, "▁cat", "▁the"]
    assert fields.token_type == [3, 1, 1]
    assert fields.add_space_prefix is fields.remove_extra_whitespaces is True
    assert (fields.eos_token_id, fields.unknown_token_id) == (0, 0)


LEARNED = ["th", "▁t", "he", "▁the", "the", "▁th", "ca", "at", "cat", "▁cat", "▁▁", "▁▁▁", "aa", "aaa", "▁c", "▁ca"]


def sentencepiece(
    learned: list[str] | None = None, less: tuple[str, str] | None = None, **how: Any
) -> SentencePieceTokenizer:
    """Tokens in the order of learning, with every merge that makes one, as Llama 2 has them."""
    marks, letters = ["<unk>", "<s>", "</s>"], [*(f"<0x{byte:02X}>" for byte in range(256)), *"▁thecasn."]
    tokens = [*marks, *letters, *(LEARNED if learned is None else learned)]
    merges = [
        (token[:cut], token[cut:])
        for token in tokens[len(marks) + 256 :]
        for cut in range(1, len(token))
        if {token[:cut], token[cut:]} <= {*tokens} and (token[:cut], token[cut:]) != less
    ]
    return SentencePieceTokenizer(tokens, merges, marks, **how)


def in_another_order(last: tuple[str, str], learned: list[str] | None = None) -> SentencePieceTokenizer:
    """The same, but a merge is the last one."""
    tokenizer = sentencepiece(learned)
    merges = [*(merge for merge in tokenizer.merges if merge != last), last]
    return SentencePieceTokenizer(tokenizer.tokens, merges, tokenizer.special)


def test_sentencepiece_is_told_by_scores(tmp_path):
    tokenizer = sentencepiece()
    run = a_run(tokenizer=tokenizer)
    run = run._replace(meta={**run.meta, "start_tokens": ["<s>"]})
    file = written(run, tmp_path)
    fields = {key.removeprefix("tokenizer.ggml."): value for key, value in file.fields.items()}
    assert (fields["model"], fields["tokens"]) == ("llama", tokenizer.tokens)
    assert file.types["tokenizer.ggml.scores"] == [FLOAT32]
    made = {token: -fields["scores"][i] for i, token in enumerate(tokenizer.tokens)}
    order = [left + right for left, right in tokenizer.merges]
    assert [made[token] for token in dict.fromkeys(order)] == list(range(len(LEARNED)))
    assert fields["token_type"] == [3] * 3 + [6] * 256 + [1] * (tokenizer.vocab_size - 259)
    assert [fields[f"{name}_token_id"] for name in ("bos", "eos")] == [1, 2]
    assert (fields["add_bos_token"], fields["add_space_prefix"]) == (False, True)
    assert tokenizer_fields(sentencepiece(prefix="never", strips=False), tmp_path).add_space_prefix is False


def by_scores(text: str, tokens: list[str], scores: list[float]) -> list[str]:
    """llama.cpp's way in the plainest form: of all neighbors that are a token, those of the highest score, leftmost."""
    score = dict(zip(tokens, scores, strict=True))
    found = list(text)
    while pairs := [(-score[a + b], i) for i, (a, b) in enumerate(pairwise(found)) if a + b in score]:
        _, i = min(pairs)
        found[i : i + 2] = [found[i] + found[i + 1]]
    return [one for part in found for one in ([part] if part in score else [f"<0x{b:02X}>" for b in part.encode()])]


def test_scores_give_the_same_tokens_as_merges(tmp_path):
    tokenizer = sentencepiece()
    fields = tokenizer_fields(tokenizer, tmp_path)

    @settings(max_examples=500, deadline=None)
    @given(st.text(st.sampled_from(" thecasnx.é"), max_size=40))
    def check(text: str) -> None:
        expected = by_scores(("▁" + text if text else "").replace(" ", "▁"), fields.tokens, fields.scores)
        assert tokenizer.tokenize(text) == expected

    check()


def test_without_an_end_of_text_the_rarest_token_has_to_be_it(tmp_path):
    run = a_run(tokenizer=WordTokenizer(["a", "b", "c"]))._replace(frequencies=[5, 3, 4])
    fields = written(run, tmp_path).fields
    assert {fields[f"tokenizer.ggml.{name}_token_id"] for name in ("bos", "eos", "unknown")} == {1}


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [
        (CharTokenizer([" ", "Ġ"], ["Ġ"]), "special token 'Ġ' from an ordinary one"),
        (WordTokenizer(["a", "▁a"], ["▁a"]), "special token '▁a' from an ordinary one"),
        (WordTokenizer(["a", "b▁c"]), "U\\+2581 in the word 'b▁c'"),
        (WordTokenizer(["a", "a\0b"]), r"the token '▁a\\x00b' at its zero byte"),
        (
            BPETokenizer({i: bytes([i]) for i in range(256)}, [], cut="llama3"),
            "no name for BPE that cuts by llama3 and has ignore_merges False",
        ),
        (SimpleNamespace(kind="unigram", vocab_size=3), "no tokenizer that does what unigram does"),
        (sentencepiece(prefix="first"), r"which this tokenizer does not \(prefix 'first', strips True\)"),
        (sentencepiece(strips=False), r"which this tokenizer does not \(prefix 'every', strips False\)"),
        (sentencepiece(less=("▁t", "he")), "llama.cpp would also merge '▁t' and 'he'"),
        (sentencepiece(learned=["th", "t" * 1001]), "the token 't{59} is too long"),
        (in_another_order(("▁t", "he")), "llama.cpp would do the merges that make '▁the' in another order"),
        (in_another_order(("t", "ht"), learned=["ht", "th", "tht", "htht"]), "would cut 'thth.*' into other tokens"),
    ],
)
def test_a_tokenizer_that_llama_cpp_does_not_have_is_refused(tmp_path, tokenizer, message):
    run = a_run(tokenizer=tokenizer)
    with pytest.raises(InputError, match=message) as caught:
        write(run, tmp_path / "model.gguf")
    assert len(str(caught.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


# --- llama.cpp ----------------------------------------------------------------------------------------------


@cache
def trained(kind: str, tokenizer: str, special: bool = False) -> Any:
    text = TEXT.replace("\n", END) if special else TEXT
    how = {"steps": 12, "batch_size": 2, "embedding_dim": 16, "heads": 2, "layers": 2, "learning_rate": 0.02}
    marks = [END] if special else []
    return tg.train(kind, text=text, tokenizer=tokenizer, special=marks, bpe_vocab=300, context=CONTEXT, **how)


class LlamaCpp:
    """A file that llama.cpp has opened; its server answers on this machine."""

    def __init__(self, path: Path, vocab_size: int) -> None:
        import xllamacpp

        self.vocab_size = vocab_size
        how = xllamacpp.CommonParams()
        how.model.path, how.n_ctx, how.n_parallel, how.cpuparams.n_threads = str(path), CONTEXT, 1, 1
        how.warmup, how.verbosity = False, 0
        # WHY: the keys and values that it keeps have 16 bits otherwise.
        how.cache_type_k = how.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        how.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.server = xllamacpp.Server(how)

    def log_probs(self, ids: list[int]) -> list[float]:
        """Its log probabilities of all tokens after a text."""
        asked = {"prompt": ids, "n_predict": 1, "n_probs": self.vocab_size, "temperature": 0}
        (choice,) = self.server.handle_completions(asked)["choices"]
        (said,) = choice["logprobs"]["content"]
        by_id = {token["id"]: token["logprob"] for token in said["top_logprobs"]}
        return [by_id[token_id] for token_id in range(self.vocab_size)]

    def tokenize(self, text: str) -> list[int]:
        return self._ask("tokenize", content=text, add_special=False, parse_special=True)["tokens"]

    def detokenize(self, ids: list[int]) -> str:
        return self._ask("detokenize", tokens=ids)["content"]

    def end_of_text(self) -> str:
        return self._ask("props")["eos_token"]

    def _ask(self, what: str, **asked: Any) -> Any:
        request = Request(f"{self.server.listening_address}/{what}", json.dumps(asked).encode() if asked else None)
        with urlopen(request, timeout=10) as answer:
            return json.load(answer)


@pytest.fixture(scope="module")
def open_in_llama_cpp() -> Callable[[Path, int], LlamaCpp]:
    """A function that loads a file with llama.cpp."""
    pytest.importorskip("xllamacpp")
    return LlamaCpp


@pytest.fixture(scope="module")
def in_llama_cpp(open_in_llama_cpp, folder) -> Callable[..., Any]:
    """A function that returns a trained model, loaded by llama.cpp."""

    @cache
    def loaded(kind: str, tokenizer: str, special: bool = False) -> Any:
        path = folder / f"{kind}-{tokenizer}-{special}.gguf"
        if not path.exists():
            trained(kind, tokenizer, special).export("gguf", path)
        return open_in_llama_cpp(path, trained(kind, tokenizer, special).model.vocab_size)

    return loaded


def check_greedy(run: Any, theirs: LlamaCpp, ids: list[int], num: int, within: float) -> None:
    """Both have the same log probabilities and take the same tokens, one after the other."""
    cache = run.model.new_cache()
    for _ in range(num):
        ours = [log(p) for p in run.model.next_probs(ids, cache)]
        found = theirs.log_probs(ids)
        assert found == pytest.approx(ours, rel=0, abs=within)
        assert argmax(found) == argmax(ours)
        ids = [*ids, argmax(ours)]


@pytest.mark.parametrize("kind", ["gpt", "llama"])
@pytest.mark.parametrize("tokenizer", ["word", "char", "bpe"])
def test_llama_cpp_computes_the_same(in_llama_cpp, kind, tokenizer):
    run, theirs = trained(kind, tokenizer), in_llama_cpp(kind, tokenizer)
    check_greedy(run, theirs, run.tokenizer.encode("the cat"), 50, within=1e-3)


@pytest.mark.parametrize("kind", ["gpt", "llama"])
def test_llama_cpp_computes_shared_vectors_and_heads(open_in_llama_cpp, tmp_path, kind):
    shared = {"kv_heads": 2} if kind == "llama" else {}
    size = Architecture(
        embedding_dim=24, hidden_dim=20, heads=4, layers=2, rope_base=100.0, tied=True, norm_eps=0.01, **shared
    )
    run = a_run(kind, CharTokenizer("abcdefghij"), size, CONTEXT)
    file = written(run, tmp_path)
    assert "output.weight" not in file.tensors
    # WHY two: its GELU is a table of 16-bit numbers.
    within = {"gpt": 5e-3, "llama": 1e-5}[kind]
    check_greedy(run, open_in_llama_cpp(tmp_path / "model.gguf", 10), [0, 3, 1], 50, within)


IMPORTED: dict[str, dict[str, Any]] = {
    "biases": {"attention_bias": True, "mlp_bias": True},
    "wide heads": {"head_dim": 16, "attention_bias": True},
    "linear": {"rope_scaling": RopeScaling(4.0)},
    "llama3": {"rope_scaling": RopeScaling(8.0, 1.0, 4.0, 32), "head_dim": 4},
}


@pytest.mark.parametrize("name", IMPORTED)
def test_llama_cpp_computes_what_only_imported_models_have(open_in_llama_cpp, tmp_path, name):
    size = Architecture(
        embedding_dim=32, hidden_dim=20, heads=4, kv_heads=2, layers=2, rope_base=100.0, **IMPORTED[name]
    )
    run = a_run("llama", CharTokenizer("abcdefghij"), size, CONTEXT)
    for parameter in run.model.network.parameters():
        parameter.data = array("d", array("f", [value + i % 7 / 20 for i, value in enumerate(parameter.data)]))
    written(run, tmp_path)
    check_greedy(run, open_in_llama_cpp(tmp_path / "model.gguf", 10), [0, 3, 1], 50, within=1e-4)


def test_llama_cpp_merges_by_scores(open_in_llama_cpp, tmp_path):
    run = a_run(tokenizer=sentencepiece())
    written(run, tmp_path)
    theirs = open_in_llama_cpp(tmp_path / "model.gguf", run.model.vocab_size)
    for text in ("the cat", "  the   cat\n", "aaaaa a", "x😀é", "<s>the</s> cat", "the\tthat"):
        ids = run.tokenizer.encode(text)
        assert theirs.tokenize(text) == ids


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("tokenizer", ["word", "char", "bpe"])
def test_llama_cpp_encodes_and_decodes_the_same(in_llama_cpp, tokenizer, special):
    run, theirs = trained("llama", tokenizer, special), in_llama_cpp("llama", tokenizer, special)
    text = TEXT.replace("\n", END) if special else TEXT
    for part in (text, "the cat", "the \n\t  dog", " sat,", "Zoë", *([f"{END}the cat{END}"] if special else [])):
        if tokenizer == "char" and special:  # whose text has no line end
            part = part.replace("\n", " ")
        ids = run.tokenizer.encode(part)
        assert theirs.tokenize(part) == ids
        ours, back = run.tokenizer.decode(ids), theirs.detokenize(ids)
        # A word has its space before it, the first one too, and a special token has none.
        assert back == ours if tokenizer != "word" else back.removeprefix(" ") == ours.replace(f" {END}", END)


def test_what_llama_cpp_does_with_unknown_text(in_llama_cpp):
    def ids(tokenizer: str, text: str, special: bool = True) -> Any:
        return in_llama_cpp("llama", tokenizer, special).tokenize(text)

    words, chars = trained("llama", "word", True).tokenizer, trained("llama", "char", True).tokenizer
    assert ids("word", "the xyzzy cat") == words.token_ids(["the", END, "cat"])
    assert ids("char", "catQü") == chars.encode("cat")


def test_a_text_ends_at_its_special_token(in_llama_cpp):
    assert in_llama_cpp("llama", "word", True).end_of_text() == END
