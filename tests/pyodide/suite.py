"""suite.py - Runs the tests where Python itself runs in WebAssembly; run.mjs loads it there.

Tests that need processes or threads skip themselves (needs_processes and needs_threads of tests/conftest.py), and so do
those that compare with a library that is not there. What else is left out, and why, is said here: above all what nobody
does in a browser. So a new file of tests runs here, unless it is named.
"""

from collections.abc import Iterable

import pytest

LEFT_OUT = {
    "tests/browser": "they drive a browser",
    "tests/test_view_core.py": "it asks Node, which is another process",
    "tests/test_docs.py": "it is about pages, not about the package",
    "tests/test_links.py": "it is about the built site, and needs a server",
    "tests/test_checkpoints.py": "no training is resumed there",
    "tests/test_compression.py": "there are no files to compress",
    "tests/test_exchange_arpa.py": "no model is exchanged there",
    "tests/test_exchange_gguf.py": "no model is exchanged there",
    "tests/test_exchange_hf.py": "no model is exchanged there",
    "tests/test_fuzz.py": "it tests a script of benchmarks/",
    "tests/test_import_graph.py": "it reads the source, which is the same everywhere",
    "tests/test_large_networks.py": "networks are small there",
    "tests/test_sentencepiece.py": "no tokenizer is exchanged there",
    "tests/test_token_file.py": "texts are small there",
    "tests/test_token_training.py": "texts are small there",
    "tests/test_view_server.py": "there is no server",
    # Most of a minute. Every kind of damage is also tried by itself, and those tests do run.
    "tests/test_damage.py::test_random": "slow",
    "tests/test_damage.py::test_truncated": "slow",
    "tests/test_network_files.py::test_random": "slow",
}
EXAMPLES = 10  # of each property, where a test asks for no number


class FewExamples:
    """A plugin of pytest: properties are tried on fewer examples, the same ones every time."""

    def pytest_configure(self) -> None:
        """Choose the settings of hypothesis."""
        # WHY here: pytest must know hypothesis first, or it warns that it cannot rewrite its asserts.
        from hypothesis import HealthCheck, settings

        settings.register_profile(
            "pyodide",
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        )
        settings.load_profile("pyodide")


def run(arguments: Iterable[str]) -> int:
    """Run the tests below the current folder.

    Args:
        arguments: Those of pytest.

    Returns:
        The exit code of pytest.
    """
    left_out = [f"--{'deselect' if '::' in name else 'ignore'}={name}" for name in LEFT_OUT]
    # WHY no cache: it would be written into the repository.
    return int(pytest.main(["-p", "no:cacheprovider", *left_out, *arguments], plugins=[FewExamples()]))
