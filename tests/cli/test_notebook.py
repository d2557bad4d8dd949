"""The notebook of docs/ runs as it stands, but for a shorter training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "notebook.ipynb"


@pytest.mark.medium
def test_the_notebook_runs_and_its_pictures_are_there(tmp_path: Path):
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    code = "\n\n".join("".join(cell["source"]) for cell in cells)
    assert '"steps": 3000' in code
    script = tmp_path / "notebook.py"
    script.write_text(
        code.replace('"steps": 3000', '"steps": 30') + "\nprint(x.shape, table['rank'].tolist())\n"
    )
    home = {"EBBENCH_HOME": str(tmp_path / "home"), "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env=os.environ | home,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "torch.Size([2000, 2]) [1, <NA>]"
    # What it prints of its first cells is what the file shows.
    outputs = [output for cell in cells for output in cell["outputs"]]
    shown = "".join("".join(output.get("text", "")) for output in outputs)
    assert shown.splitlines()[:4] == ran.stdout.splitlines()[:4]
    assert "modes_8gaussians     7" in shown
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert len(list((tmp_path / "notebook-results").rglob("*.json"))) == 4
