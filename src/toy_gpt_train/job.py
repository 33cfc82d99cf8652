"""job.py - One training run: what is learned, how, and from which checkpoint on. run.train() makes a Run of the result.

Everything that can be checked is checked before the first step.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from hashlib import sha256
from typing import Any, Final

from toy_gpt_train.artifacts.metadata import Meta, new_meta
from toy_gpt_train.artifacts.run_folder import RunFolder
from toy_gpt_train.engine import Choice, ranks
from toy_gpt_train.errors import InputError
from toy_gpt_train.inference.evaluate import Evaluation, evaluate, watched
from toy_gpt_train.models.base import Model, Record, Text
from toy_gpt_train.models.registry import MOST_WORKERS, STEP_OPTIONS, find_model
from toy_gpt_train.models.scores import summarize
from toy_gpt_train.progress import OnProgress
from toy_gpt_train.tokenizers.encoded import EncodedText

_MOST_EPOCHS: Final = 40  # by default
_LEAST_STEPS: Final = 20


class Job:
    """A training run; InputError if a number makes no sense. Call its methods in the order they have here.

    Args:
        model: Its name.
        context: N; None for the default.
        seed: For what is drawn at random.
        options: Those of the model and, for a network, those of STEP_OPTIONS; None means not given.

    Attributes:
        entry: The model's line of the ladder.
        settings: All numbers that decide how the model looks and learns.
        encoded: The text, once prepare() was called.
        model: The model, once prepare() was called.
        engine: What computes, once prepare() was called; ``engine_reason`` is why, where that was not said.
        usual_length: How many steps or epochs are the default, where the text needs fewer; otherwise None.
        resumed_from: The step of the checkpoint that the run continues from; 0 where it begins anew.
        history: The log so far.
        evidence: Further files for outputs/, by name; a watcher may add some until the run is written.
        rate_factor: Says, before each step of a network, by how much its learning rate is multiplied: for a watcher.
        on_learned: Called with the metadata when all is learned; their metrics are those of the log's last line.
        on_measured: Called with the metadata when all is learned and measured, before the run is written.
    """

    def __init__(self, model: str, context: int | None, seed: int, options: Mapping[str, Any]) -> None:
        if seed < 0:
            raise InputError(f"the seed must be at least 0, got {seed}")
        self.seed = seed
        self.entry = find_model(model)
        self.usual_length: int | None = None
        self.engine_reason = ""
        self.resumed_from = 0
        self.history: list[Record] = []
        self.evidence: dict[str, str] = {}
        self.rate_factor: Callable[[], float] = lambda: 1.0
        self.on_learned: Callable[[Meta], None] = lambda meta: None
        self.on_measured: Callable[[Meta], None] = lambda meta: None
        given = {name: value for name, value in options.items() if value is not None}
        known = self.entry.model_class.options
        if unused := self.entry.unused_options(given):
            raise InputError(f"{unused[0]} does not apply to {model}; its options are: {', '.join(known) or 'none'}")
        self._in_steps = STEP_OPTIONS | {name: value for name, value in given.items() if name in STEP_OPTIONS}
        self._numbers = {name: known[name].checked(name, value) for name, value in given.items() if name in known}
        _check_steps(self._in_steps, self._numbers)
        self._context = self.entry.chosen_context(context)
        self.settings = self._settings_of(self._numbers)
        self.engine = Choice(*(self._in_steps[name] for name in ("engine", "device", "dtype", "compile"))).checked()

    def _settings_of(self, numbers: Mapping[str, Any]) -> Any:
        return self.entry.model_class.settings(self.entry.name, self._context, **numbers)

    def numbers(self) -> dict[str, Any]:
        """Return every number of the settings, by name."""
        numbers = asdict(self.settings)
        is_network = numbers.pop("architecture", None) is not None
        return {**self.settings.architecture.as_mapping(), **numbers} if is_network else numbers

    def prepare(self, encoded: EncodedText, folder: RunFolder | None) -> None:
        """Build the model for a text; ``folder`` is where the run will be written, if it will be.

        Raises:
            InputError: The text cannot be used, there is nothing to resume, or a run was stopped here.
        """
        if folder is None and (self._in_steps["checkpoint_every"] or self._in_steps["resume"]):
            raise InputError("checkpoints need a folder: give save_to")
        has_checkpoints = folder and (self.entry.model_class.trains_in_steps or folder.checkpoints.is_dir())
        if folder and has_checkpoints:
            self._look_for_checkpoint(folder)
        self.encoded = encoded
        self.entry.check_length(self.settings.context, encoded.num_train, encoded.source.path or encoded.source.name)
        model_class, vocab_size = self.entry.model_class, encoded.tokenizer.vocab_size
        self.engine, self.engine_reason = model_class.resolved_engine(self.engine, vocab_size, self.settings)
        self.model = model_class.build(vocab_size, self.settings, self.seed)
        self._shorten()
        self._suit_engine()
        self._checkpoints: Any = None
        if folder and has_checkpoints:
            from toy_gpt_train.artifacts.checkpoints import Checkpoints

            every, resume = self._in_steps["checkpoint_every"], self._in_steps["resume"]
            every = every if ranks().is_first else 0
            self._checkpoints = Checkpoints(folder.checkpoints, every, self._identity(), resume=resume)

    def predictions_per_step(self) -> int:
        """Return how many tokens a network predicts, and learns from, in one step."""
        network: Any = self.model
        num_targets: int = network.num_targets
        predicted: int = num_targets - self.settings.num_only_read(num_targets)
        return predicted * int(self.settings.batch_size)

    def _shorten(self) -> None:
        """Train no longer than a text needs, where nobody has said how long.

        A network does at most 40 epochs, for a short text is soon known by heart. A table stops when its rows have
        settled, which in a long text is soon, too.
        """
        model: Any = self.model
        unit = "steps" if model.trains_in_steps else "epochs"
        usual = self.numbers().get(unit)  # None of what reads the text once
        if usual is None or unit in self._numbers or self._in_steps["resume"]:
            return
        if model.trains_in_steps:
            enough = max(_MOST_EPOCHS * self.encoded.num_train // self.predictions_per_step(), _LEAST_STEPS)
        else:
            ids = self.encoded.ids[: self.encoded.num_train]
            enough = model.enough_epochs(ids, self.settings.learning_rate)
        if enough < usual:
            self.usual_length = usual
            self.settings = self._settings_of(self._numbers | {unit: enough})

    def _suit_engine(self) -> None:
        """Let PyTorch compute a batch as a whole unless someone has said otherwise; share it among processes."""
        if self.engine.name == "torch" and "micro_batch" not in self._numbers and not self._in_steps["resume"]:
            numbers = self._numbers | {"steps": self.settings.steps, "micro_batch": self.settings.batch_size}
            self.settings = self._settings_of(numbers)
        if (number := ranks().number) > 1:
            batch, piece = self.settings.batch_size, min(self.settings.micro_batch, self.settings.batch_size)
            for flag, windows in (("--batch-size", batch), ("--piece-size", piece)):
                if windows % number:
                    raise InputError(f"{number} processes cannot share {windows} windows evenly: choose {flag}")

    @contextmanager
    def together(self) -> Iterator[None]:
        """Be one of the processes that train together, if torchrun has started several.

        OSError if the others cannot be reached, or one of them ends.
        """
        if ranks().number == 1:
            yield
            return
        from toy_gpt_train.nn.torch_group import agree, joined  # WHY here: they load PyTorch
        from toy_gpt_train.nn.torch_network import chosen_device

        device = chosen_device(self.engine.device)
        with joined(device):
            agree({**self._identity(), "checkpoint": self.resumed_from}, device)
            yield

    def learn(
        self,
        on_progress: OnProgress | None,
        on_record: Callable[[Record], None] | None,
        on_start: Callable[["Job"], None] | None = None,
    ) -> None:
        """Train the model; ``on_start`` is called when all is checked, before the first step."""
        text = Text(self.encoded.ids, self.encoded.num_train, self.encoded.tokenizer.tokens)
        how: dict[str, Any] = {"checkpoints": self._checkpoints, "on_progress": on_progress}
        if self.model.trains_in_steps:
            how |= {
                "workers": self._in_steps["workers"],
                "engine": self.engine,
                "rate_factor": lambda: self.rate_factor(),
            }
        waiting = [] if on_start is None else [on_start]

        def start() -> None:
            while waiting:
                waiting.pop()(self)

        for record in self.model.fit(text, self.settings, seed=self.seed, on_start=start, **how):
            start()  # a model may not have done it
            self.history.append(record)
            if on_record is not None:
                on_record(record)
        self.learned(self.encoded, self.model, self.history)

    def learned(self, encoded: EncodedText, model: Model, history: list[Record]) -> None:
        """Have a model that has learned a text, and the log of that."""
        self.encoded, self.model, self.history = encoded, model, history
        self._floor = model.loss_floor(encoded.ids[: encoded.num_train])
        self.on_learned(self._meta(self._logged_metrics()))

    def measure(self, on_progress: OnProgress | None) -> tuple[Meta, Evaluation | None]:
        """Return the metadata with the final metrics, and the scores of the held-out part.

        The loss floor joins the log.
        """
        text, model, num_train = self.encoded, self.model, self.encoded.num_train
        ids = text.ids[:num_train]
        for record in self.history:
            record.update(loss_floor=self._floor, above_floor=record["avg_loss"] - self._floor)
        start = model.scored_from(num_train)
        if start is None:
            metrics = self._logged_metrics()
        else:
            scores = summarize(zip(watched(model, ids, start, on_progress), ids[start:], strict=True))
            metrics = {"train_loss": scores.loss, "train_accuracy": scores.accuracy}
        held_out = None
        if num_train < len(text.ids):
            parts = text.ids, text.held_out_sizes, text.frequencies, num_train
            held_out = evaluate(model, *parts, on_progress=on_progress)
            metrics.update(val_loss=held_out.loss, val_accuracy=held_out.accuracy)
            if model.learns_online:
                online = evaluate(model.learner(), *parts, on_progress=on_progress)
                metrics["val_loss_online"] = online.loss
                # WHY: what is not in these seconds counts as training.
                held_out = replace(held_out, seconds=held_out.seconds + online.seconds)
        meta = self._meta(metrics)
        self.on_measured(meta)
        return meta, held_out

    def _logged_metrics(self) -> dict[str, float]:
        last = self.history[-1]
        return {"train_loss": last["avg_loss"], "train_accuracy": last["accuracy"]}

    def _meta(self, metrics: dict[str, float]) -> Meta:
        """Return the metadata of what has been learned."""
        text, model = self.encoded, self.model
        figures: dict[str, Any] = {"metrics": metrics, "loss_floor": self._floor}
        figures |= {"seed": self.seed, "val_fraction": text.val_fraction}
        if text.held_out_source is not None:
            figures["val_corpus"] = {"filename": text.held_out_source.name, "sha256": text.held_out_source.sha256}
        return new_meta(
            text.source,
            model.training_record(self.settings, self.history),
            model_kind=self.entry.name,
            vocab_size=model.vocab_size,
            context_size=model.context_size,
            tokenizer=text.tokenizer.description(),
            start_tokens=[text.tokenizer.tokens[i] for i in text.ids[: model.context_size]],
            **figures,
        )

    def finish(self) -> None:
        """Keep the last checkpoint, now that the run is written, or none."""
        if self._checkpoints is not None:
            self._checkpoints.finish(keep=self._in_steps["keep_checkpoint"])

    # --- checkpoints ---------------------------------------------------------------------------------------

    def _look_for_checkpoint(self, folder: RunFolder) -> None:
        """Take over the numbers of a run that is resumed, but for those that were given."""
        # WHY here: it loads the code of networks, which a table does without.
        from toy_gpt_train.artifacts.checkpoints import newest_state

        state = newest_state(folder.checkpoints)
        if ranks().restarts and state is not None and not state.finished:
            # torchrun has started the processes anew, after one of them had ended.
            self._in_steps |= {"resume": True, "more_steps": None}
        if self._in_steps["resume"]:
            if state is None:
                raise InputError(f"{folder.checkpoints}: there is no checkpoint, so there is nothing to resume")
            self._resume(state)
        elif state is not None and not state.finished:
            raise InputError(
                f"{state.path} is of a training run that was stopped; continue with --resume, or remove it"
            )

    def _resume(self, state: Any) -> None:
        known = self.entry.model_class.options
        saved = {name: known[name].checked(name, value) for name, value in state.resumed_numbers().items()}
        numbers = saved | self._numbers
        if self._in_steps["more_steps"] is not None:
            numbers["steps"] = state.step + self._in_steps["more_steps"]
        self.settings = self._settings_of(numbers)
        self.resumed_from = state.step
        # WHY some with no step left: a run may have been trained to its end and then not written.
        unwritten = not state.finished and saved.get("steps") == state.step
        if self.settings.steps < state.step + (not unwritten):
            done = f"step {state.step} of {self.settings.steps} is done (--more-steps N does N more)"
            raise InputError(f"{state.path}: there is nothing to resume: {done}")

    def _identity(self) -> dict[str, Any]:
        """Return what a run is: every number that changes what it learns."""
        text = self.encoded
        tokens = "\n".join(text.tokenizer.tokens).encode("utf-8", "surrogatepass")
        return {
            "corpus": text.source.sha256,
            "tokenizer": text.tokenizer.kind,
            "vocabulary": text.tokenizer.vocab_size,
            "tokens": sha256(tokens).hexdigest()[:16],
            "held-out share": text.val_fraction,
            "held-out text": text.held_out_source.sha256 if text.held_out_source else "",
            "model": self.entry.name,
            **self.numbers(),
            "seed": self.seed,
        }


def _check_steps(in_steps: Mapping[str, Any], numbers: Mapping[str, Any]) -> None:
    """Refuse, with InputError, values of STEP_OPTIONS that make no sense."""
    workers, every, more = in_steps["workers"], in_steps["checkpoint_every"], in_steps["more_steps"]
    if not 1 <= workers <= MOST_WORKERS:
        raise InputError(f"there must be at least 1 worker and at most {MOST_WORKERS}, got {workers}")
    if every is not None and every < 0:
        raise InputError(f"the steps between checkpoints must be at least 0, got {every}")
    if more is not None and more < 1:
        raise InputError(f"more steps must be at least 1, got {more}")
    if more is not None and not in_steps["resume"]:
        raise InputError("more steps are for a run that is resumed: --more-steps needs --resume")
    if more is not None and "steps" in numbers:
        raise InputError("--steps says how many there are in all, --more-steps how many more: give one of them")
