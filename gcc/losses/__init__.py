"""The losses of the method: adversarial (Eq. 1, 2), coordination (Eq. 5-7) and distillation (Eq. 9, 10); and other distillers.

`gcc.training.student.StudentPair.step_alpha` computes Eq. 8 from the first two.
"""
