"""test_exchange_hf.py - Hugging Face folders, both ways: the same logits and the same ids as their libraries."""

import json
import random
import shutil
import sys
import unicodedata
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import test_sentencepiece
import toy_gpt_train as tg
from toy_gpt_train.artifacts.safetensors import read_safetensors, write_safetensors
from toy_gpt_train.errors import InputError
from toy_gpt_train.tokenizers.pretokenize import LLAMA3_PATTERN

TEXT = "the cat sees the dog .\nthe dog sees a cat !  a dog runs ,\n\nand the cat runs too .\n" * 8
# WHY: a library may know a newer Unicode than Python does; what Python does not know is left out.
KNOWN = [chr(code) for code in range(1, sys.maxunicode + 1, 7) if unicodedata.category(chr(code)) not in ("Cn", "Cs")]
SMALL = {"steps": 2, "batch_size": 2, "embedding_dim": 16, "heads": 4, "hidden_dim": 24, "context": 8}
# Every option of the architecture, and what it is beside the small one.
RUNS = {
    "gpt": {},
    "gpt tied": {"tied": True},
    "gpt deep": {"layers": 3, "heads": 1, "context": 1},
    "gpt wide": {"hidden_dim": 7, "context": 40},
    "llama": {},
    "llama tied": {"tied": True, "layers": 2},
    "llama grouped": {"kv_heads": 2, "layers": 2},
    "llama one key": {"kv_heads": 1, "tied": True},
    "llama base": {"rope_base": 50.0, "context": 40, "hidden_dim": 5},
    "llama one head": {"heads": 1, "context": 1},
}
TOKENIZERS = {
    "word": {"tokenizer": "word"},
    "char": {"tokenizer": "char"},
    "bpe": {"tokenizer": "bpe", "bpe_vocab": 280},
    "word with special": {"tokenizer": "word", "special": ["<|endoftext|>", "dog"]},
    "char with special": {"tokenizer": "char", "special": ["<|endoftext|>", "cat"]},
    "bpe with special": {"tokenizer": "bpe", "bpe_vocab": 280, "special": ["<|endoftext|>", "cat sees"]},
}


def trained(run, **options):
    """A run whose norms and biases have left their initial 0 and 1."""
    made = tg.train(run.split()[0], text=TEXT, **{**SMALL, "tokenizer": "char", **RUNS.get(run, {}), **options})
    draw = random.Random(1)
    for parameter in made.model.network.parameters():
        for i in range(len(parameter.data)):
            parameter.data[i] = round(parameter.data[i] + draw.gauss(0, 0.1), 6)
    return made


def contexts(run, count=200):
    """Random contexts of every length."""
    draw, size = random.Random(2), run.model.context_size
    lengths = [1 + i % size for i in range(count)]
    return [[draw.randrange(run.model.vocab_size) for _ in range(length)] for length in lengths]


@pytest.fixture(scope="module")
def torch():
    found = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    found.set_num_threads(1)
    return found


def largest_difference(torch, run, model, ids):
    with torch.inference_mode():
        theirs = model(torch.tensor([ids])).logits[0, -1].double().tolist()
    return max(abs(a - b) for a, b in zip(run.model.logits(ids), theirs, strict=True))


# --- there ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RUNS)
def test_transformers_computes_the_same(torch, tmp_path, name):
    from transformers import AutoModelForCausalLM

    run = trained(name)
    paths = run.export("hf", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [path.name for path in paths]
    model, report = AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert type(model).__name__ == ("GPT2LMHeadModel" if name.startswith("gpt") else "LlamaForCausalLM")
    assert not any(report[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert max(largest_difference(torch, run, model, ids) for ids in contexts(run)) < 1e-5
    assert sum(p.numel() for p in model.parameters()) == run.model.num_parameters()


def test_generation_is_the_same(torch, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run = trained("llama", context=60)
    run.export("hf", tmp_path / "out")
    model, tokenizer = (kind.from_pretrained(tmp_path / "out") for kind in (AutoModelForCausalLM, AutoTokenizer))
    ids = tokenizer("the cat", return_tensors="pt")
    text = tokenizer.decode(model.generate(**ids, max_new_tokens=20, do_sample=False)[0])
    assert text == run.generate("the cat", 20, temperature=0)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_their_tokenizer_gives_the_same_ids(tmp_path, name):
    transformers = pytest.importorskip("transformers")
    run = trained("gpt", **TOKENIZERS[name])
    run.export("hf", tmp_path / "out")
    theirs, ours = transformers.AutoTokenizer.from_pretrained(tmp_path / "out"), run.tokenizer
    assert len(theirs) == ours.vocab_size
    pieces = st.sampled_from([*"thecatsdo .!,\n\t\r\x1c\x85\u2003", "cat", " dog", "<|endoftext|>", "cat sees", "the"])

    @settings(max_examples=200, deadline=None)
    @given(st.lists(pieces, max_size=20).map("".join) | st.text(max_size=20))
    def check(text):
        try:
            expected = ours.encode(text)
        except InputError:  # an unknown token, or a lone surrogate
            with pytest.raises(Exception):  # noqa: B017 - the library raises Exception itself
                theirs.backend_tokenizer.encode(text)
            return
        assert theirs.backend_tokenizer.encode(text).ids == expected == theirs.encode(text)
        assert theirs.decode(expected) == ours.decode(expected)

    check()
    ends = [theirs.eos_token_id, theirs.bos_token_id]
    assert ends == [ours.tokens.index("<|endoftext|>") if ours.special else None] * 2


@pytest.mark.parametrize("model", ["embeddings", "attention", "kneser-ney", "bigram", "mixture"])
def test_what_transformers_has_not_is_refused(tmp_path, model):
    options = {"steps": 1, "batch_size": 2} if model in ("embeddings", "attention") else {}
    run = tg.train(model, text=TEXT, **options)
    with pytest.raises(InputError, match=f"transformers has no model like {model}: hf is for gpt and llama"):
        run.export("hf", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    run = trained("gpt")
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match="there: already exists"):
        run.export("hf", tmp_path / "there")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("toy_gpt_train.disk.sync_folder", full)
    with pytest.raises(OSError, match="No space left"):
        run.export("hf", tmp_path / "new" / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there"]


# --- and back ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RUNS)
def test_what_was_written_is_read_back_exactly(tmp_path, name):
    run = trained(name)
    for parameter in run.model.network.parameters():
        for i, weight in enumerate(parameter.data):
            parameter.data[i] = round(weight * 1024) / 1024  # what 32 bits hold
    run.export("hf", tmp_path / "out")
    read = tg.load(tmp_path / "out")
    assert read.model.architecture == run.model.architecture
    for ids in contexts(run, 10):
        assert read.model.logits(ids) == run.model.logits(ids)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_tokenizer_is_read_back(tmp_path, name):
    run = trained("gpt", **TOKENIZERS[name])
    run.export("hf", tmp_path / "out")
    read = tg.load(tmp_path / "out")
    assert read.tokenizer.description() == run.tokenizer.description()
    assert read.tokenizer.tokens == run.tokenizer.tokens
    read.save(tmp_path / "run")
    again = tg.load(tmp_path / "run")
    assert again.tokenizer.encode(TEXT) == run.tokenizer.encode(TEXT)
    assert again.model.logits([1, 2]) == read.model.logits([1, 2])


def their_model(torch, kind, **sizes):
    import transformers

    torch.manual_seed(3)
    if kind == "gpt2":
        named = {"n_positions": 24, "n_embd": 16, "n_layer": 2, "n_head": 4, "vocab_size": 280}
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**{**named, **sizes}))
    else:
        named = {"max_position_embeddings": 24, "hidden_size": 16, "intermediate_size": 40, "num_hidden_layers": 2}
        named |= {"num_attention_heads": 4, "vocab_size": 280}
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**named, **sizes}))
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
    return model.eval()


@pytest.fixture(scope="module")
def bpe(tmp_path_factory):
    """A tokenizer.json with 280 tokens."""
    folder = tmp_path_factory.mktemp("bpe")
    trained("gpt", **TOKENIZERS["bpe"]).export("hf", folder / "out")
    return folder / "out" / "tokenizer.json"


LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LLAMA3 |= {"original_max_position_embeddings": 12}
THEIRS = {
    "gpt2": ("gpt2", {}, {}),
    "gpt2 untied": ("gpt2", {"tie_word_embeddings": False, "n_inner": 20, "layer_norm_epsilon": 1e-3}, {}),
    "gpt2 in shards": ("gpt2", {}, {"max_shard_size": "8KB"}),
    "gpt2 in half": ("gpt2", {}, {"dtype": "float16"}),
    "llama": ("llama", {}, {}),
    "llama tied": ("llama", {"tie_word_embeddings": True, "rope_theta": 500.0}, {}),
    "llama grouped": ("llama", {"num_key_value_heads": 2, "rms_norm_eps": 1e-3}, {}),
    "llama with biases": ("llama", {"attention_bias": True, "mlp_bias": True, "num_key_value_heads": 2}, {}),
    "llama with biases in attention": ("llama", {"attention_bias": True, "tie_word_embeddings": True}, {}),
    "llama with narrow heads": ("llama", {"head_dim": 2, "num_key_value_heads": 2}, {}),
    "llama with wide heads": ("llama", {"head_dim": 10, "mlp_bias": True}, {"max_shard_size": "8KB"}),
    "llama scaled": ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0}}, {}),
    "llama scaled, older": ("llama", {"rope_scaling": {"type": "linear", "factor": 3}, "rope_theta": 50.0}, {}),
    "llama scaled as llama 3": ("llama", {"rope_parameters": LLAMA3 | {"rope_theta": 50.0}, "head_dim": 16}, {}),
    "llama scaled as llama 3, to its own length": (
        "llama",
        {"rope_scaling": {k: v for k, v in LLAMA3.items() if not k.startswith("original")}, "head_dim": 12},
        {},
    ),
    "llama in bfloat16": ("llama", {"num_key_value_heads": 1}, {"dtype": "bfloat16", "max_shard_size": "8KB"}),
}


@pytest.mark.parametrize("name", THEIRS)
def test_their_models_compute_the_same_here(torch, tmp_path, bpe, name):
    kind, sizes, saving = THEIRS[name]
    model = their_model(torch, kind, **sizes)
    how = dict(saving)
    if dtype := how.pop("dtype", None):
        model = model.to(getattr(torch, dtype))
    model.save_pretrained(tmp_path / "hf", **how)
    # WHY read again: the frequencies of the rotation, which are not weights, have been rounded too.
    model = type(model).from_pretrained(tmp_path / "hf", dtype=torch.float32)
    shutil.copy(bpe, tmp_path / "hf")
    assert (tmp_path / "hf" / "model.safetensors.index.json").exists() == ("max_shard_size" in saving)
    run = tg.load(tmp_path / "hf")
    assert max(largest_difference(torch, run, model, ids) for ids in contexts(run, 50)) < 1e-5
    size = run.model.architecture
    count = run.model.count_parameters(280, 24, size)
    assert count == run.model.num_parameters() == sum(p.numel() for p in model.parameters())
    # What was read is what is written.
    run.export("hf", tmp_path / "again")
    assert tg.load(tmp_path / "again").model.architecture == size
    back = type(model).from_pretrained(tmp_path / "again", dtype=torch.float32)
    assert max(largest_difference(torch, run, back, ids) for ids in contexts(run, 50)) < 1e-5
    run.save(tmp_path / "run")
    read = tg.load(tmp_path / "run")
    assert read.model.logits([1, 2, 3]) == run.model.logits([1, 2, 3])
    assert read.model.architecture == size
    by_torch = tg.load(tmp_path / "run", engine="torch", device="cpu", dtype="float64")
    assert by_torch.model.logits([*range(24)]) == pytest.approx(run.model.logits([*range(24)]), abs=1e-10)
    assert read.meta["origin"].startswith(f"an import of a Hugging Face folder: {kind.removesuffix('2')}, 280 tokens")
    assert repr(read) == f"<Run {kind.removesuffix('2')}, bpe, V=280, an import>"


# --- their tokenizers -------------------------------------------------------------------------------------------


def with_bos(description):
    """A tokenizer.json as Llama 3 has it: its cuts, and a token that is put before every text."""
    cut = {"type": "Split", "pattern": {"Regex": LLAMA3_PATTERN}, "behavior": "Isolated", "invert": False}
    by_byte = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    before = [{"SpecialToken": {"id": "<bos>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    size = len(description["model"]["vocab"])
    description["added_tokens"].append(
        {"id": size, "content": "<bos>", "special": True}
        | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    )
    description["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [cut, by_byte]}
    description["model"]["ignore_merges"] = True
    description["post_processor"] = {
        "type": "Sequence",
        "processors": [
            {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
            {
                "type": "TemplateProcessing",
                "single": before,
                "pair": before,
                "special_tokens": {"<bos>": {"id": "<bos>", "ids": [size], "tokens": ["<bos>"]}},
            },
        ],
    }
    return description


def test_a_tokenizer_in_the_style_of_llama_3(tmp_path, bpe):
    tokenizers = pytest.importorskip("tokenizers")
    description = with_bos(json.loads(bpe.read_text("utf-8")))
    run = trained("llama", tokenizer="bpe", bpe_vocab=281, special=["<x>"])
    run.export("hf", tmp_path / "out")
    path = tmp_path / "out" / "tokenizer.json"
    path.write_text(json.dumps(description), "utf-8")
    theirs, read = tokenizers.Tokenizer.from_file(str(path)), tg.load(tmp_path / "out")
    assert read.meta["start_tokens"] == ["<bos>"]
    assert read.meta["tokenizer"] == {"kind": "bpe", "special": ["<bos>"], "cut": "llama3", "ignore_merges": True}

    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(st.sampled_from([*"it'S 12!\n\r_ é", "the cat", "<bos>"])).map("".join)
        | st.text(st.sampled_from(KNOWN))
    )
    def check(text):
        ids = theirs.encode(text, add_special_tokens=False).ids
        assert read.tokenizer.encode(text) == ids
        assert theirs.encode(text).ids == [280, *ids]
        assert read.tokenizer.decode(ids) == theirs.decode(ids, skip_special_tokens=False)

    check()
    # Saved, and exported again, it is the same tokenizer.
    read.save(tmp_path / "run")
    again = tg.load(tmp_path / "run")
    again.export("hf", tmp_path / "again")
    assert tg.load(tmp_path / "again").tokenizer.encode("It'S 1234!\n") == read.tokenizer.encode("It'S 1234!\n")
    assert again.generate(num=5, temperature=0) == read.generate(num=5, temperature=0)
    meta = tmp_path / "run" / "artifacts" / "00_meta.json"
    meta.write_text(meta.read_text("utf-8").replace('"cut": "llama3"', '"cut": "digits"'), "utf-8")
    with pytest.raises(InputError, match="say that text is cut in different ways"):
        tg.load(tmp_path / "run")


def test_a_model_in_the_style_of_llama_2(toy_gpt, torch, tmp_path):
    """Its tokenizer and its weights are imported, and exported again; every command works on the run."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    theirs = test_sentencepiece.their_tokenizer("every")
    model = their_model(torch, "llama", vocab_size=theirs.get_vocab_size(), eos_token_id=2, max_position_embeddings=60)
    model.save_pretrained(tmp_path / "hf")
    theirs.save(str(tmp_path / "hf" / "tokenizer.json"))
    run, back = tg.load(tmp_path / "hf"), tmp_path / "back"
    assert run.meta["start_tokens"] == ["<s>"]
    ids = theirs.encode("the cat").ids
    assert run.start_ids("<s>the cat") == ids
    assert largest_difference(torch, run, model, ids) < 1e-5
    generated = model.generate(torch.tensor([ids]), max_new_tokens=20, do_sample=False)[0].tolist()
    written = run.tokenizer.decode(generated).removeprefix("<s> the cat").removesuffix("</s>")
    assert run.generate("<s>the cat", 20, temperature=0) == f"<s>the cat{written}"
    assert toy_gpt("import", tmp_path / "hf", "--base-dir", back).code == 0
    prompt = ("--prompt", "<s>the cat", "--num", 6, "--temperature", 0)
    assert "block 2" in toy_gpt("infer", "--base-dir", back, *prompt, "--explain").out
    assert toy_gpt("infer", "--base-dir", back, "--num", 6).code == 0  # it begins with <s>
    (tmp_path / "text.txt").write_text(TEXT, "utf-8")
    assert toy_gpt("evaluate", "--base-dir", back, "--text", tmp_path / "text.txt").code == 0
    outcome = toy_gpt("export", "--base-dir", back, "--to", "hf", "--out", tmp_path / "again")
    assert outcome.code == 0
    again, tokenizer = (kind.from_pretrained(tmp_path / "again") for kind in (AutoModelForCausalLM, AutoTokenizer))
    assert largest_difference(torch, run, again, ids) < 1e-5
    assert tokenizer.encode("<s>the  cat\n") == run.tokenizer.encode("<s>the  cat\n")
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<s>", "</s>")
    assert (again.generation_config.bos_token_id, again.generation_config.eos_token_id) == (1, 2)
    # Their library has learned only one merge for each token, and llama.cpp would do more.
    outcome = toy_gpt("export", "--base-dir", back, "--to", "gguf", "--out", tmp_path / "model.gguf")
    assert (outcome.code, "llama.cpp would also merge" in outcome.err) == (2, True)


# --- the command line -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gpt tied", "llama grouped"])
def test_an_imported_model_is_a_run_like_any_other(toy_gpt, tmp_path, name):
    run = trained(name, **TOKENIZERS["bpe with special"])
    run.save(tmp_path / "run")
    text, hf, back = tmp_path / "text.txt", tmp_path / "hf", tmp_path / "back"
    text.write_text(TEXT, "utf-8")
    outcome = toy_gpt("export", "--base-dir", tmp_path / "run", "--to", "hf", "--out", hf)
    size = sum(path.stat().st_size for path in hf.iterdir())
    assert (outcome.code, outcome.out) == (0, f"wrote 5 files to {hf}, {size:,} bytes\n")
    outcome = toy_gpt("import", hf, "--base-dir", back)
    assert (outcome.code, outcome.err) == (0, "")
    prompt = ("--prompt", "the cat sees", "--num", 8, "--temperature", 0)
    shown = [toy_gpt("infer", "--base-dir", base, *prompt).out for base in (tmp_path / "run", hf, back)]
    assert shown[0] == shown[1] == shown[2]
    assert "block 1" in toy_gpt("infer", "--base-dir", back, *prompt, "--explain").out
    losses = [tg.load(base).score(text).loss for base in (tmp_path / "run", back)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-6)
    assert toy_gpt("evaluate", "--base-dir", back, "--text", text).code == 0
    assert "no start tokens" in toy_gpt("infer", "--base-dir", back).err
    assert not tg.load(back).is_untrained


# --- what is refused --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of each architecture."""
    base = tmp_path_factory.mktemp("folders")
    for kind in ("gpt", "llama"):
        trained(kind, **TOKENIZERS["bpe"]).export("hf", base / kind)
    return base


def refusal(folder):
    with pytest.raises(InputError) as caught:
        tg.load(folder)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.startswith(str(folder))
    return message


WRONG_CONFIGS = [
    ("gpt", {"model_type": "bert"}, "the architecture is ['GPT2LMHeadModel'] of the type 'bert'"),
    ("gpt", {"architectures": ["GPT2Model"]}, "the architecture is ['GPT2Model']"),
    ("gpt", {"architectures": ["GPT2LMHeadModel", "GPT2LMHeadModel"]}, "GPT2LMHeadModel and LlamaForCausalLM are"),
    ("gpt", {"model_type": ["gpt2"]}, "of the type ['gpt2']"),
    ("gpt", {"activation_function": "relu"}, "activation_function is 'relu'; only gelu_new is supported"),
    ("gpt", {"activation_function": []}, "activation_function is []"),
    ("gpt", {"scale_attn_weights": False}, "scale_attn_weights is False; only True is supported"),
    ("gpt", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
    ("gpt", {"n_head": 3}, "3 heads cannot share an embedding of 16"),
    ("gpt", {"n_head": 0}, "n_head is 0, not a whole number above 0"),
    ("gpt", {"n_head": True}, "n_head is True, not a whole number above 0"),
    ("gpt", {"n_embd": None}, "n_embd is None, not a whole number"),
    ("gpt", {"n_embd": 10**30}, "n_embd is 1000000000000000000000000000000, not a whole number"),
    ("gpt", {"n_embd": 65536, "n_head": 1}, "config.json describes a larger model than the weights"),
    ("gpt", {"n_inner": 23}, "has the shape [16, 24], but config.json says [16, 23]"),
    ("gpt", {"n_layer": 2}, "tensor 'transformer.h.1."),
    ("gpt", {"n_layer": 60_000}, "is missing"),
    ("gpt", {"n_positions": 7}, "tensor transformer.wpe.weight has the shape [8, 16], but config.json says [7, 16]"),
    ("gpt", {"vocab_size": 281}, "280 tokens in the tokenizer, 281 in config.json"),
    ("gpt", {"layer_norm_epsilon": 0}, "norm_eps must be from 1e-12 to 1"),
    ("gpt", {"layer_norm_epsilon": "1e-5"}, "layer_norm_epsilon is '1e-5', not a number"),
    ("gpt", {"tie_word_embeddings": 1}, "tie_word_embeddings is 1, neither true nor false"),
    ("llama", {"hidden_act": "gelu"}, "hidden_act is 'gelu'; only silu is supported"),
    ("llama", {"attention_bias": True}, "tensor 'model.layers.0.self_attn.k_proj.bias' is missing"),
    ("llama", {"mlp_bias": True}, "tensor 'model.layers.0.mlp.down_proj.bias' is missing"),
    ("llama", {"mlp_bias": "no"}, "mlp_bias is 'no', neither true nor false"),
    ("llama", {"head_dim": 2}, "q_proj.weight has the shape [16, 16], but config.json says [8, 16]"),
    ("llama", {"head_dim": 3}, "RoPE rotates values in pairs, so a head needs an even number of them, not 3"),
    ("llama", {"head_dim": -4}, "head_dim is -4, not a whole number above 0"),
    ("llama", {"head_dim": 1 << 30}, "head_dim must be from 0 to 65536"),
    ("llama", {"head_dim": 8}, "config.json describes a larger model than the weights"),
    ("llama", {"num_key_value_heads": 3}, "4 heads cannot share 3 heads of keys and values evenly"),
    *(
        (
            "llama",
            {"rope_scaling": {"type": kind, "factor": 2.0}},
            f"rope_scaling is of the type {kind!r}; only default",
        )
        for kind in ("dynamic", "yarn", "longrope", ["linear"], {}, 3)
    ),
    ("llama", {"rope_scaling": {"type": "linear"}}, "the factor of rope_scaling must be from 1 to 1e+06, got 0.0"),
    ("llama", {"rope_scaling": {"type": "linear", "factor": 0.5}}, "the factor of rope_scaling must be from 1"),
    ("llama", {"rope_scaling": {"type": "linear", "factor": "2"}}, "factor is '2', not a number"),
    ("llama", {"rope_scaling": {"type": "linear", "factor": 10**400}}, "the factor of rope_scaling must be from 1"),
    ("llama", {"rope_scaling": {"type": "linear", "factor": float("nan")}}, ""),
    ("llama", {"rope_parameters": {"rope_type": "llama3", "factor": 8}}, "low_freq_factor and high_freq_factor"),
    (
        "llama",
        {"rope_parameters": LLAMA3 | {"high_freq_factor": 1.0}},
        "must be above 0, the second one above the first",
    ),
    ("llama", {"rope_parameters": LLAMA3 | {"low_freq_factor": 0}}, "must be above 0, the second one above the first"),
    ("llama", {"rope_parameters": LLAMA3 | {"high_freq_factor": True}}, "high_freq_factor is True, not a number"),
    (
        "llama",
        {"rope_parameters": LLAMA3 | {"original_max_position_embeddings": 0}},
        "embeddings is 0, not a whole number",
    ),
    (
        "llama",
        {"rope_parameters": LLAMA3 | {"original_max_position_embeddings": 1 << 32}},
        "original_context of rope_sc",
    ),
    ("llama", {"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor is 0.5; only 1"),
    ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5; only 1"),
    ("llama", {"rope_scaling": "yes"}, "rope_scaling is 'yes', not an object"),
    ("llama", {"rope_theta": 0.5}, "rope_base must be from 1"),
    ("llama", {"rope_theta": None}, "rope_theta is None, not a number"),
]


@pytest.mark.parametrize(("kind", "change", "words"), WRONG_CONFIGS, ids=str)
def test_what_is_not_known_here_is_refused_by_name(tmp_path, folders, kind, change, words):
    shutil.copytree(folders / kind, tmp_path / "out")
    path = tmp_path / "out" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | change), "utf-8")
    assert words in refusal(tmp_path / "out")


def tensors_of(folder):
    return read_safetensors(folder / "model.safetensors")[0]


def test_tensors_that_do_not_fit_are_refused(tmp_path, folders):
    shutil.copytree(folders / "llama", tmp_path / "out")
    path, tensors = tmp_path / "out" / "model.safetensors", tensors_of(folders / "llama")
    name = "model.layers.0.self_attn.q_proj.bias"
    write_safetensors(path, tensors | {name: ((16,), array("f", [0] * 16))})
    assert f"tensor {name!r} is not known to this architecture" in refusal(tmp_path / "out")
    write_safetensors(path, {one: tensor for one, tensor in tensors.items() if one != "lm_head.weight"})
    assert "tensor 'lm_head.weight' is missing" in refusal(tmp_path / "out")
    write_safetensors(path, tensors | {"model.norm.weight": ((16,), array("f", [2e6] * 16))})
    assert "norm.weight has a weight that is not finite, or beyond 1e+06" in refusal(tmp_path / "out")
    path.write_bytes(path.read_bytes()[:-4])
    assert "truncated" in refusal(tmp_path / "out")
    path.unlink()
    assert "neither model.safetensors nor model.safetensors.index.json is here" in refusal(tmp_path / "out")


def test_what_is_no_weight_may_be_there(tmp_path, folders):
    """Older files have masks and frequencies too, a tied output layer, and names without a prefix."""
    shutil.copytree(folders / "gpt", tmp_path / "out")
    tensors = tensors_of(folders / "gpt")
    short = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    short["h.0.attn.bias"] = ((1, 1, 8, 8), array("f", [1] * 64))
    write_safetensors(tmp_path / "out" / "model.safetensors", short)
    expected = tg.load(folders / "gpt").model.logits([1, 2])
    assert tg.load(tmp_path / "out").model.logits([1, 2]) == expected


WRONG_TOKENIZERS = [
    (lambda d: d.update(normalizer={"type": "NFC"}), "its normalizer (NFC) changes the text"),
    (lambda d: d.update(pre_tokenizer={"type": "Whitespace"}), "its pre_tokenizer (Whitespace) is not ByteLevel"),
    (
        lambda d: d["model"].update(byte_fallback=True),
        "its model has byte_fallback, but its normalizer (None) or pre_tokenizer (ByteLevel) is not that of Llama 2",
    ),
    (lambda d: d["model"].update(type="Unigram"), "its model is 'Unigram'"),
    (lambda d: d.update(post_processor={"type": "BertProcessing"}), "its post_processor (BertProcessing) adds tokens"),
    (lambda d: d.update(model=None), "its model or its pre_tokenizer is not an object"),
    (lambda d: d["model"].update(type="WordLevel"), "does not cut and join text as those that toy-gpt export writes"),
]


@pytest.mark.parametrize(("change", "words"), WRONG_TOKENIZERS)
def test_tokenizers_that_are_not_known_here_are_refused(tmp_path, folders, change, words):
    shutil.copytree(folders / "gpt", tmp_path / "out")
    path = tmp_path / "out" / "tokenizer.json"
    description = json.loads(path.read_text("utf-8"))
    change(description)
    path.write_text(json.dumps(description), "utf-8")
    assert words in refusal(tmp_path / "out")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_damaged_files_are_refused_and_nothing_else_happens(tmp_path, folders, name):
    shutil.copytree(folders / "llama", tmp_path / "out")
    path = tmp_path / "out" / name
    content = path.read_bytes()
    draw = random.Random(4)
    refusals = []
    for _ in range(40):
        damaged = bytearray(content)
        for _ in range(3):
            damaged[draw.randrange(min(len(content), 3000))] = draw.randrange(256)
        path.write_bytes(damaged[: draw.choice([len(content), draw.randrange(len(content))])])
        try:
            tg.load(tmp_path / "out")
        except InputError as error:
            refusals.append(str(error))
    assert len(refusals) > 20
    assert all(len(message.splitlines()) == 1 and message.startswith(str(tmp_path)) for message in refusals)
