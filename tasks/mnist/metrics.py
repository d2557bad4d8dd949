"""The metrics of MNIST samples, and the limits beyond which no digit sampler is plausible."""

from __future__ import annotations

from ebbench import Limit, Metric

OF = "features of the project's classifier of digits"
METRICS = (
    Metric(
        name="i_prime",
        unit="nats^2",
        better="higher",
        primary=True,
        doc="EBGAN's modified inception score, E_x KL(p(y) || p(y|x))^2, by the project's classifier",
    ),
    Metric(
        name="i_prime_plain",
        unit="nats",
        better="higher",
        doc="the same without the square, E_x KL(p(y) || p(y|x))",
    ),
    Metric(
        name="fid_digits",
        unit="",
        better="lower",
        primary=True,
        doc=f"Fréchet distance of the features' Gaussians to 10,000 training images, {OF}",
    ),
    Metric(
        name="is_digits",
        unit="",
        better="higher",
        doc="inception score: exp E KL(p(y|x) || p(y)), mean over 10 splits, by the project's classifier; "
        "at most 10",
    ),
    Metric(
        name="precision_digits",
        unit="share",
        better="higher",
        doc=f"share of samples within reach of one of 10,000 training images, {OF}",
    ),
    Metric(
        name="recall_digits",
        unit="share",
        better="higher",
        doc=f"share of 10,000 training images within reach of a sample, {OF}",
    ),
    Metric(
        name="classes",
        unit="classes",
        better="higher",
        doc="digits, of ten, that at least 1 % of the samples are good images of",
    ),
    Metric(
        name="kl_classes",
        unit="nats",
        better="lower",
        doc="KL(digits of the samples || digits of the training images); for as many real images it is "
        "0.0005 on average",
    ),
    Metric(
        name="quality",
        unit="share",
        better="higher",
        doc="share of samples that are a digit by the classifier's confidence and by the distance to its "
        "class in feature space; .95 for real test images, 0 for noise",
    ),
    Metric(
        name="agreement",
        unit="share",
        better="higher",
        doc="of the samples that are a digit, those that a second classifier of another kind (Gaussians of "
        "principal components) calls by the same name; .97 for real test images",
    ),
    Metric(
        name="are_digits",
        unit="share",
        better="higher",
        gate=True,
        doc="1 if quality is .02 or more and agreement .7 or more: what is no digit has no score",
    ),
    Metric(
        name="distinct",
        unit="images",
        better="higher",
        doc="samples that look different from one another, by the grey levels of 4x4 squares",
    ),
    Metric(
        name="many_images",
        unit="share",
        better="higher",
        gate=True,
        doc="1 if distinct is at least 1,000: one image a digit, shown again and again, has the best score "
        "of all and is no sampler",
    ),
    Metric(
        name="nearest_ratio",
        unit="share",
        better="neither",
        doc="mean distance of samples to their nearest training image, over that of test images: 1 for real "
        "images, near 0 for copies, less than 1 for smooth ones too",
    ),
    Metric(
        name="share_memorised",
        unit="share",
        better="lower",
        doc="of 1,000 samples, those nearer to a training image than 99 of 100 training images are to the "
        "next one; .01 for real test images",
    ),
)
LIMITS = (
    Limit(
        metric="quality",
        most=0.995,
        why="of real test images .95 count as a digit; what nearly always does was made for it",
    ),
    Limit(metric="share_memorised", most=0.5, why="most of it are copies of training images"),
)
