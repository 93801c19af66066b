"""Ctrl-C while Python imports a module."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def exit_on_sigint_during_import() -> Iterator[None]:
    """End this process at once if Ctrl-C arrives while a module is being imported.

    A `KeyboardInterrupt` raised there could be swallowed, or leave the module half initialised. At any other time, Ctrl-C raises it as
    usual. Nothing changes outside the main thread, or if the signal is ignored or already handled.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        caller = frame
        while caller is not None:
            if caller.f_code.co_filename.startswith("<frozen importlib"):
                os.write(2, b"gcc: stopped\n")
                os._exit(128 + number)
            caller = caller.f_back
        signal.default_int_handler(number, frame)

    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
