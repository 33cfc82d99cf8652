"""report.py - The final figures of a training run or an evaluation, for people and for programs."""

from collections.abc import Mapping, Sequence
from math import exp, log
from pathlib import Path
from typing import Any, Final

from toy_gpt_train.engine import ranks
from toy_gpt_train.inference.evaluate import Evaluation
from toy_gpt_train.job import Job
from toy_gpt_train.models.registry import find_model
from toy_gpt_train.run import Run
from toy_gpt_train.show import table

# Columns of the log that are for its file: a newcomer has no use for them.
_FOR_FILES: Final = ("loss_floor", "above_floor", "learning_rate", "grad_norm")
_SMALLEST_FLOOR: Final = 0.00005  # a smaller one would be shown as 0
_MOST_COUNTED: Final = 1_000_000  # tokens in all contexts; to count more would take seconds


def figures(run: Run, scored: Evaluation | None) -> dict[str, Any]:
    """Return what ``--json`` prints; None where nothing was held out, or nothing was trained.

    Losses are in nats per token. ``unigram_loss`` is that of guessing by frequency on the same text, ``loss_floor`` the
    lowest train loss that any table of this context can reach, ``parameters`` how many numbers training has set.
    """
    baseline = scored.unigram_loss if scored else run.unigram_loss
    return {
        "model": run.name,
        "tokens": scored.num_tokens if scored else None,
        "train_loss": run.meta["metrics"].get("train_loss"),
        "val_loss": scored.loss if scored else None,
        "val_accuracy": scored.accuracy if scored else None,
        "perplexity": scored.perplexity if scored else None,
        "bits_per_token": scored.bits_per_token if scored else None,
        "bits_per_byte": scored.bits_per_byte if scored else None,
        "unigram_loss": baseline,
        "unigram_bits_per_byte": _unigram_bits_per_byte(scored) if scored else None,
        "loss_floor": run.meta.get("loss_floor"),
        "true_entropy": run.true_entropy,
        "unseen_context_share": scored.unseen_context_share if scored else None,
        "unknown_tokens": scored.unknown_tokens if scored else None,
        "parameters": run.model.num_parameters(),
        "train_seconds": None if run.train_seconds is None else round(run.train_seconds, 3),
        "evaluate_seconds": round(scored.seconds, 3) if scored else None,
    }


def _unigram_bits_per_byte(scored: Evaluation) -> float:
    return scored.unigram_loss / log(2) * scored.num_tokens / scored.num_bytes


def plan(job: Job) -> str:
    """Return what is about to be done: printed before the first step, when all has been checked."""
    text = job.encoded
    held_out = len(text.ids) - text.num_train
    lines = [
        f"model     {job.entry.name}: {job.entry.adds}",
        f"corpus    {text.source.name}: {text.num_train:,} training tokens ({text.tokenizer.kind}), "
        f"{job.model.vocab_size:,} different" + (f"; {held_out:,} more are held out" if held_out else ""),
        f"plan      {_steps(job)}",
        f"          {_looking_back(job.model.context_size)}{_weights(job)}",
    ]
    if job.engine.name == "torch" or job.engine_reason:
        how = f"PyTorch, {job.engine.dtype}" if job.engine.name == "torch" else "the standard library"
        how += f", {number} processes" if (number := ranks().number) > 1 else ""
        lines.append(f"engine    {how}{job.engine_reason and ': '}{job.engine_reason}")
    return "\n".join(lines)


def _steps(job: Job) -> str:
    numbers, num_train = job.numbers(), job.encoded.num_train
    if job.entry.model_class.trains_in_steps:
        predictions = job.predictions_per_step()
        per_epoch = num_train / predictions
        return (
            f"{_counted(numbers['steps'], 'step')} of {_counted(predictions, 'prediction')} each; an epoch, as many "
            f"predictions as training tokens, is {per_epoch:,.{0 if per_epoch >= 10 else 1}f} steps"
            + (_shortened(usual, usual / per_epoch) if (usual := job.usual_length) else "")
        )
    if "epochs" in numbers:
        pairs = num_train - job.model.context_size
        plan = f"{_counted(numbers['epochs'], 'epoch')}, each once through the text: {_counted(pairs, 'step')}"
        usual = job.usual_length
        return plan + (f"\n          shortened: the usual {usual} epochs would hardly teach it more" if usual else "")
    return "once through the text: this model counts what follows what"


def _shortened(usual: int, epochs: float) -> str:
    return f"\n          shortened: the usual {usual:,} steps would read so short a text {epochs:,.0f} times"


def _weights(job: Job) -> str:
    """Return how many weights the model will have, where that is known before training."""
    num_train, size = job.encoded.num_train, job.model.context_size
    number = job.model.num_parameters() if job.entry.model_class.trains_in_steps else 0
    if "epochs" in job.numbers() and num_train * max(size, 1) <= _MOST_COUNTED:
        model: Any = job.model
        number = model.count_contexts(job.encoded.ids[:num_train]) * model.vocab_size
    return f"; {number:,} weights" if number else ""


def _looking_back(context_size: int) -> str:
    return f"looking back {_counted(context_size, 'token')}" if context_size else "looking at no earlier token"


def _counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'s' * (number != 1)}"


def training_report(run: Run, paths: Sequence[Path]) -> str:
    """Return what ``toy-gpt train`` prints at the end: the log in a few rows, the figures, where the files are."""
    columns = [name for name in run.history[0] if name not in _FOR_FILES]
    columns.sort(key=lambda name: name != "step")  # the steps first, where there are some
    length = len(run.history)
    shown = sorted({1, 2, 5, *(length * fifth // 5 for fifth in range(1, 6))} & set(range(1, length + 1)))
    log_rows = [[_cell(name, run.history[line - 1][name]) for name in columns] for line in shown]
    metrics, floor = run.meta["metrics"], _shown_floor(run)
    lines = [
        table(columns, log_rows),
        f"result    train loss {metrics['train_loss']:.4f} nats per token on {run.model.train_loss_on}; "
        f"{metrics['train_accuracy']:.0%} of the tokens guessed right",
    ]
    if floor is not None:
        context = _looking_back(run.model.context_size)
        lines.append(f"          {floor:.4f} is the lowest train loss possible when {context}")
    if "val_loss" in columns:
        best = min(run.history, key=lambda record: record["val_loss"])
        step = run.meta["training"].get("kept_step")
        kept = "" if step is None else f"; the weights of step {step} are kept"
        unit = "step" if "step" in best else "epoch"
        lines.append(f"          best held-out loss {best['val_loss']:.4f} at {unit} {best[unit]:.0f}{kept}")
    if run.held_out is not None:
        lines.append(figures_table(run, run.held_out, "the held-out part"))
    if (online := metrics.get("val_loss_online")) is not None:
        lines.append(f"          held-out loss {online:.4f} if it learns each token after scoring it (online)")
    if run.true_entropy is not None:
        lines.append(f"          true entropy of the held-out part {run.true_entropy:.4f}: no model can get below it")
    if advice := memorized(run.meta):
        lines.append("note      " + advice.replace(". ", ".\n          "))
    seconds = (run.train_seconds or 0.0) + (run.held_out.seconds if run.held_out else 0.0)
    folders = " and ".join(dict.fromkeys(_shown(path.parent) for path in reversed(paths)))
    lines.append(f"learned   {run.model.num_parameters():,} numbers in {seconds:.2f} s")
    if paths:
        lines.append(f"wrote     {_counted(len(paths), 'file')} to {folders}")
    return "\n".join(lines)


def memorized(meta: Mapping[str, Any]) -> str | None:
    """Return what to do where a model has memorized its text, None where it has not.

    It has, if its train loss is less than half of its loss on held-out text.

    Example:
        >>> memorized({"model_kind": "gpt", "metrics": {"train_loss": 1.0, "val_loss": 1.9}})
        >>> memorized({"model_kind": "unigram", "metrics": {"train_loss": 0.9, "val_loss": 1.9}})[:9]
        'memorized'
    """
    metrics = meta["metrics"]
    if not metrics["train_loss"] < metrics.get("val_loss", 0.0) / 2:
        return None
    options = find_model(meta["model_kind"]).model_class.options
    advice = "judge this model by its held-out loss"  # WHY no more: one that counts knows its text best, always
    if "keep" in options:
        advice = "--keep best keeps the weights from before that"
    if "epochs" in options:
        advice = "fewer epochs or a shorter context help too"
    return (
        "memorized: the train loss is less than half of the held-out loss, so much of the text is known by heart. "
        f"More text helps most; {advice}."
    )


def _cell(name: str, value: float) -> str:
    """Return a number of the log: steps and whole epochs as they are, the rest with four decimals."""
    if name in ("epoch", "step"):
        return f"{value:.0f}" if value == int(value) else f"{value:.2f}"
    return f"{value:.4f}"


def _shown(path: Path) -> str:
    """Return a path as the user sees it from the current folder."""
    resolved = path.resolve()
    return str(resolved.relative_to(Path.cwd())) if resolved.is_relative_to(Path.cwd()) else str(resolved)


def _shown_floor(run: Run) -> float | None:
    """Return the lowest train loss that is possible, if it says something.

    WHY none of a network: hardly any of its long contexts comes twice, so a table of them would know the text by heart.
    """
    floor: float = run.meta.get("loss_floor") or 0.0  # an older run does not record it
    return floor if floor >= _SMALLEST_FLOOR and not run.model.trains_in_steps else None


def figures_table(run: Run, scored: Evaluation, text_name: str, *, online: bool = False) -> str:
    """Return the figures of a scored text as a table, beside the baseline, the train loss and its floor."""
    learning = ", learning online," if online else ""
    guessing = "guessing by frequency" if any(run.frequencies) else "guessing evenly"  # an imported run knows none
    compared = [
        (f"{run.name}{learning} on {text_name}", scored.loss, f"{scored.bits_per_byte:.4f}"),
        (f"{guessing} on {text_name}", scored.unigram_loss, f"{_unigram_bits_per_byte(scored):.4f}"),
        (f"{run.name} on {run.model.train_loss_on}", run.meta["metrics"].get("train_loss"), ""),
        ("lowest possible on the training text", _shown_floor(run), ""),
    ]
    rows = [
        [name, *(f"{value:.4f}" for value in (loss, exp(loss), loss / log(2))), bits_per_byte]
        for name, loss, bits_per_byte in compared
        if loss is not None  # an older run does not record it
    ]
    share = f"{scored.num_tokens} tokens scored"
    if scored.unseen_context_share is not None:
        share += f", {scored.unseen_context_share:.1%} of them after a context never seen"
    if scored.unknown_tokens:
        share += f"; {scored.unknown_tokens} tokens of the text are not in the vocabulary"
    return share + "\n" + table(["", "loss (nats)", "perplexity", "bits per token", "bits per byte"], rows)
