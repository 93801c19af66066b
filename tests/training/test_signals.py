"""Signals between iterations."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from gcc.cli.sigint import exit_on_sigint_during_import
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


SWALLOWS = """
import time
print("importing", flush=True)
try:
    time.sleep(60)
except BaseException:
    print("swallowed", flush=True)
"""
IMPORTS = """
import signal
from gcc.cli.sigint import exit_on_sigint_during_import
signal.signal(signal.SIGINT, signal.default_int_handler)
with exit_on_sigint_during_import():
    import swallows
"""


def test_ctrl_c_ends_the_process_in_the_midst_of_an_import_which_might_swallow_it(tmp_path):
    (tmp_path / "swallows.py").write_text(SWALLOWS)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", IMPORTS], env=environment, **pipes)
    assert process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "gcc: stopped\n")


def test_ctrl_c_elsewhere_is_raised_and_other_handlers_stay():
    with pytest.raises(KeyboardInterrupt), exit_on_sigint_during_import():
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with exit_on_sigint_during_import():
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
