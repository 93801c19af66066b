"""Signals that ask a run to stop: obeyed between two iterations, or at once when they are repeated."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Ctrl-C, a polite kill, and a terminal that was closed, which Windows does not tell of."""


@contextmanager
def stop_requested_by_signal(told: Callable[[], None]) -> Iterator[Callable[[], int]]:
    """Yield a function that returns the number of the signal that has asked this process to stop, 0 as long as none has.

    The first signal is only noted; the second has its usual effect. Outside the main thread signals are left alone.

    Args:
        told: called when the first signal arrives.
    """
    asked = 0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            restore()
            os.kill(os.getpid(), number)
            return
        asked = number
        told()

    def restore() -> None:
        for each, handler in before.items():
            signal.signal(each, handler)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    # A process that was started to ignore a signal, as by nohup, goes on doing so.
    before = {each: signal.signal(each, note) for each in SIGNALS if signal.getsignal(each) != signal.SIG_IGN}
    try:
        yield lambda: asked
    finally:
        restore()
