import pytest
import torch
from PIL import Image

from gcc import load
from gcc.deploy.translate import in_tiles, translate
from gcc.errors import GccError
from gcc.registry import ARCHITECTURES
from tests.deploy.test_generate import sized, write


@pytest.mark.parametrize(("height", "width"), [(7, 100), (50, 50), (64, 33), (101, 65)])
def test_tiles_have_no_seams(height, width):
    family = ARCHITECTURES.load("srgan")
    architecture = family(family.demo())
    torch.manual_seed(0)
    network = architecture.build_generator(architecture.full_widths(4)).double().eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0, 0.2)  # so that distant pixels matter
    image = torch.rand(1, 3, height, width, dtype=torch.float64) * 2 - 1
    with torch.no_grad():
        whole = network(image)
        torch.testing.assert_close(in_tiles(network, image, architecture.receptive_field_radius, tile=16), whole)
        assert whole.std() > 0.01 and not torch.allclose(in_tiles(network, image, 4, tile=16), whole)


def test_any_image_grows(tmp_path):
    write("srgan", tmp_path / "student")
    Image.effect_noise((37, 21), 80).convert("RGB").save(tmp_path / "small.png")
    (written,) = translate(tmp_path / "student", tmp_path / "small.png", tmp_path / "large.png", size=None, device="cpu")
    assert sized(written) == (4 * 37, 4 * 21)
    assert load(tmp_path / "student")(torch.zeros(1, 3, 5, 6)).shape == (1, 3, 20, 24)


def test_the_folder_names_the_direction_of_a_family_with_two(tmp_path):
    write("cyclegan", tmp_path / "student" / "A2B")
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    (written,) = translate(tmp_path / "student" / "A2B", tmp_path / "a.png", tmp_path / "b.png", size=None, device="cpu")
    assert sized(written) == (32, 32)


def test_images_that_are_not_finite_are_not_written(tmp_path):
    write("srgan", tmp_path / "student", spoil=True)
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    with pytest.raises(GccError, match="contains NaN or infinite values"):
        list(translate(tmp_path / "student", tmp_path / "a.png", tmp_path / "b.png", size=None, device="cpu"))
    assert not (tmp_path / "b.png").exists()


def test_a_folder_does_not_become_a_file(tmp_path):
    write("pix2pix", tmp_path / "student")
    folder, file = tmp_path / "photos", tmp_path / "out.png"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    file.touch()
    with pytest.raises(GccError, match=r"out\.png is a file: expected a folder"):
        next(translate(tmp_path / "student", folder, file, size=None, device="cpu"))
