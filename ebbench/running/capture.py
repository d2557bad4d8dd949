"""A training step as a CUDA graph: recorded once, then replayed with one launch instead of hundreds.

The first calls run the step normally on a side stream: libraries choose kernels and allocate memory, and
optimisers create their state. The next call records the step, which computes nothing, and replays it for the
first time. From then on a call copies the batch and the numbers to where the recorded step reads them, and
launches the graph. Every call is one real step with its own batch, and the device's random number generator
advances as it does without a graph. A training can therefore be stopped at any step and resumed with or
without a graph.
"""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ebbench.errors import UsageError
from ebbench.running import seeds
from ebbench.running.rates import Rates

if TYPE_CHECKING:
    from ebbench.contract import Model
    from ebbench.interfaces import Step

# "0" disables graphs.
SWITCH = "EBBENCH_CAPTURE"
# Number of steps before the recording (three in torch's own make_graphed_callables).
WARM_UP = 3

Logged = dict[str, Tensor]
Work = Callable[[], Logged]


class Graph(Protocol):
    """Records a function's work on a device and replays it: a CUDA graph, or a stand-in."""

    def warm_up(self, work: Work) -> Logged:
        """Run the work normally, where it will be recorded."""
        ...

    def record(self, work: Work) -> Logged:
        """Record the work without running it; returns the tensors that `replay` fills.

        May raise RuntimeError.
        """
        ...

    def replay(self) -> None:
        """Replay the recorded work."""
        ...

    def abandon(self) -> None:
        """Make the device usable after a failed recording. Raises RuntimeError if that is impossible."""
        ...


def graph_for(device: torch.device) -> Graph | None:
    """A graph for work on `device`; None if the device has none, or the user disabled graphs."""
    wanted = os.environ.get(SWITCH, "1")
    if wanted not in ("", "0", "1"):
        raise UsageError(
            f"{SWITCH} is '{wanted}'",
            where="the environment",
            expected="1 (capture a step if the device can) or 0",
            fix=f"set {SWITCH}=0, or unset it",
        )
    return CudaGraph(device) if device.type == "cuda" and wanted != "0" else None


class CudaGraph:
    """A CUDA graph and the stream on which it is recorded."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._graph: torch.cuda.CUDAGraph | None = None

    def warm_up(self, work: Work) -> Logged:
        """Run the work on the side stream, synchronised with what comes before and after."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            made = work()
        current.wait_stream(self._stream)
        return made

    def record(self, work: Work) -> Logged:
        """Record the work; see Graph."""
        # A network from the warm-up that only a reference cycle keeps would tie its gradients to another
        # stream.
        gc.collect()
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._device)
        try:
            with torch.cuda.device(self._device), torch.cuda.graph(graph, stream=self._stream):
                made = work()
        finally:
            # `torch.cuda.graph` leaves its stream current if it cannot end the recording.
            torch.cuda.set_stream(current)
        self._graph = graph
        return made

    def replay(self) -> None:
        """Launch the graph."""
        assert self._graph is not None
        self._graph.replay()

    def abandon(self) -> None:
        """Drop the graph and release the generator, which a failed recording leaves in recording state.

        Memory taken by a failed recording stays reserved until the process ends.
        """
        self._graph = None
        index = torch.cuda.current_device() if self._device.index is None else self._device.index
        torch.cuda.default_generators[index].graphsafe_set_state(torch.Generator(self._device))
        torch.cuda.synchronize(self._device)
        torch.rand((), device=self._device)


class CapturedStep:
    """The training `step` of a `model` as a graph, after its warm-up; arguments and results are the step's.

    A batch of another shape, or another value of an argument that is neither a float nor a tensor, runs the
    step normally. So does every later call if the step cannot be recorded; `note` then receives the reason,
    once.
    """

    def __init__(
        self, step: Step, model: Model, device: torch.device, graph: Graph, note: Callable[[str], None]
    ) -> None:
        # Whether a step has run as a graph.
        self.replayed = False
        self._step, self._model, self._device, self._note = step, model, device, note
        self._graph: Graph | None = graph
        self._warm = 0
        self._recorded: _Recorded | None = None

    def __call__(self, *given: Any, **named: Any) -> Logged:
        """Run one step; returns what it logs, in tensors owned by the caller."""
        if self._graph is None:
            return self._step(*given, **named)
        if self._recorded is None:
            if self._warm == WARM_UP:
                return self._record(self._graph, given, named)
            self._warm += 1
            return self._graph.warm_up(lambda: self._step(*given, **named))
        why = self._recorded.rates.follow()
        if why:
            self._recorded.rates.put_back()
            return self._give_up(why, given, named)
        if not self._recorded.takes(given, named):
            with warnings.catch_warnings():
                # Adam warns about `capturable` outside a recording: it is slower then, but correct.
                warnings.filterwarnings("ignore", message=".*capturable=True")
                return self._step(*given, **named)
        return self._do(self._graph, self._recorded)

    def _record(self, graph: Graph, given: tuple[Any, ...], named: dict[str, Any]) -> Logged:
        fixed = [_fixed(v, self._device) for v in given]
        fixed_named = {k: _fixed(v, self._device) for k, v in named.items()}
        rates, before = Rates(self._model, self._device), _Before(self._model)
        try:
            # Detached inside, so that nothing keeps tensors that only the backward pass needs.
            made = graph.record(lambda: _detached(self._step(*fixed, **fixed_named)))
            why = before.change()
        except RuntimeError as error:
            why = _first_cause(error)
        if why:
            self._abandon(graph, why)
            before.put_back()
            rates.put_back()
            return self._give_up(why, given, named)
        self._recorded = _Recorded(fixed, fixed_named, made, rates)
        self._recorded.takes(given, named)
        return self._do(graph, self._recorded)

    def _do(self, graph: Graph, recorded: _Recorded) -> Logged:
        graph.replay()
        self.replayed = True
        # Clones, because the next replay writes to the same tensors.
        return {k: v.clone() if isinstance(v, Tensor) else v for k, v in recorded.made.items()}

    def _give_up(self, why: str, given: tuple[Any, ...], named: dict[str, Any]) -> Logged:
        self._graph = self._recorded = None
        self._note(f"the training step runs without a CUDA graph: {why}")
        return self._step(*given, **named)

    def _abandon(self, graph: Graph, why: str) -> None:
        try:
            graph.abandon()
        except RuntimeError as error:
            raise UsageError(
                f"the training step could not be recorded as a CUDA graph, and the device is lost: {why}",
                where=f"model '{type(self._model).__name__}'",
                expected="a step that does not wait for the value of a tensor",
                fix=f"set {SWITCH}=0 and give the same command again: it goes on without the graph",
            ) from error


@dataclass
class _Recorded:
    """A recorded step: the arguments that it reads, its outputs, and the learning rates of its optimisers."""

    given: list[Any]
    named: dict[str, Any]
    made: Logged
    rates: Rates

    def takes(self, given: tuple[Any, ...], named: dict[str, Any]) -> bool:
        """Copy arguments to where the graph reads them; False, with nothing copied, if they do not fit."""
        if len(given) != len(self.given) or named.keys() != self.named.keys():
            return False
        pairs = [*zip(self.given, given, strict=True), *((self.named[k], v) for k, v in named.items())]
        if not all(_fits(fixed, value) for fixed, value in pairs):
            return False
        for fixed, value in pairs:
            if isinstance(fixed, Tensor):
                fixed.copy_(value) if isinstance(value, Tensor) else fixed.fill_(value)
        return True


def _fixed(value: Any, device: torch.device) -> Any:
    """Where a recorded step reads an argument: a separate tensor for each tensor and float."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, float):
        # torch combines a float and a float32 tensor in float32.
        return torch.tensor(value, dtype=torch.float32, device=device)
    return value


def _fits(fixed: Any, value: Any) -> bool:
    if isinstance(fixed, Tensor) and isinstance(value, Tensor):
        return (fixed.shape, fixed.dtype) == (value.shape, value.dtype)
    if isinstance(fixed, Tensor):
        return isinstance(value, int | float) and fixed.dim() == 0
    return type(fixed) is type(value) and bool(fixed == value)


def _first_cause(error: BaseException) -> str:
    """The first error, in one line; the error of the recording that could not end says nothing."""
    while error.__context__ is not None:
        error = error.__context__
    if not isinstance(error, Exception):
        raise error
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _detached(made: Logged) -> Logged:
    return {k: v.detach() if isinstance(v, Tensor) else v for k, v in made.items()}


class _Before:
    """What a recording may change besides the device: attributes, gradient flags, random states."""

    def __init__(self, model: Model) -> None:
        nets = [v for v in vars(model).values() if isinstance(v, nn.Module)]
        modules = {id(m): m for net in nets for m in net.modules()}
        parameters = {id(p): p for net in nets for p in net.parameters()}
        self._owners: list[tuple[Any, dict[str, Any]]] = [
            (owner, dict(vars(owner))) for owner in (model, *modules.values())
        ]
        self._flags = [(p, p.requires_grad) for p in parameters.values()]
        self._random = seeds.capture()

    def change(self) -> str:
        """What the recorded step has changed that a replay would not change; "" if nothing."""
        for owner, before in self._owners:
            for name, value in vars(owner).items():
                if _plain(value) and (name not in before or not _same(before[name], value)):
                    return f"it changes '{name}' of {type(owner).__name__}, which is not a tensor"
        if any(p.requires_grad != flag for p, flag in self._flags):
            return "it changes which parameters are trained"
        now = seeds.capture()
        if not all(_same(now[name], self._random[name]) for name in ("python", "numpy", "torch")):
            return "it draws random numbers from a generator that is not the device's"
        return ""

    def put_back(self) -> None:
        """Restore the previous state. Gradients are removed, since the step did not run."""
        for owner, before in self._owners:
            vars(owner).clear()
            vars(owner).update(before)
        for parameter, flag in self._flags:
            parameter.requires_grad_(flag)
            parameter.grad = None
        seeds.restore(self._random)


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(_same(a, b) for a, b in zip(one, other, strict=True))
    # NaN compares equal to itself here.
    return one is other or bool(one == other)
