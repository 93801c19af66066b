"""Generators by a path that the user types."""

import pytest
import torch

from gcc.custom.own_code import draws_weights, factory_at, generator_at
from gcc.errors import GccError

CODE = """
from torch import nn
class Own(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 3, 3))
class Table:
    Own = Own
def fails():
    raise ValueError("no data\\nat all")
def trained():
    network = Own()
    for parameter in network.parameters():
        parameter.data.fill_(0.1)
    return network
class Counted(nn.Module):
    count = 0
    def __init__(self):
        super().__init__()
        Counted.count += 1
        setattr(self, f"layer{Counted.count}", nn.Conv2d(3, 3, 3))
number = 3
def sized(width):
    return Own()

def strange():
    return 3
"""


@pytest.fixture
def code(tmp_path, monkeypatch):
    (tmp_path / "own_nets.py").write_text(CODE)
    (tmp_path / "own_broken.py").write_text("import nothing_of_that_name")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_class_or_a_function_makes_the_generator(code):
    torch.manual_seed(0)
    network = generator_at("own_nets:Own", None)
    torch.save(network.state_dict(), code / "g.pth")
    again = generator_at("own_nets:Table.Own", code / "g.pth")
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in network.state_dict().items())


def test_weights_that_the_code_draws_are_the_same_every_time(code):
    state = torch.get_rng_state()
    first, second = (generator_at("own_nets:Own", None).state_dict() for _ in range(2))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    assert torch.equal(state, torch.get_rng_state())


def test_weights_that_code_draws_are_told_from_those_that_it_brings(code):
    own, trained = (generator_at(path, None) for path in ("own_nets:Own", "own_nets:trained"))
    assert draws_weights("own_nets:Own", own) and not draws_weights("own_nets:trained", trained)


def test_code_that_names_its_layers_anew_draws_their_weights(code):
    assert draws_weights("own_nets:Counted", generator_at("own_nets:Counted", None))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("own_nets", "expected MODULE:NAME"),
        ("own_nets:", "expected MODULE:NAME"),
        ("own_nets.py:Own", "names a file, not a module: leave out .py"),
        ("../own_nets:Own", "expected MODULE:NAME"),
        ("own_nets:Nothing", "own_nets has no Nothing"),
        ("own_missing:Own", "own_missing cannot be imported: ModuleNotFoundError"),
        ("own_broken:Own", "own_broken cannot be imported: ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("own_nets:number", "is of type int"),
        ("own_nets:fails", "raised ValueError: no data; expected"),
        ("own_nets:strange", "returned int"),
        (
            "own_nets:sized",
            r"sized needs arguments: give a function .*, such as `def make\(\): return sized\(\.\.\.\)` in the same module$",
        ),
    ],
)
def test_what_makes_no_generator_is_refused(code, path, message):
    with pytest.raises(GccError, match=message):
        generator_at(path, None)


def test_weights_of_another_network_are_refused(code):
    torch.save({"0.weight": torch.ones(2)}, code / "other.pth")
    with pytest.raises(GccError, match=r"other.pth"):
        generator_at("own_nets:Own", code / "other.pth")
    assert callable(factory_at("own_nets:Own"))
