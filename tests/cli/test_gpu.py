"""Each kind of method trains, is scored and leaves its mark on a GPU, where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ebbench.record import resultfiles

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
CAPTURED = ["meg", "wgan-gp", "sngan", "ebgan:pt"]
MODELS = [*CAPTURED, "entropic-gan", "bigan", "vae"]


@pytest.mark.parametrize("model", MODELS)
def test_a_method_runs_on_a_gpu(cli, tmp_path: Path, model: str):
    words = ["run", "--task", "toy2d", "--set", "law=8gaussians", "--model", model, "--budget", "smoke"]
    said = cli(*words, "--seeds", "0", "--device", "cuda", "--quiet")
    assert said.code == 0, said.err
    (made,) = resultfiles.load_all(tmp_path / "results")[0]
    gpu = made.provenance.gpu
    assert gpu is not None and gpu.peak_memory > 0 and not gpu.shared
    assert made.training.as_graph == (model in CAPTURED)


def test_a_sampler_over_a_base_runs_on_a_gpu(cli, tmp_path: Path):
    words = ["run", "--task", "toy2d", "--set", "law=8gaussians", "--model", "ddls", "--set", "base=wgan-gp"]
    said = cli(*words, "--budget", "smoke", "--seeds", "0", "--device", "cuda", "--quiet")
    assert said.code == 0, said.err
    (made,) = resultfiles.load_all(tmp_path / "results")[0]
    assert made.provenance.gpu is not None and made.scoring.diagnostics
