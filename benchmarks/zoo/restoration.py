"""Networks for restoration and super-resolution: spandrel and spandrel-extra-arches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .network import Network, attribute, image, noise


def spandrel(name: str, factory: str, example: Callable[[], tuple[Any, ...]], **arguments: Any) -> Network:
    return Network(name, "spandrel", f"spandrel.architectures.{factory}", example, arguments)


def extra(name: str, factory: str, example: Callable[[], tuple[Any, ...]], **arguments: Any) -> Network:
    return Network(name, "spandrel-extra-arches", f"spandrel_extra_arches.architectures.{factory}", example, arguments)


def mat() -> nn.Module:
    """The generator without its wrapper, which holds a double-precision tensor that is not a buffer."""
    generator = attribute("spandrel_extra_arches.architectures.MAT.__arch.MAT:Generator")
    return generator(z_dim=512, c_dim=0, w_dim=512, img_resolution=256, img_channels=3)


def mat_example() -> tuple[Any, ...]:
    mask = torch.ones(1, 1, 256, 256)
    return torch.rand(1, 3, 256, 256), mask, torch.randn(1, 512), torch.zeros(1, 0), 1, None, False, "none"


def gfpgan_example() -> tuple[Any, ...]:
    """Without random noise."""
    return torch.rand(1, 3, 128, 128), False, True, False


TRANSFORMER: dict[str, Any] = {"window_size": 8, "mlp_ratio": 2}
LIGHT = TRANSFORMER | {"upscale": 2, "embed_dim": 60, "depths": [6] * 4, "num_heads": [6] * 4, "upsampler": "pixelshuffledirect"}
RESTORATION = [
    spandrel(
        "SwinIR-M-real",
        "SwinIR:SwinIR",
        image(16),
        **TRANSFORMER,
        upscale=4,
        embed_dim=180,
        depths=[6] * 6,
        num_heads=[6] * 6,
        upsampler="nearest+conv",
    ),
    spandrel(
        "SwinIR-S",
        "SwinIR:SwinIR",
        image(16),
        **LIGHT,
    ),
    spandrel(
        "Swin2SR",
        "Swin2SR:Swin2SR",
        image(16),
        **LIGHT,
    ),
    spandrel("GFPGAN", "GFPGAN:GFPGAN", gfpgan_example, out_size=128, channel_multiplier=1, narrow=0.5),
    spandrel(
        "HAT-small",
        "HAT:HAT",
        image(16),
        embed_dim=144,
        depths=[6] * 6,
        num_heads=[6] * 6,
        window_size=16,
        compress_ratio=24,
        squeeze_factor=24,
        mlp_ratio=2,
        upscale=4,
    ),
    spandrel("SCUNet", "SCUNet:SCUNet", image(64)),
    spandrel("RealPLKSR", "PLKSR:RealPLKSR", image(24)),
    spandrel("RealPLKSR-dysample", "PLKSR:RealPLKSR", image(24), dysample=True),
    spandrel("PLKSR", "PLKSR:PLKSR", image(24)),
    spandrel("MoSR", "MoSR:MoSR", image(24)),
    spandrel(
        "RGT-S",
        "RGT:RGT",
        image(32),
        upscale=4,
        depth=[6] * 6,
        num_heads=[6] * 6,
        mlp_ratio=2,
        split_size=[8, 32],
    ),
    spandrel("DCTLSA", "DCTLSA:DCTLSA", image(16)),
    spandrel("RetinexFormer", "RetinexFormer:RetinexFormer", image(32), stage=1, num_blocks=[1, 2, 2]),
    spandrel(
        "ATD-light",
        "ATD:ATD",
        image(32),
        embed_dim=48,
        depths=(6,) * 4,
        num_heads=(4,) * 4,
        window_size=16,
        category_size=128,
        reducted_dim=8,
        convffn_kernel_size=7,
        mlp_ratio=1,
        upscale=4,
        upsampler="pixelshuffledirect",
    ),
    spandrel("HVICIDNet", "HVICIDNet:HVICIDNet", image(32)),
    spandrel("FFTformer", "FFTformer:FFTformer", image(32)),
    spandrel("RestoreFormer", "RestoreFormer:RestoreFormer", image(128)),
    spandrel("LaMa", "LaMa:LaMa", noise((1, 3, 64, 64), (1, 1, 64, 64)), in_nc=4),
    spandrel("SPAN", "SPAN:SPAN", image(24), num_in_ch=3, num_out_ch=3),
    spandrel("SeemoRe", "SeemoRe:SeemoRe", image(24)),
    spandrel(
        "AuraSR-small",
        "AuraSR:AuraSR",
        image(32),
        dim=32,
        image_size=128,
        input_image_size=32,
        style_network={"dim_in": 64, "dim_out": 128, "depth": 4},
        up_dim_mults=(1, 2, 4, 4, 8),
        down_dim_mults=(4, 4, 8),
        attn_depths=(1, 1, 1, 1, 1),
        mid_attn_depth=1,
    ),
    spandrel("RCAN", "RCAN:RCAN", image(16)),
    spandrel("DITN", "DITN:DITN", image(16)),
    spandrel(
        "DRCT-2",
        "DRCT:DRCT",
        image(16),
        depths=(6,) * 2,
        num_heads=(6,) * 2,
        upscale=4,
        upsampler="pixelshuffle",
    ),
    spandrel("Compact", "Compact:Compact", image(24)),
    spandrel("ESRGAN", "ESRGAN:ESRGAN", image(16)),
    spandrel("RealCUGAN-2x", "RealCUGAN:UpCunet2x", image(32)),
    spandrel("RealCUGAN-4x", "RealCUGAN:UpCunet4x", image(32)),
    spandrel("NAFNet-32", "NAFNet:NAFNet", image(32), width=32, enc_blk_nums=[1, 1, 1, 28], dec_blk_nums=[1, 1, 1, 1]),
    spandrel("OmniSR", "OmniSR:OmniSR", image(16), res_num=5),
    spandrel(
        "DAT-light",
        "DAT:DAT",
        image(32),
        upscale=4,
        embed_dim=60,
        depth=[18],
        num_heads=[6],
        expansion_factor=2,
        split_size=[8, 32],
        resi_connection="3conv",
        upsampler="pixelshuffledirect",
    ),
    spandrel("FDAT", "FDAT:FDAT", image(16)),
    spandrel("DRUNet", "DRUNet:DRUNet", image(32, 4), in_nc=4, out_nc=3),
    spandrel("DnCNN", "DnCNN:DnCNN", image(24, 1)),
    spandrel("FBCNN", "FBCNN:FBCNN", image(32)),
    spandrel("SAFMN", "SAFMN:SAFMN", image(24), dim=36),
    spandrel("SAFMNBCIE", "SAFMNBCIE:SAFMNBCIE", image(24), dim=36),
    spandrel("SwiftSRGAN", "SwiftSRGAN:SwiftSRGAN", image(24)),
    spandrel("MMRealSR", "MMRealSR:MMRealSR", image(32), num_in_ch=3, num_out_ch=3),
    spandrel(
        "GRL-tiny",
        "GRL:GRL",
        image(64),
        img_size=64,
        embed_dim=64,
        upscale=4,
        upsampler="pixelshuffledirect",
        depths=[4] * 4,
        num_heads_window=[2] * 4,
        num_heads_stripe=[2] * 4,
        stripe_size=[64, 64],
        mlp_ratio=2,
        anchor_window_down_factor=4,
        conv_type="1conv",
    ),
    spandrel("KBNet_s", "KBNet:KBNet_s", image(32), width=32),
    spandrel("MixDehazeNet", "MixDehazeNet:MixDehazeNet", image(64)),
    spandrel("Uformer-T", "Uformer:Uformer", image(128), img_size=128, embed_dim=16),
    spandrel("IPT-4", "IPT:IPT", image(24), patch_size=24, num_layers=4, scale=[2]),
    extra("CodeFormer", "CodeFormer:CodeFormer", image(512)),
    extra(
        "DDColor-tiny",
        "DDColor:DDColor",
        image(64),
        encoder_name="convnext-t",
        input_size=(64, 64),
        num_output_channels=2,
        last_norm="Spectral",
        num_queries=100,
    ),
    extra("FeMaSR", "FeMaSR:FeMaSR", image(64), LQ_stage=True, scale_factor=4),
    extra("M3SNet", "M3SNet:M3SNet", image(32)),
    Network("MAT", "spandrel-extra-arches", mat, mat_example),
    extra("MPRNet", "MPRNet:MPRNet", image(32)),
    extra("Restormer", "Restormer:Restormer", image(32)),
]
