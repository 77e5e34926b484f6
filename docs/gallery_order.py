"""The order of the examples in the gallery: the first things first."""

FIRST = [
    "quickstart.py",
    "raw_frame.py",
    "house_prices.py",
    "sets_on_digits.py",
    "imbalanced_classes.py",
    "one_network_or_an_ensemble.py",
    "learning_rate_and_error.py",
    "custom_module.py",
    "grid_search_cycles.py",
    "cycle_curve.py",
    "pictures_of_a_fit.py",
]


def first_things_first(name):
    """Sorting key of a file name; those that are not listed follow by name."""
    return (FIRST.index(name) if name in FIRST else len(FIRST), name)
