"""Where a number comes from: code, packages, hardware, data, command.

A result is published, so nothing here may tell who ran it or where: no path outside the working
directory, no user name and no host name. What is collected avoids them; `scrub` takes them out of
the one text that the user wrote, the command.
"""

from __future__ import annotations

import functools
import getpass
import importlib.metadata
import os
import platform
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import ebbench
from ebbench.result import Cpu, Flags, Git, Gpu, Provenance

if TYPE_CHECKING:
    import torch

# The distributions whose version can move a score or a training.
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

# Set for runs that share one GPU, by whoever starts them together.
SHARED_GPU = "EBBENCH_SHARED_GPU"
# What else differs from the commit (results, documents, tests) does not make the code another.
_CODE = ("ebbench", "tasks", "baselines", "pyproject.toml")

_SECONDS = 10.0


def collect(
    device: str | torch.device, data_hashes: Mapping[str, str], code_hash: str, command: str | Sequence[str]
) -> Provenance:
    """The provenance of what runs in this process on `device`.

    `data_hashes` are SHA-256 by file name, `code_hash` is the plug-in folder's, `command` is the
    command line, as one text or as the words of `sys.argv`. Peak GPU memory is what torch held since
    the process began or `torch.cuda.reset_peak_memory_stats` was called.
    """
    import torch

    device = torch.device(device)
    return Provenance(
        ebbench=ebbench.__version__,
        git=running_code(),
        packages=packages(),
        python=platform.python_version(),
        platform=scrub(f"{platform.system()} {platform.release()} {platform.machine()}"),
        device=device.type,
        cpu=Cpu(
            model=cpu_model(),
            physical_cores=physical_cores(),
            logical_cores=os.cpu_count(),
            threads=torch.get_num_threads(),
        ),
        gpu=_gpu(device),
        flags=Flags(
            # Not `allow_tf32`: torch refuses to read it once the precision was set the newer way.
            tf32_matmul=torch.backends.cuda.matmul.fp32_precision == "tf32",
            tf32_cudnn=torch.backends.cudnn.conv.fp32_precision == "tf32",  # type: ignore[attr-defined]
            deterministic_algorithms=torch.are_deterministic_algorithms_enabled(),
            cudnn_deterministic=torch.backends.cudnn.deterministic,
            cudnn_benchmark=torch.backends.cudnn.benchmark,
        ),
        data_hashes={Path(name).name: value for name, value in data_hashes.items()},
        code_hash=code_hash,
        command=scrub_command(command),
    )


@functools.cache
def running_code() -> Git | None:
    """What `git` said when it was first asked: HEAD may move on while a process trains with older code."""
    return git()


def git(root: Path | None = None) -> Git | None:
    """The commit of the project's checkout, or None if this ebbench does not run from one.

    `root` is the folder that would be the checkout (default: the one that holds the package). An
    installed copy inside somebody else's repository is no checkout: the repository must be rooted
    at `root` and `root` must hold this project's `pyproject.toml`.
    """
    root = Path(__file__).resolve().parents[1] if root is None else root
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
    # A status that could not be had must not pass for a clean tree.
    return Git(commit=commit, dirty=changed is None or changed != "")


def _git(root: Path, *words: str) -> str | None:
    # GIT_DIR and its kin, set when a hook runs us, would point at another repository.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return _output(["git", "--no-optional-locks", "-C", str(root), *words], clean)


def _output(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str | None:
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


def packages(names: Iterable[str] = PACKAGES) -> dict[str, str]:
    """The versions of the distributions that are installed, by name; imports none of them."""
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


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
    if platform.system() == "Darwin" and (brand := _output(["sysctl", "-n", "machdep.cpu.brand_string"])):
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
    if platform.system() == "Darwin" and (count := _output(["sysctl", "-n", "hw.physicalcpu"])):
        return int(count)
    return None


def shared_gpu(device: torch.device) -> bool:
    """Whether others use this process's GPU at the same time, so that its seconds are no timing."""
    return device.type == "cuda" and bool(os.environ.get(SHARED_GPU))


def _gpu(device: torch.device) -> Gpu | None:
    import torch

    if device.type != "cuda":
        return None
    driver = _output(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"])
    return Gpu(
        name=torch.cuda.get_device_name(device),
        driver=driver.splitlines()[0].strip() if driver else None,
        cuda=torch.version.cuda,
        peak_memory=torch.cuda.max_memory_allocated(device),
        shared=shared_gpu(device),
    )


def scrub_command(command: str | Sequence[str]) -> str:
    """A command line as one may publish it.

    Of words, the program keeps its base name only, and a word that is a path as a whole
    ("--out=/a b/c" too) may hold spaces.
    """
    if isinstance(command, str):
        return scrub(command)
    if not command:
        return ""
    first, *rest = command
    program = re.split(r"[/\\]", first)[-1]
    return " ".join([_quote(scrub(program)), *(_quote(_scrub_word(word)) for word in rest)])


def _scrub_word(word: str) -> str:
    word = _shorten(word)
    flag, equals, value = word.partition("=")
    if _is_absolute(value):
        word = flag + equals + _last(value)
    elif _is_absolute(word):
        word = _last(word)
    return scrub(word)


def _quote(word: str) -> str:
    # "~" and "***" are ours and would be quoted for nothing.
    return word if re.fullmatch(r"[\w@%+=:,./~*-]+", word) else shlex.quote(word)


# An absolute path: POSIX, "C:\..." or "\\server\...", up to a space, quote or separator; not the
# inside of a relative one, but what follows a short flag ("-I/usr").
_ABSOLUTE = re.compile(r"(?:(?<![\w.~*-])|(?<=\B-\w))(?:[A-Za-z]:[\\/]|\\\\|/)[^\s'\",;=:]*")


def scrub(text: str) -> str:
    """`text` without absolute paths, the user's name or the host's.

    The working directory becomes ".", the home directory "~", any other absolute path "***/" and
    its last component; the user's and the host's name become "***" wherever they stand as words.
    """
    return _scrub_names(_ABSOLUTE.sub(lambda found: _last(found[0]), _shorten(text)))


def _shorten(text: str) -> str:
    # Bytes of the command line that are no UTF-8 arrive as surrogates, which no JSON file can hold.
    text = text.encode("utf-8", "replace").decode("utf-8")
    for prefix, short in _prefixes():
        text = re.sub(re.escape(prefix) + r"(?![\w-])", short, text)
    return text


def _is_absolute(text: str) -> bool:
    return text.startswith(("/", "\\\\")) or re.match(r"[A-Za-z]:[\\/]", text) is not None


def _last(path: str) -> str:
    name = re.split(r"[/\\]", path.rstrip("/\\"))[-1]
    # Paths are full of names (/home/alice, backup_alice): here a part of a word is enough.
    told = any(word.lower() in name.lower() for word in _names())
    return "***" if told or not name or name.endswith(":") else f"***/{name}"


def _scrub_names(text: str) -> str:
    for name in _names():
        whole = rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])"
        text = re.sub(whole, "***", text, flags=re.IGNORECASE)
    return text


def _prefixes() -> list[tuple[str, str]]:
    places = [(str(Path.cwd()), "."), (os.environ.get("PWD", ""), ".")]
    try:
        home = str(Path.home())
    except RuntimeError:
        home = ""
    places += [(home, "~"), (os.path.realpath(home) if home else "", "~")]
    # Longest first: the working directory is often inside the home directory.
    return sorted((p for p in places if len(p[0]) > 1), key=lambda place: -len(place[0]))


def _names() -> list[str]:
    host = socket.gethostname()
    found = {host, host.partition(".")[0]}
    found |= {os.environ.get(name, "") for name in ("USER", "LOGNAME", "USERNAME", "SUDO_USER")}
    with suppress(OSError, KeyError, ImportError):  # no such user id, as in some containers
        found.add(getpass.getuser())
    found -= {""}
    return sorted(found, key=lambda name: (-len(name), name))
