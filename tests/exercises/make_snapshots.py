"""make_snapshots.py - Make the reference values that the exercises compare with: snapshots/*.json.

REQ: nothing here imports toy_gpt_train. The values come from PyTorch, from formulas in 50 decimal digits, and from
Hugging Face's tokenizers, so they also test the project.

The files are committed; the exercises do not need this script. A case holds the arguments of a function of adapters.py
by name, and the expected result. Inputs are short decimals, which keeps the files small.

Run it: uv run --with torch --group reference python tests/exercises/make_snapshots.py [NAME ...]
"""

import json
import random
import sys
from collections import Counter
from collections.abc import Callable
from decimal import Decimal, getcontext
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Final

SNAPSHOTS: Final = Path(__file__).parent / "snapshots"
PI: Final = Decimal("3.14159265358979323846264338327950288419716939937510582")
GPT2_PATTERN: Final = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
BY_FORMULA: Final = "the formula in 50 decimal digits (Python's decimal)"

Case = dict[str, Any]

getcontext().prec = 50


def numbers(generator: random.Random, *shape: int, scale: float = 1.0) -> Any:
    """Return nested lists of normal values, rounded to two decimals."""
    if not shape:
        return round(generator.gauss(0.0, scale), 2)
    return [numbers(generator, *shape[1:], scale=scale) for _ in range(shape[0])]


# --- by PyTorch, in 64 bits ---------------------------------------------------------------------------------


def float64(nested: Any) -> Any:
    import torch

    return torch.tensor(nested, dtype=torch.float64)


def linear() -> list[Case]:
    from torch.nn import functional

    rng = random.Random("linear")
    x, weight, bias = numbers(rng, 5, 7), numbers(rng, 4, 7), numbers(rng, 4)
    with_bias = functional.linear(float64(x), float64(weight), float64(bias))
    without = functional.linear(float64(x), float64(weight))
    return [
        {"x": x, "weight": weight, "bias": bias, "expected": with_bias.tolist()},
        {"x": x, "weight": weight, "bias": None, "expected": without.tolist()},
    ]


def embedding() -> list[Case]:
    import torch

    rng = random.Random("embedding")
    ids, weight = [[4, 0, 2], [2, 2, 5]], numbers(rng, 6, 3)
    expected = torch.nn.functional.embedding(torch.tensor(ids), float64(weight))
    return [{"ids": ids, "weight": weight, "expected": expected.tolist()}]


def rmsnorm() -> list[Case]:
    from torch.nn import functional

    rng = random.Random("rmsnorm")
    cases = []
    for x, eps in ((numbers(rng, 3, 6), 1e-5), ([[0.003, -0.001, 0.002, 0.0, 0.001, 0.0]], 1e-5), ([[2.0] * 6], 0.5)):
        weight = numbers(rng, 6)
        expected = functional.rms_norm(float64(x), (6,), float64(weight), eps)
        cases.append({"x": x, "weight": weight, "eps": eps, "expected": expected.tolist()})
    return cases


def rotated(x: Any, start: int = 0) -> Any:
    """Rotate pairs as complex numbers: a rotation is a product with a number of length 1."""
    import torch

    length, size = x.shape[-2:]
    positions = torch.arange(start, start + length, dtype=torch.float64)
    angles = torch.outer(positions, 10000.0 ** (-torch.arange(0, size, 2, dtype=torch.float64) / size))
    pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], size // 2, 2))
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)


def rope() -> list[Case]:
    x = numbers(random.Random("rope"), 5, 6)
    return [{"x": x, "start": start, "expected": rotated(float64(x), start).tolist()} for start in (0, 1, 1000)]


def gated(x: Any, gate: Any, up: Any, down: Any) -> Any:
    from torch.nn import functional

    return functional.linear(functional.silu(functional.linear(x, gate)) * functional.linear(x, up), down)


def swiglu() -> list[Case]:
    rng = random.Random("swiglu")
    cases = []
    for far_below_0 in (False, True):
        case = {"x": numbers(rng, 3, 4), "gate": numbers(rng, 6, 4), "up": numbers(rng, 6, 4)}
        case |= {"down": numbers(rng, 4, 6)}
        if far_below_0:
            case["x"][0][0], case["gate"][0] = 1.0, [-900.0, 0.0, 0.0, 0.0]
        cases.append(case | {"expected": gated(*map(float64, case.values())).tolist()})
    return cases


def attention() -> list[Case]:
    from torch.nn import functional

    rng = random.Random("attention")
    cases = []
    for scale in (1.0, 40.0):  # with the second, exp of a score overflows
        case = {"query": numbers(rng, 5, 4, scale=scale), "key": numbers(rng, 5, 4, scale=scale)}
        case |= {"value": numbers(rng, 5, 4)}
        expected = functional.scaled_dot_product_attention(*map(float64, case.values()), is_causal=True)
        cases.append(case | {"expected": expected.tolist()})
    return cases


def attended(x: Any, weights: Any, num_heads: int, rotary: bool) -> Any:
    from torch.nn import functional

    batch, length, size = x.shape
    projected = (functional.linear(x, weights[f"{name}_proj.weight"]) for name in "qkv")
    query, key, value = (y.view(batch, length, num_heads, -1).transpose(1, 2) for y in projected)
    if rotary:
        query, key = rotated(query), rotated(key)
    heads = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    return functional.linear(heads.transpose(1, 2).reshape(batch, length, size), weights["o_proj.weight"])


def attention_weights(rng: random.Random, size: int, prefix: str = "") -> Case:
    return {f"{prefix}{name}_proj.weight": numbers(rng, size, size, scale=0.25) for name in "qkvo"}


def multihead() -> list[Case]:
    rng = random.Random("multihead")
    cases = []
    for num_heads, rotary in ((4, False), (2, True)):
        case = {"x": numbers(rng, 2, 4, 8), "weights": attention_weights(rng, 8)}
        expected = attended(*arrays(case), num_heads, rotary)
        cases.append(case | {"num_heads": num_heads, "rotary": rotary, "expected": expected.tolist()})
    return cases


def arrays(case: Case) -> tuple[Any, Any]:
    """Return the input and the weights of a case as PyTorch tensors."""
    return float64(case["x"]), {name: float64(weight) for name, weight in case["weights"].items()}


def after_block(x: Any, weights: Any, num_heads: int) -> Any:
    from torch.nn import functional

    size = x.shape[-1:]
    own = {name.removeprefix("attention."): w for name, w in weights.items() if name.startswith("attention.")}
    x = x + attended(functional.rms_norm(x, size, weights["norm_1.weight"], 1e-5), own, num_heads, rotary=True)
    normed = functional.rms_norm(x, size, weights["norm_2.weight"], 1e-5)
    return x + gated(normed, *(weights[f"feed_forward.{name}_proj.weight"] for name in ("gate", "up", "down")))


def block_weights(rng: random.Random, size: int, hidden: int, prefix: str = "") -> Case:
    return {
        f"{prefix}norm_1.weight": numbers(rng, size),
        **attention_weights(rng, size, f"{prefix}attention."),
        f"{prefix}norm_2.weight": numbers(rng, size),
        f"{prefix}feed_forward.gate_proj.weight": numbers(rng, hidden, size, scale=0.25),
        f"{prefix}feed_forward.up_proj.weight": numbers(rng, hidden, size, scale=0.25),
        f"{prefix}feed_forward.down_proj.weight": numbers(rng, size, hidden, scale=0.25),
    }


def block() -> list[Case]:
    rng = random.Random("block")
    case = {"x": numbers(rng, 2, 4, 8), "weights": block_weights(rng, 8, 12)}
    expected = after_block(*arrays(case), num_heads=2)
    return [case | {"num_heads": 2, "expected": expected.tolist()}]


def lm() -> list[Case]:
    import torch
    from torch.nn import functional

    rng = random.Random("lm")
    ids = [[3, 1, 8, 1, 5, 4, 0, 7], [0, 6, 6, 2, 6, 6, 3, 1]]
    weights = {"token_embeddings.weight": numbers(rng, 9, 8)}
    for i in range(2):
        weights |= block_weights(rng, 8, 12, f"blocks.{i}.")
    weights |= {"norm.weight": numbers(rng, 8), "output.weight": numbers(rng, 9, 8)}
    tensors = {name: float64(weight) for name, weight in weights.items()}
    x = functional.embedding(torch.tensor(ids), tensors["token_embeddings.weight"])
    for i in range(2):
        prefix = f"blocks.{i}."
        x = after_block(x, {name.removeprefix(prefix): w for name, w in tensors.items()}, num_heads=2)
    x = functional.rms_norm(x, (8,), tensors["norm.weight"], 1e-5)
    logits = functional.linear(x, tensors["output.weight"])
    return [{"ids": ids, "weights": weights, "num_heads": 2, "num_layers": 2, "expected": logits.tolist()}]


# --- by formula, in 50 decimal digits -----------------------------------------------------------------------

ROWS: Final = [[0.5, -1.25, 3.0], [0.1, 0.2, 0.3], [1000.0, 999.0, -1000.0], [-800.0, -800.5, -801.0]]


def exact_softmax(row: list[float]) -> list[Decimal]:
    exps = [Decimal(number).exp() for number in row]
    return [e / sum(exps) for e in exps]


def softmax() -> list[Case]:
    return [{"x": ROWS, "expected": [list(map(float, exact_softmax(row))) for row in ROWS]}]


def masked_attention() -> list[Case]:
    rng = random.Random("masked attention")
    cases = []
    for hidden in (1, 9):
        case = {"query": numbers(rng, 5, 4), "key": numbers(rng, 5, 4), "value": numbers(rng, 5, 4)}
        mask = [[True] * 5 for _ in range(5)]
        for place in rng.sample(range(25), hidden):
            mask[place // 5][place % 5] = False
        mask[3] = [hidden == 1] * 5  # in the second case it sees nothing
        expected = [
            attended_by(query, case["key"], case["value"], seen)
            for query, seen in zip(case["query"], mask, strict=True)
        ]
        cases.append(case | {"mask": mask, "expected": expected})
    return cases


def attended_by(query: list[float], keys: Any, values: Any, seen: list[bool]) -> list[float]:
    places = [i for i, one in enumerate(seen) if one]
    scores = [sum(map(Decimal.__mul__, map(Decimal, query), map(Decimal, keys[i]))) for i in places]
    exps = [(score / Decimal(len(query)).sqrt()).exp() for score in scores]
    columns = [[Decimal(values[i][d]) for i in places] for d in range(len(values[0]))]
    return [float(sum(map(Decimal.__mul__, exps, column)) / sum(exps)) if exps else 0.0 for column in columns]


def cross_entropy() -> list[Case]:
    cases = []
    for targets in ([2, 0, 1, 0], [0, 2, 2, 2]):
        losses = [-exact_softmax(row)[target].ln() for row, target in zip(ROWS, targets, strict=True)]
        cases.append({"logits": ROWS, "targets": targets, "expected": float(sum(losses) / len(losses))})
    return cases


def clipping() -> list[Case]:
    gradients = [[3.0, -4.0, 0.25], [12.0], [0.5, 0.125]]
    norm = sum(Decimal(g) ** 2 for g in chain.from_iterable(gradients)).sqrt()
    cases = []
    for max_norm in (1.0, 0.001, 100.0):
        scale = Decimal(max_norm) / (norm + Decimal("1e-6")) if norm > max_norm else Decimal(1)
        clipped = [[float(scale * Decimal(g)) for g in gradient] for gradient in gradients]
        cases.append({"gradients": gradients, "max_norm": max_norm, "expected": clipped})
    return cases


def adamw() -> list[Case]:
    rng = random.Random("adamw")
    cases = []
    for lr, betas, eps, weight_decay in ((0.1, (0.9, 0.999), 1e-8, 0.0), (0.02, (0.8, 0.95), 0.01, 0.5)):
        weights, gradients = numbers(rng, 4), numbers(rng, 6, 4)
        gradients[2][0] = 100.0  # one outlier
        case = {"weights": weights, "gradients": gradients, "lr": lr, "betas": betas, "eps": eps}
        cases.append(case | {"weight_decay": weight_decay})
        cases[-1]["expected"] = exact_adamw(**cases[-1])
    return cases


def exact_adamw(
    weights: list[float],
    gradients: list[list[float]],
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
) -> list[list[float]]:
    """Follow each weight by itself, step by step."""
    beta1, beta2 = map(Decimal, betas)
    paths = []
    for weight, column in zip(weights, zip(*gradients, strict=True), strict=True):
        w, m, v = Decimal(weight), Decimal(0), Decimal(0)
        path = []
        for t, g in enumerate(map(Decimal, column), start=1):
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * g * g
            direction = m / (1 - beta1**t) / ((v / (1 - beta2**t)).sqrt() + Decimal(eps))
            w = w - Decimal(lr) * (direction + Decimal(weight_decay) * w)
            path.append(float(w))
        paths.append(path)
    return [list(step) for step in zip(*paths, strict=True)]


def schedule() -> list[Case]:
    cases = []
    for peak, warmup, total, floor in ((0.003, 4, 12, 0.0003), (1.0, 0, 5, 0.125)):
        for step in (*range(total + 1), 2 * total):
            case = {"step": step, "peak": peak, "warmup": warmup, "total": total, "floor": floor}
            if step < warmup:
                size = Decimal(peak) * step / warmup
            else:
                done = min(Decimal(step - warmup) / (total - warmup), Decimal(1))
                size = Decimal(floor) + (Decimal(peak) - Decimal(floor)) * (1 + cosine(PI * done)) / 2
            cases.append(case | {"expected": float(round(size, 40))})
    return cases


def cosine(angle: Decimal) -> Decimal:
    """Return cos(angle) by its series, 1 - a^2/2! + a^4/4! - ..."""
    total, term = Decimal(1), Decimal(1)
    for n in range(2, 80, 2):
        term *= -angle * angle / (n * (n - 1))
        total += term
    return total


# --- by Hugging Face's tokenizers, and by counting ----------------------------------------------------------

STORY: Final = (
    "The lighthouse keeper's daughter kept a list of ships. She'd counted 1024 ships by 2019, and they're all on it! "
    "The list said: the ship, the storm, the keeper, the keeper's ship. Été, naïve, 日本, 日本語. aaa aaaa aaaaa\n"
)
TEXTS: Final = [
    "",
    "the keeper's ship",
    "They're 2019 ships, she'd said:  the  list!\n\n\tShips\n",
    "naïve été 日本語 👩‍👩‍👧 \u00a0x",
    "<|user|>the ship<|end|><|end|> the<|end",
    "aaaaaaaaa aaaa keeperkeeper",
    "the 'storm' and 'ship', ghee",  # 's is merged, but not across " '" and "storm"; h e before g h
]
SPECIAL: Final = ["<|user|>", "<|end|>"]


def spelling() -> dict[str, str]:
    """Return which byte each character of GPT-2's printable alphabet stands for, as a character of Latin-1."""
    plain = [b for b in range(256) if 33 <= b <= 126 or (b >= 161 and b != 173)]
    hidden = [b for b in range(256) if b not in plain]
    return {chr(b): chr(b) for b in plain} | {chr(256 + i): chr(b) for i, b in enumerate(hidden)}


def trained(text: str, vocab_size: int, special_tokens: list[str]) -> tuple[Any, list[str], list[list[str]]]:
    """Return Hugging Face's tokenizer trained on a text, its tokens by id, and its merges, both spelled in Latin-1."""
    import tokenizers

    reference = tokenizers.Tokenizer(tokenizers.models.BPE())
    reference.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    reference.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=special_tokens, initial_alphabet=alphabet, show_progress=False
    )
    reference.train_from_iterator([text], trainer)
    model = json.loads(reference.to_str())["model"]
    table = str.maketrans(spelling())
    tokens = [token.translate(table) for token in sorted(model["vocab"], key=lambda token: model["vocab"][token])]
    return reference, tokens, [[left.translate(table), right.translate(table)] for left, right in model["merges"]]


def tokenizer() -> list[Case]:
    reference, vocab, merges = trained(STORY, 256 + len(SPECIAL) + 50, SPECIAL)
    encoded = [{"text": text, "expected": reference.encode(text).ids} for text in TEXTS]
    ids_to_decode = [case["expected"] for case in encoded]
    ids_to_decode += [reference.encode("été 👩").ids[:-1], [vocab.index("\xff"), vocab.index("a")]]
    decoded = [{"ids": ids, "expected": reference.decode(ids, skip_special_tokens=False)} for ids in ids_to_decode]
    return [{"vocab": vocab, "merges": merges, "special_tokens": SPECIAL, "encode": encoded, "decode": decoded}]


def bpe_training() -> list[Case]:
    texts = {text_without_ties(): 256 + 20, "hug pug hug": 300, STORY: 256 + 60}
    cases = [{"text": text, "vocab_size": size, "expected": learned(text, size)} for text, size in texts.items()]
    _, _, theirs = trained(cases[0]["text"], cases[0]["vocab_size"], [])
    if theirs != cases[0]["expected"]:
        raise SystemExit("two trainers disagree on a text without ties")
    return cases


def text_without_ties() -> str:
    """Return random words, each several times.

    WHY this seed: of equally frequent pairs, Hugging Face takes the one with the lowest ids, and we the one with the
    greatest bytes. With this seed there is no such tie in the first 20 merges.
    """
    rng = random.Random(19803)
    counts = {"".join(rng.choices("aeino", k=rng.randrange(1, 5))): rng.randrange(1, 40) for _ in range(24)}
    return "".join(f" {word}" * count for word, count in counts.items())


def learned(text: str, vocab_size: int) -> list[list[str]]:
    """Learn merges by recounting everything for each merge; bytes are characters of Latin-1."""
    import regex

    words = [[chr(byte) for byte in word.encode()] for word in regex.findall(GPT2_PATTERN, text)]
    merges: list[list[str]] = []
    while len(merges) < vocab_size - 256:
        counts = Counter(pair for word in words for pair in pairwise(word))
        if not counts:
            break
        best = max(counts, key=lambda pair: (counts[pair], pair))
        merges.append(list(best))
        words = [merged(word, best) for word in words]
    return merges


def merged(word: list[str], pair: tuple[str, str]) -> list[str]:
    joined: list[str] = []
    place = 0
    while place < len(word):
        width = 2 if tuple(word[place : place + 2]) == pair else 1
        joined.append("".join(word[place : place + width]))
        place += width
    return joined


# --- the files ----------------------------------------------------------------------------------------------

MAKERS: Final[dict[str, tuple[Callable[[], list[Case]], ...]]] = {
    "torch": (linear, embedding, rmsnorm, rope, swiglu, attention, multihead, block, lm),
    "decimal": (softmax, masked_attention, cross_entropy, clipping, adamw, schedule),
    "tokenizers": (tokenizer, bpe_training),
}


def made_by(library: str, name: str) -> str:
    """Return where the values come from."""
    if library == "decimal":
        return BY_FORMULA
    version = sys.modules[library].__version__
    if library == "torch":
        return f"PyTorch {version}, float64"
    if name == "tokenizer":
        return f"Hugging Face tokenizers {version}"
    return f"a naive trainer in make_snapshots.py; the first case, without ties, also Hugging Face tokenizers {version}"


def laid_out(value: Any, depth: int = 0) -> str:
    """Return JSON with one line per innermost list; Python's repr makes every float exact."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    if not any(isinstance(part, dict | list) for part in parts):
        return json.dumps(value)
    keys = [f"{json.dumps(key)}: " for key in value] if isinstance(value, dict) else [""] * len(value)
    lines = [f"{' ' * depth} {key}{laid_out(part, depth + 1)}" for key, part in zip(keys, parts, strict=True)]
    begin, end = "{}" if isinstance(value, dict) else "[]"
    return ",\n".join(lines).join((f"{begin}\n", f"\n{' ' * depth}{end}"))


def snapshot_text(library: str, maker: Callable[[], list[Case]]) -> str:
    """Return the text of one file."""
    cases = maker()
    return laid_out({"made_by": made_by(library, maker.__name__), "cases": cases}) + "\n"


def main(names: list[str]) -> None:
    """Write the files of these components, or all of them."""
    for library, makers in MAKERS.items():
        for maker in makers:
            if not names or maker.__name__ in names:
                path = SNAPSHOTS / f"{maker.__name__}.json"
                path.write_text(snapshot_text(library, maker), encoding="utf-8", newline="\n")
                print(f"{path.name:20} {path.stat().st_size:6} bytes, by {library}")


if __name__ == "__main__":
    main(sys.argv[1:])
