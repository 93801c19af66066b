"""The contract of runtimes."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from gcc.deploy.inputs import accepted_inputs, random_input
from gcc.deploy.optimize import TOLERANCE, fold
from gcc.models.build import build_generators
from gcc.registry import RUNTIMES, Inputs, QuantizingRuntime
from gcc.testing.common import prunable_widths, require, working_families


def check_runtime(name: str, folder: Path) -> None:
    """Check that a runtime's files compute what PyTorch computes, for a small generator of every working family and all inputs it accepts.

    Args:
        name: registered name of the runtime.
        folder: an empty folder to which the check may write.

    Raises:
        PluginError: the runtime breaks its contract; the message says where.
        GccError: its packages are missing, or it lacks an operator.
    """
    runtime = RUNTIMES.load(name)()
    runtime.require()
    quantizes = isinstance(runtime, QuantizingRuntime)
    require(quantizes == ("int8" in runtime.precisions), "precisions has int8 only if the class is a QuantizingRuntime, and then it must")
    script = "\n".join(("def load():", *(f"    {line}" for line in runtime.script.splitlines())))
    require(not runtime.package or _compiles(f"{runtime.imports}\n{script}"), "imports and script are not the Python of a function")
    for family in working_families():
        architecture = family(family.demo())
        generator, network = next(iter(build_generators(architecture, prunable_widths(architecture), "check").items()))
        example = architecture.for_network(generator).example_input()
        inputs = runtime.accepts(accepted_inputs(network.eval(), example))
        require(isinstance(runtime.example(runtime.suffixes, inputs, None, 3), str), "example does not return a text")
        folded = fold(network, random_input(example.shape))
        before = {key: tensor.clone() for key, tensor in folded.state_dict().items()}
        for precision in ("fp32", "fp16") if "fp16" in runtime.precisions else ("fp32",):
            stem = f"{family.__name__}-{precision}"
            runtime.write(folded, inputs, folder / f"{stem}{runtime.suffixes[0]}", {"arch": family.__name__}, precision)
            missing = [suffix for suffix in runtime.suffixes if not (folder / f"{stem}{suffix}").exists()]
            require(not missing, f"write has not written {', '.join(missing)}")
        changed_tensors = [key for key, tensor in folded.state_dict().items() if not torch.equal(tensor, before[key])]
        require(not changed_tensors, f"write has changed {', '.join(changed_tensors)} of the generator")
        exported = runtime.read(folder / f"{family.__name__}-fp32{runtime.suffixes[0]}", folded)
        require(exported is not None or not runtime.runs_here, "read returns None, although runs_here says that the program runs here")
        if exported is not None:
            _check_outputs(f"the file of {family.__name__}", network, exported, inputs)


def _compiles(source: str) -> bool:
    try:
        compile(source, "script", "exec")
    except SyntaxError:
        return False
    return True


@torch.inference_mode()
def _check_outputs(title: str, network: nn.Module, exported: nn.Module, inputs: Inputs) -> None:
    """Check that a file's outputs equal the generator's for all kinds of inputs that it accepts."""
    for shape in inputs.probe_shapes():
        expected, fake = network(random_input(shape)), exported(random_input(shape))
        wrong = f"for inputs {shape} {title} returns"
        require(fake.shape == expected.shape, f"{wrong} {tuple(fake.shape)}: expected {tuple(expected.shape)}")
        close = bool((fake - expected).abs().max() <= TOLERANCE * expected.abs().max())
        require(close, f"{wrong} other images than the generator")
