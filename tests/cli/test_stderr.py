"""A standard error that breaks."""

import errno
import os
import sys
from contextlib import redirect_stderr

import pytest

from gcc.cli.stderr import tolerate_broken_stderr


@pytest.fixture
def pipe():
    """A pipe's end that is read, and a stream into the other."""
    read, write = os.pipe()
    with os.fdopen(write, "w", buffering=1) as stream:
        yield read, stream


def test_output_arrives(pipe):
    read, stream = pipe
    with redirect_stderr(stream), tolerate_broken_stderr():
        print("heard", file=sys.stderr)
        assert not sys.stderr.isatty()
    os.set_blocking(read, False)
    assert os.read(read, 99) == b"heard\n"
    os.close(read)


def test_output_without_a_reader_is_dropped_and_later_flushes_succeed(pipe):
    read, stream = pipe
    os.close(read)
    with redirect_stderr(stream), tolerate_broken_stderr():
        print("unheard", file=sys.stderr)
        print("still unheard", file=sys.stderr)
    stream.flush()


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "no space"), RuntimeError("reentrant call inside a writer")], ids=str)
def test_a_full_disk_and_a_handler_that_interrupts_a_write_raise_nothing(error):
    class Refusing:
        def write(self, text):
            raise error

        def flush(self):
            raise error

    with redirect_stderr(Refusing()), tolerate_broken_stderr():
        print("unheard", file=sys.stderr, flush=True)
