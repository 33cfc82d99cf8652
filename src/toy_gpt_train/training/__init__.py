"""training/ - Step d grown up: how models learn. Gradient descent on tables by pattern, and on networks step by step.

It knows numbers and networks. It does not know models, tokens or files: a model's fit() uses it.
"""
