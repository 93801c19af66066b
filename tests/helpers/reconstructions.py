"""What reconstructions of published segmentation networks share: they name tensors as the published files do."""

import math

import torch
from torch.nn import functional


def norm_shapes(path, channels):
    """Return the shapes of a batch norm's tensors by name."""
    return {f"{path}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}


def shapes_of(network):
    """Return the shapes of a network's tensors by name, without the counters of batch norms."""
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items() if not name.endswith("num_batches_tracked")}


def random_state(shapes):
    """Return random tensors of these shapes, with scales and variances of batch norms around 1."""
    random = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=random)
        path, _, part = name.rpartition(".")
        if len(shape) == 4:
            state[name] = noise * (2 / math.prod(shape[1:])) ** 0.5
        elif part in ("weight", "running_var") and f"{path}.running_var" in shapes:
            state[name] = 1 + 0.1 * noise
        else:
            state[name] = 0.1 * noise
    return state


class Layers:
    """Runs layers by the names of their tensors.

    Args:
        state: the tensors.
        epsilon: what batch norms add to the variance.
    """

    def __init__(self, state, epsilon):
        self.state, self.epsilon = state, epsilon

    def conv(self, x, path, stride=1, dilation=1):
        """Return a convolution without a bias that keeps the size up to its stride."""
        weight = self.state[f"{path}.weight"]
        return functional.conv2d(x, weight, None, stride, dilation * (weight.shape[-1] // 2), dilation)

    def norm(self, x, path):
        """Return a batch norm in evaluation mode."""
        scale, shift, mean, variance = (self.state[name].view(1, -1, 1, 1) for name in norm_shapes(path, 0))
        return (x - mean) / (variance + self.epsilon).sqrt() * scale + shift
