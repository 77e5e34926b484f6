"""Relatives of an ensemble, from the snapshots of one run: one network, draws, fewer members."""

from ._distillation import distill
from ._geometric import fge
from ._means import average_weights, swag
from ._pruning import prune

__all__ = ["average_weights", "distill", "fge", "prune", "swag"]
