"""The promises about the code itself: light at the door, arrows one way, a small public surface."""

from __future__ import annotations

import ast
import os
import resource
import subprocess
import sys
from collections.abc import Iterable
from graphlib import TopologicalSorter
from pathlib import Path

import ebbench

ROOT = Path(__file__).resolve().parents[2]
# pydantic is left out: typer itself loads it to read some kinds of option.
HEAVY = ("torch", "torchvision", "pandas", "sklearn", "numpy", "scipy", "matplotlib")
# The floors of ebbench/, from the ground up: a part imports from the floors below it, and from itself.
FLOORS = (
    {"errors"},
    {"interfaces", "threads"},
    {"contract"},
    {"pictures", "device", "storage", "isolation"},
    {"record", "metrics", "data", "nn"},
    {"plugins"},
    {"board", "running"},
    {"apart"},
    {"conformance", "sweeps"},
    {"submissions", "grids", "asked"},
    {"api"},
    {"cli"},
)
# What lies outside: plug-ins know the public names and the blocks, the site what a board is made of.
PLUGIN_BLOCKS = {"nn", "data", "metrics"}
SITE = {"board", "record", "plugins", "contract", "errors", "storage", "pictures"}
MOST_LINES = 400


def modules() -> dict[str, Path]:
    """The modules of ebbench/ by name, "ebbench.record.schema"."""
    found = {}
    for path in (ROOT / "ebbench").rglob("*.py"):
        words = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(words[:-1] if words[-1] == "__init__" else words)] = path
    return found


def imports(path: Path, known: Iterable[str] = ()) -> set[str]:
    """What a file imports of ebbench, as the modules that `known` has; also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ebbench":
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in known else str(node.module))
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "ebbench"}
    return found


def part(module: str) -> str:
    """The part that a module belongs to: "record" of "ebbench.record.schema"; "" for the package."""
    return module.split(".")[1] if "." in module else ""


def test_every_part_has_a_floor():
    here = {part(name) for name in modules()} - {""}
    assert here == set().union(*FLOORS)


def test_arrows_go_down():
    known = modules()
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    for name, path in known.items():
        own = part(name)
        for other in imports(path, known):
            below = part(other)
            if not own or not below or below == own:
                # The package itself hands its public names on when they are asked for.
                continue
            if below in ("tasks", "baselines", "site"):
                # Plug-ins come through the loader alone; one verb builds the site.
                assert name == "ebbench.cli.site" and below == "site", f"{name} imports {other}"
                continue
            assert floor[below] < floor[own], f"{name} imports {other}, which is no floor below"


def test_no_modules_import_one_another():
    known = modules()
    graph = {name: (imports(path, known) & known.keys()) - {name, "ebbench"} for name, path in known.items()}
    order = TopologicalSorter(graph)
    order.prepare()  # raises CycleError, which names the circle


def test_plugins_know_public_names_and_blocks_alone():
    checked = 0
    for folder in ("tasks", "baselines"):
        for path in (ROOT / folder).rglob("*.py"):
            checked += 1
            for name in imports(path):
                assert name == "ebbench" or part(name) in PLUGIN_BLOCKS, f"{path.relative_to(ROOT)}: {name}"
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module == "ebbench":
                    public = {*ebbench.__all__, *PLUGIN_BLOCKS}
                    assert {alias.name for alias in node.names} <= public, path.relative_to(ROOT)
    assert checked > 20


def test_a_table_of_published_numbers_is_no_more_than_that():
    # It is left out of the task's hash, so that a row more makes no result older.
    tables = list((ROOT / "tasks").glob("*/published.py"))
    assert tables
    for path in tables:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert found <= {"__future__", "typing", "ebbench"}, path.relative_to(ROOT)
        assert not any(isinstance(node, ast.Import) for node in ast.walk(tree)), path.relative_to(ROOT)
        for user in path.parent.glob("*.py"):
            for node in ast.walk(ast.parse(user.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.level and node.module == "published":
                    assert [alias.name for alias in node.names] == ["PUBLISHED"], user.relative_to(ROOT)


def test_the_site_knows_the_board():
    for path in (ROOT / "site").rglob("*.py"):
        for name in imports(path):
            assert part(name) in {*SITE, "site", ""}, f"{path.relative_to(ROOT)} imports {name}"


def test_no_module_is_long():
    for folder in ("ebbench", "site", "tasks", "baselines", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            lines = len(path.read_text(encoding="utf-8").splitlines())
            assert lines <= MOST_LINES, f"{path.relative_to(ROOT)} has {lines} lines"


def test_the_engine_names_no_task_and_no_model():
    names = [p.name for kind in ("tasks", "baselines") for p in (ROOT / kind).iterdir() if p.is_dir()]
    # The engine has images of its own: the samples that it keeps.
    names = [name for name in names if not name.startswith("_") and name != "images"]
    for path in (ROOT / "ebbench").rglob("*.py"):
        if path.parent.name in ("data", "digits"):  # a data set may lend a task its name
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
    # Of the processor: other work on the machine is not looked at.
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "ebbench.cli.main", "--help"],
        check=True,
        capture_output=True,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": ""},
    )
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime


def test_public_names_exist_and_are_all_there():
    for name in ebbench.__all__:
        assert getattr(ebbench, name) is not None
    assert sorted(ebbench.__all__) == list(ebbench.__all__)
    assert set(ebbench.__all__) == set(ebbench._HOMES)
