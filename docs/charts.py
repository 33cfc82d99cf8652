"""Charts of the docs site, drawn when the site is built: from committed CSV files, or by running the package itself."""

import ast
import csv
import html
import io
import re
import tempfile
from functools import cache
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from toy_gpt_train.a_tokenizer import DEFAULT_CORPUS, read_text, read_tokens
from toy_gpt_train.b_vocab import Vocabulary
from toy_gpt_train.c_model import SimpleNextTokenModel
from toy_gpt_train.d_train import TrainResult, TrainSettings, make_training_pairs, row_task, train_run
from toy_gpt_train.e_infer import generate_tokens, load_run, next_token_probs, start_token_ids, top_k
from toy_gpt_train.levels import level_for_kind
from toy_gpt_train.models.mixture import MixtureModel
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
