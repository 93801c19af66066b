"""Files of every format that was ever written stay readable, and the generators in them give the same output.

`golden/format-1` was written by the first version that had all four families, `golden/format-1-with-protocols` by the first that saved the
epoch and the protocols of metrics, and `golden/checkpoint-4.safetensors` after the first of the four steps of `checkpoint_run`.
Runs of the other checkpoints' versions are refused. Each generator's folder has an input and the output of the
version that wrote it. When a format changes, its files are added; existing files are never rewritten.
"""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gcc import Teacher, load
from gcc.artifacts.config import FORMAT
from gcc.artifacts.model import read, single_generator
from gcc.errors import RunError
from gcc.recipe import current_names
from gcc.registry import MetricKey
from gcc.training import checkpoint
from gcc.training.checkpoint import Checkpoints
from gcc.training.loss_tree import flattened
from gcc.training.teacher_trainer import Trainer
from tests.helpers.families import TINY, demo_data

GOLDEN = Path(__file__).parents[1] / "golden"
FORMATS = sorted(path.name for path in GOLDEN.glob("format-*"))
LOSSES = [
    {"teacher/D_real": 0.92977285, "teacher/D_fake": 1.03328836, "teacher/G": -0.02730299, "teacher/L1": 30.274826},
    {"teacher/D_real": 0.92072882, "teacher/D_fake": 1.02939439, "teacher/G": -0.02678565, "teacher/L1": 29.943483},
    {"teacher/D_real": 0.91983283, "teacher/D_fake": 1.02792048, "teacher/G": -0.02557442, "teacher/L1": 29.904169},
]
"""The losses of the steps after the checkpoint, as the first version computed them."""


def test_every_format_has_its_files():
    formats = {json.loads(path.read_text())["format"] for path in GOLDEN.glob("format-*/*/config.json")}
    assert formats == set(range(1, FORMAT + 1))
    assert (GOLDEN / f"checkpoint-{checkpoint.FORMAT}.safetensors").exists()


@pytest.mark.parametrize("arch", TINY)
@pytest.mark.parametrize("written", FORMATS)
def test_a_generator_gives_the_same_output(written, arch):
    folder = GOLDEN / written / arch
    expected = load_file(folder / "expected.safetensors")
    with torch.no_grad():
        fake = load(folder)(expected["input"])
    assert fake.std() > 1e-3
    torch.testing.assert_close(fake, expected["output"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("arch", TINY)
@pytest.mark.parametrize("written", FORMATS)
def test_its_configuration_is_read_whole(written, arch):
    config = json.loads((GOLDEN / written / arch / "config.json").read_text())
    artifact = single_generator(read(GOLDEN / written / arch))
    assert (artifact.arch, artifact.role, artifact.widths, artifact.measurements) == (arch, "student", config["widths"], config["figures"])
    assert all(isinstance(key, MetricKey) for column in artifact.measurements.values() for key in column["metrics"])
    assert current_names(config["recipe"]).items() <= artifact.recipe.to_dict().items()


def checkpoint_run():
    # The default of `alpha_reach` was another one when the file was written.
    settings = {"size": 32, "ngf": 1, "ndf": 1, "prune_width": 32, "epochs": 2, "batch_size": 20, "evaluators": "", "alpha_reach": 3.0}
    return Trainer(Teacher.create("pix2pix"), device="cpu", **settings, seed=3)


def test_a_checkpoint_resumes_with_the_same_losses(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "checkpoint-000001.safetensors").symlink_to(GOLDEN / f"checkpoint-{checkpoint.FORMAT}.safetensors")
    with demo_data(train=40):
        run = checkpoint_run()
        run.resume(Checkpoints(tmp_path).newest())
        losses = [{name: float(loss) for name, loss in flattened(step.losses).items()} for step in run.steps()]
    # Other processors and versions of torch sum in other orders.
    assert losses == [pytest.approx(expected, rel=1e-2, abs=1e-3) for expected in LOSSES]


@pytest.mark.parametrize("written", [2, 3])
def test_a_run_of_an_earlier_version_is_refused_by_version(written, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "checkpoint-000001.safetensors").symlink_to(GOLDEN / f"checkpoint-{written}.safetensors")
    with pytest.raises(RunError, match=rf"another version \(checkpoint format {written}, expected 4\)"):
        checkpoint_run().resume(Checkpoints(tmp_path).newest())
