"""The engine as a training in another process sees it: data, seeds, progress and stop requests, by wire."""

from __future__ import annotations

import math
import signal
import socket
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ebbench.apart.wire import Channel, Message
from ebbench.contract import DataSpec
from ebbench.running.loggers import Log
from ebbench.running.progress import Reporter
from ebbench.running.signals import StopRequest

# Seconds between two reports of progress.
_PAUSE = 0.2
# The maximum bytes of examples that one question asks for.
MOST_ROWS = 128 * 2**20
# The number of seeds that one question asks for.
SEEDS_AT_ONCE = 512


class Wire:
    """The model's end of the wire. A request to stop may arrive at any time, also before an answer."""

    def __init__(self, end: socket.socket) -> None:
        self._channel = Channel(end)
        self.stop: StopRequest = _WireStop(self)

    def send(
        self, kind: str, arrays: Mapping[str, np.ndarray] | None = None, blob: bytes = b"", **fields: Any
    ) -> None:
        """Send a message. Raises Ended."""
        self._channel.send(kind, arrays, blob, **fields)

    def receive(self) -> Message:
        """Return the next message, and note any request to stop before it. Raises Ended."""
        while True:
            message = self._channel.receive()
            if message.kind != "stop":
                return message
            self.stop.signal = signal.SIGTERM

    def look(self) -> None:
        """Note a request to stop, if one has arrived. Call this only while no answer is due."""
        if self._channel.ready():
            message = self._channel.receive()
            assert message.kind == "stop", message.kind
            self.stop.signal = signal.SIGTERM


class _WireStop(StopRequest):
    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire

    @property
    def asked(self) -> bool:
        """Whether the engine has asked the training to stop at its next safe point."""
        if self.signal is None:
            self._wire.look()
        return self.signal is not None


class Seeds:
    """The seeds of batches and epochs. The engine derives them, and does not tell the seed of the run."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._block: tuple[str, int, int] | None = None
        self._seeds = np.zeros(0, np.int64)

    def __call__(self, what: str, loop: int, position: int) -> int:
        """The seed of batch or epoch `position` of a loop."""
        number, at = divmod(position, SEEDS_AT_ONCE)
        if self._block != (what, loop, number):
            self._wire.send("seeds", what=what, loop=loop, begin=number * SEEDS_AT_ONCE)
            self._block, self._seeds = (what, loop, number), self._wire.receive().array("seeds")
        return int(self._seeds[at])


class RemoteData:
    """The training data. They stay with the engine, which sends examples on request.

    The attribute `labels` exists if the engine has sent labels.
    """

    labels: Tensor

    def __init__(self, wire: Wire, spec: DataSpec, examples: int, device: torch.device) -> None:
        self.spec = spec
        self.device = device
        self._wire, self._examples = wire, examples

    def __len__(self) -> int:
        return self._examples

    def __getitem__(self, index: Tensor) -> Tensor:
        """The examples at `index` (int64, (n,)): float32, (n, *spec.shape)."""
        plain = isinstance(index, Tensor) and index.dtype == torch.int64
        # Resolve any other index (a slice, a mask, a single number) by applying it to all positions.
        wanted = index.cpu() if plain else torch.arange(self._examples)[index]
        flat = wanted.reshape(-1)
        at_once = max(1, MOST_ROWS // (4 * max(1, math.prod(self.spec.shape))))
        parts = []
        for part in flat.split(at_once):
            self._wire.send("rows", {"index": part.numpy()})
            parts.append(torch.from_numpy(self._wire.receive().array("rows")))
        whole = torch.cat(parts) if parts else torch.zeros(0, *self.spec.shape)
        return whole.reshape(*wanted.shape, *self.spec.shape).to(self.device)


class WireReporter(Reporter):
    """Tells the engine how far the training is."""

    def __init__(self, wire: Wire) -> None:
        self._wire, self._told = wire, 0.0

    def note(self, text: str) -> None:
        """Send one line that the user should see."""
        self._wire.send("note", text=text)

    def begin(self, what: str, total: int, done: int = 0) -> None:
        """Tell the engine that a stage begins."""
        self._wire.send("stage", total=total, done=done)

    def update(self, done: int, scalars: Mapping[str, float] | None = None) -> None:
        """Tell the engine how many steps are done, at most every `_PAUSE` seconds."""
        now = time.monotonic()
        if now - self._told > _PAUSE:
            self._told = now
            self._wire.send("progress", done=done, values=dict(scalars or {}))


class WireLog(Log):
    """Sends the engine the numbers that a logger is to log."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    @property
    def on(self) -> bool:
        """Always True: this log is created only if the engine logs."""
        return True

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Send numbers to the engine."""
        self._wire.send("scalars", step=step, values={name: float(v) for name, v in values.items()})
