"""The commands: output, files and error messages."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from gcc import Compressor, load
from gcc.cli import main
from gcc.data.images import to_tensor
from gcc.experiments.runs import RunGroup
from tests.helpers.families import TINY
from tests.helpers.foreign_networks import ResNet


def settings(arch):
    return [f"--set={name}={value}" for name, value in TINY[arch].items()]


PIX2PIX = settings("pix2pix")


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(*arguments):
    """Run a command that must end with one line on standard error and exit code 2, and return the line."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("gcc: error: ")
    return line


def pairs(folder, count, size=(64, 32), split="train"):
    (folder / split).mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", size, (number, 100, 200)).save(folder / split / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def compressed(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    result = run("compress", "--arch", "pix2pix", "--metric", "slimming", *PIX2PIX, "--out", out)
    assert result.exit_code == 0, result.output
    return out, result


def test_control_characters_in_file_names_are_escaped(tmp_path):
    (tmp_path / "a\x1b[2J\nb\udcff.png").write_bytes(b"no image")
    assert "a\\x1b[2J\\nb\\udcff.png: it is damaged" in refused("evaluate", tmp_path, "--data", tmp_path, "--evaluators", "l1")


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")], ids=repr)
def test_running_out_of_memory_outside_training_costs_one_line(error, monkeypatch):
    def failing(*arguments):
        raise error

    monkeypatch.setattr("gcc.cli.inspection.inspect_architecture", failing)
    assert "out of memory" in refused("inspect", "pix2pix")


def test_compress_writes_all_its_files_and_prints_all_its_results(compressed):
    out, result = compressed
    for role in ("student", "teacher"):
        assert {"model.safetensors", "config.json", "README.md", "samples.png"} <= {path.name for path in (out / role).iterdir()}
    for text in (
        "demo data",
        "MACs at 1x3x32x32, exact",
        "paper's counter",
        "parameters",
        "latency",
        "l1, held out",
        "psnr",
        str(out / "student"),
    ):
        assert text in result.stdout.replace("\n", "") or text in result.stdout, text
    assert "epoch 2/2" in result.stderr
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert {line["phase"] for line in lines} == {"search", "train"}
    *_, losses, metrics = lines
    assert {"teacher/G", "teacher/D_fake", "student/distill_G", "student/distill_D", "student/arch", "target/D"} <= losses.keys()
    assert {"teacher/imbalance/D", "student/imbalance/D"} <= losses.keys()
    assert any(name.startswith("active/D") for name in losses)
    assert {f"val/{role}/G/{metric}" for role in ("teacher", "student") for metric in ("l1", "psnr")} <= metrics.keys()
    grids = sorted((out / "samples").iterdir())
    assert [grid.name for grid in grids] == ["train_epoch_0001.png", "train_epoch_0002.png"]
    with Image.open(grids[-1]) as grid:
        assert grid.width > 4 * 32


def test_piped_lines_end_without_blanks(compressed):
    out, result = compressed
    for text in (result.stdout, run("inspect", out / "student").stdout):
        assert len(text.splitlines()) > 20 and not [line for line in text.splitlines() if line != line.rstrip()]


def test_a_repeated_command_names_the_run_that_has_stopped(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ("compress", "--arch", "pix2pix", *PIX2PIX, "--dry-run")
    (tmp_path / "runs" / "pix2pix").mkdir(parents=True)
    assert "--resume" not in run(*command).stderr
    (tmp_path / "runs" / "pix2pix" / "checkpoints").mkdir()
    (tmp_path / "runs" / "pix2pix" / "command.json").touch()
    result = run(*command)
    assert result.exit_code == 0
    assert "runs/pix2pix contains a run that has not finished, which --resume auto continues; this is another run, in runs/pix2pix-2" in (
        result.stderr
    )


def test_a_run_ends_with_its_report(compressed):
    out, result = compressed
    assert re.search(rf"^report +{re.escape(str(out / 'report.html'))}$", result.stdout.strip(), re.MULTILINE)
    page = (out / "report.html").read_text()
    assert "psnr (higher is better)" in page and "|L_G - L_Dfake|, discriminator D" in page and "<svg" in page


def test_report_writes_the_page_again(compressed, tmp_path):
    out, _ = compressed
    page = (out / "report.html").read_text()
    (out / "report.html").unlink()
    assert run("report", out).output == f"{out / 'report.html'}\n"
    assert (out / "report.html").read_text() == page
    assert run("report", out, out, "--out", tmp_path / "both.html").exit_code == 0
    assert (tmp_path / "both.html").read_text().count("Generated by gan-gcc") == 1
    assert "is not a run's folder" in refused("report", tmp_path)
    assert f"RUN {tmp_path / 'none'}: there is no such file or folder" in refused("report", tmp_path / "none")
    assert run("report").exit_code == 2


def test_the_saved_recipe_reproduces_the_student(compressed, tmp_path):
    out, _ = compressed
    result = run("compress", "--recipe", out / "recipe.toml", "--out", tmp_path / "again")
    assert result.exit_code == 0, result.output
    first, again = (folder / "student" / "model.safetensors" for folder in (out, tmp_path / "again"))
    assert first.read_bytes() == again.read_bytes()


def test_the_model_card_shows_the_metrics_and_the_grid(compressed):
    out, _ = compressed
    card = (out / "student" / "README.md").read_text()
    figures = json.loads((out / "student" / "config.json").read_text())["figures"]
    assert card.startswith("---\n") and "samples.png" in card
    assert f"{figures['student']['metrics']['l1']:.4g}" in card


def test_a_finished_run_of_version_0_1_is_recognised(compressed, tmp_path):
    out = shutil.copytree(compressed[0], tmp_path / "run")
    recipe, command = out / "recipe.toml", out / "command.json"
    recipe.write_text(recipe.read_text().replace("decay_fraction", "decay").replace("min_keep_ratio", "keep"))
    saved = json.loads(command.read_text())
    old_names = {"evaluators": "metrics", "reference": "plain", "keep_checkpoints": "keep", "mac_counter": "counter", "weights": "files"}
    saved["options"] = {old_names.get(name, name): value for name, value in saved["options"].items()}
    command.write_text(json.dumps(saved))
    result = run("compress", "--resume", out)
    assert result.exit_code == 0 and "is finished: there is nothing to resume" in result.stdout and result.stderr == ""
    assert "contains a run with another recipe (seed was 0 and is 7)" in refused("compress", "--resume", out, "--seed", "7")


def test_an_existing_run_is_not_overwritten(compressed):
    out, _ = compressed
    before = (out / "student" / "model.safetensors").read_bytes()
    assert "--force" in refused("compress", "--arch", "pix2pix", *PIX2PIX, "--out", out)
    assert (out / "student" / "model.safetensors").read_bytes() == before


def test_inspect_shows_the_pruning_of_a_student(compressed):
    out, _ = compressed
    shown = run("inspect", out / "student").output
    widths = json.loads((out / "student" / "config.json").read_text())["widths"]
    for name, width in widths.items():
        assert name in shown and f"{width}/" in shown
    assert "█" in shown and "MACs exact" in shown


def test_inspect_shows_an_architecture():
    shown = run("inspect", "pix2pix", "--size", "64").output
    for text in ("down1", "up2", "scaled by", "MACs", "down2.act"):
        assert text in shown
    assert "pix2pix" in refused("inspect", "pix3pix")


def test_an_architecture_wins_over_a_folder_of_its_name(compressed, tmp_path, monkeypatch):
    out, _ = compressed
    shutil.copytree(out / "student", tmp_path / "pix2pix")
    shutil.copytree(out / "student", tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    assert "pruned from" in run("inspect", "pix2pix", "--size", "64").output
    for folder in ("./pix2pix", "pix2pix/", "mine"):
        assert "█" in run("inspect", folder).output
        assert "leave out --size and --set" in refused("inspect", folder, "--size", "64")


def test_translate_writes_the_output_of_the_student(compressed, tmp_path):
    out, _ = compressed
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.jpg", "b.png"):
        Image.effect_noise((40, 50), 80).convert("RGB").save(folder / name)
    result = run("translate", out / "student", folder, tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png"]
    single = run("translate", out / "student", folder / "b.png", tmp_path / "one.png")
    assert single.exit_code == 0 and str(tmp_path / "one.png") in single.output
    with Image.open(folder / "b.png") as source, Image.open(tmp_path / "one.png") as translated:
        pixels = np.pad(np.asarray(source), ((0, 14), (0, 24), (0, 0)), "reflect")
        with torch.no_grad():
            expected = load(out / "student")(to_tensor(pixels)[None])[0, :, :50, :40]
        assert (to_tensor(translated) - expected).abs().max() <= 1 / 127.5


def test_generate_writes_images_from_noise(tmp_path):
    assert run("train", "--arch", "sagan", *settings("sagan"), "--out", tmp_path / "run").exit_code == 0
    generated = run("generate", tmp_path / "run" / "teacher", "--count", "3", "--seed", "5", "--out", tmp_path / "out")
    assert generated.exit_code == 0 and sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("0000.png", "0001.png", "0002.png", "grid.png")
    ]
    assert "use gcc generate" in refused("translate", tmp_path / "run" / "teacher", tmp_path / "out", tmp_path / "translated")


def test_import_makes_a_teacher(tmp_path):
    torch.save(ResNet(2, 4).state_dict(), tmp_path / "latest_net_G.pth")
    done = run("import", "--arch", "cyclegan", tmp_path / "latest_net_G.pth", tmp_path / "teacher", "--set", "size=64")
    assert done.exit_code == 0 and "1x3x64x64" in done.stdout and (tmp_path / "teacher" / "A2B" / "model.safetensors").exists()
    assert "already contains" in refused("import", "--arch", "cyclegan", tmp_path / "latest_net_G.pth", tmp_path / "teacher")


def test_translate_refuses_what_it_cannot_read(compressed, tmp_path):
    out, _ = compressed
    assert "no image or folder" in refused("translate", out / "student", tmp_path / "nothing", tmp_path / "out")
    (tmp_path / "bad.png").write_bytes(b"no image")
    assert "bad.png" in refused("translate", out / "student", tmp_path / "bad.png", tmp_path / "out")
    assert "no image can be translated" in refused("translate", out / "student", tmp_path, tmp_path / "out", "--skip-bad")
    assert "config.json" in refused("translate", tmp_path, tmp_path, tmp_path / "out")
    Image.new("RGB", (8, 8)).save(tmp_path / "good.png")
    for size in ("30", "30x20"):
        translated = run("translate", out / "student", tmp_path / "good.png", tmp_path / "small.png", "--size", size)
        width, _, height = size.partition("x")
        assert translated.exit_code == 0 and ("changes its proportions" in translated.stderr) == bool(height)
        with Image.open(tmp_path / "small.png") as image:
            assert image.size == (int(width), int(height or width))
    for size in ("x3", "3x", "0x4", "a"):
        assert run("translate", out / "student", tmp_path / "good.png", tmp_path / "small.png", "--size", size).exit_code == 2


def test_translate_never_overwrites_what_it_reads(compressed, tmp_path):
    out, _ = compressed
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    assert "would overwrite" in refused("translate", out / "student", tmp_path, tmp_path)
    assert "would overwrite" in refused("translate", out / "student", tmp_path / "a.png", tmp_path / "a.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    assert "would both be written" in refused("translate", out / "student", tmp_path, tmp_path / "out")
    assert "made.xyz does not have the suffix" in refused("translate", out / "student", tmp_path / "a.png", tmp_path / "made.xyz")
    assert run("translate", out / "student", tmp_path / "a.png", tmp_path / "made.png", "--size", "0").exit_code == 2
    assert (tmp_path / "a.png").read_bytes() == before


def test_force_never_deletes_what_the_run_reads(compressed):
    out, _ = compressed
    assert "which this run reads" in refused("compress", "--teacher", out / "teacher", "--epochs", "1", "--out", out, "--force")
    assert (out / "teacher" / "discriminators.safetensors").exists()


def test_train_saves_a_teacher_that_compress_can_start_from(tmp_path):
    trained = run("train", "--arch", "pix2pix", *PIX2PIX, "--epochs", "1", "--out", tmp_path / "teacher-run")
    assert trained.exit_code == 0, trained.output
    assert not (tmp_path / "teacher-run" / "student").exists()
    teacher = tmp_path / "teacher-run" / "teacher"
    compressed = run("compress", "--teacher", teacher, "--epochs", "1", "--out", tmp_path / "run", "--set", "train_teacher=false")
    assert compressed.exit_code == 0, compressed.output
    assert (tmp_path / "run" / "teacher" / "model.safetensors").read_bytes() == (teacher / "model.safetensors").read_bytes()
    assert "is a pix2pix" in refused("compress", "--teacher", teacher, "--arch", "sagan")


def test_a_dry_run_prints_recipe_costs_and_plan_and_writes_nothing(tmp_path):
    result = run("compress", "--arch", "pix2pix", *PIX2PIX, "--dry-run", "--out", tmp_path / "out")
    assert result.exit_code == 0
    for text in ('arch = "pix2pix"', "lr_alpha = 0.1", "teacher", "budget", "epochs of"):
        assert text in result.stdout
    assert not (tmp_path / "out").exists()


def test_user_data_takes_the_published_recipe(tmp_path):
    result = run("compress", "--arch", "pix2pix", "--data", pairs(tmp_path / "data", 20), "--dry-run")
    assert result.exit_code == 0, result.output
    for text in ("size = 256", "ngf = 64", "ndf = 128", "prune_width = 32", "epochs = 250", "gamma_t = 10000.0", "tau = 0.5"):
        assert text in result.stdout
    assert "every tenth training image" in " ".join(result.stdout.split())


def test_user_data_is_trained_on(tmp_path):
    data = pairs(pairs(tmp_path / "data", 4), 2, split="test")
    settings = [*PIX2PIX, "--batch-size", "2", "--epochs", "1", "--direction", "BtoA"]
    result = run("compress", "--arch", "pix2pix", "--data", data, *settings, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    config = json.loads((tmp_path / "run" / "student" / "config.json").read_text())
    assert config["recipe"]["direction"] == "BtoA" and "demo data" not in result.stdout


def test_list_shows_every_plugin():
    shown = run("list").output
    for name in ("pix2pix", "slimming", "l1", "paper", "uniform", "all", "aligned", "cityscapes", "streets", "psnr", "gan-gcc", "0.2.0"):
        assert name in shown


def test_version_names_what_matters():
    assert run("version").output.startswith("gan-gcc 0.2.0, torch ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--arch", "pix3pix"], "did you mean 'pix2pix'"),
        ([], "give --arch NAME"),
        (["--arch", "pix2pix", "--metric", "l3"], "unknown metric 'l3'"),
        (["--arch", "pix2pix", "--selector", "papr"], "papr"),
        (["--arch", "pix2pix", "--size", "100"], "multiple of 32"),
        (["--arch", "pix2pix", "--budget", "0.001%"], "can be pruned to between"),
        (["--arch", "pix2pix", "--budget", "many"], "many"),
        (["--arch", "pix2pix", "--budget", "10%", "--budget", "25%"], "2 budgets (10%, 25%): expected one; `gcc sweep` takes several"),
        (["--resume", "nowhere"], "--resume nowhere: there is no such file or folder; relative paths start in"),
        (["--arch", "pix2pix", "--set", "taw=1"], "tau"),
        (["--arch", "pix2pix", "--set", "tau=high"], "expected a number"),
        (["--arch", "pix2pix", "--set", "tau=2"], "from 0 to 1"),
        (["--arch", "pix2pix", "--set", "tau"], "KEY=VALUE"),
        (["--arch", "pix2pix", "--set", "norm=instance"], "the metric l1"),
        (["--arch", "pix2pix", "--device", "cuda:99"], "cuda:99"),
        (["--arch", "pix2pix", "--device", "toaster"], "toaster"),
        (["--arch", "pix2pix", "--device", "cpu", "--amp", "fp16"], "--amp fp16 needs a GPU"),
        (["--arch", "pix2pix", "--recipe", "nowhere.toml"], "nowhere.toml"),
        (["--arch", "pix2pix", "--teacher", "nowhere"], "nowhere"),
        (["--arch", "pix2pix", "--data", "nowhere"], "--data nowhere: there is no such file or folder"),
        (["--arch", "pix2pix", "--dataset", "aligned"], "folder"),
        (["--arch", "pix2pix", "--out", "/proc/run"], "cannot write /proc/run"),
        (["--arch", "pix2pix", "--evaluators", "psrn"], "unknown evaluator 'psrn' (did you mean 'psnr'"),
        (["--arch", "sagan", "--evaluators", "psnr"], "this family has none: choose another, such as fid"),
        (["--arch", "pix2pix", "--weights", "vgg19"], "expected NAME=FILE, such as --weights vgg19=FILE"),
        (["--arch", "pix2pix", "--weights", "vgg19=x.pth"], "no network reads weights here"),
        (["--arch", "pix2pix", "--preset", "no-gobal"], "did you mean 'no-global'"),
        (["--arch", "pix2pix", "--widths", "nowhere"], "--widths nowhere: there is no such"),
        (["--arch", "srgan", "--size", "16"], "16x16 pixels is too small for PSNR and SSIM"),
    ],
)
def test_bad_input_costs_one_line_before_any_training(arguments, message, monkeypatch):
    from gcc.compressor import Compressor

    monkeypatch.setattr(Compressor, "steps", lambda self: pytest.fail("trained"))
    assert message in refused("compress", *arguments)


def test_bad_data_costs_one_line_that_names_it(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "empty" in refused("compress", "--arch", "pix2pix", "--data", empty)
    data = pairs(tmp_path / "data", 3)
    (data / "train" / "1.png").write_bytes((data / "train" / "1.png").read_bytes()[:40])
    line = refused("compress", "--arch", "pix2pix", "--data", data)
    assert "1.png" in line and "--skip-bad" in line
    skipped = run("compress", "--arch", "pix2pix", "--data", data, "--skip-bad", "--dry-run")
    assert skipped.exit_code == 0, skipped.output
    odd = pairs(tmp_path / "odd", 1, size=(33, 16))
    pairs(odd, 1, size=(33, 16), split="test")
    assert "even width" in refused("compress", "--arch", "pix2pix", "--data", odd)


def test_a_damaged_teacher_is_refused(compressed, tmp_path):
    out, _ = compressed
    copy = tmp_path / "teacher"
    copy.mkdir()
    for path in (out / "teacher").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "model.safetensors").write_bytes(b"PK\x03\x04")
    assert "damaged" in refused("compress", "--teacher", copy)


def test_a_run_that_fails_says_how_to_resume_it(monkeypatch, tmp_path):
    def fail(*arguments):
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")

    monkeypatch.setattr(Compressor, "cooperate", fail)
    out = tmp_path / "run"
    result = run("compress", "--arch", "pix2pix", *PIX2PIX, "--set", "epochs=1", "--out", out)
    assert result.exit_code == 2 and f"once that is fixed, continue with `gcc compress --resume {out}`\n" in result.stderr
    assert f"continue it with `gcc compress --resume {out}`" in refused("compress", "--arch", "pix2pix", *PIX2PIX, "--out", out)


@pytest.mark.slow
def test_ctrl_c_ends_with_its_own_exit_code(tmp_path):
    command = [sys.executable, "-m", "gcc", "compress", "--arch", "pix2pix", *PIX2PIX, "--epochs", "1000", "--out", str(tmp_path / "run")]

    def obey_sigint():  # background jobs of a shell ignore it
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=obey_sigint)
    try:
        while not (tmp_path / "run" / "metrics.jsonl").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130 and "continue with `gcc compress --resume" in stderr and "Traceback" not in stderr


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    out = tmp_path_factory.mktemp("finished") / "run"
    settings = [f"--set={key}={value}" for key, value in TINY["pix2pix"].items()]
    assert run("compress", "--arch", "pix2pix", *settings, "--out", str(out)).exit_code == 0
    return out, settings


@pytest.fixture
def small_run(finished_run, tmp_path):
    out, settings = finished_run
    return shutil.copytree(out, tmp_path / "run"), settings


def test_evaluate_prints_metrics_with_their_protocols_and_writes_json(small_run):
    out, _ = small_run
    result = run("evaluate", str(out / "student"), "--evaluators", "psnr,ssim_y")
    assert result.exit_code == 0
    for text in ("psnr", "ssim_y", "dB", "6 images, 32x32 pixels"):
        assert text in result.output
    metrics = json.loads((out / "student-evaluation.json").read_text())["metrics"]["G"]
    assert metrics["psnr"]["unit"] == "dB" and f"{metrics['psnr']['value']:.4g} dB" in result.output


def test_every_command_takes_the_folder_of_a_run_as_its_student(small_run, tmp_path):
    out, _ = small_run
    image, first, second = (tmp_path / f"{name}.png" for name in ("in", "first", "second"))
    Image.linear_gradient("L").resize((32, 32)).save(image)
    for folder, target in ((out, first), (out / "student", second)):
        assert run("translate", str(folder), str(image), str(target)).exit_code == 0
    assert first.read_bytes() == second.read_bytes()
    result = run("evaluate", str(out), "--evaluators", "ssim_y")
    assert result.exit_code == 0 and f"metrics saved in {out / 'student-evaluation.json'}" in result.output
    assert run("inspect", str(out)).output == run("inspect", str(out / "student")).output
    assert "student" in run("inspect", str(out)).output
    assert run("export", str(out), "--format", "safetensors").exit_code == 0 and (out / "student.safetensors").is_file()
    result = run("bench", str(out), "--against", str(out / "teacher"))
    assert result.exit_code == 0, result.output
    for option in ("--teacher", "--widths", "--student"):
        arch = () if option == "--teacher" else ("--arch", "pix2pix")
        result = run("compress", *arch, option, str(out), *without_budget(small_run[1]), "--dry-run")
        assert result.exit_code == 0, result.output


def without_budget(settings):
    return [setting for setting in settings if not setting.startswith("--set=budget=")]


def test_the_widths_of_a_student_replace_the_search(small_run, tmp_path):
    out, settings = small_run
    again = tmp_path / "again"
    arguments = ["--widths", str(out / "student"), "--preset", "no-global", "--out", str(again)]
    result = run("compress", "--arch", "pix2pix", *without_budget(settings), *arguments)
    assert result.exit_code == 0 and "pruned from" not in result.output and "widths" in result.output
    first, second = (json.loads((folder / "student" / "config.json").read_text()) for folder in (out, again))
    assert first["widths"] == second["widths"] and second["recipe"]["lambda_global"] == 0
    phases = {json.loads(line)["phase"] for line in (again / "metrics.jsonl").read_text().splitlines()}
    assert phases == {"train"}


@pytest.mark.slow
def test_sweep_prints_every_student_and_the_curve_and_resumes(tmp_path):
    out, budgets = tmp_path / "s", ("--budget", "40%", "--budget", "80%")
    recipe, tiny = tmp_path / "own.toml", TINY["pix2pix"] | {"epochs": 1}
    recipe.write_text('arch = "pix2pix"\n' + "".join(f"{key} = {json.dumps(value)}\n" for key, value in tiny.items()))
    command = ("sweep", "--recipe", recipe, "--evaluators", "psnr", "--device", "cpu", "--out", out)
    assert "--budget 10% --budget 25%" in refused(*command)
    dry = run(*command, *budgets, "--dry-run")
    assert "frozen; 2 students" in dry.output and not out.exists()
    # The recipe's own width belongs to its own budget.
    assert re.search(r"^40% .*width 4", dry.output, re.MULTILINE) and "psnr" not in dry.output.partition("result")[0]
    result = run(*command, *budgets)
    assert result.exit_code == 0, result.output
    assert [line for line in result.stderr.splitlines() if ":" not in line] == ["teacher", "budget 40%", "budget 80%"]
    for text in ("pix2pix G", "MACs", "parameters", "latency", "psnr (higher is better)", "● 80%", "1 (last)", str(out / "report.html")):
        assert text in result.stdout, text
    assert "as given" not in result.stdout
    for budget in ("40%", "80%"):
        assert re.search(rf"^student {budget} saved in +{re.escape(str(out / budget / 'student'))}", result.stdout, re.MULTILINE)
    assert f"gcc evaluate {out / '40%' / 'student'}" in result.stdout
    again = run("sweep", "--resume", out, "--budget", "60%")
    assert again.exit_code == 0, again.output
    assert [line for line in again.stderr.splitlines() if ":" not in line] == ["budget 60%"] and "● 60%" in again.stdout
    assert run("sweep", "--resume", out).stdout.partition("psnr (")[2] == again.stdout.partition("psnr (")[2]
    assert f"was started by `gcc sweep`: resume it with `gcc sweep --resume {out}`" in refused("compress", "--resume", out)
    assert "contains no run" in refused("sweep", "--resume", tmp_path)
    for folder, command in ((out / "40%", "compress"), (out / "teacher", "train")):
        assert f"is a run of `gcc sweep`: resume it with `gcc sweep --resume {out}`" in refused(command, "--resume", folder)
    runs = f"{out} contains the runs 40%, 60%, 80%, teacher: name one, such as {out / '40%'}"
    for arguments in (
        ("translate", out, "x", "y"),
        *((name, out) for name in ("evaluate", "bench", "export", "inspect")),
        ("report", out, out),
    ):
        assert runs in refused(*arguments)
    assert "contains the runs" not in run("compress", "--teacher", out, "--budget", "40%", "--dry-run").output
    assert "(size was 32 and is 64)" in refused("sweep", "--resume", out, "--size", "64", "--dry-run")
    page = (out / "report.html").read_bytes()
    assert run("report", out, "--out", tmp_path / "again.html").exit_code == 0 and (tmp_path / "again.html").read_bytes() == page
    (out / "sweep.json").write_text("[]")
    assert "is damaged" in refused("report", out)
    (out / "sweep.json").unlink()
    assert f"is not finished: continue it with `gcc sweep --resume {out}`" in refused("report", out)
    # A student of the sweep is evaluated on the data of the sweep.
    evaluated = run("evaluate", out / "40%" / "student", "--evaluators", "psnr")
    assert evaluated.exit_code == 0 and "6 images" in evaluated.output


@pytest.mark.slow
def test_ablate_prints_a_row_per_variant_and_the_paths_of_its_files(tmp_path, monkeypatch):
    settings = [f"--set={key}={value}" for key, value in TINY["pix2pix"].items()]
    command = ("ablate", "--arch", "pix2pix", *settings, "--presets", "pruned-only,gcc", "--seeds", "1", "--out", str(tmp_path / "a"))
    assert "2 variants of 1 run each" in run(*command, "--dry-run").output and not (tmp_path / "a").exists()
    result = run(*command)
    assert result.exit_code == 0 and "gcc, seed 0" in result.stderr
    for text in ("teacher", "pruned-only", "gcc", "ablation.md"):
        assert text in result.stdout
    again = run(*command)
    table = result.stdout[result.stdout.index("\nablation") :]
    assert again.stdout.endswith(table) and "seed 0" not in again.stderr
    resumed = run("ablate", "--resume", str(tmp_path / "a"))
    assert resumed.stdout.endswith(table) and "seed 0" not in resumed.stderr

    def press_ctrl_c(group):
        raise KeyboardInterrupt

    monkeypatch.setattr(RunGroup, "save", press_ctrl_c)
    stopped = run("ablate", "--resume", str(tmp_path / "a"))
    assert stopped.exit_code == 130 and f"gcc: stopped: continue with `gcc ablate --resume {tmp_path / 'a'}`" in stopped.stderr
