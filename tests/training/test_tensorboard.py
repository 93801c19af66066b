"""TensorBoard gets the same values as metrics.jsonl."""

import builtins
import json

import pytest
from click.testing import CliRunner

from gcc.cli import main
from tests.helpers.families import TINY


def test_tensorboard_gets_the_values_of_metrics_jsonl(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = [f"--set={key}={value}" for key, value in TINY["pix2pix"].items()]
    out = tmp_path / "run"
    arguments = ["compress", "--arch", "pix2pix", *settings, "--tensorboard", "--out", str(out)]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    events = EventAccumulator(str(out / "tensorboard")).Reload()
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    expected = {}
    for line in lines:
        for name, value in line.items():
            if name not in ("phase", "epoch", "step"):
                expected.setdefault(f"{line['phase']}/{name}", []).append((line["step"], value))
    assert set(events.Tags()["scalars"]) == set(expected)
    for tag, values in expected.items():
        scalars = [(event.step, event.value) for event in events.Scalars(tag)]
        assert scalars == [(step, pytest.approx(value, rel=1e-6)) for step, value in values]


def test_without_tensorboard_the_command_names_the_extra_before_any_work(monkeypatch):
    original = builtins.__import__

    def without(name, *arguments, **keywords):
        if name.startswith("torch.utils.tensorboard"):
            raise ImportError("No module named 'tensorboard'")
        return original(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    result = CliRunner().invoke(main, ["compress", "--arch", "pix2pix", "--tensorboard"])
    assert result.exit_code == 2 and "pip install 'gan-gcc[tensorboard]'" in result.stderr
