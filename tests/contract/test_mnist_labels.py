"""MNIST with few labels: which images have a label, what a model is given, and what counts as an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ebbench
from ebbench import ContractError, DataSpec, UsageError
from ebbench.contract import CLASSIFY
from ebbench.data import mnist as archive
from ebbench.data.labelled import GivenLabelled, LabelledPool, given, labels_of
from ebbench.data.pool import Given, Pool
from ebbench.data.store import Store
from ebbench.plugins import introspection, loader
from ebbench.running.curves import Curves
from ebbench.running.sources import CallableSource, chosen_scores

CPU = torch.device("cpu")


class Named:
    """Names the digit of each test image by a function of the images; keeps the images."""

    def __init__(self, name: Any) -> None:
        self.name, self.asked = name, torch.zeros(0)
        self.evaluations = Curves()

    def scores(self, x: torch.Tensor, only) -> dict[str, np.ndarray]:
        assert only == (CLASSIFY,)
        self.asked = x
        return {CLASSIFY: self.name(x)}


def task(seed: int = 0, folder: Path | None = None, **options: Any) -> Any:
    cls = loader.load("task", "mnist-labels").cls
    return cls(cls.Options(**options), "clean", Store(folder)).parts(seed)[""]


@pytest.mark.parametrize("labels", [100, 200, 1000])
def test_the_labelled_images_are_balanced_and_their_labels_are_right(mnist: Path, labels: int):
    data = task(3, mnist, labels=labels).data(CPU)
    _, digits = archive.load(Store(mnist), "train")
    has = data.labels >= 0
    assert len(data) == 60_000 and int(has.sum()) == labels
    assert data.labels[has].bincount().tolist() == [labels // 10] * 10
    assert torch.equal(data.labels[has], torch.from_numpy(digits.astype(np.int64))[has])
    assert set(data.labels[~has].tolist()) == {-1}, "an image without a label says nothing of its digit"


@pytest.mark.medium
def test_the_seed_chooses_the_labels_and_more_labels_add_to_fewer(mnist: Path):
    few, again, other = (task(seed, mnist).data(CPU).labels >= 0 for seed in (0, 0, 1))
    assert torch.equal(few, again) and int((few & other).sum()) < 10
    assert bool((task(0, mnist, labels=200).data(CPU).labels >= 0)[few].all())
    assert task(0, mnist).data_key() != task(1, mnist).data_key()
    assert task(0, mnist).data_key() != task(0, mnist, labels=200).data_key()


def test_a_model_is_given_training_images_in_another_order_of_pixels_and_no_test_label(mnist: Path):
    chosen = task(0, mnist)
    data = chosen.data(CPU)
    images, _ = archive.load(Store(mnist), "train")
    first = data[torch.arange(100)]
    plain = torch.from_numpy(images[:100].reshape(100, -1)) / 255
    assert not torch.allclose(first, plain, atol=1e-6)
    assert torch.allclose(first.sort(1).values, plain.sort(1).values, atol=1e-6)
    shown = given(data)
    public = {name for name in dir(shown) if not name.startswith("_")}
    assert public == {"spec", "device", "labels"}
    assert len(shown.labels) == len(shown) == 60_000
    shown.labels.fill_(5)
    assert int((data.labels == -1).sum()) == 59_900, "what a model writes into its labels stays its own"
    # The test images come in the same order of pixels.
    scoring = Named(lambda x: np.zeros(len(x)))
    chosen.score(None, scoring)
    test, _ = archive.load(Store(mnist), "test")
    dark, lit = (plain == 0).sum(), data[torch.arange(60_000)].mean(0) > 0.4
    assert (first == 0).sum() == dark and not torch.equal(first == 0, plain == 0)
    assert scoring.asked[:, lit].mean() > 0.35, "where training images are bright, test images are"
    assert len(test) == len(scoring.asked)


def test_errors_are_counted(mnist: Path):
    _, digits = archive.load(Store(mnist), "test")
    answers = digits.astype(np.float64)
    answers[np.flatnonzero(digits == 7)[:10]] = 1
    answers[np.flatnonzero(digits == 2)[:4]] = 0
    score = task(0, mnist).score(None, Named(lambda x: answers))
    assert score.metrics["error"] == pytest.approx(0.14)
    assert score.metrics["error_7"] == pytest.approx(100 * 10 / (digits == 7).sum())
    assert score.metrics["error_0"] == 0
    table = np.asarray(score.details["confusion"])
    assert table.sum() == 10_000 and table[7, 1] == 10 and table[2, 0] == 4
    (limit,) = task(0, mnist).limits
    assert limit.broken({"error": 0.0}) and not limit.broken({"error": 0.2})
    assert task(0, mnist).evaluate(None, Named(lambda x: answers)) == {"error": pytest.approx(0.14)}


def test_labels_are_given_where_the_spec_has_classes_and_only_there():
    plain, classes = (DataSpec(name="x", shape=(2,), classes=n) for n in (0, 3))
    x, labels = torch.rand(4, 2), torch.tensor([0, -1, 2, -1])
    assert type(given(Pool(x, None, plain, CPU))) is Given
    pool = LabelledPool(x, labels, classes, CPU)
    shown = given(pool)
    assert isinstance(shown, GivenLabelled) and torch.equal(shown.labels, labels)
    assert labels_of(Pool(x, None, plain, CPU)) is None
    with pytest.raises(ContractError, match="no labels"):
        given(Pool(x, None, classes, CPU))
    for wrong in (labels + 1, labels[:3], labels.float()):
        with pytest.raises(ContractError, match="labels"):
            LabelledPool(x, wrong, classes, CPU)
    # Fingerprints of stored trainings hold the spec's repr.
    assert "classes" not in repr(plain)


@pytest.mark.parametrize("answer", [[0, 3], [0, -1], [0.5, 1]])
def test_a_class_that_is_none_is_an_error(answer: list[float]):
    spec = DataSpec(name="x", shape=(2,), classes=3)
    source = CallableSource(
        spec, seed=0, device=CPU, scores={CLASSIFY: lambda x: torch.tensor(answer, dtype=torch.float64)}
    )
    with pytest.raises(ContractError, match="a class that is none"):
        source.score(0, 0, torch.zeros(2, 2), [CLASSIFY])


def test_a_class_is_no_score():
    """Who asks for all scores of a model is not given the class, and the class counts for no energy."""
    assert chosen_scores(["energy", CLASSIFY], None, "x") == ["energy"]
    assert chosen_scores(["energy", CLASSIFY], [CLASSIFY], "x") == [CLASSIFY]
    cls = loader.load("model", "ladder").cls
    assert introspection.capabilities(cls) == (CLASSIFY,)
    assert CLASSIFY in introspection.answers(cls) and not introspection.scores(cls)


def test_nearest_labelled_and_constant_class_against_brute_force():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(30, 5, generator=generator)
    labels = torch.randint(-1, 4, (30,), generator=generator)
    spec = DataSpec(name="x", shape=(5,), low=0.0, high=1.0, classes=4)
    data = LabelledPool(x, labels, spec, CPU)
    asked = torch.rand(20, 5, generator=generator)
    nearest, constant = (loader.load("model", name).cls for name in ("nearest-labelled", "constant-class"))
    model = nearest(spec, nearest.Config())
    model.train(data, None)
    known = [(row, int(label)) for row, label in zip(x, labels, strict=True) if label >= 0]
    wanted = [min(known, key=lambda pair: float(((pair[0] - one) ** 2).sum()))[1] for one in asked]
    assert model.classify(asked).tolist() == wanted
    most = constant(spec, constant.Config())
    most.train(data, None)
    counts = [sum(label == k for _, label in known) for k in range(4)]
    assert most.classify(asked).tolist() == [counts.index(max(counts))] * 20


def test_functions_of_one_s_own_are_scored(mnist: Path):
    """ebbench.evaluate takes `classify`, of whole numbers or floats, and asks for it where the task does."""
    ones = ebbench.evaluate("mnist-labels", classify=lambda x: torch.ones(len(x)).long(), data_dir=mnist)
    _, digits = archive.load(Store(mnist), "test")
    assert ones.metrics["error"] == pytest.approx(100 * (digits != 1).mean())
    again = ebbench.evaluate("mnist-labels", classify=lambda x: np.ones(len(x)), data_dir=mnist)
    assert again.metrics == ones.metrics
    with pytest.raises(UsageError, match="needs 'classify'"):
        ebbench.evaluate("mnist-labels", energy=lambda x: x.sum(1), data_dir=mnist)
