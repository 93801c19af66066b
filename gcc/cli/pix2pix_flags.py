"""The flags of pytorch-CycleGAN-and-pix2pix, by which its users look for options; docs/migration.md explains them."""

from __future__ import annotations

import click

FIELDS = (
    *("beta1", "gan_mode", "input_nc", "lambda_A", "lambda_B", "lambda_L1", "lambda_identity"),
    *("ndf", "ngf", "norm", "output_nc", "pool_size"),
)
"""Flags that are recipe fields of the same name."""
COUNTERPARTS = {
    "--batch_size": "--batch-size",
    "--checkpoints_dir": "--out DIR/NAME",
    "--continue_train": "--resume DIR",
    "--crop_size": "--size",
    "--dataroot": "--data",
    "--gpu_ids": "--device cuda:0 or --device cpu",
    "--load_size": "--size, from which images are enlarged and cropped",
    "--lr": "--set lr_g=... and --set lr_d=...",
    "--lr_policy": "--set schedule=...",
    "--model": "--arch",
    "--n_epochs": "--epochs, with --set decay_fraction=...",
    "--n_epochs_decay": "--epochs, with --set decay_fraction=...",
    "--name": "--out DIR/NAME",
    "--netG": "--arch, and --set generator=...",
    "--no_dropout": "--set dropout=0.0",
    "--num_threads": "--workers",
    "--save_epoch_freq": "--checkpoint-every",
    "--save_latest_freq": "--checkpoint-every",
    **{f"--{field}": f"--set {field}=..." for field in FIELDS},
}
"""What a flag is called here."""


def described(error: click.UsageError) -> str:
    """Return what a wrong use of a command is, and the option that is meant by a flag of pytorch-CycleGAN-and-pix2pix."""
    if isinstance(error, click.NoSuchOption) and (counterpart := COUNTERPARTS.get(error.option_name)):
        return f"No such option '{error.option_name}': here it is {counterpart}"
    return error.format_message()
