"""Saved generators to the Hub and back, with a local server that imitates its interface; nothing goes over the network."""

import json
import shutil
import sys

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from gcc import Compressor, Teacher, load
from gcc.artifacts.hub import Address, is_address
from gcc.artifacts.model import resolve_location
from gcc.artifacts.run_folder import load_command, save_command
from gcc.artifacts.sharing import pull, push
from gcc.cli import main
from gcc.deploy.export import export
from gcc.errors import ArtifactError, GccError
from gcc.training.prune_teacher import prune_teacher
from tests.helpers.custom_toys import Translator
from tests.helpers.families import TINY
from tests.helpers.hub_server import TOKEN, serving


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for arch in ("pix2pix", "cyclegan"):
        Compressor(Teacher.create(arch), **TINY[arch] | {"epochs": 1}).run().save(folder / arch)
    return folder


@pytest.fixture
def hub(tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    with serving() as (hub, address):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


def same(one, other):
    return one.state_dict().keys() == other.state_dict().keys() and all(
        torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items()
    )


def test_what_is_pushed_is_loaded_from_its_address(saved, hub):
    assert push(saved / "pix2pix" / "student", "user/tiny", private=False).endswith("/user/tiny")
    assert set(hub.repositories["user/tiny"][-1]) == {".gitattributes", "README.md", "config.json", "model.safetensors", "samples.png"}
    student = load(saved / "pix2pix" / "student")
    assert same(load("hf://user/tiny"), student) and same(load("hf://user/tiny@main"), student)
    assert "README.md" in hub.served and ".gitattributes" not in hub.served


@pytest.mark.slow
def test_a_student_of_ones_own_code_is_pushed_without_it_and_loaded_with_it(hub, tmp_path):
    torch.manual_seed(0)
    settings = {"task": "paired", "size": 16, "budget": "60%"}
    prune_teacher(Teacher.of(Translator(), **settings), tmp_path / "student", {"budget": "60%"})
    push(tmp_path / "student", "user/own", private=False)
    card = hub.repositories["user/own"][-1]["README.md"].decode()
    assert "factory=Translator" in card and "from tests.helpers.custom_toys import Translator" in card and "nothing is imported" in card
    saved = load_file(tmp_path / "student" / "model.safetensors")
    pulled = load(pull("user/own", tmp_path / "pulled"), factory=Translator).state_dict()
    assert pulled.keys() == saved.keys() and all(torch.equal(tensor, saved[name]) for name, tensor in pulled.items())
    with pytest.raises(ArtifactError, match="code that a file names is not imported"):
        load("hf://user/own")
    weights = tmp_path / "student" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="is damaged or not a safetensors file"):
        push(tmp_path / "student", "user/own", private=False)


def test_a_run_means_its_student(saved, hub):
    push(saved / "pix2pix", "user/run", private=False)
    assert same(load("hf://user/run"), load(saved / "pix2pix" / "student"))


def test_a_teacher_comes_with_its_discriminators_and_its_generators(saved, hub, tmp_path):
    push(saved / "cyclegan" / "teacher", "user/horses", private=True)
    assert "user/horses" in hub.private
    teacher = Teacher.load("hf://user/horses")
    assert teacher.has_discriminators and teacher.generators().keys() == {"A2B", "B2A"}
    with pytest.raises(ArtifactError, match="contains the generators A2B, B2A: name one"):
        load("hf://user/horses")
    assert same(load("hf://user/horses/A2B"), load(saved / "cyclegan" / "teacher" / "A2B"))
    out = pull("user/horses", tmp_path / "horses")
    for path in (saved / "cyclegan" / "teacher").rglob("*.*"):
        assert (out / path.relative_to(saved / "cyclegan" / "teacher")).read_bytes() == path.read_bytes()


def test_replaced_models_are_neither_pushed_nor_pulled(saved, hub, tmp_path):
    for arch in ("pix2pix", "cyclegan"):
        teacher = tmp_path / arch
        shutil.copytree(saved / arch / "teacher", teacher)
        expected = {path.relative_to(teacher).as_posix() for path in teacher.rglob("*.*")}
        for folder in [config.parent for config in teacher.rglob("config.json")]:
            shutil.copytree(folder, folder / "replaced")
        (teacher / "replaced").mkdir(exist_ok=True)
        (teacher / "replaced" / "discriminators.safetensors").write_bytes(b"old")
        push(teacher, f"user/{arch}", private=False)
        pushed = hub.repositories[f"user/{arch}"][-1]
        assert set(pushed) - {".gitattributes"} == expected
        # As an earlier version pushed them.
        hub.commit(f"user/{arch}", {**pushed, "replaced/README.md": b"old", "A2B/replaced/config.json": pushed["README.md"]})
        hub.served.clear()
        out = pull(f"user/{arch}", tmp_path / "pulled" / arch)
        assert {path.relative_to(out).as_posix() for path in out.rglob("*.*")} == expected
        assert "replaced/README.md" not in hub.served


def test_an_export_of_an_address_is_written_here(saved, hub, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    push(saved / "pix2pix" / "student", "user/tiny", private=False)
    export("hf://user/tiny@main", format="safetensors")
    assert {path.name for path in (tmp_path / "here").iterdir()} == {"tiny@main.safetensors", "tiny@main.safetensors.README.md"}
    assert not [path for path in (tmp_path / "cache").rglob("*.safetensors") if path.name != "model.safetensors"]


@pytest.mark.slow
def test_every_command_that_reads_a_generator_takes_its_address(saved, hub, tmp_path, monkeypatch):
    def run(*arguments):
        result = CliRunner().invoke(main, [*map(str, arguments)])
        assert result.exit_code == 0, result.output
        return result.stdout

    monkeypatch.chdir(tmp_path)
    assert run("push", saved / "pix2pix" / "teacher", "user/teacher").endswith("/user/teacher\n")
    push(saved / "pix2pix" / "student", "user/tiny", private=False)
    assert "pix2pix" in run("inspect", "hf://user/tiny")
    run("translate", "hf://user/tiny", saved / "pix2pix" / "student" / "samples.png", "made.png")
    run("evaluate", "hf://user/tiny", "--evaluators", "l1")
    assert json.loads((tmp_path / "tiny-evaluation.json").read_text())["metrics"]["G"]
    settings = ["--teacher", "hf://user/teacher", "--epochs", "1", "--widths", "hf://user/tiny", "--out", "run"]
    run("compress", *settings)
    assert load_command(tmp_path / "run", "compress", {"teacher": None}, [])["teacher"].as_posix() == "hf:/user/teacher"
    assert "ok       teacher" in run("doctor", "--teacher", "hf://user/teacher")
    assert run("pull", "user/tiny") == "tiny\n"
    assert same(load(tmp_path / "tiny"), load("hf://user/tiny"))
    assert "is not empty" in CliRunner().invoke(main, ["pull", "user/tiny"]).stderr


def test_a_revision_does_not_change(saved, hub):
    files = {path.name: path.read_bytes() for path in (saved / "pix2pix" / "student").iterdir()}
    hub.commit("user/tiny", files)
    config = json.loads(files["config.json"])
    hub.commit("user/tiny", {"config.json": json.dumps(config | {"role": "teacher"}).encode()})
    assert '"student"' in (resolve_location("hf://user/tiny@v1") / "config.json").read_text()
    assert '"teacher"' in (resolve_location("hf://user/tiny") / "config.json").read_text()
    with pytest.raises(ArtifactError, match="no such revision"):
        load("hf://user/tiny@v2")


def test_downloaded_files_are_loaded_without_a_connection(saved, hub, monkeypatch):
    push(saved / "pix2pix" / "student", "user/tiny", private=False)
    load("hf://user/tiny")
    asked = len(hub.served)
    monkeypatch.setattr(sys.modules["huggingface_hub.constants"], "HF_HUB_OFFLINE", True)
    load("hf://user/tiny")
    assert len(hub.served) == asked
    with pytest.raises(ArtifactError, match="cannot be reached"):
        load("hf://user/other")


def test_nothing_pickled_is_downloaded_and_nothing_of_other_libraries(saved, hub):
    files = {path.name: path.read_bytes() for path in (saved / "pix2pix" / "student").iterdir()}
    hub.commit("user/tiny", files | {"pytorch_model.bin": b"\x80\x04", "weights.pth": b"\x80\x04", "run.py": b"1/0"})
    load("hf://user/tiny")
    assert {"pytorch_model.bin", "weights.pth", "run.py"}.isdisjoint(hub.served)
    hub.served.clear()
    hub.commit("user/language", {"config.json": b'{"model_type": "bert"}', "model.safetensors": bytes(1000)})
    with pytest.raises(ArtifactError, match="not the configuration of a saved model"):
        load("hf://user/language")
    assert "model.safetensors" not in hub.served
    hub.commit("user/empty", {"README.md": b"hello"})
    with pytest.raises(ArtifactError, match=r"hf://user/empty contains no config\.json of a saved model"):
        load("hf://user/empty")
    with pytest.raises(ArtifactError, match="contains no config.json"):
        load("hf://user/tiny/A2B")


def test_what_is_missing_or_not_allowed_is_reported(saved, hub, monkeypatch):
    with pytest.raises(ArtifactError, match="there is no hf://user/nothing, or it is private"):
        load("hf://user/nothing")
    student = saved / "pix2pix" / "student"
    push(student, "user/secret", private=True)
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
    with pytest.raises(ArtifactError, match="or it is private: check the name, or log in"):
        load("hf://user/secret")
    with pytest.raises(ArtifactError, match="log in with a token that may write there"):
        push(student, "user/other", private=False)
    with pytest.raises(ArtifactError, match="is on the Hub already"):
        push("hf://user/tiny", "user/other", private=False)
    with pytest.raises(ArtifactError, match="is not the name of a repository"):
        push(student, "user/a..b", private=False)


def test_an_unreachable_hub_is_reported_in_one_line(saved, tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for refused in (lambda: load("hf://user/tiny"), lambda: push(saved / "pix2pix" / "student", "user/tiny", private=False)):
        with pytest.raises(ArtifactError, match="hf://user/tiny cannot be reached") as refusal:
            refused()
        assert "\n" not in str(refusal.value)


def test_without_the_library_the_message_names_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(GccError, match=r"pip install 'gan-gcc\[hub\]'"):
        load("hf://user/tiny")


@pytest.mark.parametrize("text", ["hf://user", "hf://user/name/a/b", "hf://user/name/..", "hf://us er/name", "hf://user/name@"])
def test_an_invalid_address_is_refused(text):
    assert is_address(text)
    with pytest.raises(ArtifactError, match="expected hf://user/name"):
        load(text)


def test_an_address_is_written_as_it_is_read():
    for text in ("hf://user/name", "hf://user/name@v1", "hf://user/na.me/A2B", "hf://user/name@refs%2Fpr%2F1/B2A"):
        assert str(Address.parse(text)) == text


def test_an_address_is_stored_as_it_is(tmp_path):
    save_command(tmp_path, "compress", {"teacher": "hf://user/name", "data": tmp_path / "x", "weights": ()})
    assert load_command(tmp_path, "compress", {"teacher": None, "data": None}, [])["data"] == tmp_path / "x"
