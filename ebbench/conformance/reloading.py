"""Check that a trained model does the same after its state was stored and loaded into a fresh model."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ebbench import contract
from ebbench.conformance.drawing import ABSOLUTE, EXAMPLES, RELATIVE, short
from ebbench.conformance.noise import NoiseData
from ebbench.errors import ContractError, PluginCrash
from ebbench.plugins import loader
from ebbench.plugins.guard import plugin_code
from ebbench.running import seeds

# Samples of each sampler.
DRAWN = 4

FIX = (
    "ebbench scores a fresh model that has loaded the stored state: put what train() sets, and a sampler or "
    "score uses, into a torch.nn.Module (a buffer), or into state_dict() and load_state_dict()"
)


def check(
    plugin: loader.Plugin,
    trained: contract.Model,
    stored: contract.Model,
    data: NoiseData,
    samplers: Mapping[str, Callable[..., Tensor]],
    answers: Mapping[str, Callable[..., Tensor]],
) -> str:
    """Compare the samples and scores of `trained` with those of `stored`, which has loaded its state.

    Raises ContractError for a difference, and if only `stored` fails.
    """
    x = data.values[:EXAMPLES]
    for name, method in samplers.items():
        _compare(plugin, f"sampler '{name}'", method, trained, stored, lambda: DRAWN, short(method))
    for name, method in answers.items():
        _compare(plugin, f"score '{name}'", method, trained, stored, x.clone, {})
    return f"{len(samplers) + len(answers)} of its methods answer as before"


def _compare(
    plugin: loader.Plugin,
    what: str,
    method: Callable[..., Tensor],
    trained: contract.Model,
    stored: contract.Model,
    asked: Callable[[], int | Tensor],
    knobs: Mapping[str, int],
) -> None:
    before = _answer(plugin, method, trained, asked(), knobs)
    try:
        after = _answer(plugin, method, stored, asked(), knobs)
    except PluginCrash as crash:
        raise ContractError(
            f"{what} fails once the state is stored and loaded: {crash.what}",
            where=crash.where,
            expected="all that it needs in the state",
            fix=FIX,
        ) from crash
    if not torch.allclose(before, after, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True):
        raise ContractError(
            f"{what} gives other values once the state is stored and loaded",
            where=f"{plugin.folder.name}/model.py, {method.__name__}()",
            expected="the values of the trained model",
            fix=FIX,
        )


def _answer(
    plugin: loader.Plugin,
    method: Callable[..., Tensor],
    model: contract.Model,
    asked: int | Tensor,
    knobs: Mapping[str, int],
) -> Tensor:
    seeds.seed_everything(0)
    with plugin_code(plugin, None, method.__name__):
        return method(model, asked, **knobs).detach()
