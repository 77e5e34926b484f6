"""Members chosen again, by rows that no chain was trained on."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import ArrayLike

from ._data.intake import place_rows
from ._data.label_targets import adopted
from ._data.reading import Examples, Known, read_later
from ._data.targets import Targets
from ._types import Array, Floats, Members
from .fitted import Fitted
from .parameters import NetParameters, metrics_of
from .removal import folds_again, is_by_place
from .unseen import UnseenRows
from .weighing import weigh_cycles


def choose_members(
    estimator: NetParameters, fitted: Fitted, X: object, y: ArrayLike, weight: ArrayLike | None
) -> Fitted:
    """Weigh the members of an ensemble again, by other rows, and the rule and views of now."""
    views = estimator._made_of()["views"]
    if views != fitted.views:
        fitted = fitted.as_made_of({**fitted.resume.made_of, "views": views})
    return Again.read(estimator, fitted, X, y, weight, rows="new").weigh(fitted)


class Again:
    """Rows by which ensembles made of one fit are judged after it.

    Parameters
    ----------
    estimator : NetParameters
        Its parameters say by which rule members are weighed, and which metrics count.
    known : Known
        What the fit learned of X and y.
    data : Examples
        The rows, as they were read.
    left_out : sequence of ndarray
        For each chain the rows that it has not seen.
    trained : sequence of ndarray
        For each chain the rows that it may see.
    weight : ndarray of float64 or None
        Weights of rows and classes, by which cycles are judged.
    """

    def __init__(
        self,
        estimator: NetParameters,
        known: Known,
        data: Examples,
        left_out: Sequence[Array],
        trained: Sequence[Array],
        weight: Floats | None,
    ):
        self.estimator, self.known, self.data = estimator, known, data
        self.left_out, self.trained, self.weight = left_out, trained, weight

    @classmethod
    def read(
        cls,
        estimator: NetParameters,
        fitted: Fitted,
        X: object,
        y: ArrayLike | None,
        sample_weight: ArrayLike | None,
        *,
        groups: ArrayLike | None = None,
        rows: str,
    ) -> "Again":
        """Read rows of the training, whose folds are found again, or new ones."""
        estimator._check_parameters()
        known = Known(fitted.intake, adopted(estimator._targets(), fitted.targets))
        _check_kind(known.targets, fitted.targets)
        data = read_later(estimator, X, y, sample_weight, known)
        if rows == "new":
            everyone = [np.arange(data.source.n_samples)] * fitted.n_chains
            return cls(estimator, known, data, everyone, everyone, data.loss_weight)
        found = folds_again(fitted, data, groups)
        weight = found.weigh(data.loss_weight, data.source.n_samples)
        made = cls(estimator, known, data, found.left_out, found.trained, weight)
        if is_by_place(fitted):
            made._check_rows(fitted)
        return made

    def _check_rows(self, fitted: Fitted) -> None:
        """Refuse rows for which the chains that leave them out predict something else than in fit.

        Then the folds are not those of the fit: the rows stand in another order, or a splitter
        draws anew.
        """
        stages = fitted.stage_weights

        def weights_then(predictions: Array, *_: object) -> Floats:
            m = len(predictions)
            return stages[m - 1][:m]

        known = None if fitted.verdict is None else fitted.verdict.predictions
        if known is None:
            raise ValueError(
                "Got an ensemble without what it predicted for unseen rows, but expected one that "
                "has it, since the folds of these rows go by their place: save with "
                "include=['unseen'], or give rows that no chain was trained on, with rows='new'."
            )
        now = fitted.targets.shape_unseen(self.ask(fitted, weights_then).combine())
        is_known = ~np.isnan(known)
        size = float(np.abs(known[is_known]).mean()) if is_known.any() else 0.0
        if now.shape != known.shape or not np.allclose(
            now[is_known], known[is_known], rtol=1e-2, atol=1e-3 * size
        ):
            raise ValueError(
                "Got X and y for which the chains that leave them out predict something else than "
                "in fit, but expected all rows of the last call in their order, and a splitter "
                "that draws the same again: give random_state= of it an integer."
            )

    def ask(self, fitted: Fitted, members: Members | None = None) -> UnseenRows:
        """Let all cycles of an ensemble predict the rows.

        They are weighed by the rule `members`; None: that of the estimator.
        """
        net, n_samples = fitted.nets[0], self.data.source.n_samples
        nothing = torch.empty(n_samples, device="cpu")
        X = place_rows(self.known.intake.rows(self.data.source), nothing, None, net.device).X
        unseen = UnseenRows(
            net,
            X,
            self.left_out,
            self.data.y,
            self.weight,
            self.known.targets,
            self._rule(members),
            row_weight=self.data.sample_weight,
            views=fitted.views,
            **metrics_of(self.estimator),
        )
        for cycle in range(fitted.n_cycles):
            unseen.add(fitted.states(cycle))
        return unseen

    def weigh(self, fitted: Fitted, members: Members | None = None) -> Fitted:
        """Return an ensemble whose cycles have the weights that these rows say; see :meth:`ask`."""
        weighed = weigh_cycles(
            fitted.regrouped,
            fitted.n_cycles,
            fitted.n_chains,
            fitted.n_per_cycle,
            self._rule(members),
            self.ask(fitted, members),
            self.known.targets,
        )
        return replace(fitted, **weighed._asdict())

    def _rule(self, members: Members | None) -> Members:
        return self.estimator._rule(self.known.targets) if members is None else members


def _check_kind(now: Targets, then: Targets) -> None:
    """Refuse parameters by which the members' outputs would mean something else."""
    if type(now) is not type(then) or now.levels != then.levels:
        raise ValueError(
            "Got another criterion or distribution than that of the fit, but expected the same: "
            "set_params back, or fit anew, since refit_members trains nothing."
        )
