"""Optimisers of a recorded training step: what the graph reads of them must be on the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import Optimizer

if TYPE_CHECKING:
    from ebbench.contract import Model


@dataclass
class _Slot:
    """A parameter group: its original learning rate and flag, and the tensor that the graph reads."""

    optimiser: Optimizer
    group: dict[str, Any]
    rate: Any
    capturable: Any
    fixed: Tensor | None

    def plain(self) -> Any:
        """The learning rate without a graph; exactly the given number unless it has been changed."""
        if self.fixed is None or isinstance(self.rate, Tensor):
            return self.group["lr"]
        now = self.fixed.item()
        return self.rate if now == torch.tensor(self.rate, dtype=self.fixed.dtype).item() else now


class Rates:
    """Prepares the optimisers among a model's attributes for a graph.

    Optimisers with the flag `capturable` get it, with the learning rate as a float32 tensor on the device,
    where torch's fused Adam reads it. Their saved state keeps plain numbers, so that a checkpoint also loads
    without a graph. Optimisers without the flag (SGD) keep the rate as a number: it is recorded with the
    graph and must not change.
    """

    def __init__(self, model: Model, device: torch.device) -> None:
        self._slots: list[_Slot] = []
        self._steps: list[tuple[dict[str, Any], Tensor]] = []
        self._hooks: list[Any] = []
        for optimiser in {id(v): v for v in vars(model).values() if isinstance(v, Optimizer)}.values():
            for group in optimiser.param_groups:
                self._slots.append(_Slot(optimiser, group, group["lr"], group.get("capturable"), None))
                if "capturable" not in group:
                    continue
                rate = group["lr"]
                fixed = rate if isinstance(rate, Tensor) else torch.tensor(rate, dtype=torch.float32)
                self._slots[-1].fixed = fixed.to(device)
                group["lr"], group["capturable"] = self._slots[-1].fixed, True
                for parameter in group["params"]:
                    state = optimiser.state.get(parameter, {})
                    if isinstance(step := state.get("step"), Tensor):
                        self._steps.append((state, step))
                        state["step"] = step.to(device, torch.float32)
            self._hooks.append(optimiser.register_state_dict_post_hook(self._saved))

    def follow(self) -> str:
        """Apply rates that were set as numbers; returns why the graph cannot follow, or ""."""
        for slot in self._slots:
            name = type(slot.optimiser).__name__
            if not any(group is slot.group for group in slot.optimiser.param_groups):
                return f"the state of {name} was loaded anew"
            now = slot.group["lr"]
            if slot.fixed is None:
                if now is not slot.rate and not (isinstance(now, float) and now == slot.rate):
                    return f"the rate of {name} changes, but {name} cannot read it from a tensor"
            elif now is not slot.fixed:
                slot.fixed.copy_(now) if isinstance(now, Tensor) else slot.fixed.fill_(now)
                slot.group["lr"] = slot.fixed
        return ""

    def put_back(self) -> None:
        """Restore the optimisers, with their current learning rates and step counts."""
        for slot in self._slots:
            if slot.fixed is not None and slot.group["lr"] is slot.fixed:
                slot.group["lr"], slot.group["capturable"] = slot.plain(), slot.capturable
        for state, before in self._steps:
            state["step"] = state["step"].to(before.device, before.dtype)
        for hook in self._hooks:
            hook.remove()

    def _saved(self, optimiser: Optimizer, saved: Mapping[str, Any]) -> None:
        """The content of `state_dict`, without the graph's tensors and flags."""
        for group, kept in zip(optimiser.param_groups, saved["param_groups"], strict=True):
            for slot in self._slots:
                if slot.group is not group or slot.fixed is None:
                    continue
                # An earlier graph of the same training may already have converted them.
                if not isinstance(slot.rate, Tensor):
                    kept["lr"] = slot.plain()
                kept["capturable"] = kept["capturable"] and slot.capturable
