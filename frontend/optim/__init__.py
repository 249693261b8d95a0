"""Optimizers and learning-rate schedules; users import them as `calque.optim`."""
