"""The GAN families, one file each, and the layers that they share. Only `gcc.registry.ARCHITECTURES` gives access to families."""
