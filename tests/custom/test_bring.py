"""The networks that a user brings are checked before anything is built from them."""

import pytest
import torch
from torch import nn

from gcc.custom.bring import family_for
from gcc.errors import GccError
from tests.helpers.custom_toys import Critic, OneSize, Skipping, Translator


def input_shape(generator, **arguments):
    return family_for("paired", generator, settings={"size": 16}, **arguments)[0].networks.input_shape


@pytest.mark.parametrize("shape", [(), (5,), (3, 64, 64), (0, 3, 64, 64)])
def test_an_example_without_a_sample_or_a_batch_dimension_is_refused(shape):
    with pytest.raises(
        GccError, match=r"`example` has the shape \(.*: expected one sample with a batch dimension, such as example\[None\]"
    ):
        input_shape(Translator(), example=torch.zeros(shape))


@pytest.mark.parametrize("batch", [1, 4])
def test_the_first_sample_of_an_example_counts(batch):
    assert input_shape(Translator(), example=torch.zeros(batch, 3, 8, 8)) == (1, 3, 8, 8)


class Unordered(nn.Module):
    """A generator whose first convolution in the order of definition runs last."""

    def __init__(self):
        super().__init__()
        self.last, self.first = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)

    def forward(self, image):
        return self.last(self.first(image))


def test_the_channels_that_are_advised_are_those_that_the_generator_runs_with():
    with pytest.raises(GccError, match=r"runs on \(1, 3, 16, 16\): give `input_nc=4` if its images have 4 channels"):
        input_shape(Unordered())


def test_no_channels_are_advised_if_the_generator_runs_with_none():
    with pytest.raises(GccError, match=r"runs on \(1, 3, 16, 16\): change its code, or"):
        input_shape(nn.Sequential(nn.Conv2d(4, 8, 1), nn.Linear(5, 5)))


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"size": 50}, "give a `size` such as 48 or 52, or give"),
        ({"size": 50, "image_width": 96}, "give a `size` such as 96x48 or 96x52, or give"),
        ({"size": 2}, "give a `size` such as 4, or give"),
    ],
)
def test_sizes_are_advised_that_the_generator_takes(settings, remedy):
    with pytest.raises(GccError, match=remedy):
        family_for("paired", Skipping(), settings=settings)


def test_the_size_of_costs_is_advised_to_a_generator_that_enlarges():
    with pytest.raises(GccError, match="give a `cost_size` such as 48 or 52, or give"):
        family_for("super-resolution", nn.Sequential(Skipping(), nn.Upsample(scale_factor=2)), settings={"cost_size": 50})


class Halving(nn.Sequential):
    """Returns images of even sizes only."""

    def __init__(self):
        super().__init__(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 3, 4, 2, 1), nn.Tanh())


def test_a_size_is_advised_for_which_the_output_has_the_size_of_the_input():
    with pytest.raises(GccError, match=r"returns \(1, 3, 64, 64\) for \(1, 3, 63, 63\): .* the same size; give a `size` such as 64$"):
        family_for("paired", Halving(), settings={"size": 63})
    with pytest.raises(GccError, match="the same size$"):
        family_for("paired", Halving(), example=torch.zeros(1, 3, 63, 63), settings={})


class Centring(nn.Sequential):
    def forward(self, image):
        image -= 0.1
        return super().forward(image)


def test_a_generator_that_changes_its_input_is_refused():
    with pytest.raises(GccError, match="changes its input in place: compute a new tensor"):
        family_for("paired", Centring(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)), settings={"size": 16})


class Counting(Translator):
    def get_extra_state(self):
        return {"calls": 1}

    def set_extra_state(self, state):
        pass


def test_a_state_dict_that_files_cannot_hold_is_refused():
    with pytest.raises(GccError, match=r"the generator's state_dict has '_extra_state', dict: expected tensors alone.*get_extra_state"):
        input_shape(Counting())
    complex_half = Translator()
    complex_half.register_buffer("waves", torch.zeros(2, dtype=torch.complex128))
    with pytest.raises(GccError, match=r"'waves' of the generator has the dtype torch.complex128, which safetensors files lack"):
        input_shape(complex_half)


@pytest.mark.parametrize("role", ["generator", "discriminator"])
def test_nan_is_refused_by_the_name_of_its_tensor(role):
    networks = {"generator": Translator(), "discriminator": Critic()}
    name = {"generator": "body.1.running_var", "discriminator": "norm.weight"}[role]
    networks[role].state_dict()[name][2] = torch.nan
    with pytest.raises(GccError, match=f"{name} of {type(networks[role]).__name__} has NaN"):
        family_for("paired", **networks, settings={"size": 16})


def test_gates_of_no_discriminator_are_refused():
    with pytest.raises(GccError, match="`gates` names modules of your own discriminator: give it as `discriminator`"):
        input_shape(Translator(), gates=["norm"])


def test_the_only_size_that_a_generator_takes_is_advised():
    with pytest.raises(GccError, match=r"expected a generator that runs on \(1, 3, 256, 256\): give a `size` such as 64"):
        family_for("paired", OneSize(), settings={})
    assert family_for("paired", OneSize(), settings={"size": 64})[0].networks.size_multiple is None
