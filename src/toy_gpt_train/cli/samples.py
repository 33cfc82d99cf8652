"""samples.py - What a network writes while it learns, and its story in the end: noise, then words, then sense.

Samples are drawn with a generator of their own, so training is the same with and without them.
"""

import shutil
import sys
import textwrap
from collections.abc import Callable
from itertools import islice, takewhile
from typing import Final

from toy_gpt_train.errors import InputError
from toy_gpt_train.inference.generate import next_tokens
from toy_gpt_train.inference.sampling import Sampling
from toy_gpt_train.job import Job
from toy_gpt_train.models.base import Record
from toy_gpt_train.models.registry import find_model
from toy_gpt_train.show import one_line
from toy_gpt_train.world.language import END
from toy_gpt_train.world.text import detokenize

_SAMPLING: Final = Sampling(temperature=0.8, seed=0)
_SAMPLE_TOKENS: Final = 20
_STORY_TOKENS: Final = 250
_STORY_WIDTH: Final = 100


def chosen_every(every: int | None, model: str, *, json: bool) -> int | None:
    """Return the steps from one sample to the next: None for a tenth of all, 0 for no samples.

    ``every`` is what was typed. InputError if it makes no sense.
    """
    is_network = find_model(model).model_class.trains_in_steps
    if every is None:
        return None if is_network and not json and sys.stdout.isatty() else 0
    if every < 0:
        raise InputError(f"--sample-every must be at least 0, got {every}")
    if every and (json or not is_network):
        raise InputError(f"--sample-every does not apply {'with --json' if json else f'to {model}'}")
    return every


class Samples:
    """Tells what a network writes, at the records of its log that are nearest to every few steps.

    Args:
        every: What chosen_every() says.
        tell: Called with each line.
    """

    def __init__(self, every: int | None, tell: Callable[[str], None]) -> None:
        self._every = every
        self._tell = tell
        self._reached = 0  # how many samples are due up to the last record

    def record(self, job: Job, record: Record) -> None:
        """Tell a sample, if one is due at this record."""
        if self._every == 0:
            return
        step, before = int(record["step"]), self._reached
        steps, eval_every = job.settings.steps, job.settings.eval_every
        following = min((step // eval_every + 1) * eval_every, steps)  # the step of the next record
        middle = (step + following) / 2  # what is due up to there is nearer to this record
        self._reached = int(middle // self._every if self._every else 10 * middle // steps)
        # WHY not what was recorded before a resumed run stopped: the weights are no longer those.
        if self._reached > before and step > job.resumed_from:
            text = _shown(job, _written(job, _SAMPLE_TOKENS))
            line = f"sample    step {step}, loss {record['avg_loss']:.3f}: {one_line(text)}"
            self._tell(line[: max(shutil.get_terminal_size().columns - 1, 1)].rstrip())


def sample(job: Job) -> str:
    """Return what a network that is learning writes by now: the first token of its text, and 30 more.

    WHY so few: up to the end of the window each further token is quickly found from the cache.
    """
    start = list(job.encoded.ids[: job.model.min_context])
    chosen = (token_id for _, token_id in next_tokens(job.model, start, _SAMPLING))
    return one_line(_shown(job, [*start, *islice(chosen, 30)]))


def story(job: Job) -> str:
    """Return a story that a trained network tells, if its text is of the story world: up to the end mark."""
    tokens = job.encoded.tokenizer.tokens
    ids = takewhile(lambda token_id: tokens[token_id] != END, _written(job, _STORY_TOKENS))
    return textwrap.fill(_shown(job, list(ids)), _STORY_WIDTH)


def _shown(job: Job, ids: list[int]) -> str:
    tokenizer = job.encoded.tokenizer
    return detokenize(tokenizer.tokens[i] for i in ids) if job.encoded.is_world else tokenizer.decode(ids)


def _written(job: Job, num: int) -> list[int]:
    chosen = (token_id for _, token_id in next_tokens(job.model, _start(job), _SAMPLING))
    return list(islice(chosen, num))


def _start(job: Job) -> list[int]:
    """Return what a sample continues: in the story world the end of a story, elsewhere the first tokens of the text."""
    text, needed = job.encoded, job.model.min_context
    if text.is_world and END in text.tokenizer.tokens:
        end = text.tokenizer.token_ids([END])[0]
        for position in range(needed, text.num_train + 1):
            if text.ids[position - 1] == end:
                return list(text.ids[position - needed : position])
    # WHY half a window: as long as it is not full, each further token is quickly found from the cache.
    return list(text.ids[: max(needed, job.model.context_size // 2)])
