"""Signals between iterations."""

import os
import signal
import threading

import pytest

from gcc.training.signals import stop_requested_by_signal


@pytest.fixture(autouse=True)
def _as_in_a_terminal():
    """Obey Ctrl-C, which a shell's background jobs ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_is_noted_and_told(number):
    told = []
    with stop_requested_by_signal(lambda: told.append(1)) as asked:
        assert asked() == 0
        os.kill(os.getpid(), number)
        assert asked() == number and told == [1]


def test_the_second_signal_has_its_usual_effect():
    with pytest.raises(KeyboardInterrupt), stop_requested_by_signal(lambda: None):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)


def test_handlers_are_what_they_were_afterwards():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(ZeroDivisionError), stop_requested_by_signal(lambda: None):
        raise ZeroDivisionError
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_what_is_ignored_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_requested_by_signal(lambda: None) as asked:
            os.kill(os.getpid(), signal.SIGINT)
            assert asked() == 0
    finally:
        signal.signal(signal.SIGINT, before)


def test_threads_are_left_alone():
    seen = []

    def work():
        with stop_requested_by_signal(lambda: None) as asked:
            seen.append((asked(), signal.getsignal(signal.SIGINT)))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(0, before)]
