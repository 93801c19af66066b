"""ESRGAN (Wang et al. 2018) and Real-ESRGAN (Wang et al. 2021): super-resolution of photographs."""

from gcc_esrgan.data import RealPhotographs, RealScenes
from gcc_esrgan.family import ESRGAN, ESRGANRecipe, RealESRGAN, RealESRGANRecipe
from gcc_esrgan.networks import Compact, Dense, RRDBNet, growing

__all__ = [
    "ESRGAN",
    "Compact",
    "Dense",
    "ESRGANRecipe",
    "RRDBNet",
    "RealESRGAN",
    "RealESRGANRecipe",
    "RealPhotographs",
    "RealScenes",
    "growing",
]
