"""bench_bpe.py - How fast and how small the BPE tokenizer is, beside its naive form and the libraries of the field.

Prints, in one run: training and encoding against bpe_naive.py on the stories, training time on a file, encoding speed
with a cold and a warm word cache, and the memory that encode_iterable takes on a file of 50 MB. ``tokenizers`` and
``tiktoken`` are measured too if they are installed.

Run it: uv run python benchmarks/bench_bpe.py [FILE]
        uv run --with tokenizers --with tiktoken python benchmarks/bench_bpe.py [FILE]
Without FILE, corpus/030_stories.txt is repeated to 1 MB.
"""

import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from toy_gpt_train.tokenizers import bpe_naive
from toy_gpt_train.tokenizers.bpe import BPETokenizer
from toy_gpt_train.tokenizers.bpe_train import train_bpe
from toy_gpt_train.tokenizers.pretokenize import GPT2_PATTERN, pretokenize

STORIES = Path(__file__).parent.parent / "corpus" / "030_stories.txt"
SPECIAL = ["<|endoftext|>"]
STREAM_BYTES = 50_000_000
VOCAB_SIZES = (500, 1000)


def seconds(work: Callable[[], object]) -> float:
    """Return how long ``work()`` takes."""
    start = perf_counter()
    work()
    return perf_counter() - start


def library(name: str) -> Any:
    """Return an installed library, or None after saying that it is missing."""
    try:
        return import_module(name)
    except ImportError:
        print(f"({name} is not installed here, so it is not measured)")
        return None


def bench_naive() -> None:
    """Print how much faster training and encoding are than their plain definitions, on the same small text."""
    text = STORIES.read_text(encoding="utf-8")
    words = pretokenize(text)
    trained = BPETokenizer.from_text(text, VOCAB_SIZES[0])
    assert bpe_naive.train(words, len(trained.merges)) == trained.merges
    works: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "training": (
            lambda: bpe_naive.train(words, len(trained.merges)),
            lambda: BPETokenizer.from_text(text, VOCAB_SIZES[0]),
        ),
        "encoding": (
            lambda: [bpe_naive.encode(word, trained.merges) for word in words],
            lambda: BPETokenizer(trained.vocab, trained.merges).encode(text),
        ),
    }
    for name, (naive, fast) in works.items():
        slow_s, fast_s = seconds(naive), seconds(fast)
        size = f"{len(text.encode()) / 1e3:.0f} kB of stories, vocabulary {VOCAB_SIZES[0]}"
        print(f"{name}, {size}: naive {slow_s:.2f} s, ours {fast_s:.3f} s, {slow_s / fast_s:.0f} times as fast")


def bench_training(path: Path, tokenizers: Any) -> None:
    """Print the time to train on a file, from reading it to the last merge."""
    for vocab_size in VOCAB_SIZES:
        ours = seconds(lambda size=vocab_size: train_bpe(path, size, SPECIAL))
        print(f"training, vocabulary {vocab_size:5}: ours {ours:8.3f} s")
        if tokenizers:
            theirs = seconds(lambda size=vocab_size: train_hugging_face(tokenizers, path, size))
            print(f"{'':26}  tokenizers {theirs:.3f} s; ours takes {ours / theirs:.1f} times as long")


def train_hugging_face(tokenizers: Any, path: Path, vocab_size: int) -> None:
    """Train the same kind of tokenizer with Hugging Face's library."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train([str(path)], trainer)


def bench_encoding(text: str, trained: BPETokenizer, folder: Path, tokenizers: Any, tiktoken: Any) -> None:
    """Print encoding speed: when a text is new, and when its words are in the cache."""
    encoders: dict[str, Callable[[str], object]] = {"ours": trained.encode}
    if tokenizers:
        hugging_face = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        assert hugging_face.encode(text).ids == trained.encode(text)
        encoders["tokenizers"] = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")).encode
    if tiktoken:
        special = trained.special_tokens
        ranks = {token: token_id for token_id, token in trained.vocab.items() if token_id not in special.values()}
        encoding = tiktoken.Encoding("ours", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens=special)
        assert encoding.encode(text, allowed_special="all") == trained.encode(text)
        encoders["tiktoken"] = lambda text: encoding.encode(text, allowed_special="all")
    encoders["ours"] = BPETokenizer(trained.vocab, trained.merges, SPECIAL).encode  # its cache is empty
    megabytes = len(text.encode()) / 1e6
    ours: dict[str, float] = {}
    for name, encode in encoders.items():
        speeds = [megabytes / seconds(lambda encode=encode: encode(text)) for _ in range(4)]
        for state, speed in (("cold", speeds[0]), ("warm", max(speeds[1:]))):
            ratio = f"; {speed / ours[state]:.1f} times ours" if name != "ours" else ""
            ours.setdefault(state, speed)
            print(f"encoding, {state}: {name:10} {speed:6.2f} MB/s{ratio}")


def bench_memory(text: str, folder: Path) -> None:
    """Print what a fresh process needs to encode a file of 50 MB line by line, over the bare interpreter."""
    path = folder / "stream.txt"
    with path.open("w", encoding="utf-8", newline="") as file:
        for _ in range(STREAM_BYTES // len(text.encode()) + 1):
            file.write(text)
    command = [sys.executable, __file__, "--memory", str(path), str(folder)]
    start = perf_counter()
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    print(f"encode_iterable, {path.stat().st_size / 1e6:.0f} MB: {output} ({perf_counter() - start:.0f} s)")


def measure_memory(path: Path, folder: Path) -> None:
    """Encode a file line by line and print the peak of resident memory before and after (Linux)."""
    before = peak_memory()
    tokenizer = BPETokenizer.load(folder)
    with path.open(encoding="utf-8", newline="") as file:
        count = sum(1 for _ in tokenizer.encode_iterable(file))
    if before is None or (after := peak_memory()) is None:
        print(f"{count} ids; memory is not measured on this system")
    else:
        print(f"{count} ids, {after - before:.1f} MB over the interpreter's {before:.1f} MB")


def peak_memory() -> float | None:
    """Return the peak resident memory of this process in MB, or None if the system does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), None)


def main() -> None:
    """Measure everything once and print it."""
    if sys.argv[1:2] == ["--memory"]:
        measure_memory(Path(sys.argv[2]), Path(sys.argv[3]))
        return
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else STORIES
    text = source.read_bytes().decode("utf-8")
    if len(sys.argv) == 1:
        text *= 1_000_000 // len(text) + 1
    tokenizers, tiktoken = library("tokenizers"), library("tiktoken")
    with TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "text.txt"
        path.write_bytes(text.encode())
        bench_naive()
        print(f"{source.name}: {path.stat().st_size / 1e6:.2f} MB")
        bench_training(path, tokenizers)
        trained = BPETokenizer(*train_bpe(path, VOCAB_SIZES[-1], SPECIAL), SPECIAL)
        trained.save(folder)
        bench_encoding(text, trained, folder, tokenizers, tiktoken)
        bench_memory(text, folder)


if __name__ == "__main__":
    main()
