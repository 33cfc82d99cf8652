"""explain.py - Why this token? One prediction, taken apart; and what else could have been written.

The logits of the most likely tokens after each step of a network, and how much each head attended to each token of the
context; or what each part of another model votes for. For a text that a model writes, the candidates at each position.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from toy_gpt_train.math_training import softmax, top_k
from toy_gpt_train.models.base import Model
from toy_gpt_train.show import table, visible


class Explanation(NamedTuple):
    """A prediction and how it came about."""

    are_votes: bool  # whether the steps stand side by side
    context: list[str]  # the tokens that the model looked at, oldest first
    most_likely: list[tuple[str, int, float]]  # next tokens: token, id, probability
    steps: Sequence[Any]  # the logits of each step; the probabilities come from the last one


def explain(model: Model, ids: Sequence[int], tokens: Sequence[str], k: int, cache: Any = None) -> Explanation:
    """Take apart what a model predicts after ``ids``, k tokens of it; InputError if it has no steps to show.

    With a ``cache`` of the model, what it holds of the text is not read again.
    """
    steps = model.logit_lens(ids, cache)
    most_likely = [(tokens[i], i, p) for i, p in top_k(softmax(steps[-1].logits), k)]
    return Explanation(model.steps_are_votes, [tokens[i] for i in model.context(ids)], most_likely, steps)


def as_text(explanation: Explanation) -> str:
    """Return an explanation as tables: the logits of each step, and the attention; or the votes."""
    are_votes, context, most_likely, steps = explanation
    if are_votes:
        return _votes(most_likely, steps)
    header = ["token", *(step.place for step in steps), "probability"]
    rows = [
        [visible(token), *(f"{step.logits[token_id]:.4f}" for step in steps), f"{probability:.4f}"]
        for token, token_id, probability in most_likely
    ]
    text = f"logits, step by step\n{table(header, rows)}"
    heads = {f"{step.place} head {i}": weights for step in steps for i, weights in enumerate(step.attention, start=1)}
    if not heads:
        return text
    rows = [
        [str(position - len(context)), visible(token), *(f"{weights[position]:.4f}" for weights in heads.values())]
        for position, token in enumerate(context)
    ]
    return f"{text}\n\nattention of the last token\n{table(['place', 'token', *heads], rows)}"


def _votes(most_likely: Sequence[tuple[str, int, float]], steps: Sequence[Any]) -> str:
    """Return a table of what each part adds to the log-odds of the decisions for a token, and what they come to."""
    header = ["context", *(visible(token) for token, _, _ in most_likely)]
    rows = [[step.place, *(f"{step.logits[token_id]:.4f}" for _, token_id, _ in most_likely)] for step in steps]
    rows.append(["probability", *(f"{probability:.4f}" for _, _, probability in most_likely)])
    return f"votes, weights included, in favor of each token\n{table(header, rows)}"


def as_json(explanation: Explanation) -> list[dict[str, Any]]:
    """Return an explanation as data: a record per step, with the logits of the most likely tokens."""
    return [
        {
            "place": step.place,
            "attention": step.attention,
            "logits": {token: step.logits[token_id] for token, token_id, _ in explanation.most_likely},
        }
        for step in explanation.steps
    ]


# --- what a text could have been -----------------------------------------------------------------------------


class Choice(NamedTuple):
    """One position of a text that a model wrote; the probabilities are the model's own, before penalty and drawing."""

    token_id: int  # the chosen one
    confidence: float  # its probability
    candidates: list[tuple[int, float]]  # the most likely tokens and their probabilities


def choices_text(choices: Sequence[Choice], tokens: Sequence[str]) -> str:
    """Return a table of the candidates at each position, the chosen one marked."""
    most = max((len(choice.candidates) for choice in choices), default=0)
    header = ["step", "chosen", "confidence", *(f"candidate {rank}" for rank in range(1, most + 1))]
    rows = [
        [
            str(number),
            visible(tokens[choice.token_id]),
            f"{choice.confidence:.4f}",
            *(f"{'*' if i == choice.token_id else ' '}{visible(tokens[i])} {p:.4f}" for i, p in choice.candidates),
        ]
        for number, choice in enumerate(choices, start=1)
    ]
    return f"steps, the chosen token marked with *\n{table(header, rows)}"


def choices_json(choices: Sequence[Choice], tokens: Sequence[str]) -> list[dict[str, Any]]:
    """Return the same as data: a record per position."""
    return [
        {
            "token": tokens[choice.token_id],
            "id": choice.token_id,
            "confidence": choice.confidence,
            "top_k": candidates_json(choice.candidates, tokens),
        }
        for choice in choices
    ]


def candidates_json(candidates: Sequence[tuple[int, float]], tokens: Sequence[str]) -> list[dict[str, Any]]:
    """Return tokens and their probabilities as data."""
    return [{"token": tokens[i], "id": i, "probability": p} for i, p in candidates]
