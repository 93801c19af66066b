"""Networks of torchvision and timm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .network import Network, image, noise


def torchvision(name: str, module: str, example: Callable[[], tuple[Any, ...]], **arguments: Any) -> Network:
    return Network(f"tv-{name}", "torchvision", f"torchvision.models{module}:{name}", example, arguments)


def timm(name: str, size: int, **arguments: Any) -> Network:
    return Network(f"timm-{name}", "timm", "timm:create_model", image(size), {"model_name": name, **arguments})


TORCHVISION = [
    *[
        torchvision(name, "", image(64), weights=None)
        for name in (
            "shufflenet_v2_x1_0",
            "shufflenet_v2_x0_5",
            "resnet50",
            "mobilenet_v3_small",
            "efficientnet_b0",
            "convnext_tiny",
            "regnet_y_400mf",
            "swin_t",
            "swin_v2_t",
        )
    ],
    torchvision("vit_b_32", "", image(64), weights=None, image_size=64),
    torchvision("googlenet", "", image(64), weights=None, init_weights=False),
    torchvision("fcn_resnet50", ".segmentation", image(64), weights=None, weights_backbone=None),
    torchvision("lraspp_mobilenet_v3_large", ".segmentation", image(64), weights=None, weights_backbone=None),
    torchvision("raft_large", ".optical_flow", noise((1, 3, 128, 128), (1, 3, 128, 128)), weights=None),
]
TIMM = [
    timm("mobilevit_xxs", 64),
    timm("deit_tiny_patch16_224", 64, img_size=64),
    timm("poolformer_s12", 64),
    timm("edgenext_xx_small", 64),
    timm("convnextv2_atto", 64),
    timm("efficientvit_b0", 64),
    timm("fastvit_t8", 64),
    timm("repvgg_a0", 64),
    timm("mixer_b16_224", 64, img_size=64),
    timm("ghostnet_100", 64),
    timm("mobilenetv4_conv_small", 64),
    timm("nasnetalarge", 224),
]
CI = ["tv-shufflenet_v2_x0_5", "tv-mobilenet_v3_small", "tv-regnet_y_400mf"]
"""Names of a subset that takes seconds and needs no further package."""
