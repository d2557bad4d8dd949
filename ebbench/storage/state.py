"""A tree of tensors, arrays and plain values on disk: safetensors plus a JSON sidecar, no pickle.

The sidecar is written last and by an atomic rename, and names the tensor file that belongs to it.
Killed at any moment, the pair that was there before is still whole.
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
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from ebbench.errors import StorageError
from ebbench.storage.files import write_atomically

FORMAT = 1


def save(tree: Mapping[str, Any], sidecar: Path) -> None:
    """Write `tree` to `sidecar` (JSON) and a safetensors file beside it, replacing what was there.

    The tree is made of dicts (string or integer keys), lists, tuples, tensors, NumPy arrays, strings,
    numbers, booleans and None. Raises StorageError, with the old state kept, if the disk refuses.
    """
    tensors: dict[str, torch.Tensor] = {}
    plain = _flatten(tree, tensors, "")
    # Contiguous copies: safetensors refuses tensors that share memory (tied weights, views).
    blob = save_tensors({name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()})
    digest = hashlib.sha256(blob).hexdigest()
    tensor_file = sidecar.with_name(f"{sidecar.stem}-{digest[:16]}.safetensors")
    document = {"format": FORMAT, "tensors": tensor_file.name, "sha256": digest, "tree": plain}
    try:
        write_atomically(tensor_file, blob)
        write_atomically(sidecar, json.dumps(document).encode())
        for old in sidecar.parent.glob(f"{sidecar.stem}-*.safetensors"):
            if old != tensor_file:
                old.unlink()
    except OSError as error:
        raise StorageError(
            f"the state could not be written: {error.strerror or error}",
            where=sidecar.name,
            expected=f"room for {len(blob) / 2**20:.1f} MiB in the run store, and leave to write there",
            fix="free some space (or set EBBENCH_HOME to another disk) and give the same command again; "
            "the state saved before is untouched",
        ) from error


def load(sidecar: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read what `save` wrote. Raises StorageError if the pair is not whole."""
    try:
        document = json.loads(sidecar.read_bytes())
        blob = (sidecar.parent / document["tensors"]).read_bytes()
    except (OSError, ValueError, KeyError) as error:
        raise StorageError(
            "a stored state cannot be read",
            where=str(sidecar),
            expected="a JSON sidecar and the safetensors file that it names",
            fix="delete the folder that it lies in and give the same command again: it trains anew",
        ) from error
    if document.get("format") != FORMAT or hashlib.sha256(blob).hexdigest() != document["sha256"]:
        raise StorageError(
            "a stored state is damaged or of another version",
            where=str(sidecar),
            expected=f"format {FORMAT} and the SHA-256 that the sidecar gives",
            fix="delete the folder that it lies in and give the same command again: it trains anew",
        )
    tensors = {name: t.to(device) for name, t in load_tensors(blob).items()}
    tree = _restore(document["tree"], tensors)
    assert isinstance(tree, dict)
    return tree


# Types that JSON has no word for stand as {"$": tag, ...}; a dict's own keys are kept in "$": "dict".
def _flatten(value: Any, tensors: dict[str, torch.Tensor], name: str) -> Any:
    if isinstance(value, torch.Tensor | np.ndarray):
        key = name or "value"
        tensors[key] = torch.as_tensor(value)
        if isinstance(value, torch.Tensor) and _is_channels_last(value):
            return {"$": "channels_last", "key": key}
        return {"$": "array" if isinstance(value, np.ndarray) else "tensor", "key": key}
    if isinstance(value, Mapping):
        items = [[k, _flatten(v, tensors, f"{name}.{k}" if name else str(k))] for k, v in value.items()]
        if all(isinstance(k, str) and k != "$" for k, _ in items):
            return dict(items)
        return {"$": "dict", "items": items}
    if isinstance(value, list | tuple):
        items = [_flatten(v, tensors, f"{name}.{i}") for i, v in enumerate(value)]
        return items if isinstance(value, list) else {"$": "tuple", "items": items}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$": "float", "text": repr(value)}
    if isinstance(value, np.generic):
        return _flatten(value.item(), tensors, name)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise StorageError(
        f"a state holds a value of type {type(value).__name__}, which cannot be stored",
        where=name,
        expected="tensors, NumPy arrays, dicts, lists, tuples, strings, numbers, booleans, None",
        fix="override state_dict and load_state_dict in the model",
    )


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
            # The order in memory matters: fused Adam pairs a parameter and its moments by address.
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
            raise StorageError(f"a stored state has an unknown tag '{tag}'")
