"""The processor or graphics card that a run uses: which one, and how it computes."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebbench.errors import UsageError

# Loaded where it is used: a sweep on a cluster's login node need not have it in memory.
if TYPE_CHECKING:
    import torch


def choose_device(name: str) -> torch.device:
    """ "auto" is the first GPU where there is one, else the CPU. Raises UsageError."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"device '{name}' cannot be used: {str(error).splitlines()[0]}",
            where="--device",
            expected="auto, cpu, cuda or cuda:N",
            fix="`ebbench doctor` shows what is there",
        ) from error
    return device


@contextmanager
def pinned() -> Iterator[None]:
    """Scoring in full float32, with fixed kernels that sum in one order: speed must not move a score.

    No TF32, no bfloat16 and no autocast, whatever a model's training has left on, on the GPU and on the CPU.
    """
    import torch

    backends: Any = torch.backends
    cudnn, mkldnn = backends.cudnn, backends.mkldnn
    parts = (backends.cuda.matmul, cudnn.conv, cudnn.rnn, mkldnn.matmul, mkldnn.conv, mkldnn.rnn)
    before = [part.fp32_precision for part in parts]
    kernels = (cudnn.benchmark, cudnn.deterministic)
    for part in parts:
        part.fp32_precision = "ieee"
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        with torch.autocast("cuda", enabled=False), torch.autocast("cpu", enabled=False):
            yield
    finally:
        for part, precision in zip(parts, before, strict=True):
            part.fp32_precision = precision
        cudnn.benchmark, cudnn.deterministic = kernels


# A short command that takes longer is given up.
_SECONDS = 10.0

# Set for runs that share one GPU, by whoever starts them together.
SHARED_GPU = "EBBENCH_SHARED_GPU"


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def cpu_model() -> str:
    """The processor's name, or the architecture where the system tells no more."""
    found = re.search(r"^model name\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    if found:
        return found[1].strip()
    if platform.system() == "Darwin" and (brand := output_of(["sysctl", "-n", "machdep.cpu.brand_string"])):
        return brand
    return platform.processor() or platform.machine() or "unknown"


def physical_cores() -> int | None:
    """The number of physical cores, or None where the system does not tell."""
    cores = set()
    for block in _cpuinfo().split("\n\n"):
        package = re.search(r"^physical id\s*:\s*(\d+)$", block, re.MULTILINE)
        core = re.search(r"^core id\s*:\s*(\d+)$", block, re.MULTILINE)
        if package and core:
            cores.add((package[1], core[1]))
    if cores:
        return len(cores)
    if platform.system() == "Darwin" and (count := output_of(["sysctl", "-n", "hw.physicalcpu"])):
        return int(count)
    return None


def gpus_for(device: str, environment: Mapping[str, str]) -> list[str]:
    """The graphics cards of this machine to choose from for runs with `--device`, as CUDA names them.

    None for the CPU, and none for one card that is named: then every run takes that one.
    """
    if device not in ("auto", "cuda"):
        return []
    import torch

    if not torch.cuda.is_available():
        return []
    visible = environment.get("CUDA_VISIBLE_DEVICES", "")
    named = [name.strip() for name in visible.split(",") if name.strip()]
    return named or [str(number) for number in range(torch.cuda.device_count())]


def shared_gpu(device: torch.device) -> bool:
    """Whether others use this process's GPU at the same time, so that its seconds are no timing."""
    return device.type == "cuda" and bool(os.environ.get(SHARED_GPU))


def output_of(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str | None:
    """What a short command prints, or None if it is not there, fails, or takes too long."""
    program = shutil.which(command[0])
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *command[1:]],
            capture_output=True,
            timeout=_SECONDS,
            env=None if environment is None else dict(environment),
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None
