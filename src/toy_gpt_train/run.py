"""run.py - The public API: train a model, load one, use it.

    import toy_gpt_train as tg
    run = tg.train("bigram", text="one fish two fish red fish blue fish")
    run.next("fish")
    run.save("my_run")

It does steps a to e with the rooms below it; nothing is printed, and nothing is written until a run is saved.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from toy_gpt_train.artifacts.run_folder import (
    RunFolder,
    SavedRun,
    folder_of_all,
    locked_run,
    write_evidence,
    write_run,
)
from toy_gpt_train.coding.compressed import compress, decompress
from toy_gpt_train.corpus import Corpus
from toy_gpt_train.engine import Choice, ranks
from toy_gpt_train.errors import InputError
from toy_gpt_train.exchange import export_run, open_run
from toy_gpt_train.inference.evaluate import Evaluation, evaluate, unigram_loss
from toy_gpt_train.inference.generate import prompt_ids, prompt_text, write
from toy_gpt_train.inference.sampling import Sampling
from toy_gpt_train.job import Job
from toy_gpt_train.loss_curve import loss_curve_svg
from toy_gpt_train.math_training import top_k
from toy_gpt_train.models.base import Model, Record
from toy_gpt_train.progress import OnProgress, shown
from toy_gpt_train.source_text import AnyPath, SourceText, chosen_corpus, ids_to_score
from toy_gpt_train.tokenizers import DEFAULT_VOCAB_SIZE, Tokenizer

Stop = str | Sequence[str]


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
        true_entropy: The mean surprise of the held-out tokens for one who knows the language, in nats: no model can get
            below it. Only where a text of the story world was held out and learned word by word, otherwise None.
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
    true_entropy: float | None = None
    train_seconds: float | None = None
    paths: Sequence[Path] = ()
    changed_files: Sequence[str] = ()
    _corpus_path: Path | None = None

    @property
    def name(self) -> str:
        """What the model is called, for example ``context-3``."""
        name: str = self.meta["model_kind"]
        return name

    @property
    def is_untrained(self) -> bool:
        """Whether the model has learned nothing."""
        return not self.meta["metrics"] and "origin" not in self.meta  # a run of the older series has no metrics

    def __repr__(self) -> str:
        metrics = self.meta["metrics"]
        kind = "val" if "val_loss" in metrics else "train"
        unscored = self.meta.get("origin", "untrained").partition(" of ")[0]  # an older run, an import
        loss = f"{kind} loss {metrics[f'{kind}_loss']:.2f}" if metrics else unscored
        return f"<Run {self.name}, {self.tokenizer.kind}, V={self.model.vocab_size}, {loss}>"

    def _repr_html_(self) -> str:
        return loss_curve_svg(repr(self)[1:-1], self.history)

    # --- using it ------------------------------------------------------------------------------------------

    def generate(
        self,
        prompt: str | None = None,
        num: int = 100,
        *,
        temperature: float = 0.8,
        top_k: int | None = None,
        top_p: float = 1.0,
        repetition_penalty: float = 1.0,
        seed: int = 0,
        stop: Stop = (),
        ignore_eos: bool = False,
    ) -> str:
        """Continue a text; returns the prompt and what follows.

        Args:
            prompt: The beginning; by default the first tokens of the training text.
            num: How many tokens to add at most.
            temperature: 0: always the most likely token; 1: draw by probability.
            top_k: Draw only among the k most likely tokens; None or 0 for all.
            top_p: Draw only among the most likely tokens that together have this probability.
            repetition_penalty: Above 1, tokens that the text already has become less likely.
            seed: The same seed gives the same text.
            stop: A text or several; what is written ends before the first of them.
            ignore_eos: Whether to keep writing after the token that ends a text, if the tokenizer has one.

        Raises:
            InputError: A value makes no sense, or the model does not know the last tokens of the prompt.
        """
        how = {"top_k": top_k, "top_p": top_p, "repetition_penalty": repetition_penalty, "ignore_eos": ignore_eos}
        return "".join(self.stream(prompt, num, temperature=temperature, seed=seed, stop=stop, **how))

    def stream(
        self, prompt: str | None = None, num: int = 100, *, temperature: float = 0.8, stop: Stop = (), **how: Any
    ) -> Iterator[str]:
        """Yield the text of generate() piece by piece, as it is written; arguments and errors are the same.

        Example:
            >>> list(train("bigram", text="one fish two fish", epochs=20).stream("one", 2, temperature=0))
            ['one', ' fish', ' two']
        """
        if num < 0:
            raise InputError(f"num must be at least 0, got {num}")
        sampling = Sampling(temperature, stop=(stop,) if isinstance(stop, str) else tuple(stop), **how)
        start = prompt_text(self.start_text if prompt is None else prompt, self.tokenizer)
        steps = write(self.model, self.tokenizer, self.start_ids(prompt), num, sampling, start)
        return chain([start], (step.text for step in steps))

    def next(self, prompt: str | None = None, k: int = 5) -> list[NextToken]:
        """Return the ``k`` most likely next tokens after the ``prompt``, by default the start of the training text.

        InputError if the model does not know its last tokens.
        """
        if k < 1:
            raise InputError(f"k must be at least 1, got {k}")
        probs = self.model.next_probs(self.start_ids(prompt))
        return [NextToken(self.tokenizer.tokens[i], i, p) for i, p in top_k(probs, k)]

    def start_ids(self, prompt: str | None = None) -> list[int]:
        """Return the token ids that a prediction starts from: the prompt's last N, or the training text's first N."""
        if prompt is None:
            if not self.meta["start_tokens"] and self.model.min_context:
                raise InputError("the run records no start tokens: give a prompt")
            return self.tokenizer.token_ids(self.meta["start_tokens"])
        return prompt_ids(prompt, self.tokenizer, self.model)

    @property
    def start_text(self) -> str:
        """The first tokens of the training text, as text."""
        return self.tokenizer.decode(self.tokenizer.token_ids(self.meta["start_tokens"]))

    def score(
        self,
        corpus: AnyPath | Corpus | None = None,
        *,
        text: str | None = None,
        unknown: str = "uniform",
        online: bool = False,
        progress: bool | OnProgress = False,
        surprises: list[float] | None = None,
    ) -> Evaluation:
        """Score every token of a text.

        Args:
            corpus: A text file; or give ``text``.
            text: The text itself.
            unknown: What to do with tokens outside the vocabulary: ``uniform`` gives each the probability 1/V,
                ``skip`` leaves them out, ``error`` refuses.
            online: Whether the model learns from each token after scoring it; the run itself does not change.
            progress: Whether to show a bar, or a function that is told the fraction done.
            surprises: A list to which the surprise of each scored token is added, in nats.

        Raises:
            InputError: The text is empty, has unknown tokens where that is an error, or the model cannot learn online.
            OSError: It cannot be read.
        """
        if corpus is None and text is None:
            raise InputError("give a text file, or text=")
        read = chosen_corpus(corpus, text)
        ids = ids_to_score(read, self.tokenizer, unknown)
        sizes = self.tokenizer.sizes(read.text)
        model = self.model.learner() if online else self.model
        with shown(progress, f"scoring {read.name}") as told:
            how: dict[str, Any] = {"skip_unknown": unknown == "skip", "on_progress": told, "surprises": surprises}
            return evaluate(model, ids, sizes, self.frequencies, **how)

    def compress(self, text: str, *, online: bool = False, progress: bool | OnProgress = False) -> bytes:
        """Code a text with the model's probabilities, in about as many bits as the loss says; any text can be coded.

        Args:
            text: The text.
            online: Whether the model learns from each token after coding it; only context-mixing can.
            progress: As for score().

        Raises:
            InputError: The text holds a lone surrogate or is too long, or the model cannot learn online.
        """
        with shown(progress, "compressing") as told:
            return compress(self.model, self.tokenizer, text, online=online, on_progress=told).data

    def decompress(self, data: bytes, *, progress: bool | OnProgress = False) -> str:
        """Return the text that compress() has coded; InputError if another model has, or the data are damaged.

        Example:
            >>> run = train("bigram", text="one fish two fish", epochs=20)
            >>> run.decompress(run.compress("two  fish, one shark"))
            'two  fish, one shark'
        """
        with shown(progress, "decompressing") as told:
            return decompress(self.model, self.tokenizer, data, on_progress=told)

    def save(self, base_dir: AnyPath, name: str = "") -> list[Path]:
        """Write the run to a folder, all of it or nothing: artifacts/ (what ``load`` reads) and outputs/ (the log).

        Args:
            base_dir: The folder; a run that is there already is replaced.
            name: A folder below artifacts/ and outputs/.

        Raises:
            InputError: Another process is writing a run there, or the name or a manifest there cannot be used; or the
                model is untrained().
            OSError: Something could not be written; what was there before is still there.
        """
        if self.is_untrained:
            raise InputError("an untrained model has nothing to save")
        with locked_run(Path(base_dir), name) as folder:
            return self._write(folder)

    def export(self, to: str, out: AnyPath) -> list[Path]:
        """Write the model for other software, all of it or nothing; return the paths.

        Args:
            to: The format: ``hf`` (a folder for transformers), ``gguf`` (a file for llama.cpp), ``arpa`` (for KenLM).
            out: The file, or for ``hf`` the folder, which must not be there yet.

        Raises:
            InputError: There is no such format, or it cannot express this model.
            OSError: Something could not be written.
        """
        return export_run(self._saved(), to, Path(out))

    def _saved(self) -> SavedRun:
        return SavedRun(self.meta, self.tokenizer, self.frequencies, self.model, self.history)

    def _write(self, folder: RunFolder, evidence: Mapping[str, str] | None = None) -> list[Path]:
        paths = write_run(self._saved(), folder, self._corpus_path)
        write_evidence(folder, evidence or {})
        return paths


# --- making one ---------------------------------------------------------------------------------------------


def load(
    path: AnyPath,
    *,
    strict: bool = False,
    engine: str = "stdlib",
    device: str = "auto",
    dtype: str = "float32",
    compile: bool = False,  # noqa: A002 - the name of the option
) -> Run:
    """Open a saved run, also one of the older toy-gpt series; an InputWarning then says what it records.

    Args:
        path: The folder it was saved to, a folder of artifacts, or a model of other software (see toy-gpt import).
        strict: Whether to refuse files that have changed since training; otherwise ``changed_files`` names them.
        engine: What computes a network: ``stdlib``, ``torch`` or ``auto``.
        device: Where PyTorch computes: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; ``auto`` takes the fastest there is.
        dtype: In which numbers PyTorch computes: ``float32``, ``bfloat16`` or ``float64``.
        compile: Whether PyTorch translates the network first.

    Raises:
        InputError: A file is missing or damaged, or has changed; or there is no such engine.
        OSError: A file cannot be read.
    """
    choice = Choice(engine, device, dtype, compile).checked()
    saved = open_run(Path(path), strict=strict)
    saved.model.compute_with(choice.resolved(saved.model.num_parameters())[0])
    changed = saved.changed_files
    return Run(saved.model, saved.tokenizer, saved.frequencies, saved.meta, saved.history, changed_files=changed)


def train(
    model: str = "context-3",
    corpus: AnyPath | Corpus | None = None,
    *,
    text: str | None = None,
    tokens: AnyPath | None = None,
    val_tokens: AnyPath | None = None,
    tokenizer: AnyPath = "word",
    special: Sequence[str] = (),
    bpe_vocab: int = DEFAULT_VOCAB_SIZE,
    val_fraction: float = 0.0,
    context: int | None = None,
    seed: int = 0,
    save_to: AnyPath | None = None,
    name: str = "",
    progress: bool | OnProgress = False,
    on_start: Callable[[Job], None] | None = None,
    on_record: Callable[[Record], None] | None = None,
    **options: Any,
) -> Run:
    """Train a model: text, tokens, ids, training, evaluation.

    Args:
        model: Its name; models() lists them.
        corpus: A text file, or ``world:400k`` for the story world; by default the project's corpus.
        text: The text itself.
        tokens: A file of token ids (.bin and .npy too), which stays on disk.
        val_tokens: Another one, which is held out for evaluation.
        tokenizer: ``word``, ``char`` or ``bpe``, made for this text; or the folder of a saved one, as for ``tokens``.
        special: Texts that are one token wherever they stand, as ``<|endoftext|>``.
        bpe_vocab: Where byte-level BPE stops merging.
        val_fraction: The share at the end of the text that is held out for evaluation.
        context: How many tokens the model looks back, where its name does not say.
        seed: The same seed gives the same model; tables draw nothing at random.
        save_to: Write the run to this folder, as Run.save() does. What stands in the way is noticed before training.
        name: A folder below artifacts/ and outputs/ in ``save_to``.
        progress: Whether to show a bar, or a function that is told the fraction done. It may raise StopTraining.
        on_start: Called when all is checked, before the first step, with what is to be done.
        on_record: Called with each record of the log as it is made.
        **options: What the model takes: ``epochs`` for a table; ``steps``, ``workers``, ``engine`` … for a network.

    Raises:
        InputError: The text, an option or a number cannot be used, or another process is writing to ``save_to``.
        OSError: A file cannot be read or written.
        StopTraining: The model has nothing to keep before its end.

    Example:
        >>> train("bigram", text="one fish two fish", epochs=20).next("one", k=1)[0].token
        'fish'
    """
    begun = time.perf_counter()
    job = Job(model, context, seed, options)
    source = SourceText(corpus, text, tokenizer, special, tokens, val_tokens)
    with nullcontext() if save_to is None else folder_of_all(Path(save_to), name) as folder:
        with shown(progress, "reading tokens") as told:
            job.prepare(source.encoded(bpe_vocab, val_fraction, told), folder)
        with shown(progress, f"training {job.entry.name}") as told, job.together():
            job.learn(told, on_record, on_start)
            run = _as_run(job, told, begun)
        return run if folder is None or not ranks().is_first else _written(run, job, folder)


def _written(run: Run, job: Job, folder: RunFolder) -> Run:
    written = replace(run, paths=run._write(folder, job.evidence))
    job.finish()
    return written


def _as_run(job: Job, told: OnProgress | None, begun: float) -> Run:
    meta, held_out = job.measure(told)
    text = job.encoded
    return Run(
        job.model,
        text.tokenizer,
        text.frequencies,
        meta,
        job.history,
        held_out,
        held_out.unigram_loss if held_out else unigram_loss(text.frequencies, text.ids),
        text.true_entropy() if held_out else None,
        time.perf_counter() - begun - (held_out.seconds if held_out else 0.0),
        _corpus_path=text.source.path
        and text.source.path.absolute(),  # the current folder may be another when it is saved
    )
