"""test_notebook.py - notebooks/quickstart.ipynb: committed without outputs, and every cell of it runs."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "quickstart.ipynb"


def cells(kind: str) -> list[Any]:
    return [cell for cell in json.loads(NOTEBOOK.read_text("utf-8"))["cells"] if cell["cell_type"] == kind]


def test_it_is_tidy() -> None:
    content = json.loads(NOTEBOOK.read_text("utf-8"))
    assert NOTEBOOK.read_text("utf-8") == json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    for cell in cells("code"):
        assert (cell["outputs"], cell["execution_count"], cell["metadata"]) == ([], None, {})
    for cell in content["cells"]:
        assert max(len(line.rstrip("\n")) for line in cell["source"]) <= 130
    identifiers = [cell["id"] for cell in content["cells"]]
    assert len(set(identifiers)) == len(identifiers)
    assert len(cells("code")) in range(8, 11)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of the notebook's own machinery
@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("nbclient", "ipykernel"))), reason="needs the dependency group notebooks"
)
def test_it_runs(tmp_path: Path) -> None:
    import nbclient
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    # WHY raising is enough: execute() raises what a cell raises.
    nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = [cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [len(found) > 0 for found in outputs] == [True] * len(outputs)
    assert not [found for cell in outputs for found in cell if found.get("name") == "stderr"]
    first, *_, last = ([found["data"] for found in cell if "data" in found][-1] for cell in (outputs[0], outputs[-1]))
    assert "<polyline" in first["text/html"]
    assert first["text/plain"].startswith("<Run bigram, word, V=8, train loss 0.")
    assert last["text/plain"] == "True"
    assert (tmp_path / "my_run/artifacts/00_meta.json").is_file()
