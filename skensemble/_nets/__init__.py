"""One module, many sets of its parameters.

The wing knows torch modules: how they are called, stacked into chains, kept as snapshots, pickled
and evaluated. It takes rows by duck type and never imports :mod:`skensemble._data`, so that files,
export and averaging can rest on it alone. It may import what stands below it: schedules, defaults,
``_compat`` and ``_types``.
"""
