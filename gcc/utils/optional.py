"""Optional packages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gcc.errors import GccError


@contextmanager
def needed(by: str, package: str, extra: str = "eval") -> Iterator[None]:
    """Explain how to install a package that an import inside this context lacks.

    Args:
        by: what needs the package, such as an evaluator's name.
        package: its name on PyPI.
        extra: the extra of gan-gcc that installs it.

    Raises:
        GccError: the package or one of its dependencies is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise GccError(f"{by} needs {package}: pip install 'gan-gcc[{extra}]' ({error})") from error
