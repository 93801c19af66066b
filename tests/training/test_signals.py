"""Signals during training."""

import os
import signal
import threading

import pytest

from gcc.training.signals import stop_requested_by_signal

pytestmark = pytest.mark.usefixtures("handled_signals")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_is_recorded_and_reported(number):
    calls = []
    with stop_requested_by_signal(lambda: calls.append(1)) as received:
        assert received() == 0
        os.kill(os.getpid(), number)
        assert received() == number and calls == [1]


def test_the_second_signal_has_its_usual_effect():
    with pytest.raises(KeyboardInterrupt), stop_requested_by_signal(lambda: None):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)


def test_handlers_are_restored():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(ZeroDivisionError), stop_requested_by_signal(lambda: None):
        raise ZeroDivisionError
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_requested_by_signal(lambda: None) as received:
            os.kill(os.getpid(), signal.SIGINT)
            assert received() == 0
    finally:
        signal.signal(signal.SIGINT, before)


def test_nothing_changes_outside_the_main_thread():
    results = []

    def work():
        with stop_requested_by_signal(lambda: None) as received:
            results.append((received(), signal.getsignal(signal.SIGINT)))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert results == [(0, before)]
