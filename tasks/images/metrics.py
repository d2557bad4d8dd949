"""The metrics of the task; their names contain the features and the number of samples."""

from __future__ import annotations

from ebbench import Metric
from ebbench.metrics import extractors
from ebbench.metrics.cifar import resnet

COUNTS = (50_000, 10_000, 5_000, 1_000)

MEMORISED = Metric(
    name="share_memorised",
    unit="share",
    better="lower",
    doc="of 1,000 samples, those nearer to a training image, or to its mirror image, than 99 of 100 training "
    "images are to the next one",
)


def suffix(extractor: str, samples: int) -> str:
    """The ending of metric names: empty for Inception and 50,000 samples."""
    return extractors.SUFFIX[extractor] + ("" if samples == COUNTS[0] else f"_{samples // 1000}k")


def of_features(extractor: str, samples: int) -> tuple[Metric, ...]:
    """FID, KID, precision and recall for a number of samples and the features of one network."""
    end = suffix(extractor, samples)
    of = f"{samples:,} samples, features of {extractors.TITLE[extractor]}"
    if extractor == resnet.NAME:
        of += ", which sees means over squares, 32x32 of them: nothing finer counts"
    return (
        Metric(
            name=f"fid{end}",
            unit="",
            better="lower",
            primary=True,
            doc=f"Fréchet distance of the features' Gaussians, {of}",
        ),
        Metric(
            name=f"kid{end}",
            unit="",
            better="lower",
            doc=f"kernel distance, mean over 100 subsets of at most 1,000, {of}",
        ),
        Metric(
            name=f"precision{end}",
            unit="share",
            better="higher",
            doc=f"share of samples within reach of a real image, {of}",
        ),
        Metric(
            name=f"recall{end}",
            unit="share",
            better="higher",
            doc=f"share of real images within reach of a sample, {of}",
        ),
    )
