"""One run: a net, its callbacks and the loop that takes the steps.

The wing knows skorch: the nets that train, when the rate is set and when a snapshot is taken, how
a run ends. It may import :mod:`skensemble._data` and :mod:`skensemble._nets`; what a run is for,
and what becomes of its snapshots, is told by the modules above it.
"""
