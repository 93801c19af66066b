"""Silences what other programs print."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout


@contextmanager
def silenced() -> Iterator[None]:
    """Discard warnings, logs below errors, and what Python or native code prints to the standard streams."""
    disabled = logging.root.manager.disable
    streams = (1, 2)
    sys.stdout.flush(), sys.stderr.flush()
    saved = [os.dup(stream) for stream in streams]
    null = os.open(os.devnull, os.O_WRONLY)
    logging.disable(logging.WARNING)
    try:
        for stream in streams:
            os.dup2(null, stream)
        with open(os.devnull, "w") as sink, redirect_stdout(sink), redirect_stderr(sink), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        for stream, copy in zip(streams, saved, strict=True):
            os.dup2(copy, stream)
            os.close(copy)
        os.close(null)
        logging.disable(disabled)
