"""A standard error that may break: a reader that is gone, a closed terminal or a full disk does not end a run."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from typing import Any, TextIO, cast

GONE = {errno.EPIPE, errno.EIO}
"""Errors of a pipe whose reader is gone, and of a closed terminal."""


@contextmanager
def tolerate_broken_stderr() -> Iterator[None]:
    """Drop what cannot be written to standard error in this context."""
    with redirect_stderr(cast(TextIO, _TolerantStream(sys.stderr))):
        yield


class _TolerantStream:
    """A text stream that drops what the stream below it cannot write."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._attempt(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._attempt(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _attempt(self, operation: Callable[[], object]) -> None:
        # If a signal handler writes during another write, Python raises a `RuntimeError`.
        with suppress(RuntimeError):
            try:
                operation()
            except OSError as error:
                if error.errno in GONE:
                    self._redirect_to_null()

    def _redirect_to_null(self) -> None:
        """Send buffered and later output to the null device; otherwise flushing would fail again when Python exits."""
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._stream.fileno())
        os.close(null)
