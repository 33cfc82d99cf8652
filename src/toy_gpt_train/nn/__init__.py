"""A small neural engine over plain lists: tensors with gradients, Transformer modules, optimizers."""
