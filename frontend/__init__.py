"""What users touch: tensors, capture, autograd, modules, the compile driver, the CLI."""
