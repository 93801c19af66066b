import pytest
from click.testing import CliRunner

from gcc.cli import main
from gcc.cli.flags import with_flags
from gcc.errors import DataError
from gcc.registry import ARCHITECTURES


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("leave `cache` out", "leave --cache out"),
        ("`skip_bad=True` leaves bad images out", "--skip-bad leaves bad images out"),
        ("(`pairs=False` takes whole images)", "(--no-pairs takes whole images)"),
        ('`weights={"vgg19": "FILE"}`; see', "--weights vgg19=FILE; see"),
        ('`amp="bf16"`, or a smaller `batch_size`', "--amp bf16, or a smaller --batch-size"),
        ("give a lower `lr_d=...`", "give a lower --set lr_d=..."),
        ("`data=a b/c`", "--data a b/c"),
        ("give `sizes` that both accept", "give --size that both accept"),
        ("`train_teacher=True`", "--set train_teacher=true"),
        ("`beta1=0.5` or `lambda_L1=50`", "--set beta1=0.5 or --set lambda_L1=50"),
        ("`discriminators={\"A\": \"FILE\", 'B': 'a, b'}`", "--discriminator A=FILE --discriminator B=a, b"),
        ("in net.py:12 `size=self.up(size)`: no `l1=3`", "in net.py:12 `size=self.up(size)`: no `l1=3`"),
        ("in net.py:12 `student`: see `workers`", "in net.py:12 `student`: see --workers"),
        ("`compile=False`, `force=False`", "`compile=False`, `force=False`"),
        (
            "expected `3.0G`, see `gcc list`, or name the layers in `leave`",
            "expected `3.0G`, see `gcc list`, or name the layers in `leave`",
        ),
    ],
)
def test_keywords_become_flags_and_code_stays(message, expected):
    # The recipe of this family has a field with a capital letter.
    ARCHITECTURES.load("pix2pix")
    assert with_flags(message) == expected


def test_errors_of_commands_name_flags(monkeypatch, tmp_path):
    def refuse(*arguments, **keywords):
        raise DataError("1.png is damaged (`skip_bad=True` leaves bad images out)")

    monkeypatch.setattr("gcc.deploy.translate.translate", refuse)
    result = CliRunner().invoke(main, ["translate", "a", "b", "c"])
    assert result.exit_code == 2 and result.stderr == "gcc: error: 1.png is damaged (--skip-bad leaves bad images out)\n"
