"""bench_gpt2.py - A GPT-2 of 124 million weights in plain Python, beside transformers.

    python benchmarks/bench_gpt2.py        in an environment with this package, torch and transformers

Makes a GPT-2 of the published shape with random weights and a tokenizer of as many tokens, a folder as transformers
writes it, and takes it over with toy-gpt import. Then a process of its own, with nothing but the standard library,
opens the run and continues a prompt; its logits are compared with those of transformers in 32 bits. The same commands
open the published model.

A number of seconds is the time on the clock, and in parentheses the processor's, which other programs change less.
"""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from toy_gpt_train.show import table

SEED: Final = 20
NUM_PROMPT: Final = 20
NUM_WRITTEN: Final = 16
END_OF_TEXT: Final = "<|endoftext|>"

# What the processes of their own do; each prints what it found as one JSON object.
PEAK: Final = """
import json, sys, time
import toy_gpt_train as tg

def peak():  # in MB. WHY not getrusage(): it counts what the process that started this one had in memory
    with open("/proc/self/status") as lines:
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 2**10
"""
IMPORT: Final = """
from toy_gpt_train.cli import main

begin = time.perf_counter()
main(["import", sys.argv[1], "--base-dir", sys.argv[2]])
print(json.dumps({"seconds": time.perf_counter() - begin, "peak": peak()}))
"""
CONTINUE: Final = """
def timed(act):
    begin = time.perf_counter(), time.process_time()
    result = act()
    return result, (time.perf_counter() - begin[0], time.process_time() - begin[1])

folder, num_written, *ids = sys.argv[1], *map(int, sys.argv[2:])
run, opened = timed(lambda: tg.load(folder))
model, cache = run.model, run.model.new_cache()
_, packed = timed(lambda: model.logits(ids[:1], cache))
_, read = timed(lambda: model.logits(ids[:-1], cache))
logits, _ = timed(lambda: model.logits(ids, cache))
found = {"logits": [logits], "tokens": []}
for _ in range(num_written):
    ids.append(max(range(len(logits)), key=logits.__getitem__))
    logits, seconds = timed(lambda: model.logits(ids, cache))
    found["logits"].append(logits)
    found["tokens"].append(seconds)
_, lens = timed(lambda: model.logit_lens(ids, cache))
print(json.dumps({**found, "ids": ids, "opened": opened, "packed": packed, "read": read, "lens": lens, "peak": peak()}))
"""


def make_gpt2(folder: Path) -> Any:
    """Write a random GPT-2 of the published shape as transformers does; return the model."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    model = GPT2LMHeadModel(GPT2Config()).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms, too, are no longer 0 and 1
            parameter.add_(0.02 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_of(model.config.vocab_size)), encoding="utf-8")
    return model


def tokenizer_of(size: int) -> dict[str, Any]:
    """Return a tokenizer.json of byte-level BPE whose merges are all pairs of letters, then triples, and so on."""
    import toy_gpt_train as tg
    from toy_gpt_train.tokenizers.tokenizer_json import TOKENIZER_NAME

    letters = "abcdefghijklmnopqrstuvwxyz"
    merges: list[tuple[str, str]] = []
    longer = list(letters)
    while len(merges) < size - 257:
        merges += [(begin, letter) for begin in longer for letter in letters]
        longer = [begin + letter for begin in longer for letter in letters]
    merges = merges[: size - 257]
    # WHY a small one first: it has the names of all bytes, and the pattern that cuts a text.
    small = tg.train("unigram", text="a b", tokenizer="bpe", special=[END_OF_TEXT], epochs=1).tokenizer
    described: dict[str, Any] = json.loads(small.files()[TOKENIZER_NAME])
    names = [name for name in described["model"]["vocab"] if name != END_OF_TEXT][:256]
    tokens = [*names, *(a + b for a, b in merges), END_OF_TEXT]
    described["model"] |= {"vocab": {token: i for i, token in enumerate(tokens)}, "merges": [list(m) for m in merges]}
    described["added_tokens"][0]["id"] = size - 1
    return described


def alone(code: str, *arguments: object) -> dict[str, Any]:
    """Run code in a process of its own; return what it printed."""
    command = [sys.executable, "-c", PEAK + code, *map(str, arguments)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout.splitlines()[-1])
    return found


def largest_difference(model: Any, ids: list[int], logits: list[list[float]]) -> tuple[float, float]:
    """Return the largest difference at the positions that logits are given for, and the largest logit of all."""
    import torch

    with torch.inference_mode():
        theirs = model(torch.tensor([ids])).logits[0, -len(logits) :].double()
    ours = torch.tensor(logits, dtype=torch.float64)
    return float((theirs - ours).abs().max()), float(theirs.abs().max())


def main() -> None:
    """Print what was measured."""
    with TemporaryDirectory() as name:
        folder, base = Path(name) / "gpt2", Path(name) / "run"
        model = make_gpt2(folder)
        size = (folder / "model.safetensors").stat().st_size / 2**20
        taken_over = alone(IMPORT, folder, base)
        ids = [(i * 7919) % model.config.vocab_size for i in range(NUM_PROMPT)]
        found = alone(CONTINUE, base, NUM_WRITTEN, *ids)
    difference, largest = largest_difference(model, found["ids"], found["logits"])
    opened, packed = found["opened"], found["packed"]
    tokens = sorted(found["tokens"])

    def shown(one: tuple[float, float], each: int = 1) -> str:
        return f"{one[0] / each:.2f} s ({one[1] / each:.2f})"

    rows = [
        ["Python", sys.version.partition(" ")[0]],
        ["weights", f"{model.num_parameters():,}, {size:.0f} MB in the file"],
        ["toy-gpt import", f"{taken_over['seconds']:.1f} s, {taken_over['peak']:.0f} MB of memory"],
        ["opened", shown(opened)],
        ["packed, with the first token", shown(packed)],
        ["a token of the prompt", shown(found["read"], NUM_PROMPT - 2)],
        ["a token written, median", shown(tokens[len(tokens) // 2])],
        ["a token written, fastest", shown(tokens[0])],
        ["the logit lens, 13 steps", shown(found["lens"])],
        ["peak memory", f"{found['peak']:.0f} MB"],
        [f"logits at {len(found['logits'])} positions", f"differ by up to {difference:.1e}, of up to {largest:.1f}"],
    ]
    print(table(["", ""], rows))


if __name__ == "__main__":
    main()
