"""Generators of public repositories."""

from __future__ import annotations

import functools
import importlib
import sys
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from .network import Network, Repository, attribute, defined, image, noise

BIGGAN = Repository("ajbrock/BigGAN-PyTorch", "98459431a5d618d644d54cd1e9fceb1e5045648d")
STYLEGAN2 = Repository("rosinality/stylegan2-pytorch", "bef283a1c24087da704d16c30abc8e36e63efa0e", unneeded=("torch.utils.cpp_extension",))
STYLEGAN1 = Repository("rosinality/style-based-gan-pytorch", "07fa60be77b093dd13a46597138df409ffc3b9bc")
STYLEGAN3 = Repository("NVlabs/stylegan3", "c233a919a6faee6e36a316ddd4eddababad1adf9")
MUNIT = Repository("NVlabs/MUNIT", "a82e222bc359892bd0f522d7a0f1573f3ec4a485")
CUT = Repository("taesungp/contrastive-unpaired-translation", "b3ac297708dfb6f7589d04662277e53c0d579c27")
SPADE = Repository("NVlabs/SPADE", "fecacc920c1367a038995c45a39c15f6521ca64f", unneeded=("models.networks.sync_batchnorm", "dill", "cv2"))
PIX2PIXHD = Repository("NVIDIA/pix2pixHD", "14b3b3c7fff413086e3b58df52096f16b6891172")
UGATIT = Repository("znxlwm/UGATIT-pytorch", "b8c4251823673189999484d07e97fdcb9300e9e0")
STARGAN = Repository("yunjey/stargan", "94dd002e93a2863d9b987a937b85925b80f7a19f")
STARGAN2 = Repository("clovaai/stargan-v2", "875b70a150609e8a678ed8482562e7074cdce7e5", unneeded=("munch", "core.wing"))
HIFIGAN = Repository("jik876/hifi-gan", "4769534d45265d52a904b850da5a622601885777", unneeded=("matplotlib", "matplotlib.pylab"))
BIGVGAN = Repository(
    "NVIDIA/BigVGAN", "7d2b454564a6c7d014227f635b7423881f14bdac", unneeded=("matplotlib", "matplotlib.pylab", "meldataset")
)
MELGAN = Repository("descriptinc/melgan-neurips", "6488045bfba1975602288de07a58570c7b4d66ea", unneeded=("librosa", "librosa.filters"))
PWG = Repository(
    "kan-bayashi/ParallelWaveGAN",
    "86740373ec609cb9fb192d472d2aea125041491a",
    unneeded=("librosa", "scipy.signal"),
)
MBISTFT = Repository(
    "MasayaKawamura/MB-iSTFT-VITS", "df2f8d3063f83c22e04d2c0066fa2129d26da9a1", unneeded=("monotonic_align", "librosa", "librosa.util")
)
VOCOS = Repository(
    "gemelo-ai/vocos",
    "c859e3b7b534f3776a357983029d34170ddd6fc3",
    unneeded=("torchaudio", "torchaudio.functional", "torchaudio.functional.functional", "encodec"),
)
ANIMEGAN = Repository("bryandlee/animegan2-pytorch", "25d7b017267208dfaf34026aa3425e518372aa2f")
LIGHTWEIGHT = Repository(
    "lucidrains/lightweight-gan",
    "efbec4570b7cb715e05058eccc518dc1a5753523",
    unneeded=("adabelief_pytorch", "tqdm"),
)
WAV2LIP = Repository("Rudrabha/Wav2Lip", "5c90fa9b4a2c2a37d0b4ebf7633ac41534eb9941")
EDGECONNECT = Repository("knazeri/edge-connect", "3142579785c5c8cc92ad655616d40f4f52fc7ec1")
AOTGAN = Repository("researchmm/AOT-GAN-for-Inpainting", "2cd1afd8fdfabb101c678f6062d14bc7d302509e", ("src",))
MIGAN = Repository("Picsart-AI-Research/MI-GAN", "ca4df2ebd1d2c657896a0fac33c7daff6f5d94e6", ("lib/model_zoo",))
BASICSR = Repository("XPixelGroup/BasicSR", "8d56e3a045f9fb3e1d8872f92ee4a4f07f886b0a", unneeded=("cv2", "tqdm", "requests", "lmdb"))
UNET = Repository("milesial/Pytorch-UNet", "21d7850f2af30a9695bbeea75f3136aa538cfc4a")
EXAMPLES = Repository(
    "pytorch/examples", "77f55b912142e11fcfdf5b530231fb9c52f181e8", ("super_resolution", "fast_neural_style/neural_style", ".")
)
SRGAN = Repository("leftthomas/SRGAN", "7ddfdf27273c42d858ec52cab5ca1cbfca81d0be")
FOMM = Repository("AliaksandrSiarohin/first-order-model", "c0274845cb2dd8f0f2fe6da580d97b60fef90c91")
GAN_ZOO = Repository("facebookresearch/pytorch_GAN_zoo", "b75dee40918caabb4fe7ec561522717bf096a8cb")
ENLIGHTENGAN = Repository("VITA-Group/EnlightenGAN", "b0349848f0cd1e52317baa04e09ac32a2ae771d6", unneeded=("lib", "lib.nn"))
FUNIE = Repository("xahidbuffon/FUnIE-GAN", "8f934c834c94e007b00866186b9ee624dc2b7b69", ("PyTorch/nets",))
SAGAN = Repository("heykeetae/Self-Attention-GAN", "8714a54ba5027d680190791ba3a6bb08f9c9a129")
DEBLURGAN2 = Repository("VITA-Group/DeblurGANv2", "c16bd9f5be63885389a57202c74023531d9ca086")
LIVEPORTRAIT = Repository("KwaiVGI/LivePortrait", "1986663be3b6902605d32200c01f4bfd36cda83d", unneeded=("cv2",))
BICYCLE = Repository("junyanz/BicycleGAN", "40b9d52c27b9831f56c1c7c7a6ddde8bc9149067")
RIFE = Repository("hzwer/ECCV2022-RIFE", "5d8adbdd40e12c2c8f91930eff838aebe561c086")
LPTN = Repository("csjliang/LPTN", "b184783aa5aa426e4d6f4733b821458a4e9f335f", ("codes/models/archs",))
MOBILESTYLE = Repository("bes-dev/MobileStyleGAN.pytorch", "a9776ff8f05a868b2d3b637bda14eca4c074d2a3")
LAMA = Repository(
    "advimman/lama",
    "786f5936b27fb3dacd2b1ad799e4de968ea697e7",
    unneeded=("pytorch_lightning", "kornia", "kornia.geometry", "kornia.geometry.transform"),
)
PYTORCH_GAN = Repository("eriklindernoren/PyTorch-GAN", "36d3c77e5ff20ebe0aeefd322326a134a279b93e", ("implementations",))
WASSERSTEIN = Repository("martinarjovsky/WassersteinGAN", "f7a01e82007ea408647c451b9e1c8f1932a3db67", ("models",))

NORM = functools.partial(nn.InstanceNorm2d, affine=False, track_running_stats=False)


def stylegan2_example(samples: int = 1) -> tuple[Any, ...]:
    """One style, and noise that is not drawn again."""
    return [torch.randn(samples, 128)], False, None, 1, None, False, None, False


def stylegan2(size: int = 32) -> nn.Module:
    return attribute("model:Generator")(size, 128, 4, channel_multiplier=1)


class _Called(nn.Module):
    """A network that is called in another way: `call` gets the network and the inputs."""

    def __init__(self, network: nn.Module, call: Any) -> None:
        super().__init__()
        self.network, self.call = network, call

    def forward(self, *inputs: Any) -> Any:
        return self.call(self.network, *inputs)


def stylegan3(module: str) -> nn.Module:
    return attribute(f"training.{module}:Generator")(64, 0, 64, 32, 3, mapping_kwargs={"num_layers": 2}, channel_base=4096, channel_max=128)


def stylegan3_example() -> tuple[Any, ...]:
    return torch.randn(1, 64), torch.zeros(1, 0)


def biggan(module: str) -> nn.Module:
    return attribute(f"{module}:Generator")(
        G_ch=32, dim_z=120, resolution=64, G_attn="32", n_classes=10, G_shared=True, shared_dim=128, hier=True, no_optim=True
    )


MUNIT_PARAMETERS = {"dim": 64, "style_dim": 8, "n_downsample": 2, "n_res": 4, "activ": "relu", "pad_type": "reflect", "mlp_dim": 256}


def munit_decode() -> nn.Module:
    return _Called(attribute("networks:AdaINGen")(3, MUNIT_PARAMETERS), lambda network, content, style: network.decode(content, style))


def cut(factory: str, **arguments: Any) -> nn.Module:
    return attribute(f"models.networks:{factory}")(3, 3, norm_layer=NORM, **arguments)


def stay_on_cpu() -> None:
    """Let code that moves tensors to a GPU in its forward pass run on the CPU, in this process."""
    Tensor.cuda = lambda tensor, *_: tensor  # type: ignore[assignment, method-assign]


def cut_stylegan2() -> nn.Module:
    stay_on_cpu()
    options = SimpleNamespace(crop_size=64, load_size=64, stylegan2_G_num_downsampling=1, netG="stylegan2", ngf=32)
    return attribute("models.stylegan_networks:StyleGAN2Generator")(3, 3, ngf=32, n_blocks=6, opt=options)


def spade(norm: str) -> nn.Module:
    options = SimpleNamespace(
        ngf=32,
        semantic_nc=8,
        norm_G=f"spectralspade{norm}3x3",
        num_upsampling_layers="normal",
        crop_size=64,
        aspect_ratio=1.0,
        use_vae=False,
        label_nc=8,
        contain_dontcare_label=False,
        no_instance=True,
    )
    return attribute("models.networks.generator:SPADEGenerator")(options)


class _Settings(dict[str, Any]):
    """A dictionary with its entries as attributes."""

    def __init__(self, **entries: Any) -> None:
        super().__init__(entries)
        self.__dict__ = self


HIFIGAN_V1 = _Settings(
    resblock="1",
    upsample_rates=[8, 8, 2, 2],
    upsample_kernel_sizes=[16, 16, 4, 4],
    upsample_initial_channel=512,
    resblock_kernel_sizes=[3, 7, 11],
    resblock_dilation_sizes=[[1, 3, 5]] * 3,
)
HIFIGAN_V3 = _Settings(
    resblock="2",
    upsample_rates=[8, 8, 4],
    upsample_kernel_sizes=[16, 16, 8],
    upsample_initial_channel=256,
    resblock_kernel_sizes=[3, 5, 7],
    resblock_dilation_sizes=[[1, 2], [2, 6], [3, 12]],
)
BIGVGAN_BASE = _Settings(
    **HIFIGAN_V1, num_mels=80, activation="snakebeta", snake_logscale=True, use_tanh_at_final=False, use_bias_at_final=False
)
LIVE_DENSE = {"block_expansion": 32, "max_features": 1024, "num_blocks": 5, "reshape_depth": 16, "compress": 4}
FOMM_DENSE = {"block_expansion": 64, "max_features": 1024, "num_blocks": 5, "scale_factor": 0.25}


def fomm() -> nn.Module:
    generator = attribute("modules.generator:OcclusionAwareGenerator")(
        num_channels=3,
        num_kp=10,
        block_expansion=64,
        max_features=512,
        num_down_blocks=2,
        num_bottleneck_blocks=6,
        estimate_occlusion_map=True,
        dense_motion_params=FOMM_DENSE,
        estimate_jacobian=True,
    )
    return generator


def fomm_called() -> nn.Module:
    """Called with keypoints as tensors."""

    def call(network: nn.Module, source: Any, driving: Any, jacobian: Any, keypoints: Any, source_jacobian: Any) -> Any:
        moved, still = {"value": driving, "jacobian": jacobian}, {"value": keypoints, "jacobian": source_jacobian}
        return network(source, kp_driving=moved, kp_source=still)["prediction"]

    return _Called(fomm(), call)


def fomm_dicts() -> tuple[Any, ...]:
    source, driving, jacobian, keypoints, source_jacobian = fomm_tensors()
    return source, {"value": driving, "jacobian": jacobian}, {"value": keypoints, "jacobian": source_jacobian}


def fomm_tensors() -> tuple[Any, ...]:
    def keypoints() -> Any:
        return torch.rand(1, 10, 2) * 2 - 1

    def jacobian() -> Any:
        return torch.eye(2).repeat(1, 10, 1, 1) + 0.01 * torch.rand(1, 10, 2, 2)

    return torch.rand(1, 3, 128, 128), keypoints(), jacobian(), keypoints(), jacobian()


def basicsr(module: str, name: str, **arguments: Any) -> nn.Module:
    """Its package imports a module that its installation writes."""
    sys.modules["basicsr.version"] = ModuleType("basicsr.version")
    vars(sys.modules["basicsr.version"]).update(__version__="", __gitsha__="")
    return attribute(f"basicsr.archs.{module}:{name}")(**arguments)


def deblurgan() -> nn.Module:
    return attribute("models.fpn_mobilenet:FPNMobileNet")(norm_layer=NORM, pretrained=False)


def enlightengan() -> nn.Module:
    options = SimpleNamespace(
        skip=1.0,
        self_attention=True,
        use_norm=1,
        syn_norm=False,
        use_avgpool=0,
        tanh=False,
        times_residual=True,
        linear_add=False,
        latent_threshold=False,
        latent_norm=False,
        linear=False,
    )
    return attribute("models.networks:Unet_resize_conv")(options, 1)


def bicycle() -> nn.Module:
    module = "models.networks"
    return attribute(f"{module}:G_Unet_add_all")(3, 3, 8, 7, norm_layer=NORM, nl_layer=functools.partial(nn.ReLU, inplace=True))


def progan() -> nn.Module:
    generator = attribute("models.networks.progressive_conv_net:GNet")(64, 64)
    for depth in (64, 32, 16):
        generator.addScale(depth)
    return generator


def lama_saic(ratio: float) -> nn.Module:
    plain, mixed = {"ratio_gin": 0, "ratio_gout": 0, "enable_lfu": False}, {"ratio_gin": ratio, "ratio_gout": ratio, "enable_lfu": False}
    return attribute("saicinpainting.training.modules.ffc:FFCResNetGenerator")(
        4, 3, ngf=32, n_blocks=4, add_out_act="sigmoid", init_conv_kwargs=plain, downsample_conv_kwargs=plain, resnet_conv_kwargs=mixed
    )


def lptn() -> nn.Module:
    """On the CPU: the device of its filters is a default argument."""
    attribute("LPTN_arch:Lap_Pyramid_Conv").gauss_kernel.__defaults__ = (torch.device("cpu"), 3)
    with patch.object(nn.Module, "cuda", lambda module: module):
        return attribute("LPTN_arch:LPTN")()


def lightweight() -> nn.Module:
    """Its module refuses to be imported without a GPU."""
    with patch("torch.cuda.is_available", return_value=True):
        generator = attribute("lightweight_gan.lightweight_gan:Generator")
    return generator(image_size=64, latent_dim=128)


def mbistft() -> nn.Module:
    """Its code imports a function by the name that it had in older versions of SciPy."""
    stay_on_cpu()
    vars(importlib.import_module("scipy.signal"))["kaiser"] = attribute("scipy.signal.windows:kaiser")
    return attribute("models:Multiband_iSTFT_Generator")(80, "1", [3, 7, 11], [[1, 3, 5]] * 3, [4, 4], 256, [16, 16], 16, 4, 4)


def vocos() -> nn.Module:
    head = attribute("vocos.heads:ISTFTHead")(dim=256, n_fft=256, hop_length=64)
    return nn.Sequential(attribute("vocos.models:VocosBackbone")(80, 256, 768, 4), head)


def script(path: str, *arguments: Any, **names: Any) -> nn.Module:
    """A generator that a script defines and trains."""
    return defined(path, "Generator", **names)(*arguments)


def options(**fields: Any) -> SimpleNamespace:
    return SimpleNamespace(latent_dim=100, channels=3, img_size=32, n_classes=10, **fields)


def later(function: Any, *arguments: Any, **keywords: Any) -> Any:
    return functools.partial(function, *arguments, **keywords)


REPOSITORIES = [
    Network("StyleGAN2-rosinality-n1", STYLEGAN2, stylegan2, stylegan2_example),
    Network("StyleGAN2-rosinality-n2", STYLEGAN2, stylegan2, later(stylegan2_example, 2)),
    Network(
        "StyleGAN2-rosinality-raw",
        STYLEGAN2,
        stylegan2,
        lambda: ([torch.randn(1, 128)],),
    ),
    Network(
        "StyleGAN1-rosinality",
        STYLEGAN1,
        later(
            lambda: _Called(
                attribute("model:StyledGenerator")(512, 2), lambda network, code, *noises: network(code, noise=list(noises), step=2)
            )
        ),
        noise((1, 512), *[(1, 1, 4 * 2**step, 4 * 2**step) for step in range(3)]),
    ),
    Network("StyleGAN2-NVIDIA", STYLEGAN3, later(stylegan3, "networks_stylegan2"), stylegan3_example),
    Network("StyleGAN3-NVIDIA", STYLEGAN3, later(stylegan3, "networks_stylegan3"), stylegan3_example),
    Network("BigGAN", BIGGAN, later(biggan, "BigGAN"), noise((1, 120), (1, 128))),
    Network("BigGAN-deep", BIGGAN, later(biggan, "BigGANdeep"), noise((1, 120), (1, 128))),
    Network("MUNIT-full", MUNIT, "networks:AdaINGen", image(32), {"input_dim": 3, "params": MUNIT_PARAMETERS}),
    Network("MUNIT-decode", MUNIT, munit_decode, noise((1, 256, 8, 8), (1, 8, 1, 1))),
    Network("CycleGAN-resnet9", CUT, later(cut, "ResnetGenerator", n_blocks=9, no_antialias=True, no_antialias_up=True), image(32)),
    Network("CUT-resnet-antialias", CUT, later(cut, "ResnetGenerator", n_blocks=9), image(32)),
    Network("pix2pix-unet256", CUT, later(cut, "UnetGenerator", num_downs=8), image(256)),
    Network("CUT-stylegan2-G", CUT, cut_stylegan2, image(64)),
    Network("SPADE-batch", SPADE, later(spade, "batch"), image(64, 8)),
    Network("SPADE-instance", SPADE, later(spade, "instance"), image(64, 8)),
    Network(
        "pix2pixHD-global", PIX2PIXHD, "models.networks:GlobalGenerator", image(32), {"input_nc": 3, "output_nc": 3, "norm_layer": NORM}
    ),
    Network("pix2pixHD-local", PIX2PIXHD, "models.networks:LocalEnhancer", image(64), {"input_nc": 3, "output_nc": 3, "norm_layer": NORM}),
    Network(
        "U-GAT-IT-light", UGATIT, "networks:ResnetGenerator", image(64), {"input_nc": 3, "output_nc": 3, "img_size": 64, "light": True}
    ),
    Network("StarGAN", STARGAN, "model:Generator", noise((1, 3, 32, 32), (1, 5))),
    Network("StarGANv2", STARGAN2, "core.model:Generator", noise((1, 3, 64, 64), (1, 64)), {"img_size": 64, "w_hpf": 0}),
    Network("StarGANv2-hpf-celeba", STARGAN2, "core.model:Generator", noise((1, 3, 64, 64), (1, 64)), {"img_size": 64, "w_hpf": 1}),
    Network("HiFi-GAN-V1", HIFIGAN, "models:Generator", noise((1, 80, 8)), {"h": HIFIGAN_V1}),
    Network("HiFi-GAN-V3", HIFIGAN, "models:Generator", noise((1, 80, 8)), {"h": HIFIGAN_V3}),
    Network("BigVGAN", BIGVGAN, "bigvgan:BigVGAN", noise((1, 80, 4)), {"h": BIGVGAN_BASE}),
    Network("MelGAN", MELGAN, "mel2wav.modules:Generator", noise((1, 80, 8)), {"input_size": 80, "ngf": 32, "n_residual_layers": 3}),
    Network("ParallelWaveGAN", PWG, "parallel_wavegan.models.parallel_wavegan:ParallelWaveGANGenerator", noise((1, 1, 1024), (1, 80, 8))),
    Network("MB-iSTFT-VITS-decoder", MBISTFT, mbistft, noise((1, 80, 8))),
    Network("Vocos", VOCOS, vocos, noise((1, 80, 16))),
    Network("AnimeGANv2", ANIMEGAN, "model:Generator", image(32)),
    Network("lightweight-gan", LIGHTWEIGHT, lightweight, noise((1, 128))),
    Network("Wav2Lip", WAV2LIP, "models.wav2lip:Wav2Lip", noise((1, 1, 80, 16), (1, 6, 96, 96))),
    Network("EdgeConnect-inpaint", EDGECONNECT, "src.networks:InpaintGenerator", image(32, 4)),
    Network("EdgeConnect-edge-SN", EDGECONNECT, "src.networks:EdgeGenerator", image(32)),
    Network(
        "AOT-GAN",
        AOTGAN,
        "model.aotgan:InpaintGenerator",
        noise((1, 3, 64, 64), (1, 1, 64, 64)),
        {"args": SimpleNamespace(rates=[1, 2, 4, 8], block_num=8)},
    ),
    Network("MI-GAN", MIGAN, "migan_inference:Generator", image(256, 4), {"resolution": 256}),
    Network("BasicSR-EDSR", BASICSR, later(basicsr, "edsr_arch", "EDSR", num_in_ch=3, num_out_ch=3), image(24)),
    Network("BasicSR-MSRResNet", BASICSR, later(basicsr, "srresnet_arch", "MSRResNet"), image(24)),
    Network("Pytorch-UNet", UNET, "unet.unet_model:UNet", image(64), {"n_channels": 3, "n_classes": 2}),
    Network("ESPCN-examples", EXAMPLES, "model:Net", image(24, 1), {"upscale_factor": 3}),
    Network("fast-neural-style", EXAMPLES, "transformer_net:TransformerNet", image(64)),
    Network("DCGAN-examples", EXAMPLES, later(script, "dcgan/main.py", 0, nz=100, ngf=64, nc=3), noise((1, 100, 1, 1))),
    Network("SRGAN-leftthomas", SRGAN, "model:Generator", image(24), {"scale_factor": 4}),
    Network("WGAN-DCGAN", WASSERSTEIN, "dcgan:DCGAN_G", noise((1, 100, 1, 1)), {"isize": 64, "nz": 100, "nc": 3, "ngf": 64, "ngpu": 0}),
    Network("DCGAN-eriklindernoren", PYTORCH_GAN, later(script, "dcgan/dcgan.py", opt=options()), noise((1, 100))),
    Network("WGAN-GP-mlp", PYTORCH_GAN, later(script, "wgan_gp/wgan_gp.py", opt=options(), img_shape=(3, 32, 32)), noise((1, 100))),
    Network("ACGAN", PYTORCH_GAN, later(script, "acgan/acgan.py", opt=options()), lambda: (torch.randn(1, 100), torch.tensor([3]))),
    Network("FOMM", FOMM, fomm_called, fomm_tensors),
    Network("FOMM-dicts", FOMM, fomm, fomm_dicts),
    Network("ProGAN-facebook", GAN_ZOO, progan, noise((1, 64))),
    Network("EnlightenGAN", ENLIGHTENGAN, enlightengan, noise((1, 3, 64, 64), (1, 1, 64, 64))),
    Network("FUnIE-GAN", FUNIE, "funiegan:GeneratorFunieGAN", image(64)),
    Network(
        "SAGAN-heykeetae",
        SAGAN,
        "sagan_models:Generator",
        noise((1, 128)),
        {"batch_size": 1, "image_size": 64, "z_dim": 128, "conv_dim": 64},
    ),
    Network("DeblurGANv2-mobilenet", DEBLURGAN2, deblurgan, image(64)),
    Network(
        "LivePortrait-SPADE", LIVEPORTRAIT, "src.modules.spade_generator:SPADEDecoder", image(16, 256), {"upscale": 2, "max_features": 512}
    ),
    Network(
        "LivePortrait-warp",
        LIVEPORTRAIT,
        "src.modules.warping_network:WarpingNetwork",
        noise((1, 32, 16, 64, 64), (1, 21, 3), (1, 21, 3)),
        {
            "num_kp": 21,
            "block_expansion": 64,
            "max_features": 512,
            "num_down_blocks": 2,
            "reshape_channel": 32,
            "estimate_occlusion_map": True,
            "dense_motion_params": LIVE_DENSE,
        },
    ),
    Network(
        "LivePortrait-appearance",
        LIVEPORTRAIT,
        "src.modules.appearance_feature_extractor:AppearanceFeatureExtractor",
        image(64),
        {
            "image_channel": 3,
            "block_expansion": 64,
            "num_down_blocks": 2,
            "max_features": 512,
            "reshape_channel": 32,
            "reshape_depth": 16,
            "num_resblocks": 6,
        },
    ),
    Network("BicycleGAN-unet-all", BICYCLE, bicycle, noise((1, 3, 128, 128), (1, 8))),
    Network("RIFE", RIFE, "model.IFNet:IFNet", image(64, 6)),
    Network("LPTN", LPTN, lptn, image(64)),
    Network(
        "MobileStyleGAN",
        MOBILESTYLE,
        "core.models.mobile_synthesis_network:MobileSynthesisNetwork",
        noise((1, 8, 64)),
        {"style_dim": 64, "channels": [128, 128, 64]},
    ),
    Network("LaMa-saic", LAMA, later(lama_saic, 0.75), image(64, 4)),
    Network("LaMa-regular", LAMA, later(lama_saic, 0.0), image(64, 4)),
]
