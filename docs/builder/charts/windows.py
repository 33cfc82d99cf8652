"""Charts of the tables with a longer window: how rarely their rows are met, and what that does to unseen text."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from math import fsum, log

from builder.chart import Chart, Value, run_meta
from builder.paths import ROOT
from toy_gpt_train.a_tokenizer import read_tokens
from toy_gpt_train.b_vocab import Vocabulary
from toy_gpt_train.c_model import Context, SimpleNextTokenModel
from toy_gpt_train.d_train import DEFAULT_EPOCHS, make_training_pairs, train_model
from toy_gpt_train.inference.evaluate import score
from toy_gpt_train.math_training import conditional_entropy
from toy_gpt_train.tokenizers import Tokenizer
from toy_gpt_train.tokenizers.char import CharTokenizer
from toy_gpt_train.tokenizers.word import WordTokenizer

_SHORT_WINDOWS = ("100-unigram", "200-bigram", "300-context-2")
_RATES = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
_HELD_OUT = 0.2
# The training that overfits: the page 400-context-3 prints the same command.
_CONTEXT, _LEARNING_RATE, _EPOCHS = 3, 0.5, 40
_OVERFITTING = "corpus/030_stories.txt, as in the command on this page"


def rows_met() -> Chart:
    """How many rows of each table the animals meet once, a few times and often."""
    token_ids, _ = _read("001_animals", WordTokenizer)
    met = [Counter(_context_counts(token_ids, size).values()) for size in range(len(_SHORT_WINDOWS))]
    classes = {"once": (1, 1), "2 to 4": (2, 4), "5 to 9": (5, 9), "10 to 19": (10, 19), "20 or more": (20, 10**9)}
    rows: list[list[Value]] = [
        [name, *(sum(number for times, number in counts.items() if low <= times <= high) for counts in met)]
        for name, (low, high) in classes.items()
    ]
    return Chart(
        "bars",
        "Most rows of the context-2 table are met once or a few times per epoch, and hardly any is met often",
        ["times met", *map(_kind, _SHORT_WINDOWS)],
        rows,
        across="how often one epoch meets the row",
        up="rows",
        source="corpus/001_animals.txt",
        values=True,
    )


def floor_and_loss() -> Chart:
    """The loss floor and the loss of the three trained tables on the animals."""
    rows: list[list[Value]] = []
    for rung in _SHORT_WINDOWS:
        meta = run_meta(rung, "001_animals")
        floor, loss = meta["loss_floor"], meta["metrics"]["train_loss"]
        rows.append([_kind(rung), floor, loss, round(loss - floor, 6)])
    return Chart(
        "bars",
        "From bigram to context-2 the floor falls further than the loss, so the gap between them grows",
        ["model", "loss floor", "loss after 50 epochs", "gap"],
        rows,
        up="nats per token",
        source="artifacts/ladder/*/001_animals/00_meta.json",
        values=True,
    )


def gap_by_learning_rate() -> Chart:
    """How far above their floors bigram and context-2 end on the animals, for several learning rates."""
    token_ids, vocab_size = _read("001_animals", WordTokenizer)
    rows: list[list[Value]] = [
        [f"rate {rate}", *(_gap(token_ids, vocab_size, size, rate) for size in (1, 2))] for rate in _RATES
    ]
    return Chart(
        "bars",
        "Context-2 comes closest to its floor with a larger learning rate than the bigram",
        ["learning rate", *map(_kind, _SHORT_WINDOWS[1:])],
        rows,
        up="nats above the floor",
        source="corpus/001_animals.txt, 50 epochs each",
        values=True,
    )


def contexts_by_count() -> Chart:
    """How many contexts of one to four words the stories have once, twice, and more often."""
    token_ids, _ = _read("030_stories", WordTokenizer)
    rows: list[list[Value]] = []
    for size in range(1, 5):
        counts = Counter(_context_counts(token_ids, size).values())
        name = "1 word" if size == 1 else f"{size} words"
        rows.append([name, counts[1], counts[2], counts.total() - counts[1] - counts[2]])
    return Chart(
        "bars",
        "The longer the window, the more of its contexts occur only once in the stories",
        ["window", "met once", "met twice", "met more often"],
        rows,
        up="different contexts",
        source="corpus/030_stories.txt",
        values=True,
    )


def unseen_contexts() -> Chart:
    """The share of held-out tokens after a context that training never met, for words and for characters."""
    texts = [_read("030_stories", tokenizer)[0] for tokenizer in (WordTokenizer, CharTokenizer)]
    rows = [[size, *(round(100 * _unseen_share(token_ids, size), 1) for token_ids in texts)] for size in range(1, 9)]
    return Chart(
        "lines",
        "Three words back, most held-out tokens follow a context that the training part never had; "
        "three characters back, hardly any do",
        ["N", "words", "characters"],
        rows,
        across="N, tokens in the window",
        up="percent of the held-out tokens",
        source="corpus/030_stories.txt, its last fifth held out",
    )


def overfitting() -> Chart:
    """The loss of a context-3 table on its training text and on the held-out part, epoch by epoch."""
    token_ids, vocab_size = _read("030_stories", WordTokenizer)
    num_train = _num_train(token_ids)
    model = SimpleNextTokenModel(vocab_size, _CONTEXT)
    history = train_model(
        model,
        make_training_pairs(token_ids[:num_train], _CONTEXT),
        _LEARNING_RATE,
        _EPOCHS,
        after_epoch=lambda: _held_out_losses(model, token_ids, num_train),
    )
    never = "held out, context never met"
    lines = {
        "training text": "avg_loss",
        "held out, all": "all",
        "held out, context met": "met",
        never: "never met",
    }
    return Chart(
        "lines",
        "The loss on the training text falls to the end; on the held-out part it falls a little, then rises",
        ["epoch", *lines],
        [[int(record["epoch"]), *(round(record[key], 4) for key in lines.values())] for record in history],
        across="epoch",
        up="nats per token",
        source=_OVERFITTING,
        dashed={never: ""},
    )


def _kind(rung: str) -> str:
    """Return the name of a model without its number."""
    return rung.partition("-")[2]


@cache
def _read(name: str, tokenizer: Callable[[], Tokenizer]) -> tuple[list[int], int]:
    """Return a corpus as token ids, and the size of its vocabulary."""
    tokens = read_tokens(ROOT / "corpus" / f"{name}.txt", tokenizer())
    vocab = Vocabulary(tokens)
    return vocab.encode(tokens), vocab.vocab_size()


def _context_counts(token_ids: Sequence[int], size: int) -> Counter[Context]:
    """Count how often each context is one to learn from."""
    return Counter(context_ids for context_ids, _ in make_training_pairs(token_ids, size))


def _gap(token_ids: Sequence[int], vocab_size: int, size: int, learning_rate: float) -> float:
    """Return how far above its floor the loss of a table is after as many epochs as a run has."""
    model = SimpleNextTokenModel(vocab_size, size)
    pairs = make_training_pairs(token_ids, size)
    train_model(model, pairs, learning_rate, DEFAULT_EPOCHS)
    return round(score(model, token_ids, size).loss - conditional_entropy(pairs), 4)


def _num_train(token_ids: Sequence[int]) -> int:
    """Return how many tokens ``--val-fraction`` leaves to learn from."""
    return int(round(len(token_ids) * (1 - _HELD_OUT), 6))


def _unseen_share(token_ids: Sequence[int], size: int) -> float:
    """Return the share of held-out tokens whose context the training part never had."""
    num_train = _num_train(token_ids)
    met = _context_counts(token_ids[:num_train], size)
    places = range(num_train, len(token_ids))
    return sum(tuple(token_ids[place - size : place]) not in met for place in places) / len(places)


def _held_out_losses(model: SimpleNextTokenModel, token_ids: Sequence[int], num_train: int) -> dict[str, float]:
    """Return the loss on the held-out part: of all its tokens, and by whether training met the context."""
    predictions = list(model.predictions(token_ids, num_train))
    met = [-log(prediction.probability) for prediction in predictions if prediction.context_seen]
    never = [-log(prediction.probability) for prediction in predictions if not prediction.context_seen]
    both = [*met, *never]
    return {name: fsum(some) / len(some) for name, some in (("all", both), ("met", met), ("never met", never))}
