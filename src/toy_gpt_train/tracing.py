"""tracing.py - The training text of a run, with an index in which every phrase is found at once.

The index is made from the text when it is asked for, or kept with the run, which then needs the text no more.
"""

from pathlib import Path

from toy_gpt_train.artifacts.run_folder import TRACE_NAME, find_artifacts, locked_run, read_run, write_run
from toy_gpt_train.artifacts.safetensors import read_safetensors
from toy_gpt_train.errors import InputError
from toy_gpt_train.inference.trace import TrainingIndex
from toy_gpt_train.learned_text import LearnedText, find_text
from toy_gpt_train.models.base import Model
from toy_gpt_train.run import Run
from toy_gpt_train.tokenizers import Tokenizer


def index_of(run: Run, base_dir: Path, corpus: Path | None = None) -> TrainingIndex:
    """Return the index that is kept with a run, or make it from the text that the run has learned.

    InputError if the text is not here, or the index is damaged.
    """
    path = find_artifacts(base_dir) / TRACE_NAME
    if not path.is_file() or corpus is not None:
        return make_index(find_text(run.meta, run.tokenizer, base_dir, corpus), run.tokenizer, run.model)
    tensors, _ = read_safetensors(path)
    try:
        return TrainingIndex.from_tensors(tensors, run.model.context_size + 1, run.model.vocab_size)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def keep_index(base_dir: Path, name: str = "", corpus: Path | None = None) -> Path:
    """Make the index of a run and write it beside the model; return its path. Errors as for index_of()."""
    with locked_run(base_dir, name) as folder:
        saved = read_run(folder.artifacts)
        text = find_text(saved.meta, saved.tokenizer, base_dir, corpus)
        index = make_index(text, saved.tokenizer, saved.model)
        write_run(saved._replace(text_index=index.tensors()), folder)
    return folder.artifacts / TRACE_NAME


def make_index(text: LearnedText, tokenizer: Tokenizer, model: Model) -> TrainingIndex:
    """Return the index of a text that a model has learned."""
    return TrainingIndex(tokenizer.encode(text.training_part), text.line_starts(tokenizer), model.context_size + 1)
