"""Signals that stop a run: after the current step, or at once if they are repeated."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""SIGINT (Ctrl-C), SIGTERM (`kill`) and SIGHUP (terminal closed; not on Windows)."""


@contextmanager
def stop_requested_by_signal(on_first: Callable[[], None]) -> Iterator[Callable[[], int]]:
    """Yield a function that returns the number of the first signal that arrived, or 0 if none has.

    The first signal is only recorded; the second has its usual effect. Outside the main thread, signals are left alone.

    Args:
        on_first: called when the first signal arrives.
    """
    received = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal received
        if received:
            restore()
            os.kill(os.getpid(), number)
            return
        received = number
        on_first()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    # A process that was started to ignore a signal, for example by nohup, keeps ignoring it.
    before = {number: signal.signal(number, handle) for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN}
    try:
        yield lambda: received
    finally:
        restore()
