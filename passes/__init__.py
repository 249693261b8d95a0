"""Transformations of the IR: one pass, one file, one name."""
