"""What unseen rows say of how far predictions may be off: plain arrays, no networks.

:mod:`conformal` makes intervals and sets of them, :mod:`temperature` calibrates probabilities.
"""
