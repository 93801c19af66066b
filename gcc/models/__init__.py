"""The GAN families, one file each, and the layers that they share. Families are reached through `gcc.registry.ARCHITECTURES` alone."""
