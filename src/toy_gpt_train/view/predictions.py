"""predictions.py - What the server computes for the page: predictions of a run that it cannot compute itself.

That is a network whose weights are too large to send, or a model whose counts are too many for tables.

A request is a query like ``ids=12,7&k=8``: the token ids of a context, oldest first, and how many of the most likely
tokens to explain, 0 for no explanation.

REQ: one prediction is computed at a time, of one run in memory. A request that would wait too long is refused.
"""

import re
import threading
from pathlib import Path
from typing import Any, Final

from toy_gpt_train.errors import InputError
from toy_gpt_train.io_artifacts import META_NAME
from toy_gpt_train.math_training import softmax, top_k

LARGEST_SENT: Final = 1 << 26  # bytes of weights; the page computes from smaller ones itself
_QUERY: Final = re.compile(r"ids=([0-9]{1,7}(?:,[0-9]{1,7})*)&k=([0-9]{1,2})")
_PATIENCE: Final = 600  # seconds


class BusyError(Exception):
    """Other predictions are being computed."""


class Predictor:
    """Answers requests, and keeps the run that was asked for last, with its memory of the text."""

    def __init__(self) -> None:
        self._alone = threading.Lock()
        self._key: tuple[Any, ...] = ()
        self._model: Any = None
        self._cache: Any = None

    def answer(self, folder: Path, query: str) -> dict[str, Any]:
        """Return ``probs`` and, where they are asked for, the ``best`` ids and the ``steps`` of the logit lens.

        InputError if the query is none, its ids are no context of the model, or the run cannot be read; BusyError after
        ten minutes in which others were computed.
        """
        match = _QUERY.fullmatch(query)
        if match is None:
            raise InputError("a prediction is asked for by ids=0,1,2&k=8")
        if not self._alone.acquire(timeout=_PATIENCE):
            raise BusyError
        try:
            self._open(folder)
            ids = [int(number) for number in match[1].split(",")]
            if len(ids) > self._model.context_size or max(ids) >= self._model.vocab_size:
                largest, most = self._model.vocab_size - 1, self._model.context_size
                raise InputError(f"a context has up to {most} ids from 0 to {largest}")
            return self._predicted(ids, int(match[2]))
        finally:
            self._alone.release()

    def _open(self, folder: Path) -> None:
        found = (folder / META_NAME).stat()
        key = folder, found.st_ino, found.st_mtime_ns
        if key != self._key:
            from toy_gpt_train.run import load  # WHY here: most runs are computed by the page

            self._key, self._model, self._cache = (), None, None  # WHY first: two runs may not fit into memory
            self._model = load(folder).model
            self._cache, self._key = self._model.new_cache(), key

    def _predicted(self, ids: list[int], k: int) -> dict[str, Any]:
        if k == 0:
            return {"probs": self._model.next_probs(ids, self._cache)}
        try:
            steps = self._model.logit_lens(ids, self._cache)
            probs = softmax(steps[-1].logits)
        except InputError:  # the ids are right, so the model has no steps to explain
            steps, probs = [], self._model.next_probs(ids, self._cache)
        best = [token_id for token_id, _ in top_k(probs, k)]
        shown = [
            {"step": step.place, "attention": step.attention, "logits": [step.logits[i] for i in best]}
            for step in steps
        ]
        return {"probs": probs, "best": best, "steps": shown}
