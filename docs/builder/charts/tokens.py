"""Charts of the tokenization lesson: how long a text is in tokens, and how many different ones there are."""

from builder.chart import Chart
from builder.paths import STORIES
from toy_gpt_train.a_tokenizer import read_text
from toy_gpt_train.tokenizers import cutting_tokenizer

_BPE_SIZES = (256, 300, 400, 512, 700, 1000, 1400)


def lengths() -> Chart:
    """The stories in tokens by the size of the vocabulary: BPE of several sizes, beside characters and words."""
    text = read_text(STORIES)
    lengths = {size: len(cutting_tokenizer("bpe", text, size).tokenize(text)) for size in _BPE_SIZES}
    others = {kind: len(cutting_tokenizer(kind, text, 0).tokenize(text)) for kind in ("char", "word")}
    return Chart(
        "lines",
        "Tokens of the stories by the size of a BPE vocabulary; dashed: the same text in characters and in words",
        ["vocabulary size", "BPE", "characters", "words"],
        [[size, length, others["char"], others["word"]] for size, length in lengths.items()],
        across="tokens in the vocabulary",
        up="tokens in the text",
        source="corpus/030_stories.txt",
        dashed={"characters": "", "words": ""},
    )
