"""Selects the files of a split, and holds some out where a data folder lacks validation or test images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from gcc.data.folders import READ, describe_contents
from gcc.errors import DataError

T = TypeVar("T")
S = TypeVar("S")

SPLITS = ("train", "val", "test")
EVERY = 10
"""Without val and test folders, one training image of this many is held out."""


def every_tenth(folder: Path, files: list[T]) -> tuple[list[T], list[T]]:
    """Return the training files and the held-out files.

    Raises:
        DataError: there are fewer than two files.
    """
    if len(files) < 2:
        raise DataError(f"{folder} holds a single training image, and none is held out for val or test: add images")
    return [file for number, file in enumerate(files) if number % EVERY], files[::EVERY]


def select_split(
    root: Path, splits: Mapping[str, S], split: str, divide: Callable[[Path, S], tuple[S, S]], count: Callable[[S], object]
) -> tuple[S, str]:
    """Return the files of `split`, and a note that says where they come from; empty if they are the split's own.

    If val or test is missing, the other serves as both. If both are missing, every tenth training image is held out for them.

    Args:
        root: the data folder.
        splits: the files of each split that exists on disk.
        split: `train`, `val` or `test`.
        divide: divides the training files into training and held-out files, as `every_tenth` does.
        count: returns the number of images in such files, for the note.

    Raises:
        DataError: no files can serve as the split, or too few exist to hold any out.
    """
    if "train" not in splits and (split == "train" or not splits):
        raise DataError(f"the train folders of {root} hold no images: it holds {describe_contents(root)}; images are read from {READ}")
    if "val" not in splits and "test" not in splits:
        rest, held_out = divide(root, splits["train"])
        files, role = (rest, "trains") if split == "train" else (held_out, f"serves as {split}")
        share = "all but every tenth training image" if split == "train" else "every tenth training image"
        return files, f"{root} has neither val nor test images: {share} {role} ({count(files)} of {count(splits['train'])})"
    if split in splits:
        return splits[split], ""
    (other,) = splits.keys() - {"train"}
    return splits[other], f"{root} has no {split} images: {other} serves as {split} ({count(splits[other])} images)"
