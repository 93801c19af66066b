"""`gcc doctor`: findings about the installation."""

import importlib.metadata
import sys

import pytest

from gcc.cli import installation
from gcc.cli.installation import package, python


def test_every_required_package_is_checked():
    findings = {finding.title: finding for finding in installation.installation()}
    assert findings.keys() == {"Python", "torch", "torchvision", "numpy", "click", "rich", "safetensors"}
    assert all(finding.status == "ok" for finding in findings.values())
    assert findings["torch"].text == importlib.metadata.version("torch")


def test_a_package_that_is_missing_or_old_says_how_to_get_it():
    assert package("no-such-package", "2.9").text == "not installed: pip install 'no-such-package>=2.9'"
    old = package("torch", "99.1")
    assert old.status == "error" and old.text.endswith("99.1 or newer is needed: pip install --upgrade torch")


def test_a_package_that_cannot_be_imported_says_why(tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise RuntimeError('operator torchvision::nms does not exist\\nmore')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "numpy")
    finding = package("numpy", "1.0")
    assert finding.status == "error" and "RuntimeError: operator torchvision::nms does not exist)" in finding.text


@pytest.mark.parametrize(("version", "status"), [("3.11.9", "ok"), ("3.12.1", "ok"), ("3.99.0", "warning")])
def test_the_tested_pythons_are_known(version, status, monkeypatch):
    monkeypatch.setattr("platform.python_version", lambda: version)
    assert python().status == status and version in python().text
