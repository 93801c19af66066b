"""Reads the published weights of both generators, which take and return images in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count, takewhile
from math import isqrt

from torch import Tensor

from gcc.models.external_weights import is_kernel
from gcc.registry import StateDictMapping
from gcc_esrgan.networks import DENSE, GROWING

IMPORTABLE = (
    "ESRGAN's or Real-ESRGAN's RRDBNet with conv_first.weight to conv_last.weight, or model.0.weight to model.10.weight; "
    "or SRVGGNetCompact with body.0.weight, body.1.weight and so on"
)
"""What `map_rrdb` and `map_compact` read, for messages."""
WRAPPED = "network."
"""Start of our module paths: `InRange` wraps generators for images in [0, 1]."""


@dataclass(frozen=True)
class Names:
    """Module paths of an RRDBNet.

    `{block}`, `{dense}` and `{conv}` number the convolutions of dense blocks, `{level}` those after each doubling. `{blocks}` is the
    number of blocks; `{index}`, `{last}` and `{head}` are positions in a sequence.
    """

    stem: str
    dense: str
    joint: str
    up: str
    last: str
    head: str


NAMES = (
    # Real-ESRGAN, and other networks of BasicSR.
    Names("conv_first", "body.{block}.rdb{dense}.conv{conv}", "conv_body", "conv_up{level}", "conv_hr", "conv_last"),
    # ESRGAN's code for testing.
    Names("conv_first", "RRDB_trunk.{block}.RDB{dense}.conv{conv}", "trunk_conv", "upconv{level}", "HRconv", "conv_last"),
    # ESRGAN's first code: a sequence with an activation and an enlargement in between.
    Names(
        "model.0", "model.1.sub.{block}.RDB{dense}.conv{conv}.0", "model.1.sub.{blocks}", "model.{index}", "model.{last}", "model.{head}"
    ),
)


def map_rrdb(tensors: Mapping[str, Tensor]) -> StateDictMapping | None:
    """Return how to read an RRDBNet of any of the spellings in `NAMES`; None if it is not that."""
    return next((mapping for names in NAMES if (mapping := _map_rrdb(tensors, names)) is not None), None)


def _map_rrdb(tensors: Mapping[str, Tensor], names: Names) -> StateDictMapping | None:
    def dense_path(block: int, dense: int = 1, conv: int = 1) -> str:
        return names.dense.format(block=block, dense=dense, conv=conv)

    def up_path(level: int) -> str:
        return names.up.format(level=level, index=3 * level)

    blocks, levels = _count(tensors, dense_path, 0), _count(tensors, up_path, 1)
    if not blocks or not levels or not is_kernel(tensors, f"{names.stem}.weight"):
        return None
    modules = {"stem": names.stem, "joint": names.joint.format(blocks=blocks)}
    for block in range(blocks):
        for dense in range(1, DENSE + 1):
            path = f"blocks.{block}.{dense - 1}"
            modules |= {f"{path}.grow.conv{conv}.0": dense_path(block, dense, conv) for conv in range(1, GROWING + 1)}
            modules[f"{path}.join"] = dense_path(block, dense, GROWING + 1)
    modules |= {f"ups.{level - 1}.0": up_path(level) for level in range(1, levels + 1)}
    modules |= {"last.0": names.last.format(last=3 * levels + 2), "head": names.head.format(head=3 * levels + 4)}
    first = tensors[f"{names.stem}.weight"]
    unshuffle = isqrt(first.shape[1] // 3)
    settings = {"generator": "rrdb", "blocks": blocks, "scale": 2**levels // unshuffle, "unshuffle": unshuffle}
    return _in_unit_range(settings, first, modules)


def _count(tensors: Mapping[str, Tensor], path: Callable[[int], str], start: int, step: int = 1) -> int:
    """Return how many convolutions there are at the paths of consecutive numbers."""
    return sum(1 for _ in takewhile(lambda number: is_kernel(tensors, f"{path(number)}.weight"), count(start, step)))


def map_compact(tensors: Mapping[str, Tensor]) -> StateDictMapping | None:
    """Return how to read an SRVGGNetCompact with PReLU, in which convolutions have even numbers; None if it is not that."""
    total = _count(tensors, "body.{}".format, 0, step=2)
    if total < 3 or "body.1.weight" not in tensors:
        return None
    head = f"body.{2 * (total - 1)}"
    modules = {"head": head}
    for number in range(total - 1):
        modules |= {f"layers.{number}.0": f"body.{2 * number}", f"layers.{number}.1": f"body.{2 * number + 1}"}
    settings = {"generator": "compact", "convolutions": total - 2, "scale": isqrt(tensors[f"{head}.weight"].shape[0] // 3)}
    return _in_unit_range(settings, tensors["body.0.weight"], modules)


def _in_unit_range(settings: Mapping[str, object], first: Tensor, modules: Mapping[str, str]) -> StateDictMapping:
    """Return the mapping of a generator for images in [0, 1], of the width of its first kernel."""
    settings = {**settings, "image_range": "0..1", "ngf": first.shape[0]}
    return StateDictMapping(settings, {f"{WRAPPED}{path}": theirs for path, theirs in modules.items()})
