"""One tiny setting per family, for every test that runs a family."""

TINY = {
    "pix2pix": {"size": 32, "ngf": 4, "ndf": 4, "prune_width": 4, "epochs": 2, "batch_size": 20, "budget": "40%", "lr_alpha": 0.1},
    "cyclegan": {"size": 32, "ngf": 4, "ndf": 4, "prune_width": 4, "n_blocks": 2, "epochs": 2, "batch_size": 20, "budget": "40%,60%"},
    "sagan": {"size": 32, "ngf": 4, "ndf": 4, "prune_width": 4, "epochs": 2, "batch_size": 20, "budget": "60%", "lr_alpha": 0.1},
    "srgan": {"size": 32, "ngf": 4, "ndf": 4, "prune_width": 4, "pretrain_epochs": 1, "epochs": 2, "batch_size": 20, "budget": "40%"},
}

GENERATOR_RUNS = {"pix2pix": 1, "cyclegan": 3, "sagan": 1, "srgan": 1}
"""Passes of each generator per iteration. CycleGAN's run for the fake images, the cycle and the identity."""
