"""The origin of a number: code, packages, hardware, data, command.

Results are published, so nothing here may reveal who ran it or where: no path outside the working directory,
no user name and no host name. The collected values avoid them; `scrub` removes them from the only text that
the user wrote, the command.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import ebbench
from ebbench.device import cpu_model, output_of, physical_cores, shared_gpu
from ebbench.record.schema import Cpu, Flags, Git, Gpu, Provenance
from ebbench.record.scrub import scrub
from ebbench.record.text import shortened
from ebbench.record.values import MOST_OF_A_LINE, MOST_OF_A_NAME

if TYPE_CHECKING:
    import torch

# Packages whose version can change a score or a training.
PACKAGES = (
    "torch",
    "torchvision",
    "torch-fidelity",
    "numpy",
    "scipy",
    "scikit-learn",
    "pandas",
    "pillow",
    "safetensors",
    "pydantic",
)


# Other differences from the commit (results, documents, tests) do not change the code.
_CODE = ("ebbench", "tasks", "baselines", "pyproject.toml")


def collect(
    device: str | torch.device, data_hashes: Mapping[str, str], code_hash: str, command: str
) -> Provenance:
    """The provenance of the current process on `device`.

    `data_hashes` are SHA-256 by file name, `code_hash` is the model's, `command` is the command that repeats
    the run. Texts that are too long for a result are truncated. Peak GPU memory is torch's maximum since the
    process began or `torch.cuda.reset_peak_memory_stats` was called.
    """
    import torch

    device = torch.device(device)
    return Provenance(
        ebbench=ebbench.__version__,
        git=running_code(),
        packages=packages(),
        python=platform.python_version(),
        platform=shortened(
            scrub(f"{platform.system()} {platform.release()} {platform.machine()}"), MOST_OF_A_NAME
        ),
        device=device.type,
        cpu=Cpu(
            model=shortened(cpu_model(), MOST_OF_A_NAME),
            physical_cores=physical_cores(),
            logical_cores=os.cpu_count(),
            threads=torch.get_num_threads(),
        ),
        gpu=_gpu(device),
        flags=Flags(
            # Not `allow_tf32`, which torch refuses to read after the precision was set by the newer
            # interface.
            tf32_matmul=torch.backends.cuda.matmul.fp32_precision == "tf32",
            tf32_cudnn=torch.backends.cudnn.conv.fp32_precision == "tf32",  # type: ignore[attr-defined]
            deterministic_algorithms=torch.are_deterministic_algorithms_enabled(),
            cudnn_deterministic=torch.backends.cudnn.deterministic,
            cudnn_benchmark=torch.backends.cudnn.benchmark,
        ),
        data_hashes=hashes_by_name(data_hashes),
        code_hash=code_hash,
        command=shortened(scrub(command), MOST_OF_A_LINE),
    )


def hashes_by_name(hashes: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 by file name, with names that a result can hold; folders are dropped."""
    return {shortened(Path(name).name, MOST_OF_A_NAME): value for name, value in hashes.items()}


@functools.cache
def running_code() -> Git | None:
    """The result of the first `git` call: HEAD may move while a process trains with older code."""
    return git()


def git(root: Path | None = None) -> Git | None:
    """The commit of the project's checkout, or None if this ebbench does not run from one.

    `root` is the folder to test (default: the one that holds the package). An installed copy inside another
    repository is not a checkout: the repository's root must be `root`, and it must hold this project's
    `pyproject.toml`.
    """
    root = Path(__file__).resolve().parents[2] if root is None else root
    try:
        project = (root / "pyproject.toml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    if not re.search(r'^name\s*=\s*"ebbench"', project, re.MULTILINE):
        return None
    top = _git(root, "rev-parse", "--show-toplevel")
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    if not top or not commit or not os.path.samefile(top, root):
        return None
    changed = _git(root, "status", "--porcelain", "--", *_CODE)
    # A failed status call must not count as a clean tree.
    return Git(commit=commit, dirty=changed is None or changed != "")


def _git(root: Path, *words: str) -> str | None:
    # GIT_DIR and similar variables, set if a hook runs us, would point to another repository.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return output_of(["git", "--no-optional-locks", "-C", str(root), *words], clean)


def packages(names: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Versions of the installed packages, by name; imports none of them."""
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _gpu(device: torch.device) -> Gpu | None:
    import torch

    if device.type != "cuda":
        return None
    driver = output_of(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"])
    return Gpu(
        name=shortened(torch.cuda.get_device_name(device), MOST_OF_A_NAME),
        driver=driver.splitlines()[0].strip() if driver else None,
        cuda=torch.version.cuda,
        peak_memory=torch.cuda.max_memory_allocated(device),
        shared=shared_gpu(device),
    )
