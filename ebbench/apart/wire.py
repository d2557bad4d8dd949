"""Messages between the engine and a model's process: a JSON header and raw bytes.

A message begins with the length of its header (4 bytes) and of its payload (8 bytes), both big-endian. The
header and the payload follow. The header is a JSON object with the "kind" of the message and its fields.
Under "arrays" it has the name, dtype and shape of each array. The payload holds the arrays one after another
in C order. Any bytes after them are the "blob". No pickle is used in either direction, so a message cannot
run code. Sizes are checked before anything is read.
"""

from __future__ import annotations

import json
import math
import select
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_LENGTHS = struct.Struct(">IQ")
MOST_HEADER = 16 * 2**20
# The maximum bytes of a message's payload. The state of the largest network is smaller.
MOST_PAYLOAD = 4 * 2**30
_MOST_DIMENSIONS = 16
_DTYPES = ("float32", "float64", "float16", "uint8", "int64", "bool")
_PART = 2**20
# Seconds after which a waiting channel calls its `wait`, again and again.
LOOK = 0.2


class BadMessage(Exception):
    """A message that is invalid, unexpected or too large."""


class Ended(Exception):
    """The other end of the channel is closed."""


@dataclass(frozen=True)
class Message:
    """One message: its kind, its fields, its arrays by name, and the other bytes of its payload (`blob`)."""

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    blob: bytes = b""

    def count(self, name: str) -> int:
        """The field `name`, a non-negative integer below 2**53. Raises BadMessage."""
        value = self.fields.get(name)
        if type(value) is not int or not 0 <= value < 2**53:
            raise BadMessage(f"'{name}' of a message '{self.kind}' is not a whole number, at least 0")
        return value

    def array(self, name: str) -> np.ndarray:
        """The array `name`. Raises BadMessage."""
        if name not in self.arrays:
            raise BadMessage(f"a message '{self.kind}' has no array '{name}'")
        return self.arrays[name]


class Channel:
    """One end of a socket pair. While it cannot read or write, it calls `wait()` every `LOOK` seconds."""

    def __init__(self, end: socket.socket, wait: Callable[[], None] = lambda: None) -> None:
        self._end, self._wait = end, wait
        # Whether a message is being sent. No other may be begun then.
        self.sending = False
        end.setblocking(False)

    def send(
        self, kind: str, arrays: Mapping[str, np.ndarray] | None = None, blob: bytes = b"", **fields: Any
    ) -> None:
        """Send a message. Raises Ended if the other end is closed."""
        kept = {name: np.array(values, order="C", copy=None) for name, values in (arrays or {}).items()}
        described = [[name, values.dtype.name, list(values.shape)] for name, values in kept.items()]
        header = json.dumps({**fields, "kind": kind, "arrays": described}).encode()
        size = sum(values.nbytes for values in kept.values()) + len(blob)
        self.sending = True
        try:
            self._write(_LENGTHS.pack(len(header), size) + header)
            for values in kept.values():
                if values.nbytes:
                    self._write(values.reshape(-1).view(np.uint8).data)
            self._write(blob)
        finally:
            self.sending = False

    def receive(self, most: int = MOST_PAYLOAD) -> Message:
        """Return the next message, with a payload of at most `most` bytes. Raises BadMessage and Ended."""
        header_size, size = _LENGTHS.unpack(self._read(_LENGTHS.size))
        if header_size > MOST_HEADER or size > most:
            raise BadMessage(f"a message of {header_size:,} and {size:,} bytes; at most {most:,} fit")
        fields, described = _header(self._read(header_size))
        sizes = [math.prod(shape) * np.dtype(dtype).itemsize for _, dtype, shape in described]
        if sum(sizes) > size:
            raise BadMessage("a message is shorter than its arrays")
        arrays = {}
        for (name, dtype, shape), nbytes in zip(described, sizes, strict=True):
            content = np.frombuffer(self._read(nbytes), dtype)
            try:
                arrays[name] = content.reshape(shape)
            except ValueError as error:
                # An array without values may state a dimension that is too large for numpy.
                raise BadMessage(f"an array of an impossible shape: {error}") from error
        return Message(fields.pop("kind"), fields, arrays, bytes(self._read(size - sum(sizes))))

    def ready(self) -> bool:
        """Whether something can be read, or the other end is closed."""
        return bool(select.select([self._end], [], [], 0)[0])

    def close(self) -> None:
        """Close this end."""
        self._end.close()

    def _write(self, content: Any) -> None:
        left = memoryview(content)
        while left:
            if not select.select([], [self._end], [], LOOK)[1]:
                self._wait()
                continue
            try:
                left = left[self._end.send(left[:_PART]) :]
            except OSError as error:
                raise Ended from error

    def _read(self, size: int) -> bytearray:
        # Grow with the received bytes: a sender that announces much and sends nothing must cost no memory.
        content = bytearray()
        while len(content) < size:
            if not select.select([self._end], [], [], LOOK)[0]:
                self._wait()
                continue
            try:
                part = self._end.recv(min(_PART, size - len(content)))
            except OSError as error:
                raise Ended from error
            if not part:
                raise Ended
            content += part
        return content


def _header(text: bytearray) -> tuple[dict[str, Any], list[tuple[str, str, tuple[int, ...]]]]:
    try:
        fields = json.loads(text.decode())
        described = [(name, dtype, tuple(shape)) for name, dtype, shape in fields.pop("arrays")]
        right = isinstance(fields["kind"], str)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadMessage("a message without a header") from error
    for name, dtype, shape in described:
        sizes = len(shape) <= _MOST_DIMENSIONS and all(type(n) is int and 0 <= n < 2**53 for n in shape)
        right = right and isinstance(name, str) and dtype in _DTYPES and sizes
    if not right:
        raise BadMessage("a message whose header describes no arrays")
    return fields, described
