"""What comes in, until it is rows that a network can take.

The wing knows X, y and weights as users hand them over: containers, columns, classes, folds. It
turns them into tensors and batches, and knows nothing of networks that train. It may import
:mod:`skensemble._nets` and what lies below that, never :mod:`skensemble._training`.
"""
