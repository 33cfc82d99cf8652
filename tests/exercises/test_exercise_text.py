"""Byte-level BPE against Hugging Face's tokenizers; merges against a trainer that recounts everything."""

from compare import cases

import adapters


def as_bytes(token: str) -> bytes:
    """Snapshots write a token as Latin-1, one character per byte."""
    return token.encode("latin-1")


def as_merges(pairs: list[list[str]]) -> list[tuple[bytes, bytes]]:
    return [(as_bytes(left), as_bytes(right)) for left, right in pairs]


def test_tokenizer_encodes():
    (case,) = cases("tokenizer")
    vocab = dict(enumerate(map(as_bytes, case["vocab"])))
    for part in case["encode"]:
        merges, special_tokens = as_merges(case["merges"]), list(case["special_tokens"])
        ids = adapters.run_tokenizer_encode(part["text"], dict(vocab), merges, special_tokens)
        assert list(ids) == part["expected"], part["text"]


def test_tokenizer_decodes():
    (case,) = cases("tokenizer")
    vocab = dict(enumerate(map(as_bytes, case["vocab"])))
    for part in case["decode"]:
        assert adapters.run_tokenizer_decode(part["ids"], dict(vocab)) == part["expected"]


def test_bpe_training():
    for case in cases("bpe_training"):
        vocab, merges = adapters.run_bpe_training(case["text"], case["vocab_size"])
        expected = as_merges(case["expected"])
        assert [tuple(merge) for merge in merges] == expected
        assert vocab == dict(enumerate([*(bytes([byte]) for byte in range(256)), *(a + b for a, b in expected)]))
