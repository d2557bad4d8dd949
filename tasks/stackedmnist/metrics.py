"""The metrics of StackedMNIST, and the limits beyond which no digit sampler is plausible."""

from __future__ import annotations

from ebbench import Limit, Metric

METRICS = (
    Metric(
        name="modes",
        unit="modes",
        better="higher",
        primary=True,
        doc="digit combinations met at least once, of 10^n, in 26*10^n samples",
    ),
    Metric(
        name="kl",
        unit="nats",
        better="lower",
        primary=True,
        doc="KL(generated || uniform) over the 10^n modes",
    ),
    Metric(
        name="kl_floor",
        unit="nats",
        better="neither",
        doc="what kl is on average for a perfect uniform sampler at this number of samples",
    ),
    Metric(
        name="kl_floor_data",
        unit="nats",
        better="neither",
        doc="what kl is on average for a perfect sampler of the training data, whose digits are "
        "not equally frequent",
    ),
    Metric(
        name="kl_data",
        unit="nats",
        better="lower",
        doc="KL(generated || product of the digit frequencies of the training data)",
    ),
    Metric(
        name="quality",
        unit="share",
        better="higher",
        doc="share of channels that are a digit by the classifier's confidence and by the distance "
        "to its class in feature space; .95 for real test images, 0 for noise",
    ),
    Metric(
        name="modes_good",
        unit="modes",
        better="higher",
        doc="combinations met by stacks of which every channel is a digit, as `quality` has it",
    ),
    Metric(
        name="agreement",
        unit="share",
        better="higher",
        doc="of the channels that are a digit, those that a second classifier of another kind (Gaussians "
        "of principal components) calls by the same name; .97 for real test images",
    ),
    Metric(
        name="are_digits",
        unit="share",
        better="higher",
        gate=True,
        doc="1 if quality is .02 or more and agreement .7 or more: noise, and images that were made to "
        "please the classifier, cover no mode",
    ),
    Metric(
        name="distinct",
        unit="images",
        better="higher",
        doc="channels that look different from one another, by the grey levels of 4x4 squares",
    ),
    Metric(
        name="many_images",
        unit="share",
        better="higher",
        gate=True,
        doc="1 if distinct is at least 1,000, or a quarter of all channels where they are fewer: a few "
        "images, shown again and again, are no sampler",
    ),
    Metric(
        name="share_memorised",
        unit="share",
        better="lower",
        doc="of about 1,000 channels, those nearer to a training image than 99 of 100 training images "
        "are to the next one; .01 for real test images",
    ),
    Metric(
        name="density_digits",
        unit="stacks",
        better="higher",
        doc="how many samples fall within reach of a training stack, over 5 and on average, in the "
        "classifier's features of all channels (Naeem et al. 2020); about 1 for real images",
    ),
    Metric(
        name="coverage_digits",
        unit="share",
        better="higher",
        doc="share of training stacks that have a sample within reach, in the same features; a reach goes to "
        "the fifth nearest training stack",
    ),
    Metric(
        name="kl_least",
        unit="nats",
        better="neither",
        doc="kl_floor less six standard deviations: no independent samples come nearer",
    ),
)
LIMITS = (
    Limit(metric="kl", least="kl_least", why="so many independent samples are never so even"),
    Limit(metric="kl_data", least="kl_least", why="so many independent samples are never so even"),
    Limit(
        metric="quality",
        most=0.995,
        why="of real test images .95 count as a digit; what nearly always does was made for it",
    ),
    Limit(
        metric="share_memorised",
        most=0.5,
        why="most of it are copies of training images",
    ),
)
