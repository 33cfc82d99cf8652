"""measured.py - What several measurements need: a command in a process of its own, and a CSV file that is shown too."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[1] / "outputs" / "bench"


def run_json(*arguments: str) -> tuple[dict[str, Any], float]:
    """Run ``toy-gpt`` with these arguments and ``--json``.

    Returns:
        What it printed, and the peak memory of its process in MB.

    Raises:
        SystemExit: The command failed.
    """
    command = [sys.executable, "-m", "toy_gpt_train", *arguments, "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    output = process.stdout.read() if process.stdout else b""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(arguments)} ended with exit code {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return json.loads(output), usage.ru_maxrss * unit / 2**20


def write_csv(path: Path, lines: Iterable[Sequence[object]]) -> None:
    """Print lines as they come, and write them to a CSV file when all are there."""
    print(path.name)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for line in lines:
        writer.writerow(line)
        print(*line, sep=",", flush=True)
    path.write_text(text.getvalue(), encoding="utf-8", newline="\n")
