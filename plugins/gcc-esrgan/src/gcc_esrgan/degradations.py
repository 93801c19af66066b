"""The second-order degradations that turn photographs into training inputs (Wang et al. 2021, sections 3 and 4.1).

The numbers are those of the paper. Where it leaves them open, they are the options that its authors published with their code: the shares
of isotropic kernels, the ranges of factors, and the methods of resizing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, log2, pi

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from gcc_esrgan.jpeg import BLUE, GREEN, RED, compressed
from gcc_esrgan.kernels import filtered, gaussian, plateau, sinc

Range = tuple[float, float]
KERNEL_SIZES = (7, 9, 11, 13, 15, 17, 19, 21)
RESIZING = ("area", "bilinear", "bicubic")
"""Methods of `torch.nn.functional.interpolate`, which are equally likely."""


@dataclass(frozen=True, kw_only=True)
class Blur:
    """Random blur.

    Attributes:
        probability: of any blur.
        sinc: probability of a sinc kernel.
        gaussian: shares of isotropic and anisotropic Gaussian kernels in the others.
        generalised: the same of generalised Gaussian kernels.
        plateau: the same of plateau-shaped kernels.
        sigma: standard deviation in pixels.
        generalised_beta: shape of generalised Gaussian kernels.
        plateau_beta: shape of plateau-shaped kernels.
    """

    probability: float = 1.0
    sinc: float = 0.1
    gaussian: tuple[float, float] = (0.45, 0.25)
    generalised: tuple[float, float] = (0.12, 0.03)
    plateau: tuple[float, float] = (0.12, 0.03)
    sigma: Range = (0.2, 3.0)
    generalised_beta: Range = (0.5, 4.0)
    plateau_beta: Range = (1.0, 2.0)


@dataclass(frozen=True, kw_only=True)
class Resize:
    """Random resizing.

    Attributes:
        probabilities: of enlarging, shrinking and leaving as it is.
        factor: the least factor of shrinking and the largest of enlarging; 1 is the other end of both ranges.
    """

    probabilities: tuple[float, float, float] = (0.2, 0.7, 0.1)
    factor: Range = (0.15, 1.5)


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Random noise.

    Attributes:
        gaussian: probability of Gaussian noise; otherwise, it is Poisson noise.
        sigma: standard deviation of Gaussian noise, in levels of 8 bits.
        scale: factor of Poisson noise.
        grey: probability of the same noise for all colours.
    """

    gaussian: float = 0.5
    sigma: Range = (1.0, 30.0)
    scale: Range = (0.05, 3.0)
    grey: float = 0.4


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round: blur, resizing, noise and JPEG compression, whose quality is a whole number between both ends."""

    blur: Blur = field(default_factory=Blur)
    resize: Resize = field(default_factory=Resize)
    noise: Noise = field(default_factory=Noise)
    quality: tuple[int, int] = (30, 95)


SECOND = Round(
    blur=Blur(probability=0.8, sigma=(0.2, 1.5)),
    resize=Resize(probabilities=(0.3, 0.4, 0.3), factor=(0.3, 1.2)),
    noise=Noise(sigma=(1.0, 25.0), scale=(0.05, 2.5)),
)


@dataclass(frozen=True, kw_only=True)
class Degradations:
    """Two rounds, and a last sinc filter, which comes before or after the second compression.

    Attributes:
        first: the first round; its factors apply to the size of the photograph.
        second: the second round; its factors apply to the size of the result.
        final_sinc: probability of the last sinc filter.
    """

    first: Round = field(default_factory=Round)
    second: Round = SECOND
    final_sinc: float = 0.8


REAL_ESRGAN = Degradations()


def degraded(image: Tensor, scale: int, random: np.random.Generator, degradations: Degradations = REAL_ESRGAN) -> Tensor:
    """Return a photograph as a small image of low quality, rounded to 8 bits.

    The result depends only on the image, the device and the state of `random`.

    Args:
        image: (3, H, W) in [0, 1]; H and W are multiples of `scale`.
        scale: factor by which the result is smaller.
        random: draws all parameters, and the seed of the noise.
        degradations: the distribution of the parameters.

    Returns:
        (3, H / scale, W / scale) in [0, 1], on the same device.
    """
    noise = torch.Generator(image.device).manual_seed(int(random.integers(2**63)))
    height, width = image.shape[1:]
    small = height // scale, width // scale
    image = _uncompressed_round(image, (height, width), random, noise, degradations.first)
    image = compressed(image, _quality(random, degradations.first))
    image = _uncompressed_round(image, small, random, noise, degradations.second)
    quality, compressed_first = _quality(random, degradations.second), _happens(random, 0.5)
    if compressed_first:
        image = compressed(image, quality)
    image = _resized(image, small, random)
    if _happens(random, degradations.final_sinc):
        image = filtered(image, _sinc(random, _kernel_size(random), pi / 3))
    image = image.clamp(0, 1)
    return (255 * image).round() / 255 if compressed_first else compressed(image, quality)


def _uncompressed_round(
    image: Tensor, size: tuple[int, int], random: np.random.Generator, generator: torch.Generator, parameters: Round
) -> Tensor:
    """Return an image after blur, resizing to a random factor of a height and a width, and noise."""
    if _happens(random, parameters.blur.probability):
        image = filtered(image, draw_kernel(random, parameters.blur))
    factor = _factor(random, parameters.resize)
    image = _resized(image, (max(1, round(factor * size[0])), max(1, round(factor * size[1]))), random)
    return _noisy(image, random, generator, parameters.noise)


def draw_kernel(random: np.random.Generator, blur: Blur) -> Tensor:
    """Return a random kernel, (size, size) in float64."""
    size = _kernel_size(random)
    if _happens(random, blur.sinc):
        return _sinc(random, size, pi / 3 if size < 13 else pi / 5)
    shares = (*blur.gaussian, *blur.generalised, *blur.plateau)
    shape, anisotropic = divmod(int(random.choice(len(shares), p=shares)), 2)
    sigma = random.uniform(*blur.sigma)
    sigmas, angle = (sigma, sigma), 0.0
    if anisotropic:
        sigmas, angle = (sigma, random.uniform(*blur.sigma)), random.uniform(-pi, pi)
    match shape:
        case 0:
            return gaussian(size, sigmas, angle)
        case 1:
            return gaussian(size, sigmas, angle, random.uniform(*blur.generalised_beta))
    return plateau(size, sigmas, angle, random.uniform(*blur.plateau_beta))


def _sinc(random: np.random.Generator, size: int, lowest: float) -> Tensor:
    return sinc(size, random.uniform(lowest, pi))


def _kernel_size(random: np.random.Generator) -> int:
    return int(random.choice(KERNEL_SIZES))


def _factor(random: np.random.Generator, resize: Resize) -> float:
    low, high = resize.factor
    ranges = ((1.0, high), (low, 1.0), (1.0, 1.0))
    return random.uniform(*ranges[int(random.choice(3, p=resize.probabilities))])


def _resized(image: Tensor, size: tuple[int, int], random: np.random.Generator) -> Tensor:
    return interpolate(image[None], size, mode=str(random.choice(RESIZING)))[0]


def _noisy(image: Tensor, random: np.random.Generator, generator: torch.Generator, noise: Noise) -> Tensor:
    """Return an image with noise, in [0, 1]."""
    is_grey, is_gaussian = _happens(random, noise.grey), _happens(random, noise.gaussian)
    image = image.clamp(0, 1)
    if is_gaussian:
        return gaussian_noise(image, random.uniform(*noise.sigma) / 255, generator, is_grey=is_grey).clamp(0, 1)
    return poisson_noise(image, random.uniform(*noise.scale), generator, is_grey=is_grey).clamp(0, 1)


def gaussian_noise(image: Tensor, sigma: float, generator: torch.Generator, *, is_grey: bool) -> Tensor:
    """Return an image, (3, H, W), with noise of this standard deviation; all colours have the same if it is grey."""
    shape = (1, *image.shape[1:]) if is_grey else image.shape
    return image + sigma * torch.randn(shape, generator=generator, device=image.device, dtype=image.dtype)


def poisson_noise(image: Tensor, scale: float, generator: torch.Generator, *, is_grey: bool) -> Tensor:
    """Return an image, (3, H, W) in [0, 1], with the noise of counted light; its variance grows with the image.

    White has as many counts as the image has 8-bit levels, rounded up to a power of two. Grey noise is that of the luminance.
    """
    levels = (255 * (luminance(image) if is_grey else image)).round()
    counts = 2.0 ** ceil(log2(int(levels.long().flatten().bincount().count_nonzero())))
    light = levels / 255
    noise: Tensor = torch.poisson(light * counts, generator=generator) / counts - light
    return image + scale * noise


def luminance(image: Tensor) -> Tensor:
    """Return the luminance of an image, (3, H, W), as (1, H, W)."""
    return (image * image.new_tensor([RED, GREEN, BLUE]).view(3, 1, 1)).sum(0, keepdim=True)


def _quality(random: np.random.Generator, parameters: Round) -> int:
    return int(random.integers(*parameters.quality, endpoint=True))


def _happens(random: np.random.Generator, probability: float) -> bool:
    return bool(random.random() < probability)
