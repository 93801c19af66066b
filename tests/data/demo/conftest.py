import pytest


@pytest.fixture(scope="module", autouse=True)
def small_demo_data():
    """The demo data has all of its samples here."""
