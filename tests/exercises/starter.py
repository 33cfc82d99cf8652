"""starter.py - The components of a language model, for you to write.

``toy-gpt exercises`` copies this file to mine.py beside it. Write the functions there; the same command then says which
are right. README.md in this folder shows the steps, with one example. Each line below "Example:" is True.

Values go in and come out as nested lists. Letters in the docstrings are sizes: N rows, B sequences, T tokens, C values
per token, V tokens in the vocabulary, H heads, D = C/H values per head, F values inside a feed-forward layer.

    Matrix of shape (2, 3):  [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
"""

from pathlib import Path
from typing import Any

Vector = list[float]
Matrix = list[Vector]
Batch = list[Matrix]
Weights = dict[str, Any]  # name -> nested lists
Merge = tuple[bytes, bytes]


# --- layers -------------------------------------------------------------------------------------------------


def run_linear(x: Matrix, weight: Matrix, bias: Vector | None = None) -> Matrix:
    """Return y = x W^T + b for every row of x.

    Args:
        x: (N, in).
        weight: W, (out, in).
        bias: b, (out,); None means zeros.

    Returns:
        (N, out).

    Example:
        run_linear([[1.0, 2.0]], [[3.0, 4.0]], [0.5]) == [[11.5]]
    """
    raise NotImplementedError


def run_embedding(ids: list[list[int]], weight: Matrix) -> Batch:
    """Look up the row of the weight for every id.

    Args:
        ids: (B, T), each from 0 to V-1.
        weight: (V, C).

    Returns:
        (B, T, C).

    Example:
        run_embedding([[1, 0]], [[0.1, 0.2], [0.3, 0.4]]) == [[[0.3, 0.4], [0.1, 0.2]]]
    """
    raise NotImplementedError


def run_rmsnorm(x: Matrix, weight: Vector, eps: float = 1e-5) -> Matrix:
    """Return y_j = weight_j x_j / sqrt(mean(x^2) + eps) for every row of x.

    Args:
        x: (N, C).
        weight: (C,), the gain.
        eps: Added to the mean of the row's squares.

    Returns:
        (N, C).

    Example:
        run_rmsnorm([[2.0, 2.0]], [1.0, 3.0], eps=0.0) == [[1.0, 3.0]]

    Source:
        Zhang and Sennrich (2019), "Root mean square layer normalization".
    """
    raise NotImplementedError


def run_rope(x: Matrix, start: int = 0) -> Matrix:
    """Rotate the pair (x_2i, x_2i+1) of the token at position p by the angle p / 10000^(2i/D), for every i.

    Rotating (a, b) by an angle t gives (a cos t - b sin t, a sin t + b cos t).

    Args:
        x: (T, D), D even: a query or a key of each token.
        start: The position of the first token.

    Returns:
        (T, D).

    Example:
        [round(number, 4) for number in run_rope([[1.0, 0.0]], start=1)[0]] == [0.5403, 0.8415]

    Source:
        Su et al. (2021), "RoFormer: enhanced Transformer with rotary position embedding".
    """
    raise NotImplementedError


def run_swiglu(x: Matrix, gate: Matrix, up: Matrix, down: Matrix) -> Matrix:
    """Return W_down (silu(W_gate x) * W_up x) for every row of x; * is elementwise.

    silu(a) = a / (1 + exp(-a)). Note that exp overflows if a is far below 0.

    Args:
        x: (N, C).
        gate: W_gate, (F, C).
        up: W_up, (F, C).
        down: W_down, (C, F).

    Returns:
        (N, C).

    Example:
        round(run_swiglu([[1.0]], gate=[[1.0]], up=[[1.0]], down=[[2.0]])[0][0], 4) == 1.4621

    Source:
        Shazeer (2020), "GLU variants improve Transformer".
    """
    raise NotImplementedError


def run_softmax(x: Matrix) -> Matrix:
    """Return p_j = exp(x_j) / sum over i of exp(x_i) for every row of x.

    Note that exp overflows; a shift of the whole row does not change p.

    Args:
        x: (N, V).

    Returns:
        (N, V); each row sums to 1.

    Example:
        run_softmax([[1000.0, 1000.0]]) == [[0.5, 0.5]]
    """
    raise NotImplementedError


def run_cross_entropy(logits: Matrix, targets: list[int]) -> float:
    """Return the mean over all rows of -log softmax(row)[target], in nats.

    Args:
        logits: (N, V).
        targets: (N,), each from 0 to V-1.

    Returns:
        One value.

    Example:
        round(run_cross_entropy([[0.0, 0.0]], [1]), 4) == 0.6931
    """
    raise NotImplementedError


# --- the Transformer ----------------------------------------------------------------------------------------


def run_attention(query: Matrix, key: Matrix, value: Matrix, mask: list[list[bool]] | None = None) -> Matrix:
    """Return softmax(Q K^T / sqrt(D)) V, where token t sees tokens 0 to t only (causal), or those of the mask.

    Args:
        query: Q, (T, D).
        key: K, (T, D).
        value: V, (T, D).
        mask: (T, T), true where the row's token sees the column's; one that sees none gets zeros. None for causal.

    Returns:
        (T, D).

    Example:
        run_attention([[0.0], [0.0]], [[1.0], [2.0]], [[1.0], [2.0]]) == [[1.0], [1.5]]

    Source:
        Vaswani et al. (2017), "Attention is all you need".
    """
    raise NotImplementedError


def run_multihead(x: Batch, weights: Weights, num_heads: int, rotary: bool) -> Batch:
    """Return W_o (the outputs of H causal attentions side by side), each on its own D values of Q, K and V.

    Q = W_q x, K = W_k x, V = W_v x; head h takes the values h D to (h+1) D - 1 of each.

    Args:
        x: (B, T, C).
        weights: "q_proj.weight", "k_proj.weight", "v_proj.weight", "o_proj.weight", (C, C) each; no biases.
        num_heads: H.
        rotary: Whether queries and keys of each head are rotated by their position (rope), from position 0.

    Returns:
        (B, T, C).

    Example:
        run_multihead([[[2.0]]], {f"{name}_proj.weight": [[3.0]] for name in "qkvo"}, 1, rotary=False) == [[[18.0]]]
    """
    raise NotImplementedError


def run_block(x: Batch, weights: Weights, num_heads: int) -> Batch:
    """Return one block of Llama: x = x + attention(norm_1(x)), and then x + feed_forward(norm_2(x)).

    The norms are RMSNorm with eps 1e-5, attention has H heads and is rotary, the feed-forward layer is SwiGLU.

    Args:
        x: (B, T, C).
        weights: "norm_1.weight" (C,), "attention.q_proj.weight" and so on as in run_multihead, "norm_2.weight" (C,),
            "feed_forward.gate_proj.weight" (F, C), "feed_forward.up_proj.weight" (F, C),
            "feed_forward.down_proj.weight" (C, F).
        num_heads: H.

    Returns:
        (B, T, C). With all weights 0 it is x itself.

    Source:
        Touvron et al. (2023), "LLaMA: open and efficient foundation language models".
    """
    raise NotImplementedError


def run_lm(ids: list[list[int]], weights: Weights, num_heads: int, num_layers: int) -> Batch:
    """Return the logits of the token after each token: output(norm(blocks(embedding(ids)))).

    Args:
        ids: (B, T).
        weights: "token_embeddings.weight" (V, C); "blocks.0." before each name of run_block, "blocks.1." and so on;
            "norm.weight" (C,), RMSNorm with eps 1e-5; "output.weight" (V, C), a linear layer without bias.
        num_heads: H.
        num_layers: How many blocks.

    Returns:
        (B, T, V).
    """
    raise NotImplementedError


# --- training -----------------------------------------------------------------------------------------------


def run_clipping(gradients: list[Vector], max_norm: float) -> list[Vector]:
    """Multiply all gradients by max_norm / (norm + 1e-6) if their common norm is above max_norm.

    norm = sqrt(sum of the squares of all values of all gradients).

    Args:
        gradients: One for each parameter, of any length.
        max_norm: The largest norm.

    Returns:
        The gradients, in the same shape; unchanged if the norm is at most max_norm.

    Example:
        run_clipping([[3.0], [4.0]], max_norm=10.0) == [[3.0], [4.0]]
        [round(g, 4) for (g,) in run_clipping([[3.0], [4.0]], max_norm=1.0)] == [0.6, 0.8]

    Source:
        Pascanu, Mikolov and Bengio (2013), "On the difficulty of training recurrent neural networks".
    """
    raise NotImplementedError


def run_adamw(
    weights: Vector, gradients: list[Vector], lr: float, betas: tuple[float, float], eps: float, weight_decay: float
) -> list[Vector]:
    """Return the weights after each step of w = w - lr (m' / (sqrt(v') + eps) + weight_decay w).

    m = beta1 m + (1 - beta1) g and v = beta2 v + (1 - beta2) g^2 start at 0; at step t = 1, 2, ... m' is
    m / (1 - beta1^t) and v' is v / (1 - beta2^t). The w on the right is the one before the step.

    Args:
        weights: (N,), before the first step.
        gradients: (steps, N): g of each step, independent of the weights.
        lr: Step size.
        betas: beta1 and beta2.
        eps: Keeps the division from blowing up.
        weight_decay: The share of lr by which every weight shrinks.

    Returns:
        (steps, N).

    Example:
        round(run_adamw([1.0], [[0.5]], 0.1, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)[0][0], 4) == 0.9

    Source:
        Kingma and Ba (2015), "Adam"; Loshchilov and Hutter (2019), "Decoupled weight decay regularization".
    """
    raise NotImplementedError


def run_schedule(step: int, peak: float, warmup: int, total: int, floor: float) -> float:
    """Return the step size: peak step / warmup at first, then floor + (peak - floor) (1 + cos(pi d)) / 2.

    d = (step - warmup) / (total - warmup), the share of the descent that is done.

    Args:
        step: From 0. From step ``total`` on, the step size is the floor.
        peak: The largest step size.
        warmup: How many steps it grows for.
        total: How many steps there are.
        floor: The step size at the end.

    Returns:
        The step size.

    Example:
        [round(run_schedule(step, 1.0, 2, 6, 0.0), 4) for step in range(6)] == [0.0, 0.5, 1.0, 0.8536, 0.5, 0.1464]

    Source:
        Loshchilov and Hutter (2017), "SGDR", for the cosine; Goyal et al. (2017) for the warm-up.
    """
    raise NotImplementedError


def run_batches(token_ids: list[int], context_size: int, batch_size: int, seed: int) -> list[list[int]]:
    """Draw windows of context_size + 1 tokens from random places in a text, all equally likely.

    Args:
        token_ids: The text.
        context_size: How many tokens the network reads; the last token of a window is only predicted.
        batch_size: How many windows to draw; some may overlap.
        seed: The same seed draws the same windows.

    Returns:
        The windows.

    Raises:
        ValueError: The text is shorter than a window.

    Example:
        run_batches([7, 8, 9], context_size=2, batch_size=2, seed=0) == [[7, 8, 9], [7, 8, 9]]
    """
    raise NotImplementedError


def run_checkpoint_save(path: Path, tensors: Weights) -> None:
    """Write named nested lists to a file without losing a digit.

    Any format will do except pickle: loading a pickle runs code that its author chose.

    Args:
        path: The file; an existing one is replaced.
        tensors: Nested lists of floats by name, one or more levels deep, none empty.
    """
    raise NotImplementedError


def run_checkpoint_load(path: Path) -> Weights:
    """Read what run_checkpoint_save wrote: the same names, shapes and values.

    Args:
        path: The file.

    Returns:
        Nested lists of floats by name.
    """
    raise NotImplementedError


# --- text ---------------------------------------------------------------------------------------------------


def run_tokenizer_encode(
    text: str, vocab: dict[int, bytes], merges: list[Merge], special_tokens: list[str]
) -> list[int]:
    """Split text into pre-tokens and merge the bytes of each: the earliest merge first, until none applies.

    Special tokens are split off first; each is one token. If you do not want to write the splitting of the text between
    them, call pretokenize() of toy_gpt_train.tokenizers.pretokenize. Then the bytes of each pre-token are merged: of
    all pairs of neighbors, the one that comes first in ``merges`` becomes one token, at its leftmost place, again and
    again.

    Args:
        text: Any text.
        vocab: The bytes of each token id; all 256 single bytes are among them, in any order, and the special tokens.
        merges: Pairs of tokens, in the order of learning.
        special_tokens: Texts that are never split. No one of them is the start of another.

    Returns:
        The ids.

    Example:
        run_tokenizer_encode("Hi", {byte: bytes([byte]) for byte in range(256)}, [], []) == [72, 105]

    Source:
        Radford et al. (2019), "Language models are unsupervised multitask learners".
    """
    raise NotImplementedError


def run_tokenizer_decode(ids: list[int], vocab: dict[int, bytes]) -> str:
    """Join the bytes of all ids and decode them as UTF-8; invalid bytes become U+FFFD.

    Args:
        ids: Token ids.
        vocab: The bytes of each token id.

    Returns:
        The text.

    Example:
        run_tokenizer_decode([72, 105], {byte: bytes([byte]) for byte in range(256)}) == "Hi"
    """
    raise NotImplementedError


def run_bpe_training(text: str, vocab_size: int) -> tuple[dict[int, bytes], list[Merge]]:
    """Merge the most frequent pair of neighbors into a new token until there are vocab_size tokens or no pairs.

    Pairs are counted only inside pre-tokens (see run_tokenizer_encode). Of equally frequent pairs the greater one is
    merged, as Python compares pairs of bytes.

    Args:
        text: What to learn from.
        vocab_size: How many tokens to stop at, including the 256 bytes.

    Returns:
        The bytes of each id (0 to 255 the single bytes, then the merged tokens), and the merges in order.

    Example:
        run_bpe_training("hug pug hug", 258)[1] == [(b"u", b"g"), (b"h", b"ug")]

    Source:
        Sennrich, Haddow and Birch (2016), "Neural machine translation of rare words with subword units".
    """
    raise NotImplementedError
