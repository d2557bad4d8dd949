"""`ebbench run --isolated`: the numbers of a plain run, and a model that finds out nothing and hurts nobody.

tests/unit/test_apart.py has processes that break the protocol or their limits, test_box.py the box itself.
"""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import toys
from ebbench.isolation.box import why_not
from ebbench.record import resultfiles
from ebbench.record.schema import Result

UNBOXED = ["--unboxed"] if why_not() else []
CARD = 'name = "{name}"\ntitle = "Odd"\n\n[budgets.smoke.default]\n'

# A task with labels, which a model of energies is evaluated on along training too.
FLAGS = toys.TASK.replace('needs = "sample"', 'needs = "energy"').replace("DotsTask", "FlagsTask")
FLAGS = (
    FLAGS[: FLAGS.index("    def score")]
    + """
    def tested(self):
        labels = np.frombuffer(hashlib.shake_256(b"labels").digest(400), np.uint8) % 2
        x = torch.rand(400, 2, generator=torch.Generator().manual_seed(1))
        return labels, x

    def measured(self, scoring):
        labels, x = self.tested()
        made = scoring.scores(x)[scoring.declared]
        return {"error": float(abs(made[labels == 1].mean())), "spread": float(made.std())}

    def evaluate(self, model, scoring):
        return self.measured(scoring)

    def score(self, model, scoring):
        return Score(self.measured(scoring), {"along": list(scoring.evaluations.series["error"])})
"""
).replace("import torch\n", "import hashlib\nimport numpy as np\nimport torch\n", 1)
LABELS = (np.frombuffer(hashlib.shake_256(b"labels").digest(400), np.uint8) % 2).tobytes()

ENERGY = """
import torch
from torch import nn

from ebbench import Model


class Heights(Model):
    def __init__(self, data, config):
        super().__init__(data, config)
        self.net = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.2), nn.ReLU(), nn.Linear(8, 1))

    def train(self, data, run):
        optimiser = torch.optim.Adam(self.net.parameters(), 1e-2)
        for x in run.batches(data, size=32, epochs=3):
            loss = self.net(x + 0.1 * torch.randn_like(x)).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            run.log(loss=loss)

    def energy(self, x):
        return self.net(x + 1e-3 * torch.randn_like(x)).squeeze(1)
"""


# A task that gives a model a few labels and asks for classes.
KINDS = toys.TASK.replace('needs = "sample"', 'needs = "classify"').replace("DotsTask", "KindsTask")
KINDS = (
    KINDS[: KINDS.index("    def data(")].replace("high=1.0)", "high=1.0, classes=2)")
    + """
    def data(self, device):
        values = torch.rand(self.options.points, 2, generator=torch.Generator().manual_seed(0))
        labels = (values[:, 0] > 0.5).long()
        labels[20:] = -1
        return LabelledPool(values, labels, self.spec(), device)

    def score(self, model, scoring):
        x = torch.rand(300, 2, generator=torch.Generator().manual_seed(1))
        named = scoring.scores(x, only=("classify",))["classify"]
        wrong = named != (x[:, 0] > 0.5).numpy()
        return Score({"error": float(wrong.mean()), "spread": float(named.sum())})
"""
).replace("import torch\n", "import torch\nfrom ebbench.data.labelled import LabelledPool\n", 1)

SIDES = """
import torch
from torch import nn

from ebbench import Model


class Sides(Model):
    def __init__(self, data, config):
        super().__init__(data, config)
        self.net = nn.Linear(2, data.classes)

    def train(self, data, run):
        known = (data.labels >= 0).nonzero().flatten()
        assert len(data.labels) == len(data) and len(known) == 20
        x, classes = data[known], data.labels[known]
        optimiser = torch.optim.Adam(self.net.parameters(), 0.1)
        for _ in run.batches(data, size=32, epochs=20):
            loss = nn.functional.cross_entropy(self.net(x), classes)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            run.log(loss=loss)

    def classify(self, x):
        return self.net(x).argmax(1)
"""


def only(folder: Path) -> Result:
    (made,) = resultfiles.load_all(folder)[0]
    return made


def compared(made: Result) -> dict[str, Any]:
    """All of a result that a second run must give again."""
    training = made.training
    return {
        "hashes": (made.run_id, training.hash, made.scoring.hash),
        "numbers": (made.metrics, made.details, made.scoring.diagnostics, made.scoring.samples),
        "training": (training.steps, training.parameters, training.stopped_by, made.config),
        "curves": (training.curves.step, training.curves.series),
        "evaluations": (training.evaluations.step, training.evaluations.series),
    }


@pytest.fixture
def flags(plugins: Path) -> None:
    toys.write_task(plugins, FLAGS, "flags")
    toys.write_model(plugins, ENERGY, "heights", CARD.format(name="heights"))
    toys.write_task(plugins, KINDS, "kinds")
    toys.write_model(plugins, SIDES, "sides", CARD.format(name="sides"))


@pytest.mark.medium
@pytest.mark.usefixtures("flags")
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(
            ["--task", "dots", "--model", "blob", "--sampler", "shifted", "--set", "shifted.by=0.1"],
            id="samples",
            marks=pytest.mark.slow,
        ),
        pytest.param(["--task", "flags", "--model", "heights"], id="energies"),
        pytest.param(["--task", "kinds", "--model", "sides"], id="classes"),
    ],
)
def test_an_isolated_run_gives_the_numbers_of_a_plain_one(
    cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
):
    words = ["run", *words, "--budget", "smoke", "--seeds", "3", "--quiet", "--results"]
    assert cli(*words, "plain").code == 0
    # Nothing is there of the first.
    monkeypatch.setenv("EBBENCH_HOME", str(tmp_path / "other"))
    said = cli(*words, "isolated", "--isolated", *UNBOXED)
    assert said.code == 0, said.err
    plain, isolated = only(tmp_path / "plain"), only(tmp_path / "isolated")
    assert compared(isolated) == compared(plain)
    assert isolated.training.steps == {"dots": 60, "flags": 24, "kinds": 160}[plain.task.name]
    if plain.task.name == "kinds":
        assert plain.metrics["error"] < 0.15, "it has learned from the labels that it was given"
    assert not list((tmp_path / "other").rglob("apart*"))


SEED = 2863141917
# What may not be in the process, by name: it is looked for without being told.
SECRETS = {
    "labels": LABELS,
    "the task's name": b"plugins/flags",
    "the seed in words": str(SEED).encode(),
    "the seed as Python has it": struct.pack("<II", SEED & (2**30 - 1), SEED >> 30),
    "the seed as NumPy has it": struct.pack("<q", SEED),
    # It is told these, so that the search is known to find what is there.
    "examples": None,
}

FINDS = """
import ctypes, gc, hashlib, inspect, json, os, re, sys

import torch

from ebbench import Model, Task

SECRETS = {secrets}
PATHS = {paths}
ENGINES = [f"ebbench.running.{{name}}" for name in ("context", "scoring", "spec", "identity", "settings")]


def memory():
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", buffering=0) as memory:
        for line in maps:
            low, high, rights = re.match("([0-9a-f]+)-([0-9a-f]+) (....)", line).groups()
            low, high = int(low, 16), int(high, 16)
            if rights[:2] == "rw" and high - low < 2**29:
                try:
                    memory.seek(low)
                    yield memory.read(high - low)
                except OSError:
                    continue


def holds(secret, content):
    start, length, digest = secret
    start, at = bytes.fromhex(start), -1
    while (at := content.find(start, at + 1)) >= 0:
        end = at + len(start)
        if hashlib.sha256(content[end : end + length]).hexdigest() == digest:
            return True
    return False


def seen_of(number):
    found = []
    for name in ("mem", "environ", "maps", "cwd", "root", "fd/0", "fd/1"):
        path = f"/proc/{{number}}/{{name}}"
        try:
            os.readlink(path) if name[:2] in ("cw", "ro", "fd") else open(path, "rb").close()
        except OSError:
            continue
        found.append(path)
    return found


class Finds(Model):
    keeps_state = False

    def train(self, data, run):
        self.kept = data[torch.arange(64)]
        self.net = torch.nn.Linear(2, 1)
        for x in run.batches(data, size=64, epochs=2):
            pass
        self.trained = True

    def energy(self, x):
        if not getattr(self, "trained", False):
            return x.sum(1)
        frame, seen = sys._getframe(), []
        while frame is not None:
            seen += map(type, frame.f_locals.values())
            frame = frame.f_back
        seen += map(type, gc.get_objects())
        others = [n for n in os.listdir("/proc") if n.isdigit() and int(n) != os.getpid()]
        found = {{
            "memory": sorted({{name for part in memory() for name, s in SECRETS.items() if holds(s, part)}}),
            "objects": [repr(cls) for cls in set(seen) if cls.__module__ in ENGINES or Task in cls.__mro__],
            "own": Model in {{base for cls in set(seen) for base in cls.__mro__}},
            "others": [path for number in others for path in seen_of(number)],
            "self": len(seen_of(os.getpid())),
            "parent": os.getppid(),
            "words": " ".join(open(f"/proc/{{n}}/cmdline").read() for n in [*others, "self"]),
            "paths": [path for path in PATHS if os.path.exists(path)],
            "beside": os.listdir(".."),
            "environment": sorted(os.environ),
        }}
        raise RuntimeError("FOUND" + json.dumps(found))
"""


def hidden(secret: bytes) -> tuple[str, int, str]:
    """A beginning, in hex, and the length and the digest of the rest, of which nothing can be seen."""
    cut = min(16, len(secret) // 2)
    return secret[:cut].hex(), len(secret) - cut, hashlib.sha256(secret[cut:]).hexdigest()


@pytest.mark.medium
@pytest.mark.usefixtures("flags")
@pytest.mark.skipif(bool(why_not()), reason=why_not() or "there is a box")
def test_a_model_finds_nothing_that_it_was_not_told(cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import torch

    examples = torch.rand(256, 2, generator=torch.Generator().manual_seed(0)).numpy().tobytes()[: 64 * 8]
    secrets = {name: hidden(secret or examples) for name, secret in SECRETS.items()}
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "board.json").write_text("{}")
    data = tmp_path / "data"
    data.mkdir()
    monkeypatch.setenv("EBBENCH_DATA", str(data))
    places = ["results", "results/board.json", "data", "plugins"]
    paths = [str(tmp_path / place) for place in places]
    assert all(Path(path).exists() for path in paths)
    code = FINDS.format(secrets=repr(secrets), paths=repr(paths))
    toys.write_model(tmp_path, code, "finds", CARD.format(name="finds"))
    words = ["--task", "flags", "--model", "./finds", "--budget", "smoke", "--seeds", SEED]
    said = cli("run", *words, "--isolated", "--quiet")
    assert said.code == 2 and "RuntimeError" in said.err, said.err
    (log,) = (tmp_path / "home").rglob("error.log")
    text = log.read_text()
    found = json.JSONDecoder().raw_decode(text[text.index('FOUND{"') + 5 :])[0]
    assert found["memory"] == ["examples"]
    assert found["own"] and found["objects"] == []
    assert found["self"] > 6 and found["others"] == [] and found["parent"] == 1
    assert str(SEED) not in found["words"] and "flags" not in found["words"]
    assert str(tmp_path / "results") not in found["words"]
    # Of the run store, where the training's key lies, nothing but its own folder.
    assert found["paths"] == [] and found["beside"] == ["apart"]
    assert "EBBENCH_DATA" not in found["environment"] and "PATH" in found["environment"]
    assert [path.name for path in (tmp_path / "results").rglob("*.json")] == ["board.json"]


@pytest.mark.slow
def test_an_isolated_run_that_was_stopped_goes_on(cli, plugins: Path, tmp_path: Path, monkeypatch):
    words = ["run", "--task", "dots", "--model", "blob", "--budget", "smoke", "--set", "pause=0.05"]
    assert cli(*words, "--results", "plain").code == 0
    monkeypatch.setenv("EBBENCH_HOME", str(tmp_path / "other"))
    isolated = [*words, "--results", "isolated", "--isolated", *UNBOXED]
    # As long as its process needs to begin, which is not known here.
    codes = [cli(*isolated, "--time-limit", f"{seconds}s").code for seconds in (1, 2, 3)]
    assert 124 in codes and cli(*isolated).code == 0
    assert compared(only(tmp_path / "isolated")) == compared(only(tmp_path / "plain"))
