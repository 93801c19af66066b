"""Assertions about values in the code of networks that run without values."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from gcc.models.calls import is_from_torch


class PassedAssertions(TorchFunctionMode):
    """Lets every `assert` whose condition is a tensor pass, although the tensor has no value. Enter it after other modes.

    An assertion that takes a number out of a tensor, such as `x.max().item() < 1`, is not changed.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type[Any]], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        value = _asserted(sys._getframe(1)) if func == Tensor.__bool__ else None
        return func(*args, **(kwargs or {})) if value is None else value


def _asserted(frame: FrameType) -> bool | None:
    """Return the value with which the `assert` that the code runs goes on; None if it runs another statement."""
    while frame.f_back is not None and (is_from_torch(frame.f_code.co_filename) or frame.f_code.co_filename == __file__):
        frame = frame.f_back
    # A condition is a jump, over the part that raises or to it.
    following = [one for one in dis.get_instructions(frame.f_code) if one.offset >= frame.f_lasti and one.opname != "TO_BOOL"]
    jump, error = following[0], next((one for one in following if _raises(one)), None)
    if "JUMP" not in jump.opname or error is None or not _is_part(jump, error) or jump.argval < error.offset:
        return None
    return bool(("IF_TRUE" in jump.opname) == (jump.argval > error.offset))


def _raises(instruction: dis.Instruction) -> bool:
    """Return whether an instruction begins the part of an `assert` that raises."""
    return instruction.opname == "LOAD_ASSERTION_ERROR" or "AssertionError" in (instruction.opname, instruction.argrepr)


def _is_part(jump: dis.Instruction, error: dis.Instruction) -> bool:
    """Return whether a jump is in the statement that raises an error."""
    inner, outer = _span(jump), _span(error)
    return inner is not None and outer is not None and outer[0] <= inner[0] and inner[1] <= outer[1]


def _span(instruction: dis.Instruction) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Return the line and the column where the code of an instruction begins, and where it ends."""
    match instruction.positions:
        case (int(first), int(last), int(start), int(end)):
            return (first, start), (last, end)
    return None
