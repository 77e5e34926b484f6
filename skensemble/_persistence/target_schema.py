"""What the targets of a fit hold in a file, and what that may be."""

import itertools

from skensemble._data.label_targets import LabelTargets
from skensemble._data.named_targets import NamedTargets, RateTargets
from skensemble._data.quantile_targets import QuantileTargets
from skensemble._data.targets import ClassTargets, RealTargets
from skensemble._types import Options

from .checks import (
    Check,
    Kind,
    boolean,
    either,
    expect,
    floats,
    integer,
    labels,
    maybe,
    plain,
    real,
    text,
    tuple_of,
)


def _check_classes(f: Options) -> None:
    classes = f["classes"]
    expect(classes is not None and len(classes) >= 2, "fewer than two classes")
    expect(f["by_class"] is None or len(f["by_class"]) == len(classes), "weights of other classes")


def _check_real(f: Options) -> None:
    parts = (f["center"], f["scale"], f["spread"])
    expect(all(part is not None for part in parts), "targets that were not learned")
    expect(
        len({len(part) for part in parts}) == 1 and len(parts[0]), "outputs that are not as many"
    )


def _check_quantiles(f: Options) -> None:
    _check_real(f)
    ends = (0.0, *f["levels"], 1.0)
    expect(len(ends) > 3, "fewer than two levels")
    expect(all(a < b for a, b in itertools.pairwise(ends)), "levels that do not increase")


_positive = floats(1, 0, above=True)

#: What all targets that are values have.
_REAL: dict[str, Check] = {
    "is_loss_known": boolean,
    "is_scaled": boolean,
    "criterion_name": text(),
    "center": maybe(floats(1)),
    "scale": maybe(_positive),
    "spread": maybe(floats(1, 0)),
}

#: By their names in a file.
TARGET_KINDS: dict[str, Kind] = {
    "ClassTargets": Kind(
        ClassTargets,
        {
            "class_weight": maybe(plain),
            "classes": maybe(labels),
            "by_class": maybe(floats(1)),
            "is_loss_known": boolean,
            "calibrate": either(boolean, text("auto")),
        },
        _check_classes,
        late={"calibrate": False},
    ),
    "LabelTargets": Kind(
        LabelTargets,
        {
            "calibrate": either(boolean, text("auto")),
            "n_labels": integer(2, 1 << 24),
            "is_loss_known": boolean,
        },
    ),
    "RealTargets": Kind(RealTargets, _REAL, _check_real),
    "NamedTargets": Kind(
        NamedTargets,
        {**_REAL, "loss": text("absolute_error", "huber", "quantile"), "argument": real(0)},
        _check_real,
    ),
    "RateTargets": Kind(RateTargets, {**_REAL, "loss": text("poisson", "gamma")}, _check_real),
    "QuantileTargets": Kind(
        QuantileTargets, {**_REAL, "levels": tuple_of(real(0, 1))}, _check_quantiles
    ),
}
