"""Which files of a data folder train, and which are held out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from gcc.errors import DataError

T = TypeVar("T")
S = TypeVar("S")

EVERY = 10
"""Without a val and a test folder, one training image in so many is held out."""


def every_tenth(where: Path, files: list[T]) -> tuple[list[T], list[T]]:
    """Return the files that train and those that are held out.

    Raises:
        DataError: there is a single file.
    """
    if len(files) < 2:
        raise DataError(f"{where} holds a single training image, and none is held out for val or test: add images")
    return [file for place, file in enumerate(files) if place % EVERY], files[::EVERY]


def chosen(
    root: Path, there: Mapping[str, S], split: str, divide: Callable[[Path, S], tuple[S, S]], count: Callable[[S], object]
) -> tuple[S, str]:
    """Return the files of `split`, and what to say about them.

    Of val and test, one stands in for a missing other; without either, every tenth training image is held out for both.

    Args:
        root: the data folder.
        there: the files of each split that is there.
        split: `train`, `val` or `test`.
        divide: divides the training files into those that train and those that are held out, as `every_tenth` does.
        count: tells how many images files are.

    Raises:
        DataError: there are no training files, or too few to hold some out.
    """
    if "train" not in there:
        raise DataError(f"the train folders of {root} hold no images")
    if "val" not in there and "test" not in there:
        rest, held = divide(root, there["train"])
        files, role = (rest, "trains") if split == "train" else (held, f"serves as {split}")
        share = "all but every tenth training image" if split == "train" else "every tenth training image"
        return files, f"{root} has neither val nor test images: {share} {role} ({count(files)} of {count(there['train'])})"
    if split in there:
        return there[split], ""
    (other,) = there.keys() - {"train"}
    return there[other], f"{root} has no {split} images: {other} serves as {split} ({count(there[other])} images)"
