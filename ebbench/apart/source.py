"""Get samples and scores from a model's process, and check them like those of a model in the engine."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ebbench.apart import told
from ebbench.apart.process import SMALL, ModelProcess
from ebbench.apart.wire import BadMessage, Message
from ebbench.contract import BOUND
from ebbench.plugins import introspection
from ebbench.plugins.configs import plain_value
from ebbench.running.context import Context
from ebbench.running.sources import Drawn, check_sampler, checked_samples, checked_scores, chosen_scores
from ebbench.storage.hashing import derive_seed


class ProcessSource:
    """Asks the process for the samples and scores that a scoring needs.

    The process gets a number in place of each draw's name, and one seed for each purpose. `number` is the
    number of the scoring.
    """

    def __init__(self, process: ModelProcess, context: Context, number: int) -> None:
        self._process, self._context = process, context
        self._spec, self._data = context.spec, context.task.spec()
        self._scores = introspection.answers(context.spec.model.cls)
        self._where = context.spec.model.folder.name
        knobs = {name: plain_value(value) for name, value in self._spec.knobs.items()}
        self._told: dict[str, Any] = {"scoring": number, "sampler": self._spec.sampler, "knobs": knobs}
        # The process is not told the names of draws, since they belong to the task.
        self._draws: dict[str, int] = {}

    def expect(self, draw: str, n: int) -> None:
        """Raise ContractError if the run has no sampler."""
        check_sampler(self._spec.sampler, self._where)

    def draw(self, draw: str, number: int, count: int) -> Drawn:
        """Return one chunk of samples, drawn in the process with a seed of its own."""
        sampler = self._spec.sampler
        answer = self._process.ask(
            "draw",
            most=4 * count * math.prod(self._data.shape) + 2**20,
            draw=str(self._draws.setdefault(draw, len(self._draws))),
            number=number,
            count=count,
            seed=derive_seed(self._context.seed, "sample", sampler, draw, number),
            **self._told,
        )
        samples = self._floats(answer, "samples", np.float32)
        diagnostics = self._process.checked(lambda: told.numbers(answer.fields.get("diagnostics")))
        device, where = self._context.settings.device, f"sampler '{sampler}' of {self._where}"
        return Drawn(checked_samples(samples, self._data, count, device, where), diagnostics)

    def scored_by(self, question: int, name: str) -> bool:
        """Whether the model has the score `name`."""
        return name in self._scores

    def answers(self, question: int, n: int, only: Collection[str] | None) -> list[str]:
        """The names of the model's scores, or those of them in `only`."""
        return chosen_scores(self._scores, only, self._where)

    def score(self, question: int, begin: int, x: Tensor, names: Collection[str]) -> dict[str, np.ndarray]:
        """The scores of `x`, computed in the process. Each score of each chunk has its own seed."""
        seed = self._context.seed
        seeds = {name: derive_seed(seed, "score", name, question, begin) for name in names}
        examples = {"x": x.detach().cpu().numpy()}
        answer = self._process.ask("score", examples, most=SMALL, seeds=seeds, **self._told)
        found = {}
        for name in names:
            values = self._floats(answer, name, np.float64)
            # The process has flipped the sign of the bound, and the check flips it again.
            values = -values if name == BOUND else values
            where = f"score '{name}' of {self._where}"
            found[name] = checked_scores(values, name, len(x), where, self._data.classes)
        return found

    def _floats(self, answer: Message, name: str, dtype: type[np.generic]) -> Tensor:
        def read() -> Tensor:
            values = answer.array(name)
            if values.dtype != dtype:
                raise BadMessage(f"{values.dtype} where {np.dtype(dtype)} was expected")
            return torch.from_numpy(values)

        return self._process.checked(read)
