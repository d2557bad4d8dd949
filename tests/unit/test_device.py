"""Scoring computes in full float32, whatever a training has left on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import toys
from ebbench.device import pinned

BACKENDS = torch.backends
PARTS = {
    "matmul": BACKENDS.cuda.matmul,
    "conv": BACKENDS.cudnn.conv,
    "rnn": BACKENDS.cudnn.rnn,
    "matmul on the CPU": BACKENDS.mkldnn.matmul,
    "conv on the CPU": BACKENDS.mkldnn.conv,
    "rnn on the CPU": BACKENDS.mkldnn.rnn,
}


def precisions() -> dict[str, str]:
    return {name: part.fp32_precision for name, part in PARTS.items()}


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before, whole = precisions(), torch.get_float32_matmul_precision()
    kernels = BACKENDS.cudnn.benchmark, BACKENDS.cudnn.deterministic
    yield
    torch.set_float32_matmul_precision(whole)
    for name, part in PARTS.items():
        part.fp32_precision = before[name]
    BACKENDS.cudnn.benchmark, BACKENDS.cudnn.deterministic = kernels
    torch.set_autocast_enabled("cpu", False)


def test_no_tf32_no_bfloat16_and_no_autocast_while_pinned():
    # TF32 for the GPU's products, bfloat16 for the CPU's.
    torch.set_float32_matmul_precision("medium")
    BACKENDS.cudnn.conv.fp32_precision = "tf32"
    BACKENDS.cudnn.benchmark = True
    torch.set_autocast_enabled("cpu", True)
    left = precisions()
    assert {"tf32", "bf16"} <= set(left.values())
    a = torch.rand(8, 8)
    with pytest.raises(KeyError), pinned():
        assert set(precisions().values()) == {"ieee"}
        assert not BACKENDS.cudnn.benchmark and BACKENDS.cudnn.deterministic
        assert (a @ a).dtype == torch.float32
        raise KeyError
    assert precisions() == left and BACKENDS.cudnn.benchmark
    assert (a @ a).dtype == torch.bfloat16


def test_a_model_that_trains_fast_is_scored_in_full(cli, plugins: Path, tmp_path: Path):
    code = toys.MODEL.replace(
        "self.opt = ", 'torch.set_float32_matmul_precision("medium"); self.opt = '
    ).replace(
        "    def sample(self, n):\n",
        "    def sample(self, n):\n"
        "        backends = torch.backends\n"
        "        parts = backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul\n"
        "        with open('seen.txt', 'a') as file:\n"
        "            print([part.fp32_precision for part in parts], file=file)\n",
    )
    toys.write_model(plugins, code, "hasty")
    words = ["run", "--task", "dots", "--model", "hasty", "--budget", "smoke", "--seeds", "0", "--quiet"]
    said = cli(*words)
    assert said.code == 0, said.err
    lines = (tmp_path / "seen.txt").read_text().splitlines()
    # 60 steps of training, then 100 samples in chunks of 16.
    assert set(lines[60:]) == {"['ieee', 'ieee', 'ieee']"} and len(lines) == 67
    assert "bf16" in lines[0] and "tf32" in lines[0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_s_products_are_of_float32_while_pinned():
    torch.set_float32_matmul_precision("medium")
    a = torch.rand(1024, 1024, device="cuda", generator=torch.Generator("cuda").manual_seed(0))
    exact = a.double() @ a.double()
    with pinned():
        full = ((a @ a).double() - exact).abs().max() / exact.abs().max()
    fast = ((a @ a).double() - exact).abs().max() / exact.abs().max()
    # 24 bits against TF32's 11.
    assert full < 1e-6 < fast
