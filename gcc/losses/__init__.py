"""The losses of the method: the GAN game (Eq. 1, 2), coordination (Eq. 5-8), distillation (Eq. 9, 10)."""
