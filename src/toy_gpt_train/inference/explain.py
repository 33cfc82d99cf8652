"""explain.py - Why this token? One prediction of a network, taken apart.

It shows the logits of the likeliest tokens as they come about, place after place on the way through the network, and
how much the last token looked at each token of the context, head by head.

It knows networks by their glimpses only (nn/modules.py).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from toy_gpt_train.e_infer import Run, top_k
from toy_gpt_train.errors import InputError
from toy_gpt_train.math_training import softmax
from toy_gpt_train.models.network import NeuralModel
from toy_gpt_train.nn.modules import Glimpse
from toy_gpt_train.show import table, visible


class Explanation(NamedTuple):
    """A prediction and how it came about.

    Attributes:
        context: The tokens that the network looked at, oldest first.
        likeliest: The likeliest next tokens: token, id, probability.
        glimpses: What the network was about to say at each place; the last one's logits gave the probabilities.
    """

    context: list[str]
    likeliest: list[tuple[str, int, float]]
    glimpses: list[Glimpse]


def explain(run: Run, token_ids: Sequence[int], k: int) -> Explanation:
    """Take a prediction apart.

    Args:
        run: A trained network.
        token_ids: The text; its last N tokens are the context.
        k: How many of the likeliest tokens to show.

    Returns:
        The explanation.

    Raises:
        InputError: The model is no network.
    """
    if not isinstance(run.model, NeuralModel):
        raise InputError(f"--explain shows the inside of a network; {run.meta['model_kind']} can be read in its files")
    context = token_ids[max(len(token_ids) - run.model.context_size, 0) :]
    glimpses = run.model.glimpses(context)
    likeliest = top_k(softmax(glimpses[-1].logits), k)
    tokens = run.vocab.id_to_token
    return Explanation([tokens[i] for i in context], [(tokens[i], i, p) for i, p in likeliest], glimpses)


def as_text(explanation: Explanation) -> str:
    """Return an explanation as two tables: the logits step by step, and the attention."""
    context, likeliest, glimpses = explanation
    header = ["token", *(glimpse.place for glimpse in glimpses), "probability"]
    rows = [
        [visible(token), *(f"{glimpse.logits[token_id]:.4f}" for glimpse in glimpses), f"{probability:.4f}"]
        for token, token_id, probability in likeliest
    ]
    text = f"logits, step by step\n{table(header, rows)}"
    heads = {
        f"{glimpse.place} head {i}": weights
        for glimpse in glimpses
        for i, weights in enumerate(glimpse.attention, start=1)
    }
    if not heads:
        return text
    rows = [
        [str(place - len(context)), visible(token), *(f"{weights[place]:.4f}" for weights in heads.values())]
        for place, token in enumerate(context)
    ]
    return f"{text}\n\nattention of the last token\n{table(['place', 'token', *heads], rows)}"


def as_json(explanation: Explanation) -> list[dict[str, Any]]:
    """Return the same as data: a record for each place, with the logits of the likeliest tokens."""
    return [
        {
            "place": glimpse.place,
            "attention": glimpse.attention,
            "logits": {token: glimpse.logits[token_id] for token, token_id, _ in explanation.likeliest},
        }
        for glimpse in explanation.glimpses
    ]
