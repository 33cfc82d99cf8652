"""The rooms beneath c_model.py's networks: tensors with gradients, matrix kernels, modules, optimizers.

It knows no text and no files; ids go in, logits come out.
"""
