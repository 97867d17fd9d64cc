"""The tutorial notebook runs from its first cell to its last, in the order in which it is read."""

import re
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))
INSTALL = 'the notebook needs Jupyter to run: pip install -e ".[dev]"'


def test_there_is_a_notebook():
    assert [path.name for path in NOTEBOOKS] == ["from_fft_to_masks.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, monkeypatch):
    nbformat = pytest.importorskip("nbformat", reason=INSTALL)
    nbclient = pytest.importorskip("nbclient", reason=INSTALL)
    pytest.importorskip("ipykernel", reason=INSTALL)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # else processes of the test run fight for cores
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    # From the folder of the notebook, as Jupyter starts it. A cell that raises ends the test with its message.
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    )
    client.execute()
    printed = "".join(o.text for cell in notebook.cells for o in cell.get("outputs", []) if o.output_type == "stream")
    assert "verified" in printed
    accuracy = {name.strip(): float(value) for name, value in re.findall(r"^(\D+?)\s+([\d.]+)%$", printed, re.M)}
    assert set(accuracy) == {"teacher", "SCLC", "SCLC + KD", "physical + KD"}
    assert min(accuracy.values()) > 85, "ten classes: 10 % is chance"
    figures = [o for cell in notebook.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    assert len(figures) >= 6


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_and_names_no_machine(path):
    text = path.read_text(encoding="utf-8")
    assert len(text) < 400_000
    assert not re.search(r"/home/|/root/|/Users/|site-packages|Traceback", text)
    assert not any(str(place) in text for place in (ROOT, Path(tempfile.gettempdir())))
