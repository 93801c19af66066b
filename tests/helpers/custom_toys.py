"""Small GANs that know nothing of this library, one for each task, with data for them."""

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset


class Translator(nn.Module):
    """Maps images to images, residually."""

    def __init__(self, width=8):
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
        )
        self.tail = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, image):
        features = self.head(image)
        return torch.tanh(self.tail(features + self.body(features)))


class Skipping(nn.Module):
    """A U-Net of two levels, which takes images whose sides are multiples of 4."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 4, 2, 1), nn.Conv2d(6, 8, 4, 2, 1)
        self.up, self.last = nn.ConvTranspose2d(8, 6, 4, 2, 1), nn.ConvTranspose2d(12, 3, 4, 2, 1)

    def forward(self, image):
        fine = functional.relu(self.first(image))
        coarse = functional.relu(self.second(fine))
        return torch.tanh(self.last(torch.cat([functional.relu(self.up(coarse)), fine], 1)))


class OneSize(nn.Module):
    """Takes images of 64 pixels only, as networks with linear layers do."""

    def __init__(self):
        super().__init__()
        self.down, self.fc, self.up = nn.Conv2d(3, 4, 8, 8), nn.Linear(256, 256), nn.ConvTranspose2d(4, 3, 8, 8)

    def forward(self, image):
        features = self.down(image)
        return self.up(self.fc(features.view(image.shape[0], 256)).view(features.shape))


class Enlarger(nn.Module):
    """Doubles height and width of images in [0, 1]; `width` stands as a number in its code."""

    def __init__(self):
        super().__init__()
        self.head, self.up = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 3, padding=1)
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.PReLU(8), nn.Conv2d(8, 8, 3, padding=1), nn.PReLU(8))

    def forward(self, image):
        features = self.head(image)
        features = features.view(image.shape[0], 8, *image.shape[2:])
        return functional.pixel_shuffle(self.up(features + self.body(features)), 2)


class Painter(nn.Sequential):
    """Maps noise (N, 6, 1, 1) to images of 16 pixels."""

    def __init__(self):
        super().__init__(
            *(nn.ConvTranspose2d(6, 12, 4), nn.BatchNorm2d(12), nn.ReLU()),
            *(nn.ConvTranspose2d(12, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.ReLU()),
            *(nn.ConvTranspose2d(8, 3, 4, 2, 1), nn.Tanh()),
        )


class Critic(nn.Module):
    """A discriminator of pairs, with activations in its code."""

    def __init__(self, channels=6):
        super().__init__()
        self.first, self.second = nn.Conv2d(channels, 8, 4, 2, 1), nn.Conv2d(8, 12, 4, 2, 1)
        self.norm, self.last = nn.BatchNorm2d(12), nn.Conv2d(12, 1, 3)

    def forward(self, images):
        features = functional.leaky_relu(self.first(images), 0.2)
        return self.last(functional.leaky_relu(self.norm(self.second(features)), 0.2))


class Images(Dataset):
    """Random images in [-1, 1], one for each key and size."""

    def __init__(self, **sizes):
        self.sizes = sizes

    def __len__(self):
        return 12

    def __getitem__(self, index):
        random = torch.Generator().manual_seed(index)
        return {key: 2 * torch.rand(3, size, size, generator=random) - 1 for key, size in self.sizes.items()}


CUSTOM = {
    "paired": (Translator, {"size": 32}, Images(A=32, B=32)),
    "unpaired": (Translator, {"size": 32, "pool_size": 4}, Images(A=32, B=32)),
    "super-resolution": (Enlarger, {"size": 32, "cost_size": 16, "pretrain_epochs": 1, "value_range": (0, 1)}, Images(hr=32, lr=16)),
    "noise": (Painter, {"example": torch.zeros(1, 6, 1, 1)}, Images(real=16)),
}
"""By task: a generator, settings, and data."""


def settings_of(task):
    """Return the settings of a short run of a task."""
    return {**CUSTOM[task][1], "epochs": 1, "batch_size": 4, "ndf": 4, "budget": "50%", "evaluators": ""}


class Scaling(nn.Module):
    """Multiplies each channel of an image by a factor, with two convolutions that share the work over six channels."""

    def __init__(self, factor):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 1, bias=False), nn.Conv2d(6, 3, 1, bias=False)
        with torch.no_grad():
            self.first.weight.copy_(torch.eye(3).repeat(2, 1)[:, :, None, None])
            self.second.weight.copy_(factor * torch.eye(3).repeat(1, 2)[:, :, None, None] / 2)

    def forward(self, image):
        return self.second(self.first(image))
