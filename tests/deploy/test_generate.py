import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from gcc.artifacts.config import Artifact
from gcc.artifacts.model import environment, save
from gcc.deploy.generate import generate
from gcc.deploy.translate import translate
from gcc.errors import GccError, OutputError
from gcc.evaluation.image_folder import holds_images
from gcc.models.build import build_generators
from gcc.recipe import changed
from gcc.registry import ARCHITECTURES
from tests.helpers.families import TINY


def write(arch, folder, spoil=False, change=lambda network: None, which=None, **settings):
    family = ARCHITECTURES.load(arch)
    architecture = family(changed(family.published(), {"size": 32, "ngf": 4} | TINY[arch] | settings))
    widths = architecture.full_widths(4)
    name = which or architecture.generators[0]
    (network,) = build_generators(architecture, {name: widths}, "test").values()
    artifact = Artifact(folder, "student", arch, name, architecture.recipe, widths, {}, environment(torch.device("cpu")))
    for parameter in network.parameters() if spoil else ():
        torch.nn.init.constant_(parameter, torch.nan)
    change(network)
    save(artifact, network, "")
    return network.eval()


def sized(path):
    with Image.open(path) as image:
        return image.size


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image).astype(int)


def generated(folder, target, **options):
    return list(generate(folder, target, **({"count": 5, "seed": 0, "device": "cpu"} | options)))


def test_images_and_a_grid_are_written(tmp_path):
    network = write("sagan", tmp_path / "student")
    written = generated(tmp_path / "student", tmp_path / "out")
    assert [path.name for path in written] == [*(f"000{number}.png" for number in range(5)), "grid.png"]
    z = torch.from_numpy(np.random.default_rng((0, 3)).standard_normal(128, dtype=np.float32))
    with torch.no_grad():
        expected = ((network(z[None])[0] + 1) * 127.5).round().permute(1, 2, 0).numpy().astype(np.uint8)
    assert np.abs(pixels(written[3]) - expected).max() <= 1
    assert sized(tmp_path / "out" / "grid.png") == (3 * 34 + 2, 2 * 34 + 2)


@pytest.mark.parametrize(("suffix", "read"), [(".npy", np.load), (".tif", tifffile.imread)])
def test_values_are_written_in_the_range_of_the_training(suffix, read, tmp_path):
    network = write("sagan", tmp_path / "student", range="0..4095")
    written = generated(tmp_path / "student", tmp_path / "out", count=2, suffix=suffix)
    assert [path.name for path in written] == [f"0000{suffix}", f"0001{suffix}", "grid.png"]
    z = torch.from_numpy(np.random.default_rng((0, 1)).standard_normal(128, dtype=np.float32))
    with torch.no_grad():
        expected = (network(z[None])[0].double().numpy() + 1) * 2047.5
    values = read(written[1])
    assert values.dtype == np.float32
    np.testing.assert_allclose(values if suffix == ".npy" else np.moveaxis(values, -1, 0), expected, atol=0.01)
    assert holds_images(tmp_path / "out")


def test_an_image_depends_only_on_seed_and_number(tmp_path):
    write("sagan", tmp_path / "student")
    few, more, other = (
        generated(tmp_path / "student", tmp_path / name, **options)
        for name, options in (("few", {"count": 2}), ("more", {"count": 70}), ("other", {"count": 2, "seed": 1}))
    )
    assert np.abs(pixels(few[1]) - pixels(more[1])).max() <= 1
    assert len(more) == 71 and few[0].read_bytes() != other[0].read_bytes()


def test_generators_of_the_other_kind_are_refused(tmp_path):
    write("pix2pix", tmp_path / "pix2pix")
    with pytest.raises(GccError, match="takes images, not noise: use gcc translate"):
        generated(tmp_path / "pix2pix", tmp_path / "out")
    write("sagan", tmp_path / "sagan")
    with pytest.raises(GccError, match="takes noise, not images: use gcc generate"):
        list(translate(tmp_path / "sagan", tmp_path, tmp_path / "out", size=None, device="cpu"))


def test_nothing_is_overwritten(tmp_path):
    write("sagan", tmp_path / "sagan")
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "0000.png").write_text("mine")
    with pytest.raises(OutputError, match="album is not empty"):
        generated(tmp_path / "sagan", tmp_path / "album")
    assert (tmp_path / "album" / "0000.png").read_text() == "mine"


def test_images_that_are_not_finite_are_not_written(tmp_path):
    write("sagan", tmp_path / "student", spoil=True)
    with pytest.raises(GccError, match="contains NaN or infinite values"):
        generated(tmp_path / "student", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("channels", "names"), [(1, ["0000.png", "grid.png"]), (2, ["0000.npy", "grid.png"])])
def test_images_of_other_channels_and_a_grid_are_written(tmp_path, channels, names):
    write("sagan", tmp_path / "student", output_nc=channels)
    written = generated(tmp_path / "student", tmp_path / "out", count=1)
    assert [path.name for path in written] == names and pixels(written[-1]).shape[2] == 3
