"""Charts of the tokenization lesson: how long a text is in tokens, and how many different ones there are."""

from builder.chart import Chart
from builder.paths import STORIES
from builder.texts import read_ids
from toy_gpt_train.corpus import read_corpus
from toy_gpt_train.tokenizers.bpe import BPETokenizer

_BPE_SIZES = (256, 300, 400, 512, 700, 1000, 1400)


def lengths() -> Chart:
    """The stories in tokens by the size of the vocabulary: BPE of several sizes, beside characters and words."""
    text = read_corpus(STORIES).text
    lengths = {size: len(BPETokenizer.from_text(text, size).encode(text)) for size in _BPE_SIZES}
    others = {kind: len(read_ids(STORIES, kind)[0]) for kind in ("char", "word")}
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
