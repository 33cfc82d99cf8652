"""marks.py - Which tokens begin and end a text, for other software, which is told by their ids."""

from toy_gpt_train.artifacts.run_folder import SavedRun
from toy_gpt_train.inference.generate import end_of_text


def begin_and_end(run: SavedRun) -> tuple[int | None, int | None]:
    """Return the ids of the special tokens that begin and end a text, None where the tokenizer has no special tokens.

    A text begins with the token that a run starts from if it is special, and otherwise after another text's end.
    """
    end = end_of_text(run.tokenizer)
    start = run.meta.get("start_tokens", [])[:1]
    return (run.tokenizer.token_ids(start)[0] if start and start[0] in run.tokenizer.special else end), end
