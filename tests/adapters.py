"""adapters.py - The project's own answers to the exercises: one function per component.

exercises/starter.py has the same functions with shapes, formulas and examples, for you to write; exercises/README.md
shows how. The tests check the answers here, and ``toy-gpt exercises`` checks yours.

Values go in and come out as nested lists, so your code needs to know nothing about this project. Here they become
exact tensors, because the results are compared.
"""

import importlib.util
import os
import random
from array import array
from pathlib import Path
from typing import Any

from toy_gpt_train.artifacts.safetensors import read_safetensors, write_safetensors
from toy_gpt_train.nn import attention, functional, transformer
from toy_gpt_train.nn.modules import Dropout, Embedding, Linear, Module, RMSNorm
from toy_gpt_train.nn.optim import AdamW, clip_grad_norm, cosine_schedule
from toy_gpt_train.nn.tensor import Parameter, Tensor, from_lists
from toy_gpt_train.tokenizers.bpe import BPETokenizer
from toy_gpt_train.training.batches import draw_windows

Vector = list[float]
Matrix = list[Vector]
Batch = list[Matrix]
Weights = dict[str, Any]  # name -> nested lists
Merge = tuple[bytes, bytes]


# --- layers -------------------------------------------------------------------------------------------------


def run_linear(x: Matrix, weight: Matrix, bias: Vector | None = None) -> Matrix:
    """Return y = x W^T + b for every row of x."""
    return functional.linear(exact(x), exact(weight), None if bias is None else exact(bias)).tolist()


def run_embedding(ids: list[list[int]], weight: Matrix) -> Batch:
    """Look up the row of the weight for every id."""
    return functional.embedding(ids, exact(weight)).tolist()


def run_rmsnorm(x: Matrix, weight: Vector, eps: float = 1e-5) -> Matrix:
    """Return y_j = weight_j x_j / sqrt(mean(x^2) + eps) for every row of x."""
    return functional.rms_norm(exact(x), exact(weight), eps).tolist()


def run_rope(x: Matrix, start: int = 0) -> Matrix:
    """Rotate the pair (x_2i, x_2i+1) of the token at position p by the angle p / 10000^(2i/D), for every i."""
    return attention.rope(exact(x), start).tolist()


def run_swiglu(x: Matrix, gate: Matrix, up: Matrix, down: Matrix) -> Matrix:
    """Return W_down (silu(W_gate x) * W_up x) for every row of x; * is elementwise."""
    module = transformer.SwiGLU(len(x[0]), len(gate), generator=random.Random(0))
    _load(module, {"gate_proj.weight": gate, "up_proj.weight": up, "down_proj.weight": down})
    return module(exact(x)).tolist()


def run_softmax(x: Matrix) -> Matrix:
    """Return p_j = exp(x_j) / sum over i of exp(x_i) for every row of x."""
    return functional.softmax(exact(x)).tolist()


def run_cross_entropy(logits: Matrix, targets: list[int]) -> float:
    """Return the mean over all rows of -log softmax(row)[target], in nats."""
    return functional.cross_entropy(exact(logits), targets).item()


def exact(nested: Any) -> Tensor:
    """Return a tensor that is computed with in full precision."""
    return from_lists(nested, exact=True)


# --- the Transformer ----------------------------------------------------------------------------------------


def run_attention(query: Matrix, key: Matrix, value: Matrix, mask: list[list[bool]] | None = None) -> Matrix:
    """Return softmax(Q K^T / sqrt(D)) V, where token t sees tokens 0 to t only (causal), or those of the mask."""
    seen = None if mask is None else from_lists(mask)
    return attention.scaled_dot_product_attention(exact(query), exact(key), exact(value), seen).tolist()


def run_multihead(x: Batch, weights: Weights, num_heads: int, rotary: bool) -> Batch:
    """Return W_o (the outputs of H causal attentions side by side), each on its own D values of Q, K and V."""
    module = transformer.MultiHeadAttention(
        len(x[0][0]), num_heads, generator=random.Random(0), bias=False, rope_base=10_000.0 if rotary else None
    )
    _load(module, weights)
    return module(exact(x)).tolist()


def run_block(x: Batch, weights: Weights, num_heads: int) -> Batch:
    """Return one block of Llama: x = x + attention(norm_1(x)), and then x + feed_forward(norm_2(x))."""
    module = _new_block(len(x[0][0]), len(weights["feed_forward.gate_proj.weight"]), num_heads)
    _load(module, weights)
    return module(exact(x)).tolist()


def run_lm(ids: list[list[int]], weights: Weights, num_heads: int, num_layers: int) -> Batch:
    """Return the logits of the token after each token: output(norm(blocks(embedding(ids))))."""
    generator = random.Random(0)
    vocab_size, embed_dim = len(weights["output.weight"]), len(weights["norm.weight"])
    hidden_dim = len(weights["blocks.0.feed_forward.gate_proj.weight"])
    module = transformer.TransformerLM(
        token_embeddings=Embedding(vocab_size, embed_dim, generator=generator),
        position_embeddings=None,
        blocks=[_new_block(embed_dim, hidden_dim, num_heads) for _ in range(num_layers)],
        norm=RMSNorm(embed_dim),
        output=Linear(embed_dim, vocab_size, bias=False, generator=generator),
        dropout=Dropout(0.0, generator),
    )
    _load(module, weights)
    return module(ids, exact=True).tolist()


def _new_block(embed_dim: int, hidden_dim: int, num_heads: int) -> transformer.Block:
    generator = random.Random(0)
    return transformer.Block(
        RMSNorm(embed_dim),
        transformer.MultiHeadAttention(embed_dim, num_heads, generator=generator, bias=False, rope_base=10_000.0),
        RMSNorm(embed_dim),
        transformer.SwiGLU(embed_dim, hidden_dim, generator=generator),
        Dropout(0.0, generator),
    )


def _load(module: Module, weights: Weights) -> None:
    module.load_state_dict({name: from_lists(nested) for name, nested in weights.items()})


# --- training -----------------------------------------------------------------------------------------------


def run_clipping(gradients: list[Vector], max_norm: float) -> list[Vector]:
    """Multiply all gradients by max_norm / (norm + 1e-6) if their common norm is above max_norm."""
    parameters = [Parameter([0.0] * len(gradient), (len(gradient),)) for gradient in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.add_gradient(gradient)
    clip_grad_norm(parameters, max_norm)
    return [list(parameter.grad or ()) for parameter in parameters]


def run_adamw(
    weights: Vector, gradients: list[Vector], lr: float, betas: tuple[float, float], eps: float, weight_decay: float
) -> list[Vector]:
    """Return the weights after each step of w = w - lr (m' / (sqrt(v') + eps) + weight_decay w)."""
    parameter = Parameter(weights, (len(weights),))
    optimizer = AdamW([parameter], lr, betas, eps, weight_decay)
    steps: list[Vector] = []
    for gradient in gradients:
        parameter.grad = array("d", gradient)
        optimizer.step()
        steps.append(list(parameter.data))
    return steps


def run_schedule(step: int, peak: float, warmup: int, total: int, floor: float) -> float:
    """Return the step size: peak step / warmup at first, then floor + (peak - floor) (1 + cos(pi d)) / 2."""
    return cosine_schedule(step, peak=peak, warmup=warmup, total=total, floor=floor)


def run_batches(token_ids: list[int], context_size: int, batch_size: int, seed: int) -> list[list[int]]:
    """Draw windows of context_size + 1 tokens from random places in a text, all equally likely."""
    return [list(window) for window in draw_windows(token_ids, context_size, batch_size, random.Random(seed))]


def run_checkpoint_save(path: Path, tensors: Weights) -> None:
    """Write named nested lists to a file without losing a digit."""
    flat = {name: from_lists(nested) for name, nested in tensors.items()}
    write_safetensors(path, {name: (t.shape, array("d", t.data)) for name, t in flat.items()})


def run_checkpoint_load(path: Path) -> Weights:
    """Read what run_checkpoint_save wrote: the same names, shapes and values."""
    stored, _ = read_safetensors(path)
    return {name: Tensor(data, shape).tolist() for name, (shape, data) in stored.items()}


# --- text ---------------------------------------------------------------------------------------------------


def run_tokenizer_encode(
    text: str, vocab: dict[int, bytes], merges: list[Merge], special_tokens: list[str]
) -> list[int]:
    """Split text into pre-tokens and merge the bytes of each: the earliest merge first, until none applies."""
    return BPETokenizer(vocab, merges, special_tokens).encode(text)


def run_tokenizer_decode(ids: list[int], vocab: dict[int, bytes]) -> str:
    """Join the bytes of all ids and decode them as UTF-8; invalid bytes become U+FFFD."""
    return BPETokenizer(vocab, []).decode(ids)


def run_bpe_training(text: str, vocab_size: int) -> tuple[dict[int, bytes], list[Merge]]:
    """Merge the most frequent pair of neighbors into a new token until there are vocab_size tokens or no pairs."""
    tokenizer = BPETokenizer.from_text(text, vocab_size)
    return tokenizer.vocab, tokenizer.merges


# --- yours ----------------------------------------------------------------------------------------------------------


def _take_from(path: str) -> None:
    """Let the functions of a file take the place of those here."""
    spec = importlib.util.spec_from_file_location("mine", path)
    assert spec is not None
    assert spec.loader is not None
    mine = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(mine)
    globals().update({name: function for name, function in vars(mine).items() if name.startswith("run_")})


# WHY the name: what is taken may be a copy of this file.
if "TOY_GPT_EXERCISES" in os.environ and __name__ != "mine":
    _take_from(os.environ["TOY_GPT_EXERCISES"])
