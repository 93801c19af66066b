"""Ctrl-C while Python imports a module, and at other times."""

import os
import signal
import subprocess
import sys

import pytest

from gcc.cli.sigint import exit_on_sigint_during_import


@pytest.fixture(autouse=True)
def _default_handler():
    """Obey Ctrl-C, which background jobs of a shell ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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


def test_ctrl_c_during_an_import_ends_the_process(tmp_path):
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
