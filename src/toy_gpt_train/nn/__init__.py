"""nn/ - Beneath step c: tensors with gradients, matrix kernels, modules, optimizers. It knows no text and no files."""
