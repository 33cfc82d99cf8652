"""Charts of the docs site, drawn when the site is built: from committed CSV files, or by running the package itself."""

import ast
import csv
import html
import io
import json
import re
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from toy_gpt_train.a_tokenizer import DEFAULT_CORPUS, read_text, read_tokens
from toy_gpt_train.b_vocab import Vocabulary
from toy_gpt_train.c_model import SimpleNextTokenModel
from toy_gpt_train.d_train import TrainResult, TrainSettings, make_training_pairs, row_task, train_run
from toy_gpt_train.e_infer import Run, generate_tokens, load_run, next_token_probs, start_token_ids, top_k
from toy_gpt_train.levels import level_for_kind
from toy_gpt_train.models.mixture import MixtureModel
from toy_gpt_train.models.neural import NeuralModel
from toy_gpt_train.models.sizes import SIZE_NAMES, SIZES, settings_for
from toy_gpt_train.nn.attention import rope
from toy_gpt_train.nn.optim import cosine_schedule
from toy_gpt_train.nn.tensor import from_lists
from toy_gpt_train.tokenizers.char import CharTokenizer
from toy_gpt_train.tokenizers.word import WordTokenizer

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "toy_gpt_train"
STORIES = ROOT / "corpus" / "030_stories.txt"
BROWN, ORANGE, GREEN, VIOLET = "#8d6e63", "#f57c00", "#00897b", "#7e57c2"

# WHY grey text and a clear background: the same picture must read on the light and on the dark page.
mpl.rcParams.update(
    {
        "svg.hashsalt": "toy-gpt-train",
        "svg.fonttype": "none",
        "text.color": "#808080",
        "axes.edgecolor": "#808080",
        "axes.labelcolor": "#808080",
        "xtick.color": "#808080",
        "ytick.color": "#808080",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
    }
)


NETWORKS = {"500-embeddings": BROWN, "600-attention": ORANGE, "700-gpt": GREEN, "800-llama": VIOLET}


def _columns(path: str) -> dict[str, list[float]]:
    """Return a CSV file of numbers as a list for each column."""
    with (ROOT / path).open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return {name: [float(row[i]) for row in rows] for i, name in enumerate(header)}


def _svg(figure: Figure, description: str) -> str:
    """Return a figure as an SVG element with an accessible name."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    return svg.replace("<svg", f'<svg role="img" aria-label="{description}"', 1).replace("\n\n", "\n")


def default_run_loss() -> str:
    """The loss of the default run by epoch, above its floor."""
    log = _columns("outputs/train_log.csv")
    figure = Figure(figsize=(5.6, 2.8))
    axes = figure.subplots()
    axes.plot(log["epoch"], log["avg_loss"], color=GREEN, label="average loss")
    axes.plot(log["epoch"], log["loss_floor"], color=ORANGE, linestyle="--", label="floor of any context-3 table")
    axes.set_xlabel("epoch")
    axes.set_ylabel("nats a token")
    axes.legend(labelcolor="#808080")
    return _svg(figure, "Average loss by epoch, falling towards the dashed floor")


def ladder_loss() -> str:
    """The loss curves of the four tables on the animals corpus."""
    figure = Figure(figsize=(5.6, 3.2))
    axes = figure.subplots()
    rungs = ("100-unigram", "200-bigram", "300-context-2", "400-context-3")
    for rung, color in zip(rungs, (BROWN, ORANGE, GREEN, VIOLET), strict=True):
        log = _columns(f"outputs/ladder/{rung}/001_animals/train_log.csv")
        axes.plot(log["epoch"], log["avg_loss"], color=color, label=rung)
        axes.plot(log["epoch"], log["loss_floor"], color=color, linestyle=":", linewidth=1)
    axes.set_xlabel("epoch")
    axes.set_ylabel("nats a token")
    axes.set_ylim(0, 4.9)
    axes.legend(labelcolor="#808080", ncols=2, loc="upper center")
    return _svg(figure, "Loss by epoch of the unigram, bigram, context-2 and context-3 tables, each with its floor")


# --- the one picture ----------------------------------------------------------------------------------------


def picture() -> str:
    """Text to tokens to ids to probabilities; training turns them into artifacts, and those become text."""
    run = load_run(ROOT / "artifacts")
    tokens = read_tokens(DEFAULT_CORPUS, WordTokenizer())[:4]
    ids = [run.vocab.get_token_id(token) for token in tokens]
    best = top_k(next_token_probs(run.model, start_token_ids(run.vocab, tokens[:3], 3)), 2)
    likely = ", ".join(f"{run.vocab.get_id_token(token_id)} = {p:.2f}" for token_id, p in best)
    written = generate_tokens(run.model, run.vocab, run.meta["start_tokens"], 6)[4:]
    boxes = [
        (20, 20, "text", " ".join(tokens)),
        (270, 20, "tokens", " ".join(f"[{token}]" for token in tokens)),
        (270, 150, "ids", ", ".join(map(str, ids))),
        (20, 150, "probabilities", f"{likely}, …"),
        (270, 280, "artifacts/", "CSV and JSON files"),
        (20, 280, "new text", f"{' '.join(written)} …"),
    ]
    arrows = [
        ("M200 57 H264", 234, 47, "a"),
        ("M360 94 V144", 378, 125, "b"),
        ("M270 187 H206", 238, 177, "c"),
        ("M360 224 V274", 378, 255, "d"),
        ("M270 317 H206", 238, 307, "e"),
    ]
    parts = [
        '<svg role="img" viewBox="0 0 470 374" class="picture" aria-label="Text becomes tokens (step a), tokens '
        "become ids (b), ids become probabilities (c); training (d) writes artifacts, and inference (e) turns "
        'those into new text">',
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L10 5L0 10z" fill="currentColor"/></marker></defs>',
    ]
    for x, y, title, example in boxes:
        parts.append(f'<rect x="{x}" y="{y}" width="180" height="74" rx="8"/>')
        parts.append(f'<text x="{x + 90}" y="{y + 31}" class="title">{title}</text>')
        parts.append(f'<text x="{x + 90}" y="{y + 55}">{html.escape(example)}</text>')
    for path, x, y, letter in arrows:
        parts.append(f'<path d="{path}" class="arrow" marker-end="url(#tip)"/>')
        parts.append(f'<text x="{x}" y="{y}" class="letter">{letter}</text>')
    return "".join(parts) + "</svg>"


# --- what a table costs -------------------------------------------------------------------------------------


def _stories_ids() -> tuple[list[int], int]:
    """Return the words of the stories as ids, and V."""
    tokens = read_tokens(STORIES, WordTokenizer())
    vocab = Vocabulary(tokens)
    return vocab.encode(tokens), vocab.vocab_size()


def _label(axes: Axes, xs: list[int], ys: list[int], color: str, above: bool) -> None:
    """Write each number beside its point."""
    for x, y in zip(xs, ys, strict=True):
        text = f"{y:,}" if y < 10**7 else f"{y:.0e}".replace("e+0", "e").replace("e+", "e")
        axes.annotate(
            text,
            (x, y),
            xytext=(-7, 3) if above else (0, -15),
            textcoords="offset points",
            ha="right" if above else "center",
            color=color,
            fontsize=9,
        )


def row_explosion() -> str:
    """Rows a full table would have, and rows that the text really needs, by context size."""
    ids, size = _stories_ids()
    sizes = [1, 2, 3, 4, 5]
    full = [size**n for n in sizes]
    met = [len({context for context, _ in make_training_pairs(ids, n)}) for n in sizes]
    figure = Figure(figsize=(5.6, 3.4))
    axes = figure.subplots()
    axes.plot(sizes, full, color=ORANGE, marker="o", label=f"V to the N, with V = {size:,}")
    axes.plot(sizes, met, color=GREEN, marker="o", label="contexts in the text")
    _label(axes, sizes[1:], full[1:], ORANGE, above=True)
    _label(axes, sizes, met, GREEN, above=False)
    axes.set_yscale("log")
    axes.set_ylim(20, full[-1] * 40)
    axes.set_xticks(sizes)
    axes.set_xlabel("context size N")
    axes.set_ylabel("rows")
    axes.legend(labelcolor="#808080", loc="upper left")
    return _svg(figure, "Rows of the table by context size: V to the N explodes, the contexts in the text level off")


def patterns() -> str:
    """Contexts of the stories, and the different patterns of targets among them, by context size."""
    ids, size = _stories_ids()
    sizes = [1, 2, 3, 4]
    contexts, tasks = [], []
    for n in sizes:
        targets_of: dict[tuple[int, ...], list[int]] = {}
        for context, target in make_training_pairs(ids, n):
            targets_of.setdefault(context, []).append(target)
        model = SimpleNextTokenModel(size, n)
        contexts.append(len(targets_of))
        tasks.append(len({row_task(model.row(context), targets, size)[0] for context, targets in targets_of.items()}))
    figure = Figure(figsize=(5.6, 3))
    axes = figure.subplots()
    for shift, heights, color, name in (
        (-0.2, contexts, ORANGE, "contexts"),
        (0.2, tasks, GREEN, "different patterns"),
    ):
        bars = axes.bar([n + shift for n in sizes], heights, width=0.38, color=color, label=name)
        axes.bar_label(bars, fmt="{:,.0f}", color=color, fontsize=9)
    axes.set_xticks(sizes)
    axes.set_xlabel("context size N")
    axes.set_ylabel("rows")
    axes.legend(labelcolor="#808080")
    return _svg(figure, "Bars: the stories have thousands of contexts, but far fewer different patterns of targets")


# --- text the model has not seen ----------------------------------------------------------------------------


@cache
def _trained(kind: str, context_size: int, tokenizer: str, val_fraction: float, epochs: int) -> TrainResult:
    """Train on the stories in a temporary folder."""
    level = level_for_kind(kind, context_size)
    with tempfile.TemporaryDirectory() as folder:
        return train_run(
            TrainSettings(level, STORIES, Path(folder), epochs=epochs, tokenizer=tokenizer, val_fraction=val_fraction)
        )


def _held_out_loss(result: TrainResult) -> float:
    if result.held_out is None:
        raise ValueError("nothing was held out")
    return result.held_out.loss


def held_out() -> str:
    """Loss on the training part and on the held-out part of the stories, rung by rung."""
    rungs = [("bigram", 1), ("context-2", 2), ("context-3", 3), ("kneser-ney", 4)]
    results = [_trained(kind, size, "word", 0.2, 20) for kind, size in rungs]
    figure = Figure(figsize=(5.6, 3.2))
    axes = figure.subplots()
    places = range(len(rungs))
    series = (
        (-0.2, [result.train_loss for result in results], GREEN, "training part"),
        (0.2, [_held_out_loss(result) for result in results], ORANGE, "held-out part"),
    )
    for shift, losses, color, name in series:
        bars = axes.bar([place + shift for place in places], losses, width=0.38, color=color, label=name)
        axes.bar_label(bars, fmt="{:.2f}", color="white", fontsize=9, label_type="center")
    axes.axhline(
        results[0].unigram_loss, color="#808080", linestyle=":", zorder=0, label="unigram on the held-out part"
    )
    axes.set_xticks(list(places), [kind for kind, _ in rungs])
    axes.set_ylim(0, 11)
    axes.set_ylabel("nats a token")
    axes.legend(labelcolor="#808080", ncols=2, loc="upper center", fontsize=9)
    return _svg(figure, "Bars of the loss on training and held-out text for bigram, context-2, context-3, kneser-ney")


def kneser_ney_context() -> str:
    """Held-out loss against context length, plain tables beside Kneser-Ney, characters of the stories."""
    sizes = [1, 2, 3, 4, 5]
    tables = [_held_out_loss(_trained(f"context-{n}", n, "char", 0.1, 6)) for n in sizes]
    backing_off = [_held_out_loss(_trained("kneser-ney", n, "char", 0.1, 6)) for n in sizes]
    figure = Figure(figsize=(5.6, 3.4))
    axes = figure.subplots()
    for losses, color, name, above in (
        (tables, ORANGE, "plain table, 6 epochs", True),
        (backing_off, GREEN, "kneser-ney", False),
    ):
        axes.plot(sizes, losses, color=color, marker="o", label=name)
        for n, loss in zip(sizes, losses, strict=True):
            place = (0, 8 if above else -15)
            axes.annotate(
                f"{loss:.2f}", (n, loss), xytext=place, textcoords="offset points", ha="center", color=color, fontsize=9
            )
    axes.set_xticks(sizes)
    axes.set_ylim(0.9, 2.95)
    axes.set_xlabel("characters of context N")
    axes.set_ylabel("held-out loss, nats")
    axes.legend(labelcolor="#808080", loc="upper center")
    return _svg(figure, "Held-out loss by context length: the plain tables turn upward, Kneser-Ney goes on falling")


# --- the package as it is -----------------------------------------------------------------------------------


def _modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"), key=lambda path: (len(path.parts), path))


def _summary(path: Path) -> str:
    """Return the first lines of a module's docstring as HTML, without the file's name."""
    first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0]
    text = html.escape(" ".join(first.removeprefix(f"{path.name} - ").split()))
    return re.sub(r"``(.+?)``", r"<code>\1</code>", text)


def package_tree() -> str:
    """Every file of the package with the first line of its docstring."""
    rows = [
        f"<tr><td><code>{path.relative_to(PACKAGE).as_posix()}</code></td><td>{_summary(path)}</td></tr>"
        for path in _modules()
    ]
    head = "<thead><tr><th>file</th><th>its first line</th></tr></thead>"
    return f"<table>{head}<tbody>{''.join(rows)}</tbody></table>"


def _imports(path: Path) -> list[str]:
    """Return the modules of this project that a file imports at its top, in the package's short names."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("toy_gpt_train")):
            continue
        name = (node.module or "").removeprefix("toy_gpt_train").lstrip(".")
        is_package = (PACKAGE / name.replace(".", "/")).is_dir()
        for alias in node.names:
            inner = f"{name}.{alias.name}".lstrip(".")
            is_module = is_package and (PACKAGE / (inner.replace(".", "/") + ".py")).is_file()
            found.add(inner if is_module else name)
    return sorted(found - {""})


def imports() -> str:
    """Every file of the package with the project's modules it imports, read from the source."""
    rows = [
        f"<tr><td><code>{path.relative_to(PACKAGE).as_posix()}</code></td>"
        f"<td>{', '.join(f'<code>{name}</code>' for name in _imports(path)) or '(none)'}</td></tr>"
        for path in _modules()
        if path.name != "__init__.py" or _imports(path)
    ]
    head = "<thead><tr><th>file</th><th>imports from this project</th></tr></thead>"
    return f"<table>{head}<tbody>{''.join(rows)}</tbody></table>"


def mixture_powers() -> str:
    """The powers of the mixture's experts by how far the longest memory matched, after training on the stories."""
    tokens = CharTokenizer().tokenize(read_text(ROOT / "corpus/030_stories.txt"))
    vocab = Vocabulary(tokens)
    model = MixtureModel(vocab.vocab_size())
    model.fit(vocab.encode(tokens), vocab.tokens())
    matched = model.corrections[model.recipe.gates.index("matched")]
    depths = sorted({value // 10 for value in matched})
    figure = Figure(figsize=(5.6, 3.4))
    axes = figure.subplots()
    names = ("3 characters", "5 characters", "8 characters", "words", "line")
    for k, name in enumerate(names):
        at_depth = [[vector[k] for value, vector in matched.items() if value // 10 == depth] for depth in depths]
        axes.plot(depths, [model.base[k] + sum(found) / len(found) for found in at_depth], marker="o", label=name)
    axes.set_xlabel("characters that the longest memory matched")
    axes.set_ylabel("power")
    axes.set_ylim(0, 0.48)
    axes.legend(labelcolor="#808080", ncols=3, loc="upper center")
    return _svg(figure, "The power of each of five experts by how many characters the longest memory matched")


# --- networks: how they learn -------------------------------------------------------------------------------

# An arrow's head for the drawings made by hand; several on one page need names of their own.
_TIP = (
    '<defs><marker id="{0}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0L10 5L0 10z" fill="currentColor"/></marker></defs>'
)


def _picture(name: str, width: int, height: int, description: str, parts: Sequence[str]) -> str:
    """Return parts of a drawing as one SVG element with an accessible name."""
    start = f'<svg role="img" viewBox="0 0 {width} {height}" class="picture" aria-label="{description}">'
    return "".join([start, _TIP.format(name), *parts, "</svg>"])


def _box(x: int, y: int, width: int, height: int, title: str, *lines: str) -> str:
    """Return a box with a title and further lines in it."""
    centre, first = x + width / 2, y + height / 2 + 5 - 11 * len(lines)
    texts = [f'<text x="{centre}" y="{first}" class="title">{title}</text>']
    texts += [f'<text x="{centre}" y="{first + 22 * i}">{line}</text>' for i, line in enumerate(lines, start=1)]
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8"/>{"".join(texts)}'


def _arrow(name: str, path: str) -> str:
    return f'<path d="{path}" class="arrow" marker-end="url(#{name})"/>'


def gradient_by_hand() -> str:
    """A product, a sum and a square: the numbers forward, and the gradients backward."""
    w, x, b = 3, 2, -4
    product, y = w * x, w * x + b
    grad_y = 2 * y
    boxes = [
        (10, 10, "w", w, grad_y * x),
        (10, 110, "x", x, grad_y * w),
        (10, 210, "b", b, grad_y),
        (175, 60, "w x", product, grad_y),
        (175, 210, "y = w x + b", y, grad_y),
        (340, 210, "L = y y", y * y, 1),
    ]
    parts = [
        _box(px, py, 130, 84, title, f"{number}".replace("-", "&minus;"), f"gradient {grad}")
        for px, py, title, number, grad in boxes
    ]
    paths = ["M140 52 C160 52 155 92 171 96", "M140 152 C160 152 155 112 171 108", "M140 252 H171"]
    parts += [_arrow("by-hand", path) for path in [*paths, "M240 144 V206", "M305 252 H336"]]
    return _picture("by-hand", 480, 304, "From w, x and b to the loss, with each number and its gradient", parts)


def step_sizes() -> str:
    """The step size of each step of rung 800's run, and the log's lines on it."""
    training = _meta("800-llama")["training"]
    peak, warmup, total = training["learning_rate"], training["warmup"], training["steps"]
    log = _columns("outputs/ladder/800-llama/030_stories/train_log.csv")
    steps = list(range(total))
    sizes = [cosine_schedule(step, peak=peak, warmup=warmup, total=total, floor=peak * 0.1) for step in steps]
    figure = Figure(figsize=(5.6, 2.6))
    axes = figure.subplots()
    axes.plot([step + 1 for step in steps], sizes, color=GREEN, label="cosine_schedule")
    axes.plot(log["step"], log["learning_rate"], "o", color=ORANGE, markersize=4, label="lines of train_log.csv")
    axes.set_xlabel("step")
    axes.set_ylabel("step size")
    axes.set_ylim(0, peak * 1.1)
    axes.legend(labelcolor="#808080", loc="upper right")
    return _svg(figure, "The step size by step: up in a line, then down along half a cosine")


def _meta(rung: str) -> dict[str, Any]:
    """Return the metadata of a committed run on the stories."""
    path = ROOT / "artifacts" / "ladder" / rung / "030_stories" / "00_meta.json"
    meta: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return meta


def _stories_run(rung: str) -> Run:
    return load_run(ROOT / "artifacts" / "ladder" / rung / "030_stories")


def network_losses() -> str:
    """Training and validation loss of the four networks on the stories, by how many tokens they have predicted."""
    frequencies = _columns_of_text("artifacts/ladder/500-embeddings/030_stories/01_vocabulary.csv")["frequency"]
    tokens = sum(map(float, frequencies)) / 1000
    counting = _meta("450-kneser-ney")["metrics"]["val_loss"]
    figure = Figure(figsize=(5.6, 6.4))
    panels = figure.subplots(2, 1, sharex=True, sharey=True)
    for axes, column, title in zip(panels, ("avg_loss", "val_loss"), ("training", "validation"), strict=True):
        for rung, color in NETWORKS.items():
            log = _columns(f"outputs/ladder/{rung}/030_stories/train_log.csv")
            axes.plot([epoch * tokens for epoch in log["epoch"]], log[column], color=color, label=rung)
        axes.axhline(counting, color="#808080", linestyle="--", label="450-kneser-ney, validation")
        axes.set_ylabel(f"{title} loss, nats")
        axes.set_ylim(1.1, 3.4)
    panels[0].legend(labelcolor="#808080", ncols=2, loc="upper right", fontsize=9)
    panels[1].set_xlabel("thousand tokens predicted")
    return _svg(figure, "Loss of four networks by tokens predicted, above the dashed line of Kneser-Ney")


def _columns_of_text(path: str) -> dict[str, list[str]]:
    """Return a CSV file as a list for each column."""
    with (ROOT / path).open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return {name: [row[i] for row in rows] for i, name in enumerate(header)}


# --- networks: what they learned ----------------------------------------------------------------------------


def letter_map() -> str:
    """The vectors of rung 500's frequent small letters, from the side from which they differ most."""
    table = _columns_of_text("artifacts/ladder/500-embeddings/030_stories/03_token_embeddings.csv")
    often = _columns_of_text("artifacts/ladder/500-embeddings/030_stories/01_vocabulary.csv")["frequency"]
    letters = [token for token, count in zip(table["token"], often, strict=True) if token.islower() and int(count) > 99]
    dims = [[float(number) for number in column] for name, column in table.items() if name.startswith("dim_")]
    vectors = np.array(dims).T[[table["token"].index(letter) for letter in letters]]
    centred = vectors - vectors.mean(axis=0)
    # PCA: the directions in which the points differ most are the first right singular vectors.
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    points = centred @ directions[:2].T
    share = (sizes[:2] ** 2).sum() / (sizes**2).sum()
    figure = Figure(figsize=(5.6, 4))
    axes = figure.subplots()
    for letter, (x, y) in zip(letters, points, strict=True):
        color = ORANGE if letter in "aeiou" else GREEN
        axes.text(x, y, letter, color=color, ha="center", va="center", fontsize=13, fontweight="bold")
    axes.set_xlim(points[:, 0].min() - 0.3, points[:, 0].max() + 0.3)
    axes.set_ylim(points[:, 1].min() - 0.3, points[:, 1].max() + 0.3)
    axes.set_xlabel("first direction")
    axes.set_ylabel("second direction")
    axes.set_title(f"{share:.0%} of how the vectors differ", fontsize=10)
    return _svg(figure, "Letters as points: a, e, i, o and u lie on one side, the consonants on the other")


def _attention(rung: str, text: str) -> np.ndarray:
    """Return how much each token looks at each, by head: what the last one does, for longer and longer beginnings."""
    run = _stories_run(rung)
    if not isinstance(run.model, NeuralModel):
        raise TypeError(f"{rung} is no network")
    ids = [run.vocab.get_token_id(token) or 0 for token in text]
    heads = [run.model.glimpses(ids[:end])[-1].attention for end in range(1, len(ids) + 1)]
    weights = np.zeros((len(heads[0]), len(ids), len(ids)))
    for row, by_head in enumerate(heads):
        weights[:, row, : row + 1] = by_head
    return weights


def _attention_picture(rung: str, text: str, across: int, cell: int) -> str:
    """Draw who looks at whom, a square for each head: a row for each token that looks, a column for each looked at.

    WHY by hand: a chart of so many squares by matplotlib is ten times as large.
    """
    side, margin = cell * len(text), 2 * cell + 16
    heads = _attention(rung, text)
    parts: list[str] = []
    for head, weights in enumerate(heads):
        left = margin + head % across * (side + margin)
        top = margin + head // across * (side + margin)
        parts.append(f'<text x="{left}" y="{top - 10}" font-size="14">head {head + 1}</text>')
        for i, letter in enumerate(text):
            shown, middle = letter.replace(" ", "␣"), i * cell + cell // 2
            parts.append(f'<text x="{left - cell // 2}" y="{top + middle + 4}">{shown}</text>')
            parts.append(f'<text x="{left + middle}" y="{top + side + 12}">{shown}</text>')
        parts += [
            f'<rect x="{left + j * cell}" y="{top + i * cell}" width="{cell}" height="{cell}" '
            f'fill="{GREEN}" fill-opacity="{weights[i, j]:.2f}"/>'
            for i in range(len(text))
            for j in range(i + 1)
            if weights[i, j] > 0.01
        ]
    width, height = (margin + n * (side + margin) for n in (across, len(heads) // across))
    return (
        f'<svg role="img" viewBox="0 0 {width} {height}" font-size="12" text-anchor="middle" fill="#808080" '
        f'aria-label="Rung {rung}: for each character of {text!r}, how much it looks at itself and at those before it">'
        f"{''.join(parts)}</svg>"
    )


def attention_map() -> str:
    """Rung 600's only head on the first characters of the stories."""
    return _attention_picture("600-attention", "Mina had a small", across=1, cell=20)


def gpt_heads() -> str:
    """Rung 700's four heads on the first characters of the stories."""
    return _attention_picture("700-gpt", "Mina had a small", across=2, cell=14)


def llama_heads() -> str:
    """Rung 800's four heads on the first characters of the stories."""
    return _attention_picture("800-llama", "Mina had a small", across=2, cell=14)


def _block(name: str, embeddings: str, norm: str, attention: str, feed_forward: str) -> str:
    """Draw a Transformer: the stream from the top to the bottom, and the two parts that add to it."""
    parts = [
        _box(10, 8, 250, 44, embeddings),
        '<rect x="4" y="66" width="472" height="252" rx="12" stroke-dasharray="5 5"/>',
        '<text x="410" y="88" class="letter">block, repeated</text>',
        _box(120, 96, 110, 44, norm),
        _box(270, 96, 196, 44, attention),
        _box(120, 222, 110, 44, norm),
        _box(270, 222, 196, 44, feed_forward),
        _box(10, 334, 250, 44, f"{norm}, map to V logits"),
    ]
    for y in (172, 298):
        parts.append(f'<circle cx="60" cy="{y}" r="12" fill="none" stroke="currentColor"/>')
        parts.append(f'<text x="60" y="{y + 6}" class="title">+</text>')
    paths = ["M60 52 V157", "M60 184 V283", "M60 310 V330"]
    for y in (118, 244):
        paths += [f"M60 {y} H116", f"M230 {y} H266", f"M368 {y + 22} V{y + 54} H76"]
    parts += [_arrow(name, path) for path in paths]
    description = f"{embeddings}; each block adds {attention} and {feed_forward} to the stream, after {norm}"
    return _picture(name, 480, 386, description, parts)


def gpt_block() -> str:
    """The parts of rung 700."""
    return _block("gpt", "token + position vectors", "LayerNorm", "multi-head attention", "feed-forward, GELU")


def llama_block() -> str:
    """The parts of rung 800."""
    return _block("llama", "token vectors", "RMSNorm", "attention with RoPE", "feed-forward, SwiGLU")


def rotation() -> str:
    """The same four numbers at eight positions, turned by rope(): a fast pair and a slow one."""
    length = 8
    turned = rope(from_lists([[1.0, 0.0, 1.0, 0.0]] * length), base=16.0).tolist()
    figure = Figure(figsize=(5.6, 3))
    for pair, axes in enumerate(figure.subplots(1, 2)):
        axes.add_artist(mpl.patches.Circle((0, 0), 1, fill=False, color="#808080", linewidth=0.6))
        for position, numbers in enumerate(turned):
            x, y = numbers[2 * pair : 2 * pair + 2]
            axes.plot([0, x], [0, y], color=GREEN, linewidth=1)
            axes.text(1.16 * x, 1.16 * y, str(position), color=ORANGE, ha="center", va="center")
        axes.set_title(f"pair {pair + 1}", fontsize=10)
        axes.set_xlim(-1.35, 1.35)
        axes.set_ylim(-1.35, 1.35)
        axes.set_aspect("equal")
        axes.axis("off")
    return _svg(figure, "Two pairs of numbers as arrows, turned by position: the first pair fast, the second slowly")


# --- networks: all rungs on one text ------------------------------------------------------------------------


def stories_losses() -> str:
    """Loss on the held-out tenth of the stories, characters, rung by rung."""
    counted = [("bigram", 1, 6), ("context-2", 2, 6), ("context-3", 3, 6), ("mixture", 64, 1)]
    trained = {kind: _trained(kind, size, "char", 0.1, epochs) for kind, size, epochs in counted}
    losses = {"unigram": trained["bigram"].unigram_loss}
    losses |= {kind: _held_out_loss(result) for kind, result in trained.items() if kind != "mixture"}
    losses["kneser-ney"] = _meta("450-kneser-ney")["metrics"]["val_loss"]
    losses["mixture"] = _held_out_loss(trained["mixture"])
    losses |= {rung.partition("-")[2]: _meta(rung)["metrics"]["val_loss"] for rung in NETWORKS}
    figure = Figure(figsize=(5.6, 3.8))
    axes = figure.subplots()
    colors = [GREEN] * 6 + [VIOLET] * 4
    bars = axes.barh(list(losses), list(losses.values()), color=colors, height=0.7)
    axes.bar_label(bars, fmt="{:.2f}", color="#808080", padding=4)
    axes.invert_yaxis()
    axes.set_xlim(0, 3.4)
    axes.set_xlabel("loss on the held-out part, nats a character")
    return _svg(figure, "Bars of the held-out loss of ten rungs: Kneser-Ney and the mixture are lowest")


def stories_runs() -> str:
    """The committed runs on the stories as a table, from their metadata."""
    names = [
        "rung",
        "context",
        "numbers learned",
        "tokens predicted",
        "train loss",
        "held-out loss",
        "held-out accuracy",
        "KB",
    ]
    rows = []
    for rung in ("450-kneser-ney", *NETWORKS):
        run = _stories_run(rung)
        tokens = sum(run.vocab.token_freq.values()) * run.meta["training"]["epochs"]
        metrics = run.meta["metrics"]
        size = sum(path.stat().st_size for path in (ROOT / "artifacts" / "ladder" / rung / "030_stories").iterdir())
        rows.append(
            [
                rung,
                run.model.context_size,
                f"{run.model.num_parameters():,}",
                f"{tokens:,.0f}",
                *(f"{metrics[name]:.4f}" for name in ("train_loss", "val_loss", "val_accuracy")),
                f"{size / 1000:.0f}",
            ]
        )
    return _html_table(names, rows)


def sizes() -> str:
    """What each size of each network stands for."""
    names = ["model", "size", "N", "C", "F", "heads", "blocks", "weights", "steps", "batch", "learning rate"]
    rows = []
    for kind in SIZES:
        level = level_for_kind(kind)
        if not issubclass(level.model, NeuralModel):
            raise TypeError(f"{kind} is no network")
        for size in SIZE_NAMES:
            settings = settings_for(kind, level.model.uses, size)
            shape = settings.architecture
            weights = level.model.count_parameters(65, settings.context, shape)
            looks = [shape.embedding_dim, shape.hidden_dim or "", shape.heads, shape.layers, f"{weights:,}"]
            learns = [settings.steps, settings.batch_size, f"{settings.learning_rate:g}"]
            rows.append([kind, size, settings.context, *looks, *learns])
    return _html_table(names, rows)


def _html_table(names: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
