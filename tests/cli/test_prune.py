"""`gcc prune`."""

import json
import re

import pytest
import torch
from click.testing import CliRunner
from spandrel.architectures.Compact import Compact

import gcc
from gcc.cli import main
from gcc.pruning.cost import cost_of
from tests.helpers.custom_toys import Translator


def run(*words):
    return CliRunner().invoke(main, ["prune", *map(str, words)], prog_name="gcc")


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    network = Compact(num_feat=8, num_conv=2, upscale=2)
    torch.save(network.state_dict(), tmp_path / "x2.pth")
    return tmp_path / "x2.pth", network


@torch.no_grad()
def test_a_file_of_weights_is_pruned_by_the_norms_of_its_kernels(weights, tmp_path):
    file, network = weights
    first = network.body[0]
    # Channels 0 to 3 of the first layer do nothing.
    for tensor in (first.weight, first.bias):
        tensor[:4] = 0
    torch.save(network.state_dict(), file)
    ran = run(file, "--budget", "83%", "--out", tmp_path / "pruned")
    assert ran.exit_code == 0 and "pruned, not trained" in ran.output and f"student saved in {tmp_path / 'pruned'}" in ran.output
    smaller = gcc.load(tmp_path / "pruned")
    image = torch.rand(1, 3, 64, 64)
    assert cost_of(smaller.network, image).macs <= 0.83 * cost_of(network, image).macs
    kept = smaller.network.body[0].weight
    assert len(kept) < 8 and all(bool((kept == row).all((1, 2, 3)).any()) for row in first.weight[4:])
    torch.testing.assert_close(smaller.network(image), network.eval()(image))


def test_own_code_is_pruned_on_its_example_and_in_its_range(tmp_path):
    torch.manual_seed(0)
    torch.save(Translator(8).state_dict(), tmp_path / "weights.pth")
    code = ("--generator", "tests.helpers.custom_toys:Translator", "--task", "paired")
    ran = run(
        tmp_path / "weights.pth", *code, "--example", "1x3x48x32", "--value-range", "0..1", "--budget", "60%", "--out", tmp_path / "pruned"
    )
    assert ran.exit_code == 0, ran.output
    described = json.loads((tmp_path / "pruned" / "config.json").read_text())["networks"]
    assert described["input_shape"] == [1, 3, 48, 32] and described["value_range"] == [0, 1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give a file of weights, or your own generator with --generator"),
        (("nothing.pth",), "^gcc: error: FILE nothing.pth: there is no such file or folder; relative paths start in"),
        (
            ("--generator", "tests.helpers.custom_toys:Translator", "--task", "paired"),
            "weights are new.*give the file of its trained weights",
        ),
        (("{file}", "--metric", "slimming"), "metric Slimming scores no channel"),
        (("{file}", "--task", "paired"), "the task paired expects an image and one of the same size"),
        (("{file}", "--budget", "1%"), r"can be pruned to between .* \([\d.]+ % to 100 %\); give a larger budget$"),
        (("{file}", "--out", "{folder}"), "not empty|already contains|contains"),
    ],
)
def test_what_cannot_be_pruned_is_refused(weights, tmp_path, words, message):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    words = [word.format(file=weights[0], folder=tmp_path / "full") for word in words]
    ran = run(*words, *(() if "--out" in words else ("--out", tmp_path / "out")))
    assert ran.exit_code != 0 and not isinstance(ran.exception, AssertionError)
    assert re.search(message, ran.output, re.MULTILINE), ran.output
    assert not (tmp_path / "out").exists()
