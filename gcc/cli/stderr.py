"""Standard error that nobody has to listen to: a reader that has gone, a closed terminal or a full disk ends no run."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from typing import Any, TextIO, cast

GONE = {errno.EPIPE, errno.EIO}
"""What a pipe tells whose reader has gone, and a terminal that was closed."""


@contextmanager
def tolerate_broken_stderr() -> Iterator[None]:
    """Drop in this context what standard error does not take."""
    with redirect_stderr(cast(TextIO, _Unheeded(sys.stderr))):
        yield


class _Unheeded:
    """A text stream that drops what another one does not take."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._attempt(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._attempt(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _attempt(self, work: Callable[[], object]) -> None:
        # The handler of a signal may write amid another write, which Python refuses as a `RuntimeError`.
        with suppress(RuntimeError):
            try:
                work()
            except OSError as error:
                if error.errno in GONE:
                    self._let_go()

    def _let_go(self) -> None:
        """Send what is still on its way, and all that follows, nowhere: left there, it would fail again when Python ends."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
