"""Model cards: valid YAML that the Hub reads, with the metrics of the generator itself."""

import math
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from gcc import Teacher
from gcc.artifacts.card import index_card, model_card
from gcc.artifacts.config import Artifact
from gcc.artifacts.model import environment
from gcc.registry import MetricKey
from tests.helpers.custom_toys import Translator
from tests.helpers.families import TINY

COSTS = {"resolution": "1x3x32x32", "exact_macs": 2, "paper_macs": 3, "parameters": 4, "latency_ms": 5.0, "latency_on": "cpu"}


def measurements(**metrics):
    return COSTS | {"metrics": {MetricKey.parse(key): value for key, value in metrics.items()}, "epoch": 3}


def card(arch="pix2pix", grid="samples.png", **metrics):
    architecture = Teacher.create(arch).demo_architecture(TINY[arch])
    artifact = Artifact(
        Path("student"), "student", arch, architecture.generators[0], architecture.recipe, {}, {}, environment(torch.device("cpu"))
    )
    return model_card(artifact, {"teacher": measurements(l1=0.5), "student": measurements(**metrics)}, grid)


@pytest.mark.parametrize("module", ["__main__", "tests.artifacts.test_card.f.<locals>", "mygan.nets"])
def test_ones_own_class_is_imported_unless_no_module_has_it(module, monkeypatch):
    monkeypatch.setattr(Translator, "__module__", module)
    teacher = Teacher.of(Translator(), task="paired", size=16)
    architecture = teacher.architecture_for(None, {})
    artifact = Artifact(
        Path("student"), "student", "paired", "G", architecture.recipe, {}, {}, environment(torch.device("cpu")), type(architecture)
    )
    text = model_card(artifact, {"teacher": measurements(), "student": measurements()}, None)
    assert 'load("path/to/this/folder", factory=Translator)' in text
    assert ("from gcc import load\nfrom mygan.nets import Translator\n" in text) == (module == "mygan.nets")
    assert ("your class Translator" in text) == (module != "mygan.nets")


def front(text):
    _, matter, _ = text.split("---\n", 2)
    return yaml.safe_load(matter)


@pytest.mark.parametrize("arch", TINY)
def test_the_hub_knows_what_it_is(arch):
    data = front(card(arch, l1=0.25))
    assert data["library_name"] == "gan-gcc" and {"gan", "model-compression", arch, "student"} <= set(data["tags"])
    assert data["pipeline_tag"] == ("unconditional-image-generation" if arch == "sagan" else "image-to-image")
    assert "license" not in data


def test_the_front_matter_is_what_the_library_of_the_hub_writes():
    metrics = {MetricKey("psnr"): 21.5, MetricKey("psnr_y", "Set5"): 1e-05}
    results = [
        EvalResult("image-to-image", "held-out", "held-out images", key.evaluator, value, task_name="G", metric_name=f"{key}, dB")
        for key, value in metrics.items()
    ]
    tags = ["gan", "model-compression", "gcc", "pix2pix", "student"]
    data = ModelCardData(
        library_name="gan-gcc", pipeline_tag="image-to-image", tags=tags, model_name="pix2pix student", eval_results=results
    )
    assert front(card(**metrics)) == yaml.safe_load(data.to_yaml())


def test_the_hub_reads_the_metrics_of_the_student():
    metrics = {"psnr": 21.5, "psnr_y (Set5: 'x')": 1e-05, "l1": 3e22, "fid": math.nan, "kid": math.inf, "my-own": 7}
    results = ModelCard(card(**metrics)).data.eval_results
    assert {result.metric_name: result.metric_value for result in results} == {
        "psnr, dB": 21.5,
        "psnr_y (Set5: 'x'), dB": 1e-05,
        "l1": 3e22,
        "my-own": 7.0,
    }
    assert {result.metric_type for result in results} == {"psnr", "psnr_y", "l1", "my-own"}
    assert {(result.task_type, result.task_name, result.dataset_name) for result in results} == {("image-to-image", "G", "held-out images")}


def test_without_metrics_there_is_no_index():
    assert "model-index" not in front(card()) and "model-index" not in front(card(fid=math.nan))
    assert "![" not in card(grid=None)


def test_the_card_of_several_generators_links_to_each():
    architecture = Teacher.create("cyclegan").demo_architecture(TINY["cyclegan"])
    text = index_card(architecture, "cyclegan", "student", {"A2B": measurements(fid=30.0), "B2A": measurements(fid=40.0)})
    results = ModelCard(text).data.eval_results
    assert [(result.task_name, result.metric_value) for result in results] == [("A2B", 30.0), ("B2A", 40.0)]
    assert "[A2B](A2B/README.md)" in text and "[B2A](B2A/README.md)" in text
