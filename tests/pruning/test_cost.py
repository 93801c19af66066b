import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from gcc.models.build import generator_on_meta
from gcc.models.pix2pix import Pix2Pix, Pix2PixRecipe
from gcc.pruning.cost import Cost, cost_of
from tests.helpers.pruning_toys import TOYS


def reference_macs(network, example):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(example)
    return counter.get_total_flops() // 2


def unet_cost(base, **settings):
    pix2pix = Pix2Pix(Pix2PixRecipe(**settings))
    return cost_of(generator_on_meta(pix2pix, pix2pix.full_widths(base)), pix2pix.example_input())


def unet_by_hand(base, size=256):
    """Count a U-Net of depth 8 level by level: exact, paper and parameters."""
    down = [3] + [base * min(8, 2**k) for k in range(8)]
    exact = paper = parameters = 0
    for k in range(1, 9):
        pixels = (size >> k) ** 2
        kernel = 16 * down[k - 1] * down[k]
        exact += kernel * pixels
        norm = 1 < k < 8
        paper += kernel * pixels + 2 * norm * down[k] * pixels
        parameters += kernel + 2 * norm * down[k]
    for k in range(8, 0, -1):
        before = down[k] if k == 8 else 2 * down[k]
        pixels = (size >> k) ** 2
        kernel = 16 * before * down[k - 1]
        exact += kernel * pixels
        # One multiplication by each of gamma and 1 / sigma, or one bias per output of the last convolution.
        paper += (kernel + (1 if k == 1 else 0) * down[0] + (0 if k == 1 else 2 * down[k - 1])) * 4 * pixels
        parameters += kernel + (3 if k == 1 else 2 * down[k - 1])
    return exact, paper, parameters


@pytest.mark.parametrize("base", [64, 32])
def test_unet_costs_what_a_count_by_hand_gives(base):
    cost = unet_cost(base)
    assert (cost.macs, cost.paper_macs, cost.parameters) == unet_by_hand(base)
    assert cost.resolution == "1x3x256x256"


def test_the_published_unet_costs_what_the_paper_says():
    cost = unet_cost(64)
    assert f"{cost.macs / 1e9:.2f}" == "6.05"
    assert f"{cost.paper_macs / 1e9:.2f}" == "18.15"
    assert str(cost) == ("6.048 G MACs exact, 18.15 G MACs by the paper's counter at 1x3x256x256, 54.41 M parameters")


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_exact_agrees_with_torch_on_the_unet(norm):
    pix2pix = Pix2Pix(Pix2PixRecipe(size=64, norm=norm))
    network = pix2pix.build_generator(pix2pix.full_widths(8))
    assert cost_of(network, pix2pix.example_input()).macs == reference_macs(network, pix2pix.example_input())


@pytest.mark.parametrize("name", TOYS)
def test_exact_agrees_with_torch_on_toys(name):
    toy = TOYS[name]
    network = toy.build_generator(toy.full_widths(16))
    assert cost_of(network, toy.example_input()).macs == reference_macs(network, toy.example_input())


class Functional(nn.Module):
    """Multiplies in every way but through a module."""

    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.ones(6, 3, 3, 3))
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x):
        x = functional.conv2d(x, self.kernel, padding="same")
        tokens = x.flatten(2).transpose(1, 2)
        scaled = functional.scaled_dot_product_attention(tokens, tokens, tokens)
        mixed = torch.einsum("nik,njk->nij", scaled, tokens) @ tokens
        return self.attention(mixed, mixed, mixed)[0]


def test_products_outside_of_modules_count():
    network = Functional()
    example = torch.zeros(2, 3, 4, 4)
    tokens = 16
    convolution = 6 * 27 * tokens
    products = 4 * 6 * tokens * tokens  # The scaled attention's two, the einsum and the matmul.
    attention = 4 * 36 * tokens + 2 * 6 * tokens * tokens  # Four projections and two products.
    cost = cost_of(network, example)
    assert cost.macs == convolution + products + attention
    # thop would know the attention's output projection by its type, had it been called as a module.
    assert cost.paper_macs == 0


CONVOLUTIONS = [
    (nn.Conv2d(3, 8, 3, 2, 1, 2), (2, 3, 11, 9)),
    (nn.Conv2d(4, 8, (3, 5), (1, 2), (0, 2), groups=2), (1, 4, 11, 9)),
    (nn.Conv2d(3, 8, 3, padding="same"), (1, 3, 7, 7)),
    (nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect"), (1, 3, 7, 7)),
    (nn.Conv1d(3, 8, 3, 2), (1, 3, 11)),
    (nn.Conv3d(3, 8, 3), (1, 3, 5, 6, 7)),
    (nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2), (2, 4, 5, 7)),
    (nn.ConvTranspose2d(3, 6, (4, 3), (2, 3), dilation=2), (1, 3, 5, 7)),
    (nn.ConvTranspose1d(3, 6, 4, 2, 1), (1, 3, 5)),
]


@pytest.mark.parametrize(("layer", "shape"), CONVOLUTIONS)
def test_convolutions_have_torchs_shape_and_count(layer, shape):
    class Watched(nn.Sequential):
        def forward(self, x):
            type(self).shape = super().forward(x).shape
            return x

    network = Watched(layer)
    cost = cost_of(network, torch.zeros(shape))
    counted = network.shape
    assert cost.macs * shape[0] == reference_macs(network, torch.zeros(shape))
    assert counted == network.shape


@pytest.mark.parametrize(
    ("layer", "shape", "paper"),
    [
        (nn.Conv2d(3, 8, 3, padding=1, bias=False), (2, 3, 4, 4), 8 * 27 * 16),
        (nn.Conv2d(4, 8, 3, padding=1, groups=2), (1, 4, 4, 4), 8 * (18 + 1) * 16),
        (nn.ConvTranspose2d(3, 8, 4, 2, 1), (1, 3, 4, 4), 8 * (3 * 16 + 1) * 64),
        (nn.Linear(5, 7), (2, 5), 35),
        (nn.BatchNorm2d(3), (1, 3, 4, 4), 96),
        (nn.InstanceNorm2d(3, affine=True), (1, 3, 4, 4), 0),
        (nn.PReLU(3), (1, 3, 4, 4), 0),
        (nn.LeakyReLU(), (1, 3, 4, 4), 0),
        (nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 8, 3)), (1, 3, 4, 4), 0),
    ],
)
def test_the_papers_counter_follows_thops_rules(layer, shape, paper):
    assert cost_of(nn.Sequential(layer), torch.zeros(shape)).paper_macs == paper


def test_counting_leaves_the_network_as_it_was():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 4, 3)))
    network.train()
    network[1].eval()
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    cost_of(network, torch.zeros(1, 3, 8, 8))
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    assert all(not module._forward_hooks for module in network.modules())


def test_a_network_that_fails_is_left_as_it_was_too():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(5, 4, 3))
    with pytest.raises(RuntimeError):
        cost_of(network, torch.zeros(1, 3, 8, 8))
    assert network.training and all(module.training and not module._forward_hooks for module in network.modules())


def test_costs_are_values():
    assert Cost(1, 2, 3, "1x3x8x8") == Cost(1, 2, 3, "1x3x8x8")


def test_a_layer_with_two_names_is_counted_once_and_stays_as_it_is():
    layer = nn.Conv2d(3, 3, 3)
    network = nn.Sequential(layer, layer)
    weight = layer.weight
    assert cost_of(network, torch.zeros(1, 3, 6, 6)) == Cost(81 * (16 + 4), 84 * (16 + 4), 84, "1x3x6x6")
    assert network[0].weight is weight


def by_position(x, kernel, other):
    one = functional.conv2d(x, kernel, None, 2, 1)
    return functional.conv_transpose2d(torch.cat([one, one], 1), other, None, 2)


def by_keywords(x, kernel, other):
    one = functional.conv2d(weight=kernel, input=x, padding=1, stride=2)
    return functional.conv_transpose2d(weight=other, input=torch.cat(tensors=[one, one], dim=1), stride=2)


def by_both(x, kernel, other):
    one = functional.conv2d(x, weight=kernel, stride=2, padding=1)
    return functional.conv_transpose2d(torch.cat((one, one), axis=-3), weight=other, stride=2)


@pytest.mark.parametrize("run", [by_position, by_keywords, by_both])
def test_functions_cost_the_same_however_they_are_called(run):
    class Called(nn.Module):
        def __init__(self):
            super().__init__()
            self.kernel, self.other = nn.Parameter(torch.ones(6, 3, 3, 3)), nn.Parameter(torch.ones(12, 5, 2, 2))

        def forward(self, x):
            type(self).shape = run(x, self.kernel, self.other).shape
            return x

    network, example = Called(), torch.zeros(2, 3, 8, 8)
    assert cost_of(network, example).macs == 6 * 27 * 16 + 12 * 20 * 16 == reference_macs(network, example) // 2
    assert cost_of(network, example) and network.shape == (2, 5, 8, 8)


def test_arguments_may_be_constants_and_containers():
    class Several(nn.Linear):
        def forward(self, label, pair, share):
            return super().forward(pair["image"]) * share

    cost = cost_of(Several(4, 5), None, {"image": torch.zeros(2, 4)}, 0.5)
    assert (cost.macs, cost.resolution) == (20, "2x4")


def test_code_that_asks_for_the_device_is_counted():
    class OnCpu(nn.Linear):
        def forward(self, image):
            if image.device.type != "cpu":
                raise RuntimeError("the kernel of other devices is not compiled")
            return super().forward(image)

    assert cost_of(OnCpu(4, 5).to("meta"), torch.zeros(2, 4)).macs == 20


@pytest.mark.parametrize(("center", "length"), [(True, None), (True, 70), (False, None)])
def test_an_inverse_stft_costs_nothing_and_has_torchs_shape(center, length):
    class Vocoder(nn.Linear):
        def forward(self, frames):
            spectrum = torch.complex(frames, frames)
            signal = torch.istft(spectrum, 16, 4, window=torch.ones(16, device=frames.device), center=center, length=length)
            type(self).shape = signal.shape
            return super().forward(signal[..., :10])

    network, frames = Vocoder(10, 2), torch.rand(3, 9, 20)
    network(frames)
    expected = network.shape
    assert cost_of(network, frames).macs == 20 and network.shape == expected


def test_what_a_network_caches_in_the_count_is_not_the_users():
    class Cached(nn.Linear):
        grid = None

        def forward(self, image):
            assert image.device.type == "cpu"
            if self.grid is None:
                self.grid = torch.arange(4.0)
            return super().forward(image + self.grid)

    network = Cached(4, 5)
    assert cost_of(network, torch.zeros(2, 4)).macs == 20 and network.grid is None


def test_the_error_of_a_network_that_cannot_be_counted_is_that_of_the_first_try():
    class Reads(nn.Linear):
        def forward(self, image):
            return super().forward(image) * image.sum().item()

    with pytest.raises(RuntimeError, match=r"Tensor\.item\(\) cannot be called on meta tensors"):
        cost_of(Reads(4, 5), torch.zeros(2, 4))
