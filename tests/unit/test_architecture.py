"""The promises about the code itself: light at the door, arrows one way, a small public surface."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
from pathlib import Path

import ebbench

ROOT = Path(__file__).resolve().parents[2]
# pydantic is left out: typer itself loads it to read some kinds of option.
HEAVY = ("torch", "torchvision", "pandas", "sklearn", "numpy", "scipy", "matplotlib")
# What each part may import of ebbench. The engine is what lies directly in ebbench/.
ALLOWED = {
    "ebbench/cli": {"*"},
    "ebbench/data": {"data", "contract", "errors", "files"},
    "ebbench/metrics": {"metrics", "errors"},
    "ebbench/nn": {"nn", "contract", "errors"},
    "tasks": {"data", "metrics", "contract", "errors", "scoring", "seeds", "features", "pictures"},
    "baselines": {"nn", "contract", "errors", "training"},
    "site": {"result", "stats", "table", "errors", "contract", "export", "loader", "site"},
}


def imports(path: Path) -> set[str]:
    """The modules of ebbench that a file imports, by their first name after "ebbench."."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            parts = node.module.split(".")
            if parts[0] == "ebbench":
                found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        if isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("ebbench.")}
    return found


def test_arrows_go_one_way():
    checked = 0
    for part, allowed in ALLOWED.items():
        for path in (ROOT / part).rglob("*.py"):
            checked += 1
            if "*" not in allowed:
                assert imports(path) <= allowed, f"{path.relative_to(ROOT)} imports {imports(path) - allowed}"
    assert checked > 20
    for path in (ROOT / "ebbench").rglob("*.py"):
        # Through the loader alone, but for the verb that builds the site.
        verb = path == ROOT / "ebbench" / "cli" / "site.py"
        found = imports(path) & {"tasks", "baselines", *(() if verb else ("site",))}
        assert not found, f"{path.relative_to(ROOT)} imports {found}"
        if "cli" not in path.parts:
            assert "cli" not in imports(path), path


def test_the_engine_names_no_task_and_no_model():
    names = [p.name for kind in ("tasks", "baselines") for p in (ROOT / kind).iterdir() if p.is_dir()]
    names = [name for name in names if not name.startswith("_")]
    for path in (ROOT / "ebbench").rglob("*.py"):
        if path.parent.name == "data":  # a data set may lend a task its name
            continue
        # Docstrings and messages may give examples; code may not compare with a name.
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value not in names, f"{path.relative_to(ROOT)}:{node.lineno}"


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True, cwd="/"
    )
    return done.stdout


def test_importing_ebbench_loads_nothing_heavy():
    heavy = (*HEAVY, "pydantic", "typer")
    loaded = python(f"import sys, ebbench; print([m for m in {heavy!r} if m in sys.modules])")
    assert loaded.strip() == "[]"


def test_no_help_loads_anything_heavy():
    code = f"""
import sys
import typer.main
from typer.testing import CliRunner
from ebbench.cli.main import app

def verbs(command, words=()):
    yield words
    for name, inner in getattr(command, "commands", {{}}).items():
        yield from verbs(inner, (*words, name))

known = list(verbs(typer.main.get_command(app)))
assert {{("run",), ("site", "build"), ("data", "import")}} <= set(known)
for words in known:
    done = CliRunner().invoke(app, [*words, "--help"])
    assert done.exit_code == 0 and "Usage" in done.output, (words, done.output)
print([m for m in {HEAVY!r} if m in sys.modules])
"""
    assert python(code).strip() == "[]"


def test_help_is_quick():
    best = min(_seconds() for _ in range(5))
    assert best < 0.4, f"ebbench --help took {best:.2f} s"


def _seconds() -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "ebbench.cli.main", "--help"],
        check=True,
        capture_output=True,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": ""},
    )
    return time.perf_counter() - began


def test_public_names_exist_and_are_all_there():
    for name in ebbench.__all__:
        assert getattr(ebbench, name) is not None
    assert sorted(ebbench.__all__) == list(ebbench.__all__)
    assert set(ebbench.__all__) == set(ebbench._HOMES)
