"""report.py - The final figures of a training run or an evaluation, for people and for programs."""

from collections.abc import Sequence
from math import exp, log
from pathlib import Path
from typing import Any

from toy_gpt_train.inference.evaluate import Evaluation
from toy_gpt_train.models.registry import find_model
from toy_gpt_train.run import Run
from toy_gpt_train.show import table


def figures(run: Run, scored: Evaluation | None) -> dict[str, Any]:
    """Return what ``--json`` prints; None where nothing was held out, or nothing was trained.

    Losses are in nats per token. ``unigram_loss`` is that of guessing by frequency on the same text, ``loss_floor`` the
    lowest train loss that any table of this context can reach, ``parameters`` how many numbers training has set.
    """
    baseline = scored.unigram_loss if scored else run.unigram_loss
    return {
        "model": run.name,
        "tokens": scored.num_tokens if scored else None,
        "train_loss": run.meta["metrics"]["train_loss"],
        "val_loss": scored.loss if scored else None,
        "val_accuracy": scored.accuracy if scored else None,
        "perplexity": scored.perplexity if scored else None,
        "bits_per_token": scored.bits_per_token if scored else None,
        "bits_per_byte": scored.bits_per_byte if scored else None,
        "unigram_loss": baseline,
        "unigram_bits_per_byte": _unigram_bits_per_byte(scored) if scored else None,
        "loss_floor": run.meta["loss_floor"],
        "true_entropy": run.true_entropy,
        "unseen_context_share": scored.unseen_context_share if scored else None,
        "unknown_tokens": scored.unknown_tokens if scored else None,
        "parameters": run.model.num_parameters(),
        "train_seconds": None if run.train_seconds is None else round(run.train_seconds, 3),
        "evaluate_seconds": round(scored.seconds, 3) if scored else None,
    }


def _unigram_bits_per_byte(scored: Evaluation) -> float:
    return scored.unigram_loss / log(2) * scored.num_tokens / scored.num_bytes


def training_report(run: Run, paths: Sequence[Path]) -> str:
    """Return what ``toy-gpt train`` prints: the run, its log in a few rows, its figures, its files."""
    columns = [name for name in run.history[0] if name != "loss_floor"]
    length = len(run.history)
    shown = sorted({1, 2, 5, *(length * fifth // 5 for fifth in range(1, 6))} & set(range(1, length + 1)))
    log_rows = [[_cell(name, run.history[line - 1][name]) for name in columns] for line in shown]
    metrics, kind = run.meta["metrics"], run.tokenizer.kind
    seconds = (run.train_seconds or 0.0) + (run.held_out.seconds if run.held_out else 0.0)
    lines = [
        f"model     {run.name}: {find_model(run.name).adds}",
        f"corpus    {run.meta['corpus']['filename']}: {sum(run.frequencies)} training tokens ({kind}), "
        f"{run.model.vocab_size} different",
        f"context   {run.model.context_size} tokens; {run.model.num_parameters()} numbers learned",
        table(columns, log_rows),
        f"final     train loss {metrics['train_loss']:.6f} nats, accuracy {metrics['train_accuracy']:.4f} on "
        f"{run.model.train_loss_on};",
        f"          no table of its longest context gets below {run.meta['loss_floor']:.6f} on the training text",
    ]
    if "val_loss" in columns:
        best = min(run.history, key=lambda record: record["val_loss"])
        step = run.meta["training"].get("kept_step")
        kept = "" if step is None else f"; the weights of step {step} are kept"
        unit = "step" if "step" in best else "epoch"
        lines.append(f"          best held-out loss {best['val_loss']:.3f} at {unit} {best[unit]:.0f}{kept}")
    if run.held_out is not None:
        lines.append(figures_table(run, run.held_out, "the held-out part"))
    if run.true_entropy is not None:
        lines.append(f"          true entropy of the held-out part {run.true_entropy:.4f}: no model can get below it")
    lines.append(f"written   {', '.join(path.name for path in paths)}")
    lines.append(f"          to {_shown(paths[-1].parent)} in {seconds:.2f} s")
    return "\n".join(lines)


def _cell(name: str, value: float) -> str:
    """Return a number of the log: steps and whole epochs as they are, the rest with six decimals."""
    if name in ("epoch", "step"):
        return f"{value:.0f}" if value == int(value) else f"{value:.2f}"
    return f"{value:.6f}"


def _shown(path: Path) -> str:
    """Return a path as the user sees it from the current folder."""
    resolved = path.resolve()
    return str(resolved.relative_to(Path.cwd())) if resolved.is_relative_to(Path.cwd()) else str(resolved)


def figures_table(run: Run, scored: Evaluation, text_name: str) -> str:
    """Return the figures of a scored text as a table, beside the unigram baseline, the train loss and its floor."""
    compared = [
        (f"{run.name} on {text_name}", scored.loss, f"{scored.bits_per_byte:.4f}"),
        (f"unigram on {text_name}", scored.unigram_loss, f"{_unigram_bits_per_byte(scored):.4f}"),
        (f"{run.name} on {run.model.train_loss_on}", run.meta["metrics"]["train_loss"], ""),
        ("floor of any table on the training text", run.meta["loss_floor"], ""),
    ]
    rows = [
        [name, *(f"{value:.4f}" for value in (loss, exp(loss), loss / log(2))), bits_per_byte]
        for name, loss, bits_per_byte in compared
    ]
    share = f"{scored.num_tokens} tokens scored"
    if scored.unseen_context_share is not None:
        share += f", {scored.unseen_context_share:.1%} of them after a context never seen"
    if scored.unknown_tokens:
        share += f"; {scored.unknown_tokens} tokens of the text are not in the vocabulary"
    return share + "\n" + table(["", "loss (nats)", "perplexity", "bits per token", "bits per byte"], rows)
