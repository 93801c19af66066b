"""What an evaluation returns: metrics with their units and protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gcc.registry import MetricKey, unit_of


@dataclass(frozen=True)
class Metric:
    """A quality metric.

    Attributes:
        value: the value, in `unit`.
        unit: the unit, such as "dB"; empty for a number without a unit.
        protocol: how it was computed.
    """

    value: float
    unit: str
    protocol: str


@dataclass(frozen=True)
class Evaluation:
    """The metrics of saved generators or of a folder of images.

    Attributes:
        subject: the generators' folder or the folder of images.
        data: the data set or the folder of real images.
        split: split of the data set; empty for a folder of images.
        metrics: by generator and key.
        environment: the device and the versions of packages.
        left_out: which images were left out, and why.
        range: the values of black and white in images of a folder with more than 8 bits, such as "0..4095"; empty for those of their type.
        changes: what reading the images of a folder changes, such as the bits that it drops, and the range of more than 8 bits; and whether
            the real ones seem to hold A and B side by side.
    """

    subject: str
    data: str
    split: str
    metrics: Mapping[str, Mapping[MetricKey, Metric]]
    environment: Mapping[str, str]
    left_out: Sequence[str] = ()
    range: str = ""
    changes: Sequence[str] = ()


def metrics_of(values: Mapping[MetricKey, float], protocols: Mapping[MetricKey, str]) -> dict[MetricKey, Metric]:
    """Return values with their units and protocols."""
    return {key: Metric(value, unit_of(key), protocols[key]) for key, value in values.items()}
