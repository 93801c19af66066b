"""Saved generators are timed in every runtime, on every requested input."""

import json
import subprocess
import sys

import pytest
import torch
from click.testing import CliRunner

from gcc import Trainer, bench
from gcc.cli import main
from gcc.deploy.bench import Timing, rows
from gcc.deploy.latency import Latency
from gcc.errors import GccError
from tests.deploy.test_generate import write
from tests.helpers.custom_toys import CUSTOM, Translator, settings_of


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    for arch in ("cyclegan", "sagan"):
        write(arch, folder / arch)
    return folder


@pytest.mark.slow
def test_every_input_in_every_runtime(saved):
    pytest.importorskip("onnxruntime")
    timings = list(bench(saved / "cyclegan", batch_sizes=(1, 4), sizes=(32, (64, 48)), runtimes=("cpu", "onnxruntime")))
    shapes = [(batch, 3, height, width) for height, width in ((32, 32), (48, 64)) for batch in (1, 4)]
    expected = [(runtime, shape) for runtime in ("cpu", "onnxruntime") for shape in shapes]
    assert [(timing.runtime, timing.shape) for timing in timings] == expected
    assert all(0 < timing.latency.median_ms <= timing.latency.p90_ms and timing.memory > 1e6 for timing in timings)
    assert all(timing.throughput == pytest.approx(1000 * timing.shape[0] / timing.latency.median_ms) for timing in timings)


def test_noise_has_one_shape(saved):
    (timing,) = bench(saved / "sagan", batch_sizes=(5,))
    assert timing.shape == (5, 128)
    with pytest.raises(GccError, match="size 64: this generator takes Nx128"):
        list(bench(saved / "sagan", sizes=(64,)))


@pytest.mark.slow
def test_memory_is_that_of_the_passes(saved):
    # In a process of its own: this one may hold more already than the larger input takes.
    command = [sys.executable, "-m", "gcc", "bench", saved / "cyclegan", "--size", "32,512", "--json", saved / "memory.json"]
    subprocess.run(command, check=True, capture_output=True)
    small, large = (row["memory"] for row in json.loads((saved / "memory.json").read_text())["timings"])
    assert large - small > 512 * 512 * 4 * 4


def test_speed_up_against_another_generator():
    def timing(generator, shape, median):
        return Timing(generator, "cpu", shape, Latency(median, median, "cpu", 1), None, is_reference=generator == "t")

    timings = rows([timing(*values) for values in (("t", (1, 3), 8), ("s", (1, 3), 2), ("t", (4, 3), 9), ("s", (4, 3), 3))])
    assert [row["speed_up"] for row in timings] == [None, 4, None, 3]
    assert [row["samples_per_second"] for row in timings] == [125, 500, pytest.approx(4000 / 9), pytest.approx(4000 / 3)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device", "gpu"], "device 'gpu' is unknown"),
        (["--size", "64x33"], "size 64x33: this generator takes .* multiples of 4 from 8 up"),
        (["--size", "64x"], "'64x' is not a size: expected N or WxH"),
        (["--size", "33"], "size 33: this generator takes .* multiples of 4 from 8 up"),
        (["--device", "cpu,ncnn", "--batch-size", "1,4"], "batch size 4: ncnn takes 1x3xHxW"),
        (["--batch-size", "1,x"], "--batch-size '1,x': expected comma-separated whole numbers"),
        (["--batch-size", "0"], "--batch-size '0': expected comma-separated whole numbers"),
        (["--batch-size", ""], "--batch-size '': expected comma-separated whole numbers"),
    ],
)
def test_invalid_options_are_refused(saved, options, message):
    result = CliRunner().invoke(main, ["bench", str(saved / "cyclegan"), *options])
    assert result.exit_code == 2
    with pytest.raises(GccError, match=message):
        raise GccError(result.stderr)


def test_numbers_below_one_are_refused(saved):
    with pytest.raises(GccError, match=r"batch sizes \[0\], sizes \[8, -1\]: expected numbers from 1 up"):
        next(bench(saved / "cyclegan", batch_sizes=(0,), sizes=(8, -1)))
    with pytest.raises(GccError, match=r"batch sizes \[\], sizes \[\]: expected numbers from 1 up"):
        next(bench(saved / "cyclegan", batch_sizes=()))


def test_timings_replace_timings_alone_and_anything_else_is_refused_before_they_are_measured(saved, tmp_path, monkeypatch):
    monkeypatch.setattr("gcc.deploy.bench.measure_in_turns", lambda networks, example: [Latency(1.0, 1.0, "cpu", 1)] * len(networks))
    write("cyclegan", tmp_path / "own")
    before = (tmp_path / "own" / "config.json").read_bytes()

    def run(path):
        return CliRunner().invoke(main, ["bench", str(saved / "cyclegan"), "--json", str(path)])

    for path, message in (
        (tmp_path / "own" / "config.json", "already exists and contains no timings"),
        (tmp_path / "own", "is a folder: expected a file"),
        (tmp_path / "own" / "config.json" / "a.json", "is a file, so that"),
    ):
        result = run(path)
        assert result.exit_code == 2 and message in result.stderr and not result.stdout
    assert (tmp_path / "own" / "config.json").read_bytes() == before
    assert run(tmp_path / "bench.json").exit_code == 0 == run(tmp_path / "bench.json").exit_code


def test_the_command_prints_a_table_and_writes_json(saved, tmp_path):
    write("cyclegan", tmp_path / "teacher")
    arguments = ["bench", str(saved / "cyclegan"), "--against", str(tmp_path / "teacher"), "--json", str(tmp_path / "bench.json")]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0 and "x as fast" in result.stdout and "1x3x32x32" in result.stdout
    contents = json.loads((tmp_path / "bench.json").read_text())
    assert contents["environment"]["torch"] == torch.__version__ and [row["input"] for row in contents["timings"]] == [[1, 3, 32, 32]] * 2
    assert contents["timings"][0]["speed_up"] is None and contents["timings"][1]["speed_up"] > 0


def test_ones_own_generator_is_compared_with_one_of_an_installed_family(saved, tmp_path):
    settings = settings_of("paired")
    Trainer(generator=Translator(), task="paired", data=CUSTOM["paired"][2], device="cpu", **settings).run().save(tmp_path)
    for student, against in ((tmp_path / "teacher", saved / "cyclegan"), (saved / "cyclegan", tmp_path / "teacher")):
        timings = list(bench(student, against, sizes=(32,), factory=Translator))
        assert [timing.generator for timing in timings] == [str(against), str(student)]
    with pytest.raises(GccError, match="give .* as `factory`"):
        list(bench(tmp_path / "teacher", saved / "cyclegan", sizes=(32,)))
    with pytest.raises(GccError, match="cyclegan is an installed architecture, which needs no `factory`: leave it out"):
        list(bench(saved / "cyclegan", saved / "cyclegan", factory=Translator))


def test_different_inputs_are_not_compared(saved, tmp_path):
    write("cyclegan", tmp_path / "larger", size=64)
    with pytest.raises(GccError, match=r"cyclegan takes 3x32x32 and .*larger takes 3x64x64: give `sizes` that both accept"):
        list(bench(saved / "cyclegan", tmp_path / "larger"))
    timings = rows(list(bench(saved / "cyclegan", tmp_path / "larger", sizes=(32,))))
    assert timings[0]["speed_up"] is None and timings[1]["speed_up"] == timings[0]["median_ms"] / timings[1]["median_ms"]
    for sizes in ((), (32,)):
        with pytest.raises(GccError, match=r"takes 128: leave out `against`|size 32: this generator takes Nx128"):
            list(bench(saved / "cyclegan", saved / "sagan", sizes=sizes))


def test_the_speed_up_does_not_depend_on_how_a_folder_is_written(saved, tmp_path, monkeypatch):
    write("cyclegan", tmp_path / "teacher" / "A2B")
    monkeypatch.chdir(tmp_path)
    for against in ("teacher", "./teacher/", "teacher/A2B/../A2B"):
        reference, timed = rows(list(bench(saved / "cyclegan", against)))
        assert reference["speed_up"] is None and timed["speed_up"] > 0


def test_latencies_that_scatter_are_named(saved, monkeypatch):
    for p90, expected in ((1.4, ""), (3.0, "gcc: a tenth of the passes took at least 3.0 times the median, so the machine was busy")):
        latency = Latency(1.0, p90, "cpu", 1)
        monkeypatch.setattr("gcc.deploy.bench.measure_in_turns", lambda networks, example, latency=latency: [latency])
        result = CliRunner().invoke(main, ["bench", str(saved / "cyclegan")])
        assert result.exit_code == 0 and result.stderr.startswith(expected) and bool(result.stderr) == bool(expected)


def test_devices_and_numbers_may_have_spaces(saved, tmp_path):
    arguments = ["bench", str(saved / "cyclegan"), "--device", "cpu, cpu", "--batch-size", "1, 2", "--json", str(tmp_path / "bench.json")]
    assert CliRunner().invoke(main, arguments, catch_exceptions=False).exit_code == 0
    assert [row["input"][0] for row in json.loads((tmp_path / "bench.json").read_text())["timings"]] == [1, 2, 1, 2]
    assert "no device: name some of cpu" in CliRunner().invoke(main, ["bench", str(saved / "cyclegan"), "--device", " , "]).stderr
