import os
import pickle
import re
from argparse import Namespace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from gcc.errors import ArtifactError
from gcc.utils.weights import below_prefix, matching, read_fitting, read_matching, read_state_dicts, read_tensors


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/evil",)


@pytest.mark.parametrize("name", ["a.pth", "a.pt", "a.safetensors"])
def test_tensors_come_back(name, tmp_path):
    tensors = {"a": torch.rand(2, 3), "b": torch.ones(1)}
    (save_file if name.endswith("safetensors") else torch.save)(tensors, tmp_path / name)
    read = read_tensors(tmp_path / name)
    assert read.keys() == tensors.keys() and all(torch.equal(read[key], tensors[key]) for key in tensors)


def test_nothing_is_run(tmp_path):
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil()))
    torch.save({"a": Evil()}, tmp_path / "evil2.pth")
    for name in ("evil.pth", "evil2.pth"):
        with pytest.raises(ArtifactError, match="contains objects other than tensors"):
            read_tensors(tmp_path / name)
    assert not os.path.exists("/tmp/evil")


@pytest.mark.parametrize("content", [{}, {"a": 1}, [torch.zeros(1)], torch.zeros(1), {"state_dict": {"a": 1}}, {0: torch.zeros(1)}])
def test_what_is_no_state_dict_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ArtifactError, match="not a state_dict"):
        read_tensors(tmp_path / "a.pth")


@pytest.mark.parametrize("content, fault", [(b"", "is empty"), (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull")])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_file_without_weights_says_what_it_is(content, fault, suffix, tmp_path):
    (tmp_path / f"a.{suffix}").write_bytes(content)
    with pytest.raises(ArtifactError, match=fault):
        read_tensors(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize("name", ["A.SAFETENSORS", "a.bin"])
def test_safetensors_are_read_whatever_their_suffix(name, tmp_path):
    save_file({"a": torch.ones(1)}, tmp_path / name, metadata={"format": "pt"})
    assert read_tensors(tmp_path / name).keys() == {"a"}


def test_a_missing_file(tmp_path):
    with pytest.raises(ArtifactError, match="there is no file"):
        read_tensors(tmp_path / "a.pth")
    with pytest.raises(ArtifactError, match="is a folder"):
        read_tensors(tmp_path)


def test_tensors_below_a_prefix_that_no_name_has_are_none():
    assert below_prefix({"netG.module.a": torch.ones(1)}, "netG").keys() == {"a"}
    assert below_prefix({"netG.a": torch.ones(1)}, "netg") == {}


@given(data=st.data(), suffix=st.sampled_from(["pth", "safetensors"]))
def test_damaged_files_are_refused_or_read(data, suffix, tmp_path_factory):
    file = tmp_path_factory.getbasetemp() / f"damaged.{suffix}"
    (torch.save if suffix == "pth" else save_file)({"a": torch.rand(3)}, file)
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    try:
        assert all(isinstance(tensor, torch.Tensor) for tensor in read_tensors(file).values())
    except ArtifactError as error:
        assert str(file) in str(error)


def test_the_prefix_of_data_parallel_is_left_off(tmp_path):
    torch.save({"module.a": torch.zeros(1), "module.b.c": torch.ones(1)}, tmp_path / "a.pth")
    assert read_tensors(tmp_path / "a.pth").keys() == {"a", "b.c"}
    torch.save({"module.a": torch.zeros(1), "b": torch.ones(1)}, tmp_path / "a.pth")
    assert read_tensors(tmp_path / "a.pth").keys() == {"module.a", "b"}


@given(st.lists(st.sampled_from(["module.", "_orig_mod."]), max_size=4))
def test_prefixes_of_wrappers_are_left_off_in_any_order(prefixes):
    with TemporaryDirectory() as folder:
        file = Path(folder, "a.pth")
        torch.save({"".join(prefixes) + name: torch.zeros(1) for name in ("a", "b.c")}, file)
        assert read_tensors(file).keys() == {"a", "b.c"}


def test_a_submodule_may_be_compiled(tmp_path):
    torch.save({"module.a": torch.zeros(1), "module.b._orig_mod.c": torch.ones(1)}, tmp_path / "a.pth")
    assert read_tensors(tmp_path / "a.pth").keys() == {"a", "b.c"}


def test_the_only_state_dict_of_a_checkpoint_is_read_or_all_are_named(tmp_path):
    network = torch.nn.Conv2d(1, 1, 1)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 1, 1, 1)).sum().backward()
    optimizer.step()
    state, file = network.state_dict(), tmp_path / "a.pth"
    rest = {"optimizer": optimizer.state_dict(), "epoch": 7, "loss": torch.ones(()), "name": None, "losses": [1.0]}
    nested = {**rest, "models": {"best": {"G": state}, "none": {}}}
    for checkpoint in (state, {"netG": state}, {"state_dict": state, **rest}, nested):
        torch.save(checkpoint, file)
        assert read_tensors(file).keys() == {"weight", "bias"}
    torch.save({"0.weight": torch.ones(1), **rest}, file)
    assert read_tensors(file).keys() >= {"0.weight"} and "epoch" not in read_tensors(file)
    torch.save({"params": state, "params_ema": state, **rest}, file)
    assert [*read_state_dicts(file)] == ["params", "params_ema"]
    with pytest.raises(ArtifactError, match="several state_dicts, 'params', 'params_ema'"):
        read_tensors(file)


@pytest.mark.parametrize(
    ("checkpoint", "keys"),
    [
        ([{"0.weight": torch.ones(1)}, 7], ["0"]),
        ({"epoch": 3, "loss.total": torch.ones(()), "netG": {"weight": torch.ones(1)}}, ["netG"]),
        ({"netG": {"weight": torch.ones(1)}, "history": [{"g": torch.ones(())}, {"all": {"g": torch.ones(1)}}]}, ["netG"]),
        ({"0.weight": torch.ones(1), "ema": {"0.weight": torch.ones(1)}}, ["", "ema"]),
        ({"0.weight": torch.ones(1), "0._extra_state": {"scale": torch.ones(1)}}, [""]),
    ],
)
def test_state_dicts_beside_losses_and_in_each_other_are_read(checkpoint, keys, tmp_path):
    torch.save(checkpoint, tmp_path / "a.pth")
    assert [*read_state_dicts(tmp_path / "a.pth")] == keys


@pytest.mark.parametrize("zipped", [True, False])
def test_what_is_not_loaded_is_named_with_the_remedy(zipped, tmp_path):
    network, file = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1)), tmp_path / "a.pt"
    torch.save(network, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        ArtifactError, match=r'is a pickled module.*torch\.save\(torch\.load\(".*a\.pt", weights_only=False\)\.state_dict\(\)'
    ):
        read_tensors(file)
    torch.save({"a": torch.zeros(1), "options": Namespace()}, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ArtifactError, match=r"argparse\.Namespace\): save the weights alone.*network\.state_dict\(\)"):
        read_tensors(file)


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_torchscript_is_named_and_its_remedy_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.jit.script(torch.nn.Conv2d(1, 1, 1)).save("a.pt")
    with pytest.raises(ArtifactError, match="is a TorchScript program") as caught:
        read_tensors(Path("a.pt"))
    exec(str(caught.value).partition(" with ")[2], {"torch": torch})
    assert read_tensors(Path("weights.pth")).keys() == {"weight", "bias"}


def test_a_file_fills_a_network_or_its_differences_are_named(tmp_path):
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    state, file = network.state_dict(), tmp_path / "a.pth"
    old = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    for content in (state, old, {f"module.{name}": tensor for name, tensor in state.items()}):
        torch.save(content, file)
        tensors = read_matching(file, state, "a toy")
        assert tensors.keys() == {name.removeprefix("module.") for name in content}
        network.load_state_dict(tensors)
    wrong = {
        "0.bias is missing, expected (4,)": {name: tensor for name, tensor in state.items() if name != "0.bias"},
        "0.weight is (4, 3), expected (4, 3, 1, 1)": state | {"0.weight": torch.zeros(4, 3)},
        "0.bias is torch.int64, expected torch.float32": state | {"0.bias": torch.zeros(4, dtype=torch.int64)},
        "0.bias is not finite": state | {"0.bias": torch.full((4,), torch.inf)},
        "fc.weight matches no parameter; g matches no parameter": state | {"fc.weight": torch.zeros(1), "g": torch.zeros(1)},
        "0.bias is missing, expected (4,); 1.weight is missing, expected (4,); ": {"0.weight": state["0.weight"]},
        "expected 0.weight, 0.bias, 1.weight, 1.bias, and 3 more, but its tensors are g": {"g": torch.zeros(1)},
    }
    for reason, content in wrong.items():
        torch.save(content, file)
        with pytest.raises(ArtifactError, match=re.escape(f"{file} does not fit a toy: ") + ".*" + re.escape(reason)):
            read_matching(file, state, "a toy")
    torch.save(old | {"fc.weight": torch.zeros(1)}, file)
    assert read_matching(file, state, "a toy", ("fc.",)).keys() == old.keys()


@pytest.mark.parametrize("key", ["", "generator", "gan.generator"])
def test_the_only_state_dict_that_fits_is_found_below_other_names(key, tmp_path):
    network, file = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4)), tmp_path / "a.pth"
    state = network.state_dict()
    name, _, prefix = key.rpartition(".")
    of_parts = {f"{prefix}.{leaf}".lstrip("."): tensor for leaf, tensor in state.items()} | ({"D.weight": torch.ones(1)} if key else {})
    torch.save({name: of_parts, "step": 3} if name else of_parts, file)
    found = read_fitting(file, state, "a toy")
    assert found.keys() == state.keys() and all(torch.equal(found[leaf], state[leaf]) for leaf in state)


def test_a_discriminator_with_the_generators_names_is_told_by_its_shapes(tmp_path):
    networks = {"generator": torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1)), "discriminator": torch.nn.Sequential(torch.nn.Conv2d(3, 8, 1))}
    file, state = tmp_path / "a.pth", networks["generator"].state_dict()
    torch.save({f"{name}.{leaf}": tensor for name, network in networks.items() for leaf, tensor in network.state_dict().items()}, file)
    assert torch.equal(read_fitting(file, state, "a toy")["0.weight"], state["0.weight"])


def test_of_several_state_dicts_that_fit_none_is_chosen(tmp_path):
    state, file = torch.nn.Conv2d(3, 4, 1).state_dict(), tmp_path / "a.pth"
    torch.save({f"{name}.{leaf}": tensor for name in ("G", "G_ema") for leaf, tensor in state.items()}, file)
    with pytest.raises(ArtifactError, match="contains several state_dicts of a toy, G, G_ema: save the one to read"):
        read_fitting(file, state, "a toy")


def test_tensors_match_by_the_paths_of_their_modules():
    network = torch.nn.Linear(2, 3)
    tensors = {"main.weight": torch.ones(3, 2), "main.bias": torch.zeros(3), "step": torch.ones(1)}
    matches = matching("a file", tensors, network.state_dict(), "a toy", modules={"": "main"}, ignored=["step"])
    assert matches.keys() == {"weight", "bias"} and matches["weight"] is tensors["main.weight"]
