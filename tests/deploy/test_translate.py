import json
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from click.testing import CliRunner
from PIL import Image

from gcc import Compressor, load
from gcc.cli import main
from gcc.data.images import read_image, to_tensor
from gcc.deploy.outputs import outputs_of
from gcc.deploy.translate import translate
from gcc.errors import GccError
from gcc.registry import ARCHITECTURES
from tests.deploy.test_generate import pixels, sized, write
from tests.helpers.custom_toys import Images, OneSize
from tests.helpers.images import save


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
    assert sized(written) == (40, 40)


def noise(path, width, height, mode="RGB"):
    bands = len(Image.new(mode, (1, 1)).getbands())
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(width * height).integers(0, 255, (height, width, bands), dtype=np.uint8)
    Image.frombytes(mode, (width, height), pixels.tobytes()).save(path)
    return path


def translated(student, source, target, **options):
    """Return the written files and the texts for the user."""
    texts = []
    return list(translate(student, source, target, **{"size": None, "device": "cpu", "inform": texts.append} | options)), texts


def same(path, network, pixels):
    """Return whether an image file is the output of a network for an image as an array (H, W, 3), which is not resized."""
    with torch.no_grad():
        expected = network(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1)[0]
    return np.abs(written_pixels(path) - ((expected.permute(1, 2, 0).numpy() + 1) * 127.5)).max() <= 1


def written_pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(float)


@pytest.mark.parametrize(("arch", "multiple"), [("pix2pix", 32), ("cyclegan", 4)])
@pytest.mark.parametrize(("width", "height", "scales"), [(60, 40, []), (33, 70, ["33x70"]), (5, 9, ["5x9"])])
def test_sizes_are_kept_by_padding_to_the_next_multiple(tmp_path, arch, multiple, width, height, scales):
    network = write(arch, tmp_path / "student")
    source = noise(tmp_path / "a.png", width, height)
    (written,), texts = translated(tmp_path / "student", source, tmp_path / "b.png")
    assert sized(written) == (width, height)
    assert [re.findall(r"translated at (\w+) pixels, .* recipe has 32", text) for text in texts] == [[scale] for scale in scales]
    right, bottom = -width % multiple, -height % multiple
    mode = "reflect" if right < width and bottom < height else "edge"
    padded = np.pad(written_pixels(source), ((0, bottom), (0, right), (0, 0)), mode).astype(np.float32)
    with torch.no_grad():
        whole = network(torch.from_numpy(padded).permute(2, 0, 1)[None] / 127.5 - 1)[0].permute(1, 2, 0).numpy()
    assert np.abs(written_pixels(written) - (whole[:height, :width] + 1) * 127.5).max() <= 1


def test_a_size_that_changes_the_proportions_is_said_once(tmp_path):
    write("cyclegan", tmp_path / "student")
    for name in "ab":
        noise(tmp_path / "in" / f"{name}.png", 60, 40)
    written, texts = translated(tmp_path / "student", tmp_path / "in", tmp_path / "square", size=32)
    assert [sized(path) for path in written] == [(32, 32), (32, 32)]
    assert len(texts) == 1 and "a.png has 60x40 pixels and is resized to 32x32, which changes its proportions" in texts[0]
    written, texts = translated(tmp_path / "student", tmp_path / "in", tmp_path / "wide", size=(30, 20))
    assert [sized(path) for path in written] == [(30, 20), (30, 20)] and not texts
    _, (text, _) = translated(tmp_path / "student", tmp_path / "in", tmp_path / "large", size=(90, 60))
    assert "a.png has 60x40 pixels and is resized to 90x60, which adds no detail" in text


@pytest.mark.parametrize(("arch", "size", "differs"), [("cyclegan", (64, 16), False), ("cyclegan", (68, 32), True),
                                                       ("cyclegan", (32, 12), True), ("srgan", (80, 80), False)])  # fmt: skip
def test_images_of_another_scale_than_in_training_are_named_once(tmp_path, arch, size, differs):
    write(arch, tmp_path / "student")
    for name in "ab":
        noise(tmp_path / "in" / f"{name}.png", *size)
    _, texts = translated(tmp_path / "student", tmp_path / "in", tmp_path / "out")
    assert [f"a.png is translated at {size[0]}x{size[1]} pixels" in text and "`size=32` resizes" in text for text in texts] == [
        True
    ] * differs


def test_an_architecture_of_one_size_says_that_it_stretches(tmp_path, monkeypatch):
    write("cyclegan", tmp_path / "student")
    monkeypatch.setattr(ARCHITECTURES.load("cyclegan"), "size_multiple", None)
    (written,), (text,) = translated(tmp_path / "student", noise(tmp_path / "a.png", 60, 40), tmp_path / "b.png")
    assert sized(written) == (32, 32) and "generators of cyclegan take no other size" in text


def test_what_is_dropped_is_said_once(tmp_path):
    write("srgan", tmp_path / "student")
    noise(tmp_path / "in" / "a.png", 8, 8, "RGBA")
    noise(tmp_path / "in" / "b.png", 8, 8, "L")
    _, (text,) = translated(tmp_path / "student", tmp_path / "in", tmp_path / "out")
    assert "1 of 2 images has a channel beyond" in text and "1 of 2 images has one channel" in text and "output is 8-bit RGB" in text
    (tmp_path / "in" / "sub").mkdir()
    for name in ("a.GIF", "sub/b.gif", "c.heic", "notes.txt", "out.gif"):
        (tmp_path / "in" / name).touch()
    _, (_, unread) = translated(tmp_path / "student", tmp_path / "in", tmp_path / "in" / "out")
    assert unread == "other formats are not read (3 .gif, 1 .heic): save these files as PNG to use them"


def test_subfolders_keep_their_names_and_the_output_is_not_read(tmp_path):
    write("srgan", tmp_path / "student")
    noise(tmp_path / "in" / "clip" / "a.ppm", 8, 8)
    for _ in range(2):
        written, _ = translated(tmp_path / "student", tmp_path / "in", tmp_path / "in" / "out")
        assert [path.relative_to(tmp_path / "in" / "out").as_posix() for path in written] == ["clip/a.png"]
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a.mat").touch()
    with pytest.raises(GccError, match=r"holds no images: its files are 1 \.mat; images are read from .*\.ppm"):
        translated(tmp_path / "student", tmp_path / "scans", tmp_path / "out")


@pytest.mark.parametrize(("direction", "start"), [("AtoB", 0), ("BtoA", 32)])
@pytest.mark.parametrize("place", ["data/test/deep", "elsewhere"])
def test_the_input_half_of_a_pair_is_translated(tmp_path, direction, start, place):
    network = write("pix2pix", tmp_path / "student", direction=direction)
    noise(tmp_path / "data" / "train" / "0.png", 64, 32)
    pair = noise(tmp_path / place / "1.png", 64, 32)
    (written,), (text,) = translated(tmp_path / "student", pair.parent, tmp_path / "out")
    half = written_pixels(pair)[:, start : start + 32]
    assert same(written, network, half) and "1.png holds A and B side by side" in text and f"half, {direction[0]}, is" in text
    (whole,), texts = translated(tmp_path / "student", pair, tmp_path / "whole.png", pairs=False)
    assert sized(whole) == (64, 32) and not texts


def test_the_documented_command_takes_the_half_that_its_direction_translates(tmp_path, monkeypatch):
    guide = (Path(__file__).parents[2] / "docs" / "migration.md").read_text(encoding="utf-8")
    command = next(line.split() for line in guide.splitlines() if line.startswith("$ gcc translate"))
    student, source, target = (tmp_path / argument for argument in command[3:])
    network = write("pix2pix", student, direction="BtoA")
    for split in ("train", "val", "test"):
        pair = noise(tmp_path / "datasets" / "facades" / split / "1.jpg", 64, 32)
    assert source == pair.parent
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, command[2:])
    assert result.exit_code == 0 and result.stderr.count("\n") == 1 and "the right half, B, is translated" in result.stderr
    assert same(target / "1.png", network, written_pixels(pair)[:, 32:])


def run_folder(tmp_path, data, dataset=None):
    options = {"data": data and str(data), "dataset": dataset}
    (tmp_path / "command.json").write_text(json.dumps({"command": "compress", "options": options}))


def test_which_images_are_pairs(tmp_path):
    write("pix2pix", tmp_path / "student")

    def is_pair(path, width, height, **options):
        (written,), _ = translated(tmp_path / "student", noise(path, width, height), tmp_path / "out.png", **options)
        assert sized(written) in ((width, height), (width // 2, height))
        return sized(written) != (width, height)

    joined, partners = tmp_path / "joined", tmp_path / "partners"
    noise(joined / "train" / "0.png", 80, 60)
    noise(partners / "A" / "train" / "0.png", 64, 32)
    assert is_pair(joined / "test" / "0.png", 120, 40) and not is_pair(joined / "test" / "0.png", 60, 40)
    assert not is_pair(partners / "A" / "test" / "0.png", 120, 60) and not is_pair(tmp_path / "photos" / "0.png", 120, 60)
    assert is_pair(tmp_path / "photos" / "0.png", 120, 60, pairs=True)
    run_folder(tmp_path, joined)
    assert is_pair(joined / "test" / "0.png", 60, 40) and is_pair(tmp_path / "photos" / "0.png", 80, 60)
    assert not is_pair(tmp_path / "photos" / "0.png", 120, 60)
    run_folder(tmp_path, partners)
    assert not is_pair(tmp_path / "photos" / "0.png", 64, 32) and not is_pair(partners / "A" / "test" / "0.png", 64, 32)
    with pytest.raises(GccError, match=r"0\.png is 65 pixels wide"):
        translated(tmp_path / "student", noise(tmp_path / "photos" / "0.png", 65, 32), tmp_path / "out.png", pairs=True)


def test_a_damaged_training_image_does_not_matter_to_other_images(tmp_path):
    write("pix2pix", tmp_path / "student")
    data = tmp_path / "data"
    noise(data / "train" / "1.png", 80, 60)
    (data / "train" / "0.png").write_bytes(b"no image")
    run_folder(tmp_path, data)
    (written,), _ = translated(tmp_path / "student", noise(tmp_path / "photos" / "0.png", 80, 60), tmp_path / "out.png")
    assert sized(written) == (40, 60)
    (data / "train" / "1.png").write_bytes(b"no image")
    (written,), _ = translated(tmp_path / "student", noise(tmp_path / "photos" / "0.png", 80, 60), tmp_path / "out.png")
    assert sized(written) == (80, 60)


def test_only_families_of_pairs_take_halves(tmp_path):
    write("cyclegan", tmp_path / "student")
    pair = noise(tmp_path / "data" / "test" / "0.png", 64, 32)
    noise(tmp_path / "data" / "train" / "0.png", 64, 32)
    (written,), texts = translated(tmp_path / "student", pair, tmp_path / "out.png")
    assert sized(written) == (64, 32) and not texts
    with pytest.raises(GccError, match="leave `pairs` out"):
        translated(tmp_path / "student", pair, tmp_path / "out.png", pairs=True)


def test_images_that_are_not_finite_are_not_written(tmp_path):
    write("srgan", tmp_path / "student", spoil=True)
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    with pytest.raises(GccError, match="contains NaN or infinite values"):
        list(translate(tmp_path / "student", tmp_path / "a.png", tmp_path / "b.png", size=None, device="cpu"))
    assert not (tmp_path / "b.png").exists()


def test_bad_images_are_named_before_anything_is_written(tmp_path):
    write("srgan", tmp_path / "student")
    for number in range(3):
        noise(tmp_path / "in" / f"{number}.png", 8, 8)
    good = noise(tmp_path / "in" / "4.jpg", 64, 64)
    (tmp_path / "in" / "5.jpg").write_bytes(good.read_bytes()[:-200])
    (tmp_path / "in" / "1.png").write_bytes(b"no image")
    with pytest.raises(GccError, match=r"2 images cannot be used: .*1\.png.*5\.jpg.*`skip_bad=True`"):
        translated(tmp_path / "student", tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    reasons = []
    written, _ = translated(tmp_path / "student", tmp_path / "in", tmp_path / "out", leave_out=reasons.extend)
    assert [path.stem for path in written] == ["0", "2", "4"] and len(reasons) == 2


def test_a_folder_does_not_become_a_file(tmp_path):
    write("pix2pix", tmp_path / "student")
    folder, file = tmp_path / "photos", tmp_path / "out.png"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    file.touch()
    with pytest.raises(GccError, match=r"out\.png is a file: expected a folder"):
        next(translate(tmp_path / "student", folder, file, size=None, device="cpu"))


def test_a_saved_generator_keeps_its_files(tmp_path):
    write("pix2pix", tmp_path / "student")
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "photos/samples.png")
    with pytest.raises(GccError, match=r"student contains a saved generator: expected another folder"):
        next(translate(tmp_path / "student", tmp_path / "photos", tmp_path / "student", size=None, device="cpu"))


def test_a_generator_with_other_channels_reads_and_writes_them(tmp_path):
    write("pix2pix", tmp_path / "grey", input_nc=4, output_nc=1)
    noise(tmp_path / "in" / "a.png", 32, 32, "RGBA")
    written, texts = translated(tmp_path / "grey", tmp_path / "in", tmp_path / "out")
    with torch.no_grad(), Image.open(tmp_path / "in" / "a.png") as source:
        image = torch.from_numpy(np.array(source)).permute(2, 0, 1)[None] / 127.5 - 1
        expected = (load(tmp_path / "grey")(image)[0, 0].numpy() + 1) * 127.5
    with Image.open(written[0]) as output:
        assert not texts and output.mode == "L" and np.abs(np.asarray(output) - expected).max() <= 1
    noise(tmp_path / "in" / "a.png", 32, 32)
    with pytest.raises(GccError, match=r"a\.png: it has 3 channels \(RGB\): expected 4 channels"):
        translated(tmp_path / "grey", tmp_path / "in", tmp_path / "out")


def test_the_second_direction_reads_the_channels_of_b_and_writes_numpy_files(tmp_path):
    write("cyclegan", tmp_path / "B2A", which="B2A", input_nc=2, output_nc=1, lambda_identity=0.0)
    noise(tmp_path / "a.png", 32, 32)
    (written,), texts = translated(tmp_path / "B2A", tmp_path / "a.png", tmp_path / "out")
    assert written.name == "a.npy" and np.load(written).shape == (2, 32, 32) and np.abs(np.load(written)).max() <= 1
    assert texts == ["the image has colours, of which the luma is read; the output is a NumPy file, since PNG files do not hold 2 channels"]
    with pytest.raises(GccError, match=r"b\.png does not have the suffix of a format .* with 2 channels: expected one such as \.npy"):
        translated(tmp_path / "B2A", tmp_path / "a.png", tmp_path / "b.png")


def test_what_is_read_is_written_in_the_range_of_the_training(tmp_path):
    network = write("pix2pix", tmp_path / "student", input_nc=1, output_nc=1, range="100..4100")
    values = np.random.default_rng(0).integers(0, 5000, (32, 32))
    files = [save(tmp_path / "in" / "a.png", values.astype(np.uint16)), save(tmp_path / "other" / "a.npy", values.astype(np.float32))]
    save(tmp_path / "other" / "b.npy", (values % 256).astype(np.uint8))
    (tmp_path / "tif").mkdir()
    tifffile.imwrite(tmp_path / "tif" / "a.tif", values.astype(np.int16))
    with torch.no_grad():
        image = torch.from_numpy(values.clip(100, 4100)).float()[None, None] / 2000 - 1.05
        expected = network(image)[0, 0].numpy() * 2000 + 2100
    for folder, kind in (("in", "u2"), ("other", "f4"), ("tif", "i2")):
        (written, *_), texts = translated(tmp_path / "student", tmp_path / folder, tmp_path / "out" / folder)
        result = {".png": Image.open, ".npy": np.load, ".tif": tifffile.imread}[written.suffix](written)
        assert np.asarray(result).dtype == kind and np.abs(np.squeeze(result) - expected).max() < 0.6
        assert "has values outside of the range, which are clipped" in texts[0]
    grey = np.load(tmp_path / "out/other/b.npy")
    assert grey.dtype == np.uint8 and grey.shape == (32, 32)
    (written,), _ = translated(tmp_path / "student", save(tmp_path / "c.npy", values[None].astype(np.uint8)), tmp_path / "out")
    assert np.load(written).shape == (1, 32, 32)
    (written,), _ = translated(tmp_path / "student", files[0], tmp_path / "b.png", range=(0, 65535))
    assert pixels(written).min() > 20000


def test_colours_keep_their_16_bits(tmp_path):
    network = write("pix2pix", tmp_path / "student", output_nc=4, range="100..4100")
    values = np.random.default_rng(0).integers(100, 4100, (32, 32, 3), dtype=np.uint16)
    (written,), texts = translated(tmp_path / "student", save(tmp_path / "in" / "a.png", values), tmp_path / "out")
    with torch.no_grad():
        expected = network(torch.from_numpy(values / 2000 - 1.05).permute(2, 0, 1)[None].float())[0]
    assert written.name == "a.png" and not texts
    torch.testing.assert_close(to_tensor(read_image(written, 4, (100, 4100))), expected, rtol=0, atol=0.6 / 2000)


@pytest.mark.parametrize(
    ("read", "kind", "target", "channels", "name", "text"),
    [
        ("a.png", "u1", "out", 3, "a.png", "8-bit RGB"),
        ("a.jpg", "u1", "out", 5, "a.npy", "a NumPy file, since PNG files do not hold 5 channels"),
        ("a.png", "u2", "out", 1, "a.png", "16-bit grey"),
        ("a.png", "u2", "out", 3, "a.png", "16-bit RGB"),
        ("a.png", "u2", "out", 4, "a.png", "16-bit RGBA"),
        ("a.png", "u2", "out", 2, "a.npy", "a NumPy file, since PNG files do not hold 2 channels"),
        ("a.png", "u2", "b.webp", 3, "b.webp", "8-bit RGB, since .webp files do not hold uint16"),
        ("a.png", "u2", "b.jpg", 1, "b.jpg", "8-bit grey, since .jpg files do not hold uint16"),
        ("a.png", "u1", "b.npy", 3, "b.npy", "a NumPy file"),
        ("a.npy", "f4", "out", 3, "a.npy", "a NumPy file"),
        ("a.npy", "f4", "b.png", 3, "b.png", "8-bit RGB, since .png files do not hold float32"),
        ("a.TIF", "u1", "out", 7, "a.tif", "a TIFF file"),
    ],
)
def test_the_format_follows_from_the_image_or_the_users_suffix(read, kind, target, channels, name, text, tmp_path):
    image = tmp_path / read
    image.touch()
    output = outputs_of(image, tmp_path / target, {image: np.dtype(kind)}, channels)[image]
    assert (output.path.name, str(output)) == (name, text)


@pytest.mark.parametrize("name", ["out.psd", "out.h5", "out.wmf", "out.xyz"])
def test_formats_that_are_not_written_are_refused_before_any_work(name, tmp_path):
    source = noise(tmp_path / "a.png", 8, 8)
    with pytest.raises(GccError, match=rf"{name} does not have the suffix of a format .* with 3 channels: expected one such as \.png"):
        outputs_of(source, tmp_path / name, {source: np.dtype("u1")}, 3)


def test_a_folder_may_have_a_dot_in_its_name(tmp_path):
    source = noise(tmp_path / "a.png", 8, 8)
    (tmp_path / "results.v1").mkdir()
    output = outputs_of(source, tmp_path / "results.v1", {source: np.dtype("u1")}, 3)[source]
    assert output.path == tmp_path / "results.v1" / "a.png"


@pytest.mark.slow
def test_ones_own_generator_of_one_size_gets_images_of_that_size(tmp_path):
    torch.manual_seed(0)
    data, settings = Images(A=64, B=64), {"size": 64, "budget": "60%", "steps": 2, "batch_size": 2, "evaluators": ""}
    Compressor(generator=OneSize(), task="paired", data=data, device="cpu", **settings).run().save(tmp_path / "run")
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    arguments = tmp_path / "run/student", tmp_path / "a.png", tmp_path / "b.png"
    (written,) = translate(*arguments, size=None, device="cpu", factory=OneSize)
    assert sized(written) == (64, 64)
    with pytest.raises(GccError, match="expected a size that the generator takes: give `size=64`"):
        list(translate(*arguments, size=128, device="cpu", factory=OneSize))
