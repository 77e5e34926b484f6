"""Members chosen again, by rows that no chain was trained on."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import ArrayLike

from ._data.intake import place_rows
from ._data.label_targets import adopted
from ._data.reading import Known, read_later
from ._data.targets import Targets
from .fitted import Fitted
from .parameters import NetParameters, metrics_of
from .unseen import UnseenRows
from .weighing import weigh_cycles


def choose_members(
    estimator: NetParameters, fitted: Fitted, X: object, y: ArrayLike, weight: ArrayLike | None
) -> Fitted:
    """Weigh the members of an ensemble again, by other rows and the rule of now."""
    estimator._check_parameters()
    known = Known(fitted.intake, adopted(estimator._targets(), fitted.targets))
    _check_kind(known.targets, fitted.targets)
    data = read_later(estimator, X, y, weight, known)
    net, n_samples = fitted.nets[0], data.source.n_samples
    rows = place_rows(
        known.intake.rows(data.source), torch.empty(n_samples, device="cpu"), None, net.device
    )
    index = [np.arange(n_samples)] * fitted.n_chains
    rule = estimator._rule(known.targets)
    unseen = UnseenRows(
        net,
        rows.X,
        index,
        data.y,
        data.loss_weight,
        known.targets,
        rule,
        row_weight=data.sample_weight,
        **metrics_of(estimator),
    )
    for cycle in range(fitted.n_cycles):
        unseen.add(fitted.states(cycle))
    n_cycles, n_chains = fitted.n_cycles, fitted.n_chains
    weighed = weigh_cycles(fitted.regrouped, n_cycles, n_chains, rule, unseen, known.targets)
    return replace(fitted, **weighed._asdict())


def _check_kind(now: Targets, then: Targets) -> None:
    """Refuse parameters by which the members' outputs would mean something else."""
    if type(now) is not type(then) or now.levels != then.levels:
        raise ValueError(
            "Got another criterion or distribution than that of the fit, but expected the same: "
            "set_params back, or fit anew, since refit_members trains nothing."
        )
