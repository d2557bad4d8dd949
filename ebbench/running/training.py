"""The engine's side of a training: Run, as methods see it.

The loop belongs to the method. Inside `run.batches` the engine draws batches, shows progress, collects
curves, saves checkpoints at intervals and on a stop request, and resumes from them after an interruption. A
training ends after its steps and never after a time, so that its result does not depend on the machine's
load.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ebbench.device import shared_gpu
from ebbench.errors import ContractError, Diverged
from ebbench.running import capture, seeds
from ebbench.running.curves import Curves
from ebbench.running.loggers import Log
from ebbench.running.progress import Reporter
from ebbench.running.signals import StopRequest
from ebbench.storage import state

if TYPE_CHECKING:
    from ebbench.contract import Data, Model
    from ebbench.interfaces import Step

# Seconds between two checkpoints: starts at the first value and doubles up to the second.
FIRST_PAUSE, CHECKPOINT_SECONDS = 1.0, 60.0
# Maximum number of points of a curve per training loop.
CURVE_POINTS = 200


class TrainingRun:
    """One training in progress.

    Methods only use `batches`, `captured`, `log`, `device`, `progress` and `epoch_ends`. `most_steps` limits
    every loop: the conformance suite needs a real but short training. `evaluate(step)` is called on the
    untrained model, after each epoch and at the end. It must leave no trace in the model, and its time and
    random numbers are not the training's. A loop with more epochs than `most_evaluations` calls it after
    every second, third, ... epoch; 0 skips none. `graph(device)` returns the recorder of a step, or None to
    run steps without a graph (`capture.graph_for`).
    """

    def __init__(
        self,
        model: Model,
        folder: Path,
        *,
        seed: int | seeds.Derive,
        device: torch.device,
        stop: StopRequest,
        reporter: Reporter,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
        most_steps: int | None = None,
        curve_points: int = CURVE_POINTS,
        evaluate: Callable[[int], Mapping[str, float]] | None = None,
        most_evaluations: int = 0,
        logger: Log | None = None,
        graph: Callable[[torch.device], capture.Graph | None] | None = None,
    ) -> None:
        self.device = device
        self.curves = Curves()
        self.evaluations = Curves()
        self.steps = 0  # over all loops
        self.stopped_by = "none"
        self.examples = 0
        self.shared = shared_gpu(device)  # at any time of the training
        self._model, self._derived = model, seeds.derived(seed)
        self._stop, self._reporter = stop, reporter
        self._checkpoint = folder / "checkpoint.json"
        self._checkpoint_seconds = checkpoint_seconds
        self._most_steps = most_steps
        self._curve_points = curve_points
        self._evaluate, self._most_evaluations = evaluate, most_evaluations
        self._logger = logger
        self._graph = graph or capture.graph_for
        self._captured: list[capture.CapturedStep] = []
        self._captured_before = False
        self._loop = 0
        self._position = 0
        self._total = 0
        self._per_epoch = 1
        self._window: dict[str, list[Tensor | float]] = {}
        self._seconds_before = 0.0
        self._began = time.perf_counter()
        self._saved: dict[str, Any] | None = None
        if self._checkpoint.exists():
            self._saved = state.load(self._checkpoint, device)

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of training, including all resumed sessions."""
        return self._seconds_before + time.perf_counter() - self._began

    @property
    def progress(self) -> float:
        """The completed share of the current loop, from 0 to 1, for schedules."""
        return self._position / self._total if self._total else 0.0

    @property
    def epoch_ends(self) -> bool:
        """Whether the current step is the last of an epoch or of its loop."""
        return (self._position + 1) % self._per_epoch == 0 or self._position + 1 == self._total

    @property
    def as_graph(self) -> bool:
        """Whether a training step ran as a CUDA graph, in this process or an earlier one."""
        return self._captured_before or any(step.replayed for step in self._captured)

    def captured(self, step: Step) -> Step:
        """The training `step` as one CUDA graph if the device supports it, else `step` itself."""
        graph = self._graph(self.device)
        if graph is None:
            return step
        made = capture.CapturedStep(step, self._model, self.device, graph, self._reporter.note)
        self._captured.append(made)
        return made

    def batches(
        self, data: Data, *, size: int, steps: int | None = None, epochs: int | None = None
    ) -> Iterator[Tensor]:
        """Iterate over batches of real examples, (size, *data.spec.shape), one per training step.

        With `steps`, each batch is drawn with replacement. With `epochs`, the data are reshuffled for each
        epoch, and the incomplete last batch is dropped. An interrupted loop resumes: state that must survive
        must be on the model, with a `state_dict`, when the loop begins. Several loops may follow one another;
        loops that finished before an interruption are skipped.
        """
        per_epoch = len(data) // size if size > 0 else 0
        alone = (steps is None) != (epochs is None)
        if not alone or size < 1 or (steps or epochs or 0) < 0 or (epochs is not None and per_epoch < 1):
            raise ContractError(
                f"run.batches(size={size}, steps={steps}, epochs={epochs}) on {len(data)} examples",
                expected="steps or epochs, one of them, at least 0, and a batch no larger than the data set",
                fix="change the setting, or the call in the model's train()",
            )
        loop, self._loop = self._loop, self._loop + 1
        self._per_epoch = max(1, per_epoch)
        self._total = steps if steps is not None else (epochs or 0) * per_epoch
        if self._most_steps is not None:
            self._total = min(self._total, self._most_steps)
        self._position = 0
        fresh = self._saved is None
        if self._saved is not None and not self._resume(loop):
            return
        window = max(1, self._total // self._curve_points)
        # Saves the first step, then after growing pauses, so that a kill in the first seconds loses little.
        last_save = -math.inf if fresh else time.perf_counter()
        pause = min(FIRST_PAUSE, self._checkpoint_seconds) / 2
        generator = torch.Generator(device=data.device)
        order: Tensor | None = None
        between = self._steps_between_evaluations()
        self._reporter.begin("training", self._total, self._position)
        self._stop.safe_points = True
        try:
            while self._position < self._total:
                # A step's indices depend only on its number, so they need no saved state.
                if steps is not None:
                    generator.manual_seed(self._derived("batch", loop, self._position))
                    index = torch.randint(len(data), (size,), generator=generator, device=data.device)
                else:
                    epoch, within = divmod(self._position, per_epoch)
                    if order is None or within == 0:
                        generator.manual_seed(self._derived("epoch", loop, epoch))
                        order = torch.randperm(len(data), generator=generator, device=data.device)
                    index = order[within * size : (within + 1) * size]
                if self._position % between == 0:
                    self._take_evaluation()
                yield data[index]
                self._position += 1
                self.steps += 1
                self.examples += size
                if self._position % window == 0 or self._position == self._total:
                    self._close_window()
                now = time.perf_counter()
                if self._stop.asked or now - last_save > pause:
                    self._save(loop)
                    last_save = time.perf_counter()
                    pause = self._longer(pause, last_save - now)
                if self._stop.asked:
                    raise self._stop.stopped(f"training saved at step {self._position} of {self._total}")
            self.stopped_by = "steps"
            self._take_evaluation()
        finally:
            self._stop.safe_points = False
            self._reporter.end()

    def _steps_between_evaluations(self) -> int:
        """A whole number of epochs that keeps the current loop within the maximum of evaluations."""
        epochs = math.ceil(self._total / self._per_epoch)
        return self._per_epoch * max(1, math.ceil(epochs / (self._most_evaluations or math.inf)))

    def _longer(self, pause: float, cost: float) -> float:
        """The pause before the next save, after a save that took `cost` seconds.

        It doubles up to its limit. Saving takes at most a twentieth of the time at first, and a hundredth
        later.
        """
        if pause < self._checkpoint_seconds:
            return max(min(2 * pause, self._checkpoint_seconds), 20.0 * cost)
        return max(self._checkpoint_seconds, 100.0 * cost)

    def log(self, **scalars: Tensor | float) -> None:
        """Log this step's scalars to the curves and the progress line, without waiting for tensors."""
        for name, value in scalars.items():
            kept = value.detach() if isinstance(value, Tensor) else float(value)
            self._window.setdefault(name, []).append(kept)

    def finish(self) -> None:
        """The engine's last call: evaluates the trained model too, whatever trained it."""
        self._take_evaluation()

    def _take_evaluation(self) -> None:
        if self._evaluate is None or self.evaluations.step[-1:] == [self.steps]:
            return
        seconds, random = self.seconds, seeds.capture()
        values = self._evaluate(self.steps)
        seeds.restore(random)
        self._seconds_before, self._began = seconds, time.perf_counter()
        self.evaluations.add(self.steps, seconds, values)
        self._tell({f"evaluation/{name}": value for name, value in values.items()})

    def _close_window(self) -> None:
        means = {name: _mean(values) for name, values in self._window.items()}
        for name, mean in means.items():
            if not math.isfinite(mean):
                raise Diverged(
                    f"training diverged: '{name}' is {mean} at or before step {self._position}",
                    where=f"model '{type(self._model).__name__}', step {self._position} of {self._total}",
                    expected="finite losses",
                    fix="lower the learning rate or raise the penalty (--set key=value)",
                )
        self._window = {}
        self.curves.add(self.steps, self.seconds, means)
        self._reporter.update(self._position, means)
        self._tell(means)

    def _tell(self, values: Mapping[str, float]) -> None:
        """Call the logger; its time does not count as training time."""
        if self._logger is None or not self._logger.on or not values:
            return
        seconds = self.seconds
        self._logger.scalars(self.steps, values)
        self._seconds_before, self._began = seconds, time.perf_counter()

    def _save(self, loop: int) -> None:
        # Values of an unfinished window become floats, which does not change their float64 mean.
        window = {name: [float(v) for v in values] for name, values in self._window.items()}
        state.save(
            {
                "model": self._model.state_dict(),
                "random": seeds.capture(),
                "loop": loop,
                "position": self._position,
                "steps": self.steps,
                "examples": self.examples,
                "seconds": self.seconds,
                "shared": self.shared,
                "as_graph": self.as_graph,
                "curves": vars(self.curves),
                "evaluations": vars(self.evaluations),
                "window": window,
            },
            self._checkpoint,
        )

    def _resume(self, loop: int) -> bool:
        """Load the checkpoint; False if it belongs to a later loop."""
        saved = self._saved
        assert saved is not None
        if loop < saved["loop"]:
            # Existing attributes get their state now, since code before the next loop may use them.
            present = self._model.state_dict().keys()
            self._model.load_state_dict({k: v for k, v in saved["model"].items() if k in present})
            return False
        self._model.load_state_dict(saved["model"])
        self._position, self.steps, self.examples = saved["position"], saved["steps"], saved["examples"]
        self._seconds_before, self._began = saved["seconds"], time.perf_counter()
        self.shared = self.shared or saved.get("shared", False)
        self._captured_before = saved.get("as_graph", False)
        self.curves = Curves(**saved["curves"])
        self.evaluations = Curves(**saved.get("evaluations", {}))
        self._window = {name: list(values) for name, values in saved["window"].items()}
        seeds.restore(saved["random"])
        self._saved = None
        self._reporter.note(f"going on from the checkpoint at step {self._position} of {self._total}")
        return True


def _mean(values: list[Tensor | float]) -> float:
    # Summed in float64 in order, whether or not some were saved and read back.
    tensors = [v for v in values if isinstance(v, Tensor)]
    if tensors:
        fetched = iter(torch.stack([t.reshape(()) for t in tensors]).double().cpu().tolist())
        values = [next(fetched) if isinstance(v, Tensor) else v for v in values]
    return math.fsum(float(v) for v in values) / len(values)
