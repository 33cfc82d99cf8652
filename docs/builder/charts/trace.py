"""A chart of where a probability comes from: the lines behind it."""

from builder.chart import Chart
from builder.paths import ROOT
from toy_gpt_train.inference.trace import by_line, trace
from toy_gpt_train.run import load
from toy_gpt_train.tracing import index_of

_RUN = "artifacts/ladder/450-kneser-ney/001_animals"
_SHOWN = 7


def lines() -> Chart:
    """What each line gave to "the" after "the cat likes"."""
    run = load(ROOT / _RUN)
    index = index_of(run, ROOT / _RUN)
    found = trace(run.model, index, run.start_ids("the cat likes"), run.tokenizer.token_ids(["the"])[0])
    rows = [
        (f"{share.number}: {run.tokenizer.decode(index.ids(index.line(share.number)))}", share.probability)
        for share in by_line(found, index)[:_SHOWN]
    ]
    return Chart(
        "bars",
        f'How much each line gave to the probability of "the" after "the cat likes", which is {found.probability:.4f}',
        ["line", "gave"],
        rows,
        up="probability",
        source=f"{_RUN}/04_trace.safetensors",
    )
