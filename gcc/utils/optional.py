"""Packages that the core does without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gcc.errors import GccError


@contextmanager
def needed(by: str, package: str, extra: str = "eval") -> Iterator[None]:
    """Explain a failed import inside this context.

    Args:
        by: who needs the package, such as an evaluator's name.
        package: its name in the registry.
        extra: of ours, which brings it.

    Raises:
        GccError: the package, or one that it needs in turn, is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise GccError(f"{by} needs {package}: pip install 'gan-gcc[{extra}]' ({error})") from error
