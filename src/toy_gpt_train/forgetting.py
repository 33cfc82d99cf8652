"""forgetting.py - Takes lines of the training text out of a trained run again, as if it had never learned them.

It does what job.py does after training: the model is measured again, and the run is written as a whole.
"""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from toy_gpt_train.artifacts.run_folder import TRACE_NAME, SavedRun, locked_run, read_run, write_evidence, write_run
from toy_gpt_train.errors import InputError
from toy_gpt_train.job import Job
from toy_gpt_train.learned_text import LearnedText, find_text
from toy_gpt_train.progress import OnProgress
from toy_gpt_train.tokenizers import Tokenizer
from toy_gpt_train.tokenizers.encoded import EncodedText
from toy_gpt_train.tracing import make_index


class Forgotten(NamedTuple):
    """What forget() did."""

    num_tokens: int  # that the lines had
    num_left: int  # that the model has learned now
    train_losses: tuple[float, float]  # before and after
    paths: list[Path]


def forget(
    base_dir: Path, first: int, last: int, corpus: Path | None = None, on_progress: OnProgress | None = None
) -> Forgotten:
    """Forget lines of the text that a run has learned, and write the run again, or nothing.

    REQ: what the model's files hold then is, byte for byte, what training on the other lines gives, with the same
    vocabulary. The contexts that reached over the lines are mended, too.

    Args:
        base_dir: The folder of the run.
        first: The first line, counted from 1.
        last: The last line.
        corpus: Where the text is, if it is no longer where it was.
        on_progress: Told how far measuring is.

    Raises:
        InputError: The model cannot forget, the text is another one or not here, or there are no such lines.
        OSError: Something could not be read or written.
    """
    with locked_run(base_dir) as folder:
        saved = read_run(folder.artifacts)
        text = find_text(saved.meta, saved.tokenizer, base_dir, corpus)
        rest = text.without(first, last)
        before, encoded = saved.tokenizer.encode(text.training_part), _encoded(rest, saved)
        record = saved.model.forget(before, encoded.ids[: encoded.num_train])
        job = Job(saved.meta["model_kind"], saved.model.context_size, saved.meta["seed"], {})
        job.learned(encoded, saved.model, [record])
        meta, _ = job.measure(on_progress)
        meta["forgotten"] = [list(lines) for lines in rest.forgotten]
        run = SavedRun(meta, saved.tokenizer, encoded.frequencies, saved.model, job.history)
        if (folder.artifacts / TRACE_NAME).is_file():
            run = run._replace(text_index=make_index(rest, run.tokenizer, run.model).tensors())
        paths = write_run(run, folder, text.original.path)
        write_evidence(folder, {})
    losses = saved.meta["metrics"]["train_loss"], meta["metrics"]["train_loss"]
    return Forgotten(len(before) - encoded.num_train, encoded.num_train, losses, paths)


def _encoded(text: LearnedText, saved: SavedRun) -> EncodedText:
    tokenizer: Tokenizer = saved.tokenizer
    train_ids = tokenizer.encode(text.training_part)
    if not train_ids:
        raise InputError("nothing would be left to have learned")
    counts = Counter(train_ids)
    frequencies = [counts[token_id] for token_id in range(tokenizer.vocab_size)]
    ids = train_ids + tokenizer.encode(text.held_out)
    sizes, share = tokenizer.sizes(text.held_out), saved.meta["val_fraction"]
    return EncodedText(tokenizer, ids, len(train_ids), frequencies, sizes, text.source, share)
