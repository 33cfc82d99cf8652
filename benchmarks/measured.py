"""measured.py - Run a command of the project in a process of its own; get its figures and its peak memory."""

import json
import os
import subprocess
import sys
from typing import Any


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
