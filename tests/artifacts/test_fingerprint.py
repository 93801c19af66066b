"""A saved generator of a user's code is compared with what the code makes."""

import json

import pytest
import torch
from torch import nn

import gcc
from gcc.artifacts.fingerprint import VALUES, fingerprint, parse_fingerprint, require_same_outputs
from gcc.errors import ArtifactError, GccError
from tests.helpers.custom_toys import Images, Translator


class Fourier(Translator):
    """Adds waves whose frequencies no `state_dict` has; each instance draws them."""

    def __init__(self, seed=None):
        super().__init__()
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        self.frequencies = torch.randn(3, 3, 1, 1, generator=generator)

    def forward(self, image):
        return super().forward(image) + 0.3 * torch.sin(nn.functional.conv2d(image, self.frequencies.to(image)))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fourier")
    torch.manual_seed(0)
    data = Images(A=16, B=16)
    options = {"task": "paired", "size": 16, "steps": 2, "batch_size": 2, "device": "cpu", "evaluators": "", "budget": "50%"}
    critic = nn.Sequential(nn.Conv2d(6, 8, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 3))
    gcc.Compressor(generator=Fourier(1), discriminator=critic, data=data, **options).run().save(folder)
    return folder / "student"


def test_the_code_that_made_it_is_accepted(saved):
    assert isinstance(gcc.load(saved, factory=lambda: Fourier(1)), nn.Module)
    assert len(json.loads((saved / "config.json").read_text())["fingerprint"]) == VALUES


@pytest.mark.parametrize("factory", [Fourier, lambda: Fourier(2)])
def test_code_that_returns_something_else_with_the_saved_weights_is_refused(saved, factory):
    torch.manual_seed(5)
    with pytest.raises(ArtifactError, match=r"does not return what it returned when it was saved.*give what made .*Fourier as `factory`"):
        gcc.load(saved, factory=factory)


def test_files_of_earlier_versions_have_none(saved, tmp_path):
    for file in saved.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((saved / "config.json").read_text())
    del config["fingerprint"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert isinstance(gcc.load(tmp_path, factory=lambda: Fourier(2)), nn.Module)


def test_values_are_those_of_the_output_in_order():
    class Ramp(nn.Module):
        def forward(self, inputs):
            return torch.arange(31.0).view(1, 1, 1, 31)

    assert fingerprint(Ramp(), (1, 3, 4, 4)) == [float(2 * number) for number in range(16)]


def test_random_generators_have_none():
    class Noisy(nn.Module):
        def forward(self, inputs):
            return inputs + torch.randn_like(inputs)

    before = torch.get_rng_state()
    assert fingerprint(Noisy(), (1, 3, 4, 4)) == []
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_outputs_that_are_not_finite_have_none(value):
    class Broken(nn.Module):
        def forward(self, inputs):
            return inputs * value

    assert fingerprint(Broken(), (1, 3, 4, 4)) == []


def test_code_that_does_not_run_is_refused():
    class Failing(nn.Module):
        def forward(self, inputs):
            raise ValueError("no")

    with pytest.raises(GccError, match=r"no; expected a generator that runs on \(1, 3, 4, 4\), as the saved one did; give another one"):
        require_same_outputs(Failing(), (1, 3, 4, 4), [0.0], "give another one")


@pytest.mark.parametrize("value", [3, "x", [1.0] * 17, ["1"], [True], [float("nan")], [None]])
def test_a_damaged_one_is_refused(value):
    with pytest.raises(GccError, match="fingerprint = .*: expected at most 16 numbers"):
        parse_fingerprint(value)
