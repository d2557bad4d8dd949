"""Try the samplers and scores of a trained model with two seeds."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ebbench import contract
from ebbench.conformance import randomness
from ebbench.conformance.noise import NoiseData
from ebbench.conformance.watch import Watch
from ebbench.errors import ContractError
from ebbench.plugins import introspection, loader
from ebbench.plugins.guard import plugin_code
from ebbench.running import seeds
from ebbench.running.sources import checked_samples, checked_scores
from ebbench.storage.hashing import derive_seed

# Steps of a sampler. A few show as much about shape, range and seed as a thousand.
STEPS = 4
EXAMPLES = 8
# A score must differ for at least two of this many examples.
MANY = 256
# The relative and absolute difference allowed between two scores of an example: sums may change their order.
RELATIVE, ABSOLUTE = 1e-3, 1e-4
# The relative size of a rounding error, and how many are tried.
ROUNDING, TRIES = 1e-6, 16


def samples(
    plugin: loader.Plugin,
    model: contract.Model,
    data_spec: contract.DataSpec,
    name: str,
    method: Callable[..., Tensor],
    watch: Watch,
) -> str:
    """Check one sampler: shape and range, equal samples for equal seeds, and others for another seed.

    Raises ContractError and PluginCrash.
    """
    where = f"{plugin.folder.name}/model.py, {method.__name__}()"
    knobs = short(method)
    drawn, after = [], []
    for seed in (0, 0, 1):
        parts = []
        # Draw a full chunk and a smaller one.
        for number, count in enumerate((4, 3)):
            seeds.seed_everything(derive_seed(seed, "sample", number))
            model.diagnostics = {}
            with watch.over(method.__name__) as seen:
                made = method(model, count, **knobs)
                told = {str(key): float(value) for key, value in model.diagnostics.items()}
            if not all(math.isfinite(value) for value in told.values()):
                raise ContractError(
                    f"a diagnostic of sampler '{name}' is not finite: {told}",
                    where=where,
                    expected="finite numbers in self.diagnostics",
                )
            if not isinstance(made, Tensor) or not made.is_floating_point():
                raise ContractError(
                    f"sampler '{name}' gave {_kind(made)}",
                    where=where,
                    expected=f"a floating-point tensor {(count, *data_spec.shape)}",
                )
            parts.append(checked_samples(made, data_spec, count, torch.device("cpu"), where))
        drawn.append(torch.cat(parts))
        after.append(randomness.states())
    randomness.check_left_alone(f"sampler '{name}'", after[1:], seen.last.get("seed", where))
    first, again, other = drawn
    if (first != again).any():
        raise ContractError(
            f"sampler '{name}' gives different samples for the same seed",
            where=where,
            expected="randomness only from the global states of torch, NumPy and Python",
        )
    # A collapsed generator gives the same sample whatever its input. That is not an error.
    if (first == other).all() and (first != first[:1]).any() and plugin.card.kind != "control":
        raise ContractError(
            f"sampler '{name}' gives the same samples for every seed",
            where=where,
            expected="draws from the global random states, which the engine seeds",
            fix="draw the latents or the noise at each call, without a generator of a fixed seed",
        )
    return f"{tuple(first.shape)}, in [{first.min():.3g}, {first.max():.3g}], repeatable"


def short(method: Callable[..., Tensor]) -> dict[str, int]:
    """The knobs that make a sampler short enough to try, as arguments."""
    return {"steps": STEPS} if "steps" in introspection.knobs(method) else {}


def scores(
    plugin: loader.Plugin,
    model: contract.Model,
    data: NoiseData,
    name: str,
    method: Callable[..., Tensor],
    watch: Watch,
) -> str:
    """Check one score: it is finite, and it differs between examples.

    It must depend neither on the seed nor on the other examples of the batch. It must not change the examples
    in place. Raises ContractError and PluginCrash.
    """
    where = f"{plugin.folder.name}/model.py, {method.__name__}()"
    x = data.values[:EXAMPLES].clone()
    found, after = [], []
    for seed in (0, 1):
        given = x.clone()
        seeds.seed_everything(seed)
        with watch.over(method.__name__, {"examples": partial(_sum, given)}) as seen:
            values = method(model, given)
        after.append(randomness.states())
        if not torch.equal(given, x):
            raise ContractError(
                f"score '{name}' changes the examples that it is given, in place",
                where=seen.last.get("examples", where),
                expected="unchanged examples: the next score gets the same examples",
                fix="replace x -= b by x = x - b, which makes a new tensor; or begin with x = x.clone()",
            )
        found.append(_checked(name, values, where, data.spec.classes))
    randomness.check_left_alone(f"score '{name}'", after, seen.last.get("seed", where))
    values, other = found
    if not torch.allclose(values, other, rtol=RELATIVE, atol=ABSOLUTE):
        raise ContractError(
            f"score '{name}' of the same examples changes with the seed",
            where=where,
            expected="a number that depends on the example alone; if it needs random draws, "
            "ebbench.nn.noise.noise_of seeds them by the example",
        )
    with plugin_code(plugin, None, method.__name__):
        one = method(model, x[:1].clone())
    one = one.detach().to(values.dtype)
    near = torch.allclose(values[:1], one, rtol=RELATIVE, atol=ABSOLUTE)
    by_itself = float((values[0] - one[0]).abs())
    # A difference that is no number lies within no drift.
    if not near and not by_itself <= 1.01 * _drift(plugin, model, x, values, method):
        raise ContractError(
            f"score '{name}' of an example depends on the others in its batch",
            where=where,
            expected="each example scored by itself (no batch statistics in eval mode)",
        )
    # A classifier after a few steps may give all examples the same class.
    apart = name != contract.CLASSIFY and plugin.card.kind != "control"
    if apart and bool((values == values[0]).all()):
        _check_tells_apart(plugin, model, data, name, method, where)
    return f"in [{values.min():.3g}, {values.max():.3g}]"


def _drift(
    plugin: loader.Plugin, model: contract.Model, x: Tensor, values: Tensor, method: Callable[..., Tensor]
) -> float:
    """The largest change of the first score when the examples change by rounding errors.

    A score that searches (DDLS's latent energy) may end in another minimum, because another batch rounds
    differently. Then it does not depend on the other examples: a rounding error of the example itself has
    the same effect.
    """
    draws = torch.Generator().manual_seed(0)
    moved = []
    for _ in range(TRIES):
        noise = 2 * torch.rand(x.shape, generator=draws) - 1
        with plugin_code(plugin, None, method.__name__):
            moved.append(method(model, x * (1 + ROUNDING * noise).to(x.device)).detach()[0])
    return float((torch.stack(moved).to(values) - values[0]).abs().max())


def _kind(values: object) -> str:
    return f"a {values.dtype} tensor" if isinstance(values, Tensor) else f"a {type(values).__name__}"


def _sum(x: Tensor) -> float:
    return float(x.double().sum())


def _checked(name: str, values: object, where: str, classes: int) -> Tensor:
    if name == contract.CLASSIFY and isinstance(values, Tensor):
        return torch.from_numpy(checked_scores(values, name, EXAMPLES, where, classes))
    expected = f"a floating-point tensor ({EXAMPLES},), one finite number an example"
    if not isinstance(values, Tensor) or not values.is_floating_point():
        raise ContractError(f"score '{name}' gave {_kind(values)}", where=where, expected=expected)
    if tuple(values.shape) != (EXAMPLES,):
        raise ContractError(
            f"score '{name}' gave the shape {tuple(values.shape)}", where=where, expected=expected
        )
    numbers = values.detach().clone()
    if bad := int((~numbers.isfinite()).sum()):
        kinds = sorted({str(value) for value in numbers[~numbers.isfinite()].tolist()})
        raise ContractError(
            f"score '{name}' gave {bad} of {len(numbers)} values that are {' or '.join(kinds)}",
            where=where,
            expected=expected,
        )
    return numbers


def _check_tells_apart(
    plugin: loader.Plugin,
    model: contract.Model,
    data: NoiseData,
    name: str,
    method: Callable[..., Tensor],
    where: str,
) -> None:
    with plugin_code(plugin, None, method.__name__):
        values = method(model, data.values[:MANY].clone()).detach()
    if bool((values == values[0]).all()):
        raise ContractError(
            f"score '{name}' gives the same number for every example: {float(values[0]):g}",
            where=where,
            expected="numbers that tell examples apart: equal numbers rank nothing",
            fix='if the model is a control that must know nothing, write kind = "control" in its card',
        )
