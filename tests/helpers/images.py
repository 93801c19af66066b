"""Image files of arrays."""

import numpy as np
from PIL import Image


def save(path, values):
    """Write an array as a NumPy file or as a picture, by the suffix of the path, and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, values)
    else:
        Image.fromarray(values).save(path)
    return path
