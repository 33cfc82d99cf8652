"""test_exchange_hf.py - Hugging Face folders, both ways: the same logits and the same ids as their libraries."""

import random
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import toy_gpt_train as tg
from toy_gpt_train.errors import InputError

TEXT = "the cat sees the dog .\nthe dog sees a cat !  a dog runs ,\n\nand the cat runs too .\n" * 8
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
    with pytest.raises(InputError, match="there: is there already"):
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


THEIRS = {
    "gpt2": ("gpt2", {}, {}),
    "gpt2 untied": ("gpt2", {"tie_word_embeddings": False, "n_inner": 20, "layer_norm_epsilon": 1e-3}, {}),
    "gpt2 in shards": ("gpt2", {}, {"max_shard_size": "8KB"}),
    "gpt2 in half": ("gpt2", {}, {"dtype": "float16"}),
    "llama": ("llama", {}, {}),
    "llama tied": ("llama", {"tie_word_embeddings": True, "rope_theta": 500.0}, {}),
    "llama grouped": ("llama", {"num_key_value_heads": 2, "rms_norm_eps": 1e-3}, {}),
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
    # WHY read again: the frequencies of the rotation, which are no weights, have been rounded too.
    model = type(model).from_pretrained(tmp_path / "hf", dtype=torch.float32)
    shutil.copy(bpe, tmp_path / "hf")
    assert (tmp_path / "hf" / "model.safetensors.index.json").exists() == ("max_shard_size" in saving)
    run = tg.load(tmp_path / "hf")
    assert max(largest_difference(torch, run, model, ids) for ids in contexts(run, 50)) < 1e-5
    run.save(tmp_path / "run")
    read = tg.load(tmp_path / "run")
    assert read.model.logits([1, 2, 3]) == run.model.logits([1, 2, 3])
    assert read.meta["origin"].startswith(f"an import of a Hugging Face folder: {kind.removesuffix('2')}, 280 tokens")
    assert repr(read) == f"<Run {kind.removesuffix('2')}, bpe, V=280, an import>"
