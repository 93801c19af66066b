import torch

from gcc.utils.memory import free_memory

CPU = torch.device("cpu")


def test_the_free_memory_of_a_container_is_the_rest_of_its_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("gcc.utils.memory.CONTROL_GROUP", tmp_path)
    # Without a limit, it is the free memory of the machine.
    assert free_memory(CPU) > 10**6
    (tmp_path / "memory.current").write_text("300\n")
    (tmp_path / "memory.stat").write_text("anon 60\nfile 240\ninactive_file 20\nactive_file 5\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory(CPU) > 10**6
    (tmp_path / "memory.max").write_text("1000\n")
    assert free_memory(CPU) == 725
