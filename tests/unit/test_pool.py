"""Training data in memory: in the range of their spec, and out of a model's reach."""

from __future__ import annotations

import pytest
import torch

from ebbench import DataSpec
from ebbench.data.pool import Pool, to_bytes

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
@pytest.mark.parametrize(
    "index", [torch.arange(4), torch.tensor(2), slice(None), 1, torch.tensor([True, False, True, True]), ...]
)
def test_what_a_model_does_to_its_batch_stays_with_it(dtype: torch.dtype, index: object):
    spec = DataSpec(name="x", shape=(2,), low=-1, high=1)
    pool = Pool(torch.arange(8).view(4, 2).to(dtype), None, spec, CPU)
    before = pool[torch.arange(4)].clone()
    pool[index].fill_(7)
    pool.fresh(3, torch.Generator().manual_seed(0)).fill_(7)
    assert torch.equal(pool[torch.arange(4)], before)


def test_bytes_are_brought_to_the_range_and_back():
    spec = DataSpec(name="x", shape=(1,), low=-1, high=1)
    every = torch.arange(256, dtype=torch.uint8)[:, None]
    pool = Pool(every, None, spec, CPU)
    taken = pool[torch.arange(256)]
    assert taken.dtype == torch.float32 and (taken.min(), taken.max()) == (-1, 1)
    assert torch.equal(to_bytes(taken, spec), every)


def test_fresh_examples_are_held_out_where_there_are_any():
    spec = DataSpec(name="x", shape=(1,))
    pool = Pool(torch.zeros(5, 1), torch.ones(3, 1), spec, CPU)
    assert len(pool) == 5 and pool.device == CPU
    drawn = pool.fresh(10, torch.Generator().manual_seed(0))
    assert drawn.shape == (10, 1) and (drawn == 1).all()
