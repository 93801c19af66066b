"""Every variant has the same widths and every seed; finished runs are not repeated."""

import io
import json
import os
import shutil
import statistics

import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file

from gcc import Compressor, Teacher, load
from gcc.artifacts.model import read
from gcc.artifacts.run_folder import CHECKPOINTS
from gcc.errors import GccError, OutputError, RecipeError
from gcc.experiments.ablation import Ablation
from gcc.registry.presets import PRESETS
from gcc.utils.files import write_text
from tests.helpers.custom_toys import Translator
from tests.helpers.families import TINY


def ablation(out, arch="pix2pix", presets=("pruned-only", "gcc"), seeds=2, **settings):
    return Ablation(Teacher.create(arch), out, presets, seeds=seeds, **{"device": "cpu"} | TINY[arch] | settings)


def run(ablation):
    return list(ablation.runs(Console(file=io.StringIO())))


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    """A finished ablation of one run of the variant gcc."""
    folder = tmp_path_factory.mktemp("finished")
    ablation(folder, presets=["gcc"], seeds=1).run()
    return folder


@pytest.fixture
def finished(finished_run, tmp_path):
    return shutil.copytree(finished_run, tmp_path / "finished")


@pytest.mark.slow
def test_variants_share_widths_seeds_and_teachers_and_finished_runs_are_not_repeated(tmp_path):
    first = ablation(tmp_path)
    assert "2 variants of 2 runs each" in first.plan()["runs"]
    assert run(first) == ["pruned-only, seed 0", "gcc, seed 0", "pruned-only, seed 1", "gcc, seed 1"]
    saved = {(name, n): read(tmp_path / name / f"seed-{n}" / "student")["G"] for name in ("pruned-only", "gcc") for n in (0, 1)}
    assert len({tuple(artifact.widths.items()) for artifact in saved.values()}) == 1
    for n in (0, 1):
        teachers = [saved[name, n].measurements["teacher"]["metrics"] for name in ("pruned-only", "gcc")]
        assert teachers[0] == teachers[1] and saved["gcc", n].recipe.seed == n
    assert saved["pruned-only", 0].recipe.discriminator == "full"

    # Only a run that was cut off is repeated.
    (tmp_path / "gcc" / "seed-0" / "student" / "config.json").unlink()
    assert run(ablation(tmp_path)) == ["gcc, seed 0"]
    assert (tmp_path / "gcc" / "seed-0" / "replaced").is_dir()
    assert run(ablation(tmp_path, seeds=1)) == []

    again = ablation(tmp_path)
    l1 = [saved["gcc", n].measurements["student"]["metrics"]["l1"] for n in (0, 1)]
    measurements = again.measurements()
    assert measurements.to_dict()["gcc"]["l1"] == pytest.approx(l1)
    rows = measurements.rows()
    assert list(rows) == ["teacher (after training)", "pruned-only", "gcc"]
    assert rows["gcc"]["l1"] == f"{statistics.mean(l1):.4g} ± {statistics.stdev(l1):.2g}"
    assert rows["gcc"]["psnr"].endswith(" dB")
    data, table, picture = again.save()
    assert json.loads(data.read_text())["figures"]["gcc"]["l1"] == pytest.approx(l1)
    assert "| gcc |" in table.read_text() and "2 runs" in table.read_text()
    with Image.open(picture) as grid:
        assert grid.width > 5 * 96

    with pytest.raises(OutputError, match="run with another recipe"):
        run(ablation(tmp_path, lr_g=1e-3))


@pytest.mark.slow
def test_each_generator_of_a_family_has_its_own_metrics(tmp_path):
    one = ablation(tmp_path, arch="cyclegan", presets=["gcc"], seeds=1, evaluators="fd_effnetlite0", epochs=1)
    run(one)
    values = one.measurements().to_dict()["gcc"]
    assert values.keys() == {"A2B fd_effnetlite0", "B2A fd_effnetlite0"} and len(set(map(tuple, values.values()))) == 2


def test_a_preset_changes_only_its_own_fields(tmp_path):
    tuned = ablation(tmp_path, lambda_global=0.25, lambda_distill_g=0.5)
    recipes = {variant: tuned.compressor(variant, 0).recipe for variant in PRESETS}
    assert recipes["gcc"].lambda_global == 0.25 and recipes["gcc"].lambda_distill_g == 0.5
    assert recipes["pruned-only"].lambda_distill_g == 0 and recipes["no-global"].lambda_distill_g == 0.5
    assert recipes["no-selective-activation"].discriminator == "full" and recipes["no-selective-activation"].lambda_global == 0.25


def test_one_seed_has_no_deviation_and_a_variant_named_twice_runs_once(tmp_path):
    single = ablation(tmp_path, presets=["gcc", "gcc"], seeds=1)
    assert run(single) == ["gcc, seed 0"]
    measurements = single.measurements()
    assert "±" not in measurements.rows()["gcc"]["l1"] and len(measurements.to_dict()["teacher"]["l1"]) == 1
    assert "One run each" in single.save()[1].read_text()


def test_runs_with_other_inputs_are_refused(finished, tmp_path):
    other = ablation(finished, presets=["gcc"], seeds=1, amp="bf16")
    with pytest.raises(OutputError, match=r"contains an ablation with other inputs \(amp was auto and is bf16\)"):
        other.plan()
    data = tmp_path / "data" / "train"
    data.mkdir(parents=True)
    for number in range(8):
        Image.new("RGB", (64, 32), (number, 0, 0)).save(data / f"{number}.png")
    other = ablation(finished, presets=["gcc"], seeds=1, data=tmp_path / "data")
    with pytest.raises(OutputError, match=r"^the data differ, or are read in another way: .* another recipe \(decay_fraction was"):
        other.plan()
    demo = ablation(finished, presets=["gcc"], seeds=1)
    demo._inputs["data"] = "another fingerprint"
    with pytest.raises(OutputError, match=r"contains an ablation with other inputs \(other data\)"):
        demo.plan()


def test_run_trains_and_writes_everything_and_options_at_their_defaults_are_the_same_inputs(finished):
    measured = ablation(finished, presets=["gcc"], seeds=1).measurements()
    assert json.loads((finished / "ablation.json").read_text())["figures"] == measured.to_dict()
    assert (finished / "ablation.md").read_text() == measured.to_markdown() and (finished / "ablation.png").is_file()
    # The command line names every option, and earlier versions wrote those alone that were given.
    assert run(ablation(finished, presets=["gcc"], seeds=1, amp="auto", on_nan="stop", workers=None, data=None)) == []
    plan = json.loads((finished / "ablation-plan.json").read_text())
    for name in ("amp", "on_nan", "on_collapse"):
        del plan[name]
    (finished / "ablation-plan.json").write_text(json.dumps(plan))
    ablation(finished, presets=["gcc"], seeds=1).plan()
    with pytest.raises(OutputError, match="on_nan was stop and is rollback"):
        ablation(finished, presets=["gcc"], seeds=1, on_nan="rollback").plan()


def test_widths_of_a_run_that_stopped_while_it_saved_are_not_taken(finished):
    student = finished / "gcc" / "seed-0" / "student"
    assert ablation(finished, presets=["gcc"], seeds=1)._finished() == student
    (student.parent / CHECKPOINTS).mkdir()
    assert ablation(finished, presets=["gcc"], seeds=1)._finished() is None


def test_runs_go_on_with_data_that_were_copied_again(tmp_path):
    data = tmp_path / "data" / "train"
    data.mkdir(parents=True)
    for number in range(8):
        Image.new("RGB", (64, 32), (number, 0, 0)).save(data / f"{number}.png")
    began = ablation(tmp_path / "out", presets=["gcc"], seeds=1, data=tmp_path / "data")
    by_dates = began._inputs | {"data": began.first.context.data.train.identity}
    for recorded in (began._inputs, by_dates):  # Earlier versions recorded dates.
        write_text(began._plan_file, json.dumps(recorded))
        ablation(tmp_path / "out", presets=["gcc"], seeds=1, data=tmp_path / "data").plan()
    write_text(began._plan_file, json.dumps(began._inputs))
    for file in data.iterdir():
        os.utime(file, (1, 1))
    ablation(tmp_path / "out", presets=["gcc"], seeds=1, data=tmp_path / "data").plan()
    for split in (began.first.context.data.test, began.first.context.data.train):
        file = split.paths.pop()
        content = file.read_bytes()
        Image.new("RGB", (64, 32), (9, 0, 0)).save(file)
        with pytest.raises(OutputError, match="other data"):
            ablation(tmp_path / "out", presets=["gcc"], seeds=1, data=tmp_path / "data").plan()
        file.write_bytes(content)


@pytest.mark.parametrize("plan", ["[]", "3", "null", "no JSON"])
def test_a_damaged_plan_is_refused(plan, tmp_path):
    (tmp_path / "ablation-plan.json").write_text(plan)
    with pytest.raises(OutputError, match="is damaged, or not the plan of an ablation"):
        ablation(tmp_path, seeds=1).plan()


def test_another_first_variant_takes_the_widths_of_a_finished_run(finished):
    later = ablation(finished, presets=["pruned-only", "gcc"], seeds=1)
    assert run(later) == ["pruned-only, seed 0"]
    assert later.measurements().values.keys() == {"teacher", "pruned-only", "gcc"}


def test_row_and_picture_of_the_teacher_are_those_of_the_same_runs(finished):
    shutil.copytree(finished / "gcc", finished / "pruned-only")
    config = finished / "gcc" / "seed-0" / "student" / "config.json"
    saved = json.loads(config.read_text())
    saved["figures"]["teacher"]["metrics"]["l1"] = 0.125
    config.write_text(json.dumps(saved))
    for presets in (["gcc", "pruned-only"], ["pruned-only", "gcc"]):
        shown = ablation(finished, presets=presets, seeds=1)
        assert shown.folders()["teacher"] == finished / "gcc" / "seed-0" / "teacher"
        measurements = shown.measurements()
        assert measurements.to_dict()["teacher"]["l1"] == [0.125]
        assert "The teacher is the one of the runs of gcc." in measurements.to_markdown()
    alone = ablation(finished, presets=["pruned-only"], seeds=1)
    assert alone.folders()["teacher"] == finished / "pruned-only" / "seed-0" / "teacher"


def own_ablation(out, presets=(), seed=0, **settings):
    torch.manual_seed(seed)
    short = {"steps": 1, "batch_size": 2, "ndf": 4, "size": 32, "device": "cpu"}
    return Ablation(None, out, presets, generator=Translator(), task="paired", seeds=1, **short | settings)


def test_variants_that_have_the_same_recipe_are_one(tmp_path):
    own = own_ablation(tmp_path)
    assert own.variants == ["pruned-only", "full-discriminator", "no-discriminator", "gcc"]
    assert own._merged.startswith("; no-selective-activation is full-discriminator with this recipe; no-global is gcc with")
    assert own_ablation(tmp_path, ["no-global"]).variants == ["no-global"]


@pytest.mark.slow
def test_students_of_ones_own_generator_start_with_the_same_inherited_weights(tmp_path):
    assert run(own_ablation(tmp_path, ["no-discriminator", "gcc"], budget="60%", lr_g=1e-30)) == ["no-discriminator, seed 0", "gcc, seed 0"]
    own = own_ablation(tmp_path, ["no-discriminator", "gcc"], budget="60%", lr_g=1e-30)
    start = load_file(tmp_path / "ablation-start.safetensors")
    for variant in own.variants:
        student = load_file(tmp_path / variant / "seed-0" / "student" / "model.safetensors")
        assert torch.equal(student["body.3.weight"], start["G.body.3.weight"])
    # It is the run of a compression by itself.
    torch.manual_seed(0)
    alone = Compressor(generator=Translator(), task="paired", **vars(own.config), **own._settings | {"seed": 0})
    assert set(own.run().values) == {"teacher", "no-discriminator", "gcc"}
    assert alone.recipe == own.compressor("gcc", 0).recipe
    student = load(tmp_path / "gcc" / "seed-0" / "student", factory=Translator).state_dict()
    assert all(torch.equal(tensor, student[name]) for name, tensor in alone.run().students["G"].state_dict().items())
    with pytest.raises(OutputError, match=r"contains an ablation with other inputs \(another teacher\)"):
        own_ablation(tmp_path, ["no-discriminator", "gcc"], seed=1, budget="60%", lr_g=1e-30).plan()


def test_unknown_variants_are_refused(tmp_path):
    with pytest.raises(RecipeError, match="unknown preset 'all'"):
        ablation(tmp_path, presets=["all"])


def test_arguments_of_other_types_are_refused(tmp_path):
    for arguments, message in (
        ({"presets": "gcc"}, "^presets = 'gcc': expected a sequence with a string as its items"),
        ({"seeds": "3"}, "^seeds = '3': expected a whole number"),
        ({"seeds": 0}, "^seeds = 0: expected a whole number from 1 up"),
        ({"out": 3}, "^out = 3: expected a path"),
        ({"student": tmp_path}, "leave student out"),
    ):
        with pytest.raises(GccError, match=message):
            ablation(**{"out": tmp_path} | arguments)
    with pytest.raises(GccError, match="^teacher = 'pix2pix': expected an object of type Teacher"):
        Ablation("pix2pix", tmp_path)


def test_a_stopped_run_is_resumed(finished, tmp_path):
    def stop(step):
        raise KeyboardInterrupt

    stopped = ablation(tmp_path / "stopped", presets=["gcc"], seeds=1)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Compressor, "monitored", lambda self: stop(None) if "student" in self.pairs and self.epoch == 2 else {})
        run(stopped)
    folder = tmp_path / "stopped" / "gcc" / "seed-0"
    assert (folder / "checkpoints").is_dir() and not (folder / "student").exists()
    assert run(ablation(tmp_path / "stopped", presets=["gcc"], seeds=1)) == ["gcc, seed 0"]
    assert not (folder / "replaced").exists()
    weights = [(out / "gcc" / "seed-0" / "student" / "model.safetensors").read_bytes() for out in (finished, tmp_path / "stopped")]
    assert weights[0] == weights[1]


def test_the_folder_of_a_single_run_is_refused(tmp_path):
    (tmp_path / "recipe.toml").touch()
    with pytest.raises(OutputError, match="contains a single run"):
        ablation(tmp_path).plan()
    with pytest.raises(OutputError, match=r"recipe\.toml is a file, so .* cannot be written"):
        ablation(tmp_path / "recipe.toml" / "x").plan()


def test_changed_recipe_fields_are_named(finished):
    with pytest.raises(OutputError, match=r"another recipe \(gamma_m was 50.0 and is 5.0\)"):
        run(ablation(finished, presets=["gcc"], seeds=1, gamma_m=5.0))
