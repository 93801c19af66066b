"""Ctrl-C while a module is being imported."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def exit_on_sigint_during_import() -> Iterator[None]:
    """Let Ctrl-C end this process at once while a module is being imported, which might swallow the exception or be left half done.

    Otherwise it is raised as ever. Outside the main thread, and where it is ignored or handled already, nothing changes.
    """

    def end(number: int, frame: FrameType | None) -> None:
        above = frame
        while above is not None:
            if above.f_code.co_filename.startswith("<frozen importlib"):
                os.write(2, b"gcc: stopped\n")
                os._exit(128 + number)
            above = above.f_back
        signal.default_int_handler(number, frame)

    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
