"""report.py - The final figures of a training or an evaluation, for people and for programs.

It computes no model; it gathers what d_train and evaluation found, in one fixed set of figures.
"""

import time
from dataclasses import dataclass
from math import exp, log
from pathlib import Path

from toy_gpt_train.a_tokenizer import read_tokens
from toy_gpt_train.d_train import TrainResult, TrainSettings
from toy_gpt_train.e_infer import Run
from toy_gpt_train.errors import InputError
from toy_gpt_train.inference.evaluate import Scores, score_with_unknown, unigram_loss
from toy_gpt_train.show import table


@dataclass(frozen=True)
class Figures:
    """What ``--json`` prints; None where nothing was held out, or nothing was trained.

    Attributes:
        model: The kind of model.
        tokens: How many tokens were scored.
        train_loss: Nats a token on the training text.
        val_loss: Nats a token on the scored text.
        val_accuracy: The share of its tokens that were the likeliest.
        perplexity: exp(val_loss).
        bits_per_token: val_loss in bits.
        bits_per_byte: All its surprise in bits, over its bytes.
        unigram_loss: Nats a token of guessing by frequency, on the same text.
        unigram_bits_per_byte: The same, in bits over bytes.
        loss_floor: The lowest train loss any table of this context can reach.
        unseen_context_share: The share of scored tokens whose full context training never met; None for a network,
            which keeps no record of contexts.
        parameters: How many numbers training has set.
        train_seconds: From the text to the trained model.
        evaluate_seconds: For scoring.
    """

    model: str
    tokens: int | None
    train_loss: float
    val_loss: float | None
    val_accuracy: float | None
    perplexity: float | None
    bits_per_token: float | None
    bits_per_byte: float | None
    unigram_loss: float
    unigram_bits_per_byte: float | None
    loss_floor: float
    unseen_context_share: float | None
    parameters: int
    train_seconds: float | None
    evaluate_seconds: float | None


def _figures(
    kind: str,
    train_loss: float,
    loss_floor: float,
    scores: Scores | None,
    num_bytes: int,
    baseline: float,
    parameters: int,
    train_seconds: float | None,
    evaluate_seconds: float,
) -> Figures:
    return Figures(
        model=kind,
        tokens=scores.num_tokens if scores else None,
        train_loss=train_loss,
        val_loss=scores.loss if scores else None,
        val_accuracy=scores.accuracy if scores else None,
        perplexity=scores.perplexity if scores else None,
        bits_per_token=scores.bits_per_token if scores else None,
        bits_per_byte=scores.bits_per_byte(num_bytes) if scores else None,
        unigram_loss=baseline,
        unigram_bits_per_byte=baseline / log(2) * scores.num_tokens / num_bytes if scores else None,
        loss_floor=loss_floor,
        unseen_context_share=scores.unseen_context_share if scores else None,
        parameters=parameters,
        train_seconds=None if train_seconds is None else round(train_seconds, 3),
        evaluate_seconds=round(evaluate_seconds, 3) if scores else None,
    )


def figures_of_training(settings: TrainSettings, result: TrainResult) -> Figures:
    """Return the figures of a training run; those of the held-out part where there is one."""
    return _figures(
        settings.level.kind,
        result.train_loss,
        result.loss_floor,
        result.held_out,
        result.held_out_bytes,
        result.unigram_loss,
        result.model.num_parameters(),
        result.train_seconds,
        result.evaluate_seconds,
    )


def evaluate_text(run: Run, text_path: Path, unknown: str) -> Figures:
    """Score every token of a text with a trained model.

    Args:
        run: The model, as its artifacts give it.
        text_path: The text.
        unknown: What to do with tokens outside the vocabulary: ``error``, ``skip`` or ``uniform``.

    Returns:
        The figures.

    Raises:
        InputError: The text cannot be used, or has unknown tokens where that is an error.
        OSError: It cannot be read.
    """
    start = time.perf_counter()
    tokens = read_tokens(text_path, run.tokenizer)
    token_ids = [run.vocab.get_token_id(token) for token in tokens]
    strange = dict.fromkeys(token for token, token_id in zip(tokens, token_ids, strict=True) if token_id is None)
    if strange and unknown == "error":
        raise InputError(
            f"{text_path}: {len(strange)} different tokens are not in the vocabulary, among them "
            f"{', '.join(map(repr, list(strange)[:3]))}; choose --unknown skip or --unknown uniform"
        )
    if len(strange) == len(set(tokens)) and unknown == "skip":
        raise InputError(f"{text_path}: none of its tokens is in the vocabulary")
    scores, scored_ids = score_with_unknown(run.model, token_ids, unknown)
    kept = [token for token in tokens if unknown == "uniform" or token not in strange]
    frequencies = [run.vocab.token_freq[run.vocab.id_to_token[i]] for i in range(run.vocab.vocab_size())]
    return _figures(
        run.meta["model_kind"],
        run.meta["metrics"]["train_loss"],
        run.meta["loss_floor"],
        scores,
        len(run.tokenizer.join(kept).encode("utf-8")),
        unigram_loss(frequencies, scored_ids),
        run.model.num_parameters(),
        None,
        time.perf_counter() - start,
    )


def training_report(settings: TrainSettings, result: TrainResult) -> str:
    """Return what ``toy-gpt train`` prints: the run, its log in a few rows, its figures, its files."""
    level = settings.level
    columns = [name for name in result.history[0] if name != "loss_floor"]
    lines_of_log = len(result.history)
    shown = sorted({1, 2, 5, *(lines_of_log * fifth // 5 for fifth in range(1, 6))} & set(range(1, lines_of_log + 1)))
    log_rows = [[_cell(name, result.history[line - 1][name]) for name in columns] for line in shown]
    kind = f"{result.num_tokens} training tokens ({settings.tokenizer}), {result.model.vocab_size} different"
    lines = [
        f"model     {level.kind}: {level.adds}",
        f"corpus    {settings.corpus_path.name}: {kind}",
        f"context   {level.context_size} tokens; {result.num_rows} rows learned",
        table(columns, log_rows),
        f"final     train loss {result.train_loss:.6f} nats, accuracy {result.train_accuracy:.4f} on "
        f"{result.model.train_loss_on};",
        f"          no table of its longest context gets below {result.loss_floor:.6f} on the training text",
    ]
    if result.held_out is not None:
        lines.append(
            figures_table(figures_of_training(settings, result), "the held-out part", result.model.train_loss_on)
        )
    lines += [
        f"written   {', '.join(path.name for path in result.paths)}",
        f"          to {_shown(result.paths[-1].parent)} in {result.train_seconds + result.evaluate_seconds:.2f} s",
    ]
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


def figures_table(figures: Figures, text_name: str, trained_on: str) -> str:
    """Return the figures of a scored text as a table, beside the unigram baseline, the train loss and its floor.

    Args:
        figures: The figures.
        text_name: What was scored.
        trained_on: What the train loss was measured on.
    """
    if figures.tokens is None or figures.bits_per_token is None:
        raise ValueError("nothing was scored")
    compared = [
        (f"{figures.model} on {text_name}", figures.bits_per_token * log(2), f"{figures.bits_per_byte:.4f}"),
        (f"unigram on {text_name}", figures.unigram_loss, f"{figures.unigram_bits_per_byte:.4f}"),
        (f"{figures.model} on {trained_on}", figures.train_loss, ""),
        ("floor of any table on the training text", figures.loss_floor, ""),
    ]
    rows = [
        [name, *(f"{value:.4f}" for value in (loss, exp(loss), loss / log(2))), bits_per_byte]
        for name, loss, bits_per_byte in compared
    ]
    share = f"{figures.tokens} tokens scored"
    if figures.unseen_context_share is not None:
        share += f", {figures.unseen_context_share:.1%} of them after a context never seen"
    return share + "\n" + table(["", "loss (nats)", "perplexity", "bits a token", "bits a byte"], rows)
