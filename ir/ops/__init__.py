"""The operators: one class each, by family. The functions here are what rules and users call."""
