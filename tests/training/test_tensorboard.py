"""The record for TensorBoard is that of metrics.jsonl."""

import builtins
import json

import pytest
from click.testing import CliRunner

from gcc.cli import main
from tests.helpers.families import TINY


@pytest.mark.usefixtures("small_worlds")
def test_what_metrics_jsonl_holds_is_there_for_tensorboard_too(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = [f"--set={key}={value}" for key, value in TINY["pix2pix"].items()]
    out = tmp_path / "run"
    asked = ["compress", "--arch", "pix2pix", *settings, "--tensorboard", "--out", str(out)]
    assert CliRunner().invoke(main, asked).exit_code == 0
    events = EventAccumulator(str(out / "tensorboard")).Reload()
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    expected = {}
    for line in lines:
        for name, value in line.items():
            if name not in ("phase", "epoch", "step"):
                expected.setdefault(f"{line['phase']}/{name}", []).append((line["step"], value))
    assert set(events.Tags()["scalars"]) == set(expected)
    for tag, values in expected.items():
        found = [(event.step, event.value) for event in events.Scalars(tag)]
        assert found == [(step, pytest.approx(value, rel=1e-6)) for step, value in values]


def test_without_tensorboard_the_extra_is_named_before_any_work(monkeypatch):
    real = builtins.__import__

    def without(name, *given, **named):
        if name.startswith("torch.utils.tensorboard"):
            raise ImportError("No module named 'tensorboard'")
        return real(name, *given, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    result = CliRunner().invoke(main, ["compress", "--arch", "pix2pix", "--tensorboard"])
    assert result.exit_code == 2 and "pip install 'gan-gcc[tensorboard]'" in result.stderr
