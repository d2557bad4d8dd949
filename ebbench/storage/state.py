"""Store a tree of tensors, arrays and plain values as a safetensors file and a JSON sidecar, without pickle.

The sidecar names the tensor file that belongs to it. It is written last, by an atomic rename. So if the
process is killed at any moment, the previous pair of files is still complete.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from ebbench.errors import StorageError
from ebbench.storage.files import write_atomically

FORMAT = 2
# Format 1 named a tensor by its keys, joined by full stops. Two tensors could then have the same name.
READABLE = (1, FORMAT)


def save(tree: Mapping[str, Any], sidecar: Path) -> None:
    """Write `tree` to `sidecar` (JSON) and a safetensors file beside it, and replace the state before it.

    The tree is made of dicts (string or integer keys), lists, tuples, tensors, NumPy arrays of numbers,
    strings, numbers, booleans and None. Raises StorageError for anything else, and if the files cannot be
    written. The old state is kept then.
    """
    text_of_tree, blob = pack(tree)
    digest = hashlib.sha256(blob).hexdigest()
    tensor_file = sidecar.with_name(f"{sidecar.stem}-{digest[:16]}.safetensors")
    document = {"format": FORMAT, "tensors": tensor_file.name, "sha256": digest, "tree": None}
    text = json.dumps(document).removesuffix("null}").encode() + text_of_tree.encode() + b"}"
    try:
        write_atomically(tensor_file, blob)
        write_atomically(sidecar, text)
        for old in sidecar.parent.glob(f"{sidecar.stem}-*.safetensors"):
            if old != tensor_file:
                old.unlink()
    except OSError as error:
        raise StorageError(
            f"the state could not be written: {error.strerror or error}",
            where=sidecar.name,
            expected=f"room for {len(blob) / 2**20:.1f} MiB in the run store, and write permission there",
            fix="free some space (or set EBBENCH_HOME to another disk) and give the same command again; "
            "the state saved before is untouched",
        ) from error


def pack(tree: Mapping[str, Any]) -> tuple[str, bytes]:
    """Return a tree as JSON text and safetensors bytes. `save` describes the tree and the StorageError."""
    tensors: dict[str, torch.Tensor] = {}
    try:
        return json.dumps(_flatten(tree, tensors, "")), save_tensors(tensors)
    except RecursionError as error:
        raise _not_storable("", "a tree that is nested too deeply or contains itself,") from error
    except ValueError as error:
        raise _not_storable("", f"a value that JSON cannot hold ({error}),") from error


def unpack(text: str, blob: bytes, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Return the tree that `pack` was given. Raises ValueError for anything that `pack` never returns."""
    try:
        tree = _restore(json.loads(text), {name: t.to(device) for name, t in load_tensors(blob).items()})
    except (SafetensorError, RuntimeError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"not a state: {error}") from error
    if not isinstance(tree, dict):
        raise ValueError("not a state: it is not a dict")
    return tree


def load(sidecar: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a tree that `save` wrote, in any earlier format too. Raises StorageError for a damaged pair."""
    try:
        document = json.loads(sidecar.read_bytes())
        name = document["tensors"]
        # A state may come in a pack from another machine. It must not name a file outside its folder.
        if Path(name).name != name:
            raise ValueError(f"{name} is not a file beside it")
        blob = (sidecar.parent / name).read_bytes()
        whole = hashlib.sha256(blob).hexdigest() == document["sha256"]
        version, plain = document["format"], document["tree"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(
            sidecar, "cannot be read", "a JSON sidecar and the safetensors file that it names"
        ) from error
    if not whole or version not in READABLE:
        raise _unreadable(
            sidecar,
            "is damaged or of another version",
            f"format {FORMAT} and the SHA-256 that the sidecar gives",
        )
    try:
        tree = _restore(plain, {name: t.to(device) for name, t in load_tensors(blob).items()})
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unreadable(sidecar, "is damaged", "a tree as `save` writes it") from error
    if not isinstance(tree, dict):
        raise _unreadable(sidecar, "is damaged", "a tree as `save` writes it")
    return tree


def _unreadable(sidecar: Path, what: str, expected: str) -> StorageError:
    return StorageError(
        f"a stored state {what}",
        where=str(sidecar),
        expected=expected,
        fix="delete its folder and give the same command again, which trains again",
    )


def _not_storable(name: str, what: str) -> StorageError:
    return StorageError(
        f"a state holds {what} which cannot be stored",
        where=name,
        expected="tensors, NumPy arrays of numbers, dicts with strings or integers for keys, lists, tuples, "
        "strings, numbers, booleans, None",
        fix="override state_dict and load_state_dict in the model",
    )


# A value without a type in JSON becomes {"$": tag, ...}. A dict with a key that JSON cannot hold, or with the
# key "$", becomes one with the tag "dict". Tensors are named by numbers, since the sidecar has their places
# in the tree. `name` is for error messages.
def _flatten(value: Any, tensors: dict[str, torch.Tensor], name: str) -> Any:
    if isinstance(value, torch.Tensor | np.ndarray):
        key = str(len(tensors))
        tensors[key] = _stored(value, name)
        if isinstance(value, torch.Tensor) and _is_channels_last(value):
            return {"$": "channels_last", "key": key}
        return {"$": "array" if isinstance(value, np.ndarray) else "tensor", "key": key}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str | int):
                raise _not_storable(name, f"a key of type {type(key).__name__}, {key!r},")
        items = [[k, _flatten(v, tensors, f"{name}.{k}" if name else str(k))] for k, v in value.items()]
        if all(isinstance(k, str) and k != "$" for k, _ in items):
            return dict(items)
        return {"$": "dict", "items": items}
    if isinstance(value, list | tuple):
        items = [_flatten(v, tensors, f"{name}.{i}") for i, v in enumerate(value)]
        return items if isinstance(value, list) else {"$": "tuple", "items": items}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$": "float", "text": repr(float(value))}
    if isinstance(value, np.generic):
        return _flatten(value.item(), tensors, name)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise _not_storable(name, f"a value of type {type(value).__name__},")


def _stored(value: torch.Tensor | np.ndarray, name: str) -> torch.Tensor:
    """Return a contiguous copy on the CPU. safetensors refuses tensors that share memory, such as views."""
    try:
        if isinstance(value, np.ndarray):
            # torch takes only the machine's own byte order.
            return torch.from_numpy(np.array(value, value.dtype.newbyteorder("="), order="C"))
        made = value.detach().cpu().contiguous().clone()
        # safetensors refuses some tensors (sparse, quantised). Find this out here, where the name is known.
        save_tensors({"tried": made[:0] if made.dim() else made})
    except (TypeError, ValueError, KeyError, RuntimeError, NotImplementedError, SafetensorError) as error:
        kind = f"{type(value).__name__} of {value.dtype}"
        raise _not_storable(name, f"a {kind} ({str(error).splitlines()[0]}),") from error
    return made


def _is_channels_last(tensor: torch.Tensor) -> bool:
    return (
        tensor.dim() == 4
        and not tensor.is_contiguous()
        and tensor.is_contiguous(memory_format=torch.channels_last)
    )


def _restore(value: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_restore(v, tensors) for v in value]
    if not isinstance(value, dict):
        return value
    match value.get("$"):
        case None:
            return {k: _restore(v, tensors) for k, v in value.items()}
        case "tensor":
            return tensors[value["key"]]
        case "channels_last":
            # Restore the order in memory: fused Adam pairs a parameter and its moments by address.
            return tensors[value["key"]].contiguous(memory_format=torch.channels_last)
        case "array":
            return tensors[value["key"]].cpu().numpy()
        case "dict":
            return {k: _restore(v, tensors) for k, v in value["items"]}
        case "tuple":
            return tuple(_restore(v, tensors) for v in value["items"])
        case "float":
            return float(value["text"])
        case tag:
            raise ValueError(f"an unknown tag '{tag}'")
