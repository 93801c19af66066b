"""Students inherit the weights of the channels that stay."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import gcc
from gcc.errors import GccError
from gcc.pruning.sparsity import L1Subgradient
from gcc.registry import METRICS
from gcc.training.teacher import Teacher
from tests.helpers.custom_toys import CUSTOM, Critic, Images, Translator, settings_of


def networks_of(generator, **settings):
    return Teacher.of(generator, "paired", size=16, **settings).family.networks


@torch.no_grad()
def test_an_inherited_generator_is_the_full_one_with_zeros_for_the_other_channels():
    torch.manual_seed(0)
    generator = Translator().eval()
    for norm in (generator.head[1], generator.body[1]):
        norm.running_mean.normal_(), norm.running_var.uniform_(0.5, 2), norm.weight.normal_(), norm.bias.normal_()
    networks = networks_of(generator)
    kept = {name: sorted(torch.randperm(channels)[: channels // 2].tolist()) for name, channels in networks.channels.items()}
    smaller = networks.inherit(generator, kept).eval()
    trunk, inner = (next(kept[name] for name in names) for names in (["head.0"], ["body.0"]))
    image = torch.randn(2, 3, 9, 11)
    features = generator.head(image)
    mask = torch.zeros(1, 8, 1, 1)
    mask[:, trunk] = 1
    middle = torch.zeros(1, 8, 1, 1)
    middle[:, inner] = 1
    features = features * mask
    body = generator.body[3](generator.body[2](generator.body[1](generator.body[0](features))) * middle)
    expected = torch.tanh(generator.tail((features + body) * mask))
    torch.testing.assert_close(smaller(image), expected)


def test_a_student_starts_with_the_weights_that_the_first_step_kept(monkeypatch):
    torch.manual_seed(0)
    settings = settings_of("paired") | {"sparsity": 0.0, "lr_g": 0.0, "lr_d": 0.0}
    generator = Translator()
    run = gcc.Compressor(generator=generator, task="paired", data=CUSTOM["paired"][2], device="cpu", **settings)
    for step in run.steps():
        assert step.phase in ("search", "train")
    student = dict(run.student.generators["G"].named_parameters())
    kept = generator.head[0].weight.flatten(1).unsqueeze(0)
    rows = student["head.0.weight"].flatten(1)
    # With learning rates of zero, each row is one of the teacher's.
    assert len(rows) < 8 and all(bool((kept[0] == row).all(1).any()) for row in rows)
    fresh = gcc.Compressor(generator=generator, task="paired", data=CUSTOM["paired"][2], device="cpu", start="fresh", **settings)
    list(fresh.steps())
    rows = fresh.student.generators["G"].head[0].weight.flatten(1)
    assert not any(bool((kept[0] == row).all(1).any()) for row in rows)


class Equalised(nn.Module):
    """A convolution with an equalised learning rate, which draws its weight only when it is made."""

    def __init__(self, before, after):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(after, before, 3, 3)), nn.Parameter(torch.zeros(after))

    def forward(self, image):
        return functional.conv2d(image, self.weight * self.weight[0].numel() ** -0.5, self.bias, padding=1)


class Drawn(Equalised):
    """The same, and it can draw its weight again."""

    def reset_parameters(self):
        nn.init.normal_(self.weight)


class Positioned(Critic):
    """A discriminator with a learned table of positions."""

    def __init__(self):
        super().__init__()
        self.positions = nn.Parameter(torch.randn(1, 6, 32, 32))

    def forward(self, images):
        return super().forward(images + self.positions)


def require_new_weights(layer, critic=None, **settings):
    teacher = Teacher.of(nn.Sequential(layer(3, 8), nn.ReLU(), layer(8, 3)), "paired", critic, size=32)
    settings = {"start": "fresh", "metric": "l1", "budget": "50%", "ndf": 4, "epochs": 1, "evaluators": ""} | settings
    gcc.Compressor(teacher, CUSTOM["paired"][2], device="cpu", **settings).check()


@pytest.mark.parametrize(
    ("layer", "critic", "message"),
    [
        (Equalised, None, "nothing draws '0.weight', '2.weight' of the generator anew, .* or define reset_parameters in Equalised"),
        (Drawn, Positioned(), "nothing draws 'positions' of the discriminator anew, .* or define reset_parameters in Positioned"),
    ],
)
def test_new_weights_that_would_be_the_given_ones_are_refused(layer, critic, message):
    with pytest.raises(GccError, match=f'start = "fresh": {message}'):
        require_new_weights(layer, critic)


@pytest.mark.parametrize(
    ("layer", "critic", "settings"),
    [(Drawn, None, {}), (Drawn, Positioned(), {"discriminator": "none"}), (Equalised, None, {"start": "inherited"})],
)
def test_weights_that_are_drawn_or_inherited_are_accepted(layer, critic, settings):
    require_new_weights(layer, critic, **settings)


class Table(nn.Module):
    """Multiplies features by a table that its state_dict lacks."""

    def __init__(self):
        super().__init__()
        self.head, self.tail = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)
        self.register_buffer("table", torch.arange(1.0, 9.0).view(8, 1, 1), persistent=False)

    def forward(self, image):
        return self.tail(self.head(image) * self.table)


def test_tensors_that_the_state_dict_lacks_are_no_part_of_an_inherited_student():
    networks = networks_of(Table())
    assert networks.inherit(networks.generator, {"head": [0, 1, 2]}).table.flatten().tolist() == [1, 2, 3]
    with pytest.raises(GccError, match='depends on tensors that its state_dict lacks.*start="fresh"'):
        networks.inherit(networks.generator, {"head": [2, 5, 7]})


class Single(Table):
    """Takes one sample at a time."""

    def forward(self, image):
        features = self.head(image)
        return self.tail(features.view(len(image), 8, 16, 16))


def test_a_generator_that_takes_single_samples_is_refused():
    with pytest.raises(GccError, match=r"expected a generator that runs on any batch, with its size from `image.shape\[0\]`"):
        networks_of(Single()).channels  # noqa: B018


class Glued(nn.Module):
    """A gated unit, whose channels are two outputs of a convolution that are not adjacent, and two scales of a norm."""

    def __init__(self):
        super().__init__()
        self.head, self.tail = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)
        self.gated, self.norm = nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16)

    def forward(self, image):
        return self.tail(functional.glu(self.norm(self.gated(self.head(image))), 1))


@pytest.mark.parametrize("metric", ["l1", "slimming"])
def test_parts_of_weights_are_made_sparse_and_ranked(metric):
    torch.manual_seed(0)
    settings = settings_of("paired") | {"size": 32, "metric": metric, "budget": "60%"}
    run = gcc.Compressor(generator=Glued(), task="paired", data=Images(A=32, B=32), device="cpu", discriminator="none", **settings)
    list(run.steps())
    widths = run.widths["G"]
    assert widths.keys() == {"head", "gated"} and widths["gated"] < 8
    assert run.student.generators["G"].gated.out_channels == 2 * widths["gated"]


def test_the_subgradient_of_a_weight_with_parts_is_that_of_the_whole():
    networks = networks_of(Glued())
    network, groups = networks.build(networks.channels), [one.group for one in networks.followed.channels]
    penalise = L1Subgradient([network], groups, METRICS.load("l1")(), 0.5, networks.readable)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    penalise()
    for name, parameter in network.named_parameters():
        expected = 0.5 * parameter.sign() if name in ("head.weight", "gated.weight") else torch.zeros_like(parameter)
        assert torch.equal(parameter.grad, expected), name


def test_images_that_are_too_small_for_the_discriminator_are_refused():
    with pytest.raises(GccError, match=r"expected a discriminator that takes \(1, 6, 16, 16\): give another one as `discriminator`, or a"):
        gcc.Compressor(generator=Translator(), task="paired", data=Images(A=16, B=16), size=16, epochs=1, device="cpu").check()


class Averaging(Translator):
    """Keeps a moving average of its features, in evaluation mode as well."""

    def __init__(self):
        super().__init__()
        self.register_buffer("average", torch.zeros(1, 8, 1, 1))

    def forward(self, image):
        features = self.head(image)
        self.average = 0.9 * self.average + 0.1 * features.detach().mean((0, 2, 3), keepdim=True)
        features = features - self.average
        return torch.tanh(self.tail(features + self.body(features)))


class Gained(Translator):
    """Multiplies its features by numbers that no file has."""

    def __init__(self):
        super().__init__()
        self.register_buffer("gain", torch.linspace(0.5, 1.5, 8).view(1, 8, 1, 1), persistent=False)

    def forward(self, image):
        features = self.head(image) * self.gain
        return torch.tanh(self.tail(features + self.body(features)))


@pytest.mark.parametrize(
    ("generator", "message"),
    [(Averaging, "changes tensors of its own in evaluation mode"), (Gained, "depends on tensors that its state_dict lacks")],
)
def test_students_that_could_not_be_made_are_refused_before_training(generator, message):
    torch.manual_seed(0)
    network = generator()
    # The least important channels are not the last ones.
    network.head[0].weight.data[:4] *= 0.01
    run = gcc.Compressor(generator=network, data=CUSTOM["paired"][2], task="paired", device="cpu", **settings_of("paired"))
    state = torch.get_rng_state()
    with pytest.raises(GccError, match=message):
        run.check()
    assert torch.equal(state, torch.get_rng_state())


class Moody(Critic):
    """Returns something else in training mode."""

    def forward(self, images):
        logits = super().forward(images)
        return {"logits": logits} if self.training else logits


class Pooled(Critic):
    """Normalises one value per channel and sample."""

    def forward(self, images):
        return self.last(functional.pad(self.norm(self.second(self.first(images)).mean((2, 3), keepdim=True)), (1, 1, 1, 1)))


@pytest.mark.parametrize(
    ("critic", "batch_size", "message"),
    [
        (Moody, 2, "the discriminator returns dict: expected its logits as one tensor"),
        (Pooled, 1, r"Expected more than 1 value per channel.*expected a discriminator that trains on batches \(1, 6, 32, 32\)"),
    ],
)
def test_discriminators_run_in_training_mode_before_training(critic, batch_size, message):
    settings = settings_of("paired") | {"batch_size": batch_size}
    run = gcc.Compressor(generator=Translator(), discriminator=critic(), data=CUSTOM["paired"][2], task="paired", device="cpu", **settings)
    with pytest.raises(GccError, match=message):
        run.check()
