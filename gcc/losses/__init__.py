"""The losses of the method: adversarial (Eq. 1, 2), coordination (Eq. 5-8) and distillation (Eq. 9, 10)."""
