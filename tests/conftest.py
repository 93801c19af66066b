"""Fixtures that many suites share."""

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    # Tiny networks gain nothing from a second thread, and suites may run side by side.
    torch.set_num_threads(1)
