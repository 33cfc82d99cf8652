"""Pictures of the docs site, drawn by hand: how things fit together, with numbers from the committed files."""

import html
from collections.abc import Sequence

from builder.paths import ROOT
from toy_gpt_train import load
from toy_gpt_train.a_tokenizer import SimpleTokenizer
from toy_gpt_train.nn.attention import rope
from toy_gpt_train.nn.tensor import from_lists

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
    center, first = x + width / 2, y + height / 2 + 5 - 11 * len(lines)
    texts = [f'<text x="{center}" y="{first}" class="title">{title}</text>']
    texts += [f'<text x="{center}" y="{first + 22 * i}">{line}</text>' for i, line in enumerate(lines, start=1)]
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8"/>{"".join(texts)}'


def _arrow(name: str, path: str) -> str:
    return f'<path d="{path}" class="arrow" marker-end="url(#{name})"/>'


def pipeline() -> str:
    """Text to tokens to ids to probabilities; training turns them into artifacts, and those become text."""
    run = load(ROOT)
    tokens = SimpleTokenizer().get_tokens()[:4]
    ids = run.tokenizer.token_ids(tokens)
    likely = ", ".join(f"{token} = {p:.2f}" for token, _, p in run.next(" ".join(tokens[:3]), k=2))
    written = run.generate(num=6, temperature=0).split()[4:]
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
    parts = [_box(x, y, 180, 74, title, html.escape(example)) for x, y, title, example in boxes]
    for path, x, y, letter in arrows:
        parts.append(_arrow("pipeline", path))
        parts.append(f'<text x="{x}" y="{y}" class="letter">{letter}</text>')
    description = (
        "Text becomes tokens (step a), tokens become ids (b), ids become probabilities (c); training (d) writes "
        "artifacts, and inference (e) turns those into new text"
    )
    return _picture("pipeline", 470, 374, description, parts)


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
        _box(px, py, 130, 84, title, f"{number}".replace("-", "&#8722;"), f"gradient {grad}")
        for px, py, title, number, grad in boxes
    ]
    paths = ["M140 52 C160 52 155 92 171 96", "M140 152 C160 152 155 112 171 108", "M140 252 H171"]
    parts += [_arrow("by-hand", path) for path in [*paths, "M240 144 V206", "M305 252 H336"]]
    return _picture("by-hand", 480, 304, "From w, x and b to the loss, with each number and its gradient", parts)


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
        _box(10, 334, 250, 44, f"{norm}, linear to V logits"),
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
    """The parts of model 700."""
    return _block("gpt", "token + position vectors", "LayerNorm", "multi-head attention", "feed-forward, GELU")


def llama_block() -> str:
    """The parts of model 800."""
    return _block("llama", "token vectors", "RMSNorm", "attention with RoPE", "feed-forward, SwiGLU")


def rotation() -> str:
    """The same four numbers at eight positions, turned by rope(): a fast pair and a slow one."""
    length, radius = 8, 90
    turned = rope(from_lists([[1.0, 0.0, 1.0, 0.0]] * length), base=16.0).tolist()
    parts: list[str] = []
    for pair, center in enumerate((120, 360)):
        parts.append(f'<text x="{center}" y="20" class="title">pair {pair + 1}</text>')
        parts.append(f'<circle cx="{center}" cy="145" r="{radius}" fill="none" stroke="currentColor"/>')
        for position, numbers in enumerate(turned):
            x, y = numbers[2 * pair : 2 * pair + 2]
            end = f'x2="{center + radius * x:.1f}" y2="{145 - radius * y:.1f}"'
            parts.append(f'<line x1="{center}" y1="145" {end} class="arrow"/>')
            place = f'x="{center + 1.17 * radius * x:.1f}" y="{150 - 1.17 * radius * y:.1f}"'
            parts.append(f'<text {place} class="letter">{position}</text>')
    description = "Two pairs of numbers as arrows, turned by position: the first pair fast, the second slowly"
    return _picture("rotation", 480, 265, description, parts)
