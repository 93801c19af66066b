"""One tiny setting per family: every suite that runs a family runs it from this table."""

TINY = {
    "pix2pix": {"size": 32, "ngf": 4, "ndf": 4, "prune_width": 4, "epochs": 2, "batch_size": 40, "budget": "40%", "lr_alpha": 0.1},
}
