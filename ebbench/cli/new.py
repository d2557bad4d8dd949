"""`ebbench new`: write the folder of a small working model or task, for the user to change."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ebbench.plugins.loader import Kind

app = typer.Typer(no_args_is_help=True, help="Write the folder of a new model or task.")

Name = Annotated[str, typer.Argument(help="Its name: a-z, 0-9 and hyphens.")]
Out = Annotated[Path, typer.Option(help="The folder in which the new folder is made.")]


@app.command()
def model(
    name: Name,
    out: Out = Path("."),
) -> None:
    """Write a small working model, for you to change: every value is an independent normal."""
    files = {"model.py": MODEL, "card.toml": MODEL_CARD, "README.md": MODEL_README}
    folder = _write("model", name, out, files)
    typer.echo(f"{folder}: a model that works. Next:")
    typer.echo(f"  ebbench test {folder}")
    typer.echo(f"  ebbench run --task stackedmnist --model {folder} --budget smoke --results my-results")


@app.command()
def task(
    name: Name,
    out: Out = Path("."),
) -> None:
    """Write a small working task, for you to change: samples of a distribution of known mean."""
    folder = _write("task", name, out, {"task.py": TASK, "card.toml": TASK_CARD, "README.md": TASK_README})
    typer.echo(f"{folder}: a task that works. Next:")
    typer.echo(f"  ebbench test {folder}")
    typer.echo(f"  ebbench run --task {folder} --model real-data --budget smoke --results my-results")


def _write(kind: Kind, name: str, out: Path, files: dict[str, str]) -> Path:
    from ebbench.errors import StorageError, UsageError
    from ebbench.plugins import loader
    from ebbench.plugins.cards import MOST_NAME

    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) or len(name) > MOST_NAME:
        raise UsageError(
            f"'{name[:200]}' is not a valid name for a plug-in",
            where="NAME",
            expected=f"lower-case letters, digits and single hyphens, at most {MOST_NAME}, such as my-{kind}",
        )
    if name in loader.names(kind):
        raise UsageError(
            f"a {kind} '{name}' exists already",
            where="NAME",
            expected="a new name: results are stored under it",
            fix="choose another; nothing was changed",
        )
    folder = _folder(out) / name
    if _is_there(folder):
        raise UsageError(
            f"{folder} exists already",
            where="--out" if out != Path() else "NAME",
            expected="a folder that does not exist yet",
            fix="choose another name; nothing was changed",
        )
    words = name.split("-")
    values = {
        "@NAME@": name,
        "@TITLE@": " ".join(word.capitalize() for word in words),
        # A class must not begin with a digit.
        "@CLASS@": re.sub(r"^(?=\d)", "M", "".join(word.capitalize() for word in words)),
    }
    try:
        folder.mkdir(parents=True)
        for file, text in files.items():
            for mark, value in values.items():
                text = text.replace(mark, value)
            (folder / file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"the folder cannot be written: {error.strerror or error}",
            where=str(folder),
            fix="choose another place with --out",
        ) from error
    return folder


def _folder(out: Path) -> Path:
    from ebbench.errors import UsageError

    try:
        return out.expanduser()
    except RuntimeError as error:
        raise UsageError(f"'{out}' begins with the home of an unknown user", where="--out") from error


def _is_there(folder: Path) -> bool:
    from ebbench.errors import StorageError

    try:
        # `exists` is false for a broken symbolic link.
        return folder.exists() or folder.is_symlink()
    except (OSError, ValueError) as error:
        raise StorageError(
            f"the folder cannot be read: {error}",
            where=str(folder)[:300],
            expected="a folder that you may read",
        ) from error


MODEL = '''"""@TITLE@: every value an independent normal with the mean and deviation of the training data."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ebbench import Data, DataSpec, Model, Run


class @CLASS@(Model):
    @dataclass(frozen=True)
    class Config:
        steps: int = 1000
        """Batches that the moments are gathered from (a string under a field is its documentation)."""
        batch_size: int = 64
        """Examples a batch."""

    def __init__(self, data: DataSpec, config: Config) -> None:
        super().__init__(data, config)
        # Whatever has a state_dict and is on self is saved, resumed and moved to the device.
        self.moments = Moments(data.shape)

    def train(self, data: Data, run: Run) -> None:
        # The loop is yours; run.batches saves, resumes, shows progress and keeps to the budget.
        for x in run.batches(data, size=self.config.batch_size, steps=self.config.steps):
            self.moments.add(x)
            run.log(mean=self.moments.mean().mean(), deviation=self.moments.deviation().mean())

    # Define what the method can do; each task asks for one of sample, energy,
    # log_likelihood_bound, classify.
    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """(n, *shape), in the data's range."""
        noise = torch.randn(n, *self.data.shape, device=self.device)
        made = self.moments.mean() + self.moments.deviation() * noise
        return made.clamp(self.data.low, self.data.high) if self.data.low is not None else made

    @torch.no_grad()
    def energy(self, x: Tensor) -> Tensor:
        """(n,), lower is more typical: the negative log-density up to a constant."""
        return ((x - self.moments.mean()) / self.moments.deviation()).flatten(1).square().sum(1) / 2


class Moments(nn.Module):
    """The sums of examples and of their squares."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("sum", torch.zeros(shape))
        self.register_buffer("squares", torch.zeros(shape))

    def add(self, x: Tensor) -> None:
        self.count += len(x)
        self.sum += x.sum(0)
        self.squares += x.square().sum(0)

    def mean(self) -> Tensor:
        return self.sum / self.count.clamp_min(1)

    def deviation(self) -> Tensor:
        variance = self.squares / self.count.clamp_min(1) - self.mean().square()
        return variance.clamp_min(1e-4).sqrt()
'''

MODEL_CARD = """name = "@NAME@"
title = "@TITLE@"
summary = "Every value an independent normal: replace this with what your method does."
# paper = "..."
# authors = "..."
# year = 2026
# url = "https://..."

# Values of Config by budget: "default" for every task, or a task's name for one.
[budgets.smoke.default]
steps = 100

[budgets.cpu.default]

[budgets.paper.default]
steps = 10000
"""

MODEL_README = """# @TITLE@

What the method is, which paper it is from, and what differs from it.

    ebbench test ./@NAME@
    ebbench run --task stackedmnist --model ./@NAME@ --budget smoke --results my-results
"""

TASK = '''"""@TITLE@: points of a law whose mean is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ebbench import Data, DataSpec, Metric, Model, Score, Scoring, Store, Task
from ebbench.data.pool import Pool

SAMPLES = 2000


class @CLASS@(Task):
    @dataclass(frozen=True)
    class Options:
        dimensions: int = 2
        """Dimensions of a point (a string under a field is its documentation)."""

    # One more for every change that can move a score.
    version = 1
    protocols = {"clean": "2,000 samples against the law's own mean"}
    needs = "sample"
    metrics = (
        Metric(
            name="distance",
            unit="",
            better="lower",
            primary=True,
            doc="distance of the samples' mean from the law's",
        ),
    )

    def __init__(self, options: Options, protocol: str, store: Store) -> None:
        super().__init__(options, protocol, store)
        # Which data were found, and the SHA-256 of each file; a law has none.
        self.source = "law"
        self.data_hashes = {}

    def data_key(self) -> dict[str, Any]:
        """All that determines the training data beside its files."""
        return {"dimensions": self.options.dimensions, "points": 10_000, "seed": 0}

    def spec(self) -> DataSpec:
        """Points (dimensions,), each value in [0, 1]."""
        return DataSpec(name="@NAME@", shape=(self.options.dimensions,), low=0.0, high=1.0)

    def data(self, device: torch.device) -> Data:
        """Uniform points; those that are held out serve the control row "real-data"."""
        generator = torch.Generator().manual_seed(0)
        train, held_out = (torch.rand(10_000, self.options.dimensions, generator=generator) for _ in range(2))
        return Pool(train, held_out, self.spec(), device)

    def score(self, model: Model, scoring: Scoring) -> Score:
        """Draw samples, in chunks that are kept, and compare their mean with the law's."""

        def points(x: Tensor) -> dict[str, Any]:
            return {"x": x.cpu().numpy()}

        drawn = scoring.samples(SAMPLES, points)["x"]
        distance = float(((drawn.mean(0) - 0.5) ** 2).sum() ** 0.5)
        return Score(metrics={"distance": distance})
'''

TASK_CARD = """name = "@NAME@"
title = "@TITLE@"
summary = "Does a sampler have the right mean? Replace this with your question."
"""

TASK_README = """# @TITLE@

The question, the data, the protocols, and what each metric means.

    ebbench test ./@NAME@
    ebbench run --task ./@NAME@ --model real-data --budget smoke --results my-results
"""
