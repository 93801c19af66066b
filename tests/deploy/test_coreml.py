"""Core ML's packages are converted; what they compute is compared on macOS alone."""

import sys

import pytest

from gcc import export
from gcc.deploy.runtimes import require_runtime
from gcc.errors import GccError
from tests.deploy.test_export import saved  # noqa: F401 - a fixture
from tests.helpers.families import TINY


@pytest.mark.slow
@pytest.mark.parametrize("arch", sorted(TINY))
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_every_family(saved, tmp_path, arch, precision):  # noqa: F811
    coremltools = pytest.importorskip("coremltools")
    written = export(saved / arch, tmp_path / "out.mlpackage", format="coreml", precision=precision)
    assert written.files == [tmp_path / "out.mlpackage"] and str(written.path) in written.facts()["written"]
    spec = coremltools.utils.load_spec(str(written.path))
    (taken,), (returned,) = spec.description.input, spec.description.output
    assert (taken.name, returned.name) == ("input", "output")
    assert (1, *taken.type.multiArrayType.shape[1:]) == (1, *written.inputs.shape)
    assert spec.description.metadata.userDefined["arch"] == arch
    blocks = spec.mlProgram.functions["main"].block_specializations.values()
    operations = {operation.type for block in blocks for operation in block.operations}
    assert "conv" in operations and "batch_norm" not in operations
    # A second export replaces the package.
    assert export(saved / arch, tmp_path / "out.mlpackage", format="coreml", precision=precision).files == written.files


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML runs on macOS")
def test_what_was_not_compared_is_said(saved, tmp_path):  # noqa: F811
    pytest.importorskip("coremltools")
    written = export(saved / "pix2pix", tmp_path / "out.mlpackage", format="coreml")
    assert written.comparison is None and written.after is None
    assert "not compared" in written.facts()["Core ML"] and "not compared" in written.guides[0].read_text()
    with pytest.raises(GccError, match="coreml does not run generators on this system"):
        require_runtime("coreml")
