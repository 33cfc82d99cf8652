"""run.py - The public API: train a model, load one, use it.

    import toy_gpt_train as tg
    run = tg.train("bigram", text="one fish two fish red fish blue fish")
    run.next("fish")
    run.save("my_run")

It does steps a to e with the rooms below it; nothing is printed, and nothing is written until a run is saved.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from toy_gpt_train.artifacts.metadata import new_meta
from toy_gpt_train.artifacts.run_folder import RunFolder, SavedRun, find_artifacts, locked_run, read_run, write_run
from toy_gpt_train.corpus import Corpus, corpus_of, read_corpus
from toy_gpt_train.errors import InputError
from toy_gpt_train.inference.evaluate import Evaluation, evaluate, unigram_loss, watched
from toy_gpt_train.inference.generate import continuation, continued, prompt_ids
from toy_gpt_train.inference.sampling import Sampling
from toy_gpt_train.loss_curve import loss_curve_svg
from toy_gpt_train.math_training import top_k
from toy_gpt_train.models.base import Model, Record, Text
from toy_gpt_train.models.registry import MOST_WORKERS, ModelEntry, find_model
from toy_gpt_train.models.scores import summarize
from toy_gpt_train.progress import OnProgress, shown
from toy_gpt_train.project import RESOURCE_ROOT, load_manifest
from toy_gpt_train.tokenizers import DEFAULT_VOCAB_SIZE, Tokenizer
from toy_gpt_train.tokenizers.encoded import EncodedText, encode_corpus

if TYPE_CHECKING:  # WHY: it loads the code of networks, which a table does without
    from toy_gpt_train.artifacts.checkpoints import Checkpoints

AnyPath = str | PathLike[str]


# --- a run --------------------------------------------------------------------------------------------------


class NextToken(NamedTuple):
    """One token that may come next."""

    token: str
    id: int
    probability: float


@dataclass(frozen=True, repr=False, eq=False)
class Run:
    """A trained model with everything that belongs to it; train() and load() make one.

    Attributes:
        model: The model.
        tokenizer: How its text is cut; knows the vocabulary.
        frequencies: How often the training text had each token, by id.
        meta: What 00_meta.json says; where the run was not loaded, its metrics are not yet rounded.
        history: The training log, one record per epoch or every few steps.
        held_out: The scores on the held-out part; None where nothing was held out, or the run was loaded.
        unigram_loss: The loss of guessing by frequency, in nats per token: on the held-out part, or else on the
            training part; None where the run was loaded.
        train_seconds: How long training took; None where the run was loaded.
        paths: The files that train() wrote, the metadata last; none if it had no ``save_to``.
        changed_files: The names of the loaded files that are not as training wrote them.
    """

    model: Model
    tokenizer: Tokenizer
    frequencies: list[int]
    meta: dict[str, Any]
    history: list[Record]
    held_out: Evaluation | None = None
    unigram_loss: float | None = None
    train_seconds: float | None = None
    paths: Sequence[Path] = ()
    changed_files: Sequence[str] = ()
    _corpus_path: Path | None = None

    @property
    def name(self) -> str:
        """What the model is called, for example ``context-3``."""
        name: str = self.meta["model_kind"]
        return name

    def __repr__(self) -> str:
        metrics = self.meta["metrics"]
        kind = "val" if "val_loss" in metrics else "train"
        loss = metrics[f"{kind}_loss"]
        return f"<Run {self.name}, {self.tokenizer.kind}, V={self.model.vocab_size}, {kind} loss {loss:.2f}>"

    def _repr_html_(self) -> str:
        return loss_curve_svg(repr(self)[1:-1], self.history)

    # --- using it ------------------------------------------------------------------------------------------

    def generate(
        self, prompt: str | None = None, num: int = 100, *, temperature: float = 0.8, top_p: float = 1.0, seed: int = 0
    ) -> str:
        """Continue a text.

        Args:
            prompt: The beginning; by default the first tokens of the training text.
            num: How many tokens to add.
            temperature: 0: always the most likely token; 1: draw by probability.
            top_p: Draw only among the most likely tokens that together have this probability.
            seed: The same seed gives the same text.

        Returns:
            The prompt and what follows.

        Raises:
            InputError: A number makes no sense, or the model does not know the last tokens of the prompt.
        """
        if num < 0:
            raise InputError(f"num must be at least 0, got {num}")
        _, chosen = continuation(self.model, self.start_ids(prompt), num, Sampling(temperature, top_p, seed))
        return continued(self.start_text if prompt is None else prompt, chosen, self.tokenizer)

    def next(self, prompt: str | None = None, k: int = 5) -> list[NextToken]:
        """Return the k most likely next tokens after a text, most likely first.

        Args:
            prompt: The text; by default the first tokens of the training text.
            k: How many.

        Raises:
            InputError: ``k`` is below 1, or the model does not know the last tokens of the prompt.
        """
        if k < 1:
            raise InputError(f"k must be at least 1, got {k}")
        probs = self.model.next_probs(self.start_ids(prompt))
        return [NextToken(self.tokenizer.tokens[i], i, p) for i, p in top_k(probs, k)]

    def start_ids(self, prompt: str | None = None) -> list[int]:
        """Return the token ids that a prediction starts from: the prompt's last N, or the training text's first N.

        Raises:
            InputError: The model does not know the last tokens of the prompt.
        """
        if prompt is None:
            return self.tokenizer.token_ids(self.meta["start_tokens"])
        return prompt_ids(prompt, self.tokenizer, self.model)

    @property
    def start_text(self) -> str:
        """The first tokens of the training text, as text."""
        return self.tokenizer.decode(self.start_ids())

    def score(
        self,
        corpus: AnyPath | None = None,
        *,
        text: str | None = None,
        unknown: str = "uniform",
        progress: bool | OnProgress = False,
    ) -> Evaluation:
        """Score every token of a text.

        Args:
            corpus: A text file; or give ``text``.
            text: The text itself.
            unknown: What to do with tokens outside the vocabulary: ``uniform`` gives each the probability 1/V,
                ``skip`` leaves them out, ``error`` refuses.
            progress: Whether to show a bar, or a function that is told the fraction done.

        Raises:
            InputError: The text is empty, or has unknown tokens where that is an error.
            OSError: It cannot be read.
        """
        if unknown not in ("uniform", "skip", "error"):
            raise InputError(f"unknown must be uniform, skip or error, got {unknown!r:.40}")
        if corpus is None and text is None:
            raise InputError("give a text file, or text=")
        read = _corpus(corpus, text)
        name, vocab_size = read.path or read.name, self.model.vocab_size
        ids = self.tokenizer.encode(read.text, vocab_size)
        if not ids:
            raise InputError(f"{name}: the text is empty: there is no token in it")
        if unknown != "uniform" and vocab_size in ids:
            tokens = self.tokenizer.tokenize(read.text)
            extra = list(dict.fromkeys(token for token, i in zip(tokens, ids, strict=True) if i == vocab_size))
            if unknown == "error":
                raise InputError(
                    f"{name}: {len(extra)} different tokens are not in the vocabulary, among them "
                    f"{', '.join(map(repr, extra[:3])):.200}; choose --unknown skip or --unknown uniform"
                )
            if set(ids) == {vocab_size}:
                raise InputError(f"{name}: none of its tokens is in the vocabulary")
        sizes = self.tokenizer.sizes(read.text)
        with shown(progress, f"scoring {read.name}") as told:
            return evaluate(self.model, ids, sizes, self.frequencies, skip_unknown=unknown == "skip", on_progress=told)

    def save(self, base_dir: AnyPath, name: str = "") -> list[Path]:
        """Write the run to a folder: artifacts/ (what ``load`` reads) and outputs/ (the log), all of it or nothing.

        Args:
            base_dir: The folder; a run that is there already is replaced.
            name: A folder below artifacts/ and outputs/.

        Returns:
            The paths written, the metadata last.

        Raises:
            InputError: Another process is writing a run there, or the name or a manifest there cannot be used.
            OSError: Something could not be written; what was there before is still there.
        """
        with locked_run(Path(base_dir), name) as folder:
            return self._write(folder)

    def _write(self, folder: RunFolder) -> list[Path]:
        saved = SavedRun(self.meta, self.tokenizer, self.frequencies, self.model, self.history)
        return write_run(saved, folder, self._corpus_path)


# --- making one ---------------------------------------------------------------------------------------------


def load(path: AnyPath, *, strict: bool = False) -> Run:
    """Open a saved run.

    Args:
        path: The folder it was saved to, or a folder of artifacts.
        strict: Whether to refuse files that have changed since training; otherwise ``changed_files`` names them.

    Raises:
        InputError: A file is missing or damaged, or has changed.
        OSError: A file cannot be read.
    """
    saved = read_run(find_artifacts(Path(path)), strict=strict)
    changed = saved.changed_files
    return Run(saved.model, saved.tokenizer, saved.frequencies, saved.meta, saved.history, changed_files=changed)


def train(
    model: str = "context-3",
    corpus: AnyPath | Corpus | None = None,
    *,
    text: str | None = None,
    tokenizer: str = "word",
    bpe_vocab: int = DEFAULT_VOCAB_SIZE,
    val_fraction: float = 0.0,
    context: int | None = None,
    seed: int = 0,
    workers: int = 1,
    save_to: AnyPath | None = None,
    name: str = "",
    checkpoint_every: int = 0,
    resume: bool = False,
    progress: bool | OnProgress = False,
    on_record: Callable[[Record], None] | None = None,
    **options: Any,
) -> Run:
    """Train a model: text, tokens, ids, training, evaluation.

    Args:
        model: Its name; models() lists them.
        corpus: A text file; or give ``text``. Without both, the project's default corpus.
        text: The text itself.
        tokenizer: ``word``, ``char`` or ``bpe``.
        bpe_vocab: Where byte-level BPE stops merging.
        val_fraction: The share at the end of the text that is held out for evaluation.
        context: How many tokens the model looks back, where its name does not say.
        seed: The same seed gives the same model; tables draw nothing at random.
        workers: Processes that share a network's work; they change no number.
        save_to: Write the run to this folder, as Run.save() does. Nobody else can write a run there meanwhile, and
            whatever stands in the way of writing is noticed before the first step.
        name: A folder below artifacts/ and outputs/ in ``save_to``.
        checkpoint_every: Steps from one checkpoint of a network to the next; 0 for none. They are kept in ``save_to``
            until the run is written.
        resume: Whether to continue from the newest checkpoint.
        progress: Whether to show a bar, or a function that is told the fraction done and a few words. It may raise
            StopTraining.
        on_record: Called with each record of the log as it is made.
        **options: What can be set for this model, for example ``epochs`` for a table or ``steps`` for a network.

    Returns:
        The run; it is in memory only, unless ``save_to`` is given.

    Raises:
        InputError: The text, an option or a number cannot be used, or another process is writing to ``save_to``.
        OSError: A file cannot be read or written.
        StopTraining: The model has nothing to keep before its end, or all was learned already.

    Example:
        >>> train("bigram", text="one fish two fish", epochs=20).next("one", k=1)[0].token
        'fish'
    """
    begun = time.perf_counter()
    if seed < 0:
        raise InputError(f"the seed must be at least 0, got {seed}")
    entry = find_model(model)
    in_steps = {"workers": workers, "checkpoint_every": checkpoint_every, "resume": resume}
    checked = _checked_options(entry, options, in_steps)
    settings = entry.model_class.settings(entry.name, entry.chosen_context(context), **checked)
    read = corpus if isinstance(corpus, Corpus) else _corpus(corpus, text)
    history: list[Record] = []
    with nullcontext() if save_to is None else locked_run(Path(save_to), name) as folder:
        encoded = encode_corpus(read, tokenizer, bpe_vocab, val_fraction)
        entry.check_length(settings.context, encoded.num_train, read.path or read.name)
        built = entry.model_class.build(encoded.tokenizer.vocab_size, settings, seed)
        checkpoints = None
        if checkpoint_every or resume:
            identity = _identity(entry, settings, read, encoded, bpe_vocab, val_fraction, seed)
            checkpoints = _checkpoints(folder, checkpoint_every, resume, identity)
        learned = Text(encoded.ids, encoded.num_train, encoded.tokenizer.tokens)
        with shown(progress, f"training {entry.name}") as told:
            how: dict[str, Any] = {"seed": seed, "workers": workers, "checkpoints": checkpoints, "on_progress": told}
            for record in built.fit(learned, settings, **how):
                history.append(record)
                if on_record is not None:
                    on_record(record)
            metrics, floor, held_out = _measure(built, encoded, history, told)
        figures = {"metrics": metrics, "loss_floor": floor, "seed": seed, "val_fraction": val_fraction}
        training = built.training_record(settings, history)
        run = Run(
            built,
            encoded.tokenizer,
            encoded.frequencies,
            new_meta(read, training, model_kind=entry.name, **_described(built, encoded), **figures),
            history,
            held_out,
            held_out.unigram_loss if held_out else unigram_loss(encoded.frequencies, encoded.ids),
            time.perf_counter() - begun - (held_out.seconds if held_out else 0.0),
            _corpus_path=read.path and read.path.absolute(),  # the current folder may be another one when it is saved
        )
        if folder is None:
            return run
        paths = run._write(folder)
        if checkpoints is not None:
            checkpoints.clear()
    return replace(run, paths=paths)


def _described(model: Model, text: EncodedText) -> dict[str, Any]:
    """Return what the metadata say of a model and its tokens."""
    return {
        "vocab_size": model.vocab_size,
        "context_size": model.context_size,
        "tokenizer": {"kind": text.tokenizer.kind},
        "start_tokens": [text.tokenizer.tokens[i] for i in text.ids[: model.context_size]],
    }


def _checked_options(entry: ModelEntry, options: Mapping[str, Any], in_steps: Mapping[str, Any]) -> dict[str, Any]:
    """Return the model's own options, those that are None left out; refuse what means nothing, or makes no sense."""
    given = {name: value for name, value in options.items() if value is not None}
    if unused := entry.unused_options({**given, **in_steps}):
        known = ", ".join(entry.model_class.options) or "none"
        raise InputError(f"{unused[0]} means nothing to {entry.name}; its options are: {known}")
    if not 1 <= in_steps["workers"] <= MOST_WORKERS:
        raise InputError(f"there must be at least 1 worker and at most {MOST_WORKERS}, got {in_steps['workers']}")
    if in_steps["checkpoint_every"] < 0:
        raise InputError(f"the steps between checkpoints must be at least 0, got {in_steps['checkpoint_every']}")
    return {name: entry.model_class.options[name].checked(name, value) for name, value in given.items()}


def _corpus(path: AnyPath | None, text: str | None) -> Corpus:
    if path is not None and text is not None:
        raise InputError("give a corpus or a text, not both")
    if text is not None:
        return corpus_of(text)
    return read_corpus(RESOURCE_ROOT / load_manifest().corpus if path is None else Path(path))


def _measure(
    model: Model, encoded: EncodedText, history: Sequence[Record], told: OnProgress | None
) -> tuple[dict[str, float], float, Evaluation | None]:
    """Return the final metrics, the loss floor, which joins the log, and the scores of the held-out part."""
    num_train = encoded.num_train
    ids = encoded.ids[:num_train]
    floor = model.loss_floor(ids)
    for record in history:
        record.update(loss_floor=floor, above_floor=record["avg_loss"] - floor)
    start = model.scored_from(num_train)
    if start is None:
        metrics = {"train_loss": history[-1]["avg_loss"], "train_accuracy": history[-1]["accuracy"]}
    else:
        scores = summarize(zip(watched(model, ids, start, told), ids[start:], strict=True))
        metrics = {"train_loss": scores.loss, "train_accuracy": scores.accuracy}
    if num_train == len(encoded.ids):
        return metrics, floor, None
    sizes = [0] * num_train + encoded.held_out_sizes
    held_out = evaluate(model, encoded.ids, sizes, encoded.frequencies, num_train, on_progress=told)
    metrics.update(val_loss=held_out.loss, val_accuracy=held_out.accuracy)
    return metrics, floor, held_out


def _identity(
    entry: ModelEntry, settings: Any, corpus: Corpus, text: EncodedText, bpe_vocab: int, val_fraction: float, seed: int
) -> dict[str, Any]:
    """Return what a run is: every number that changes what it learns."""
    numbers = asdict(settings)
    return {
        "corpus": corpus.sha256,
        "tokenizer": text.tokenizer.kind,
        "merges up to": bpe_vocab if text.tokenizer.learned else 0,
        "vocabulary": text.tokenizer.vocab_size,
        "held-out share": val_fraction,
        "model": entry.name,
        **numbers.pop("architecture", {}),
        **numbers,
        "seed": seed,
    }


def _checkpoints(folder: RunFolder | None, every: int, resume: bool, identity: dict[str, Any]) -> "Checkpoints":
    from toy_gpt_train.artifacts.checkpoints import Checkpoints

    if folder is None:
        raise InputError("checkpoints need a folder: give save_to")
    checkpoints = Checkpoints(folder.checkpoints, every, identity)
    if (newest := checkpoints.newest()) and not resume:
        raise InputError(f"{newest} is of a training run that was stopped; continue with --resume, or remove it")
    return checkpoints
