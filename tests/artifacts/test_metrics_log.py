import json

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gcc.artifacts.metrics_log import Window, append_line, numbers
from gcc.errors import OutputError


def test_window_means():
    window = Window()
    assert window.means() == {}
    for a, b in ((1.0, 10.0), (2.0, 20.0), (6.0, 60.0)):
        window.add({"a": torch.tensor(a), "b": torch.tensor(b, dtype=torch.bfloat16)})
    window.add({"c": torch.tensor(-7.0)})
    assert window.means() == {"a": 3.0, "b": 30.0, "c": -7.0}
    assert window.means() == {}
    window.add({"a": torch.tensor(4.0)})
    assert window.means() == {"a": 4.0}


class Reads(TorchDispatchMode):
    """Counts the scalars that are read one by one."""

    count = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*arguments, **(options or {}))


def test_numbers_are_read_together():
    scalars = {"a": torch.tensor(1.5), "b": torch.tensor(2.0, dtype=torch.bfloat16)}
    with Reads() as reads:
        assert numbers(scalars) == {"a": 1.5, "b": 2.0} and numbers({}) == {}
    assert reads.count == 0
    with Reads() as reads:
        float(scalars["a"])
    assert reads.count == 1


def test_append_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    append_line(path, {"epoch": 1, "a": 0.5})
    append_line(path, {"epoch": 2})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [{"epoch": 1, "a": 0.5}, {"epoch": 2}]
    with pytest.raises(OutputError):
        append_line(tmp_path / "missing" / "metrics.jsonl", {})
