"""The scikit-learn face: a classifier and a regressor."""

from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from torch import nn

from ._nets.modules import check_outputs, check_scores
from ._training.net import ClassifierNet, RegressorNet
from .base import BaseSnapshotEnsemble
from .members import average, majority


def _votes_softly(estimator: "SnapshotEnsembleClassifier") -> bool:
    """Probabilities exist where they, not votes, are averaged."""
    if estimator.voting != "hard":
        return True
    raise AttributeError("Got voting='hard', but probabilities need voting='soft'.")


def _at_most_one(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """A weighted mean of ones is above 1 by rounding, which scikit-learn's log_loss refuses."""
    return np.minimum(probabilities, 1, out=probabilities)


class SnapshotEnsembleClassifier(ClassifierMixin, BaseSnapshotEnsemble):
    """Networks trained over several cycles, whose snapshots predict together.

    One run of stochastic gradient descent, the learning rate brought down to its lowest and set
    up again `n_cycles` times; the weights at the end of each cycle are kept in memory, and the
    mean of their probabilities predicts ([1]_).

    The built-in network is trained in several chains: copies of it that take every step together,
    each from an initialisation of its own ([4]_). Each chain leaves out a fold of the rows, and
    the cycles are weighted by what they predict out of fold ([5]_). A `module` of yours is trained
    in one chain on all rows, and its snapshots count alike, unless you say otherwise.

    Parameters
    ----------
    module : nn.Module class, factory or instance, default=None
        The network, which returns raw scores (logits), one a class. A constructor's parameters
        named ``n_inputs`` and ``n_outputs`` get the number of columns and of classes. It sees X
        unscaled: floats as float32, integers as int64. An instance is copied at each fit, its
        parameters being the start of the first chain. None: the built-in network for tables
        (:class:`~skensemble.networks.TableNetwork`), whose columns are centred and scaled.
    n_cycles : int, default=8
        Number of cycles, and so of snapshots of each chain, in one budget. More than there are
        steps are clipped with a warning.
    cycle_mult : float, default=1.5
        Each cycle is this many times as long as the one before (T_mult in [2]_).
    lr : float, default=0.008
        Highest learning rate, at which every cycle starts or which it passes.
    max_epochs : int or "auto", default="auto"
        The budget: passes of each chain over its rows, the same whatever `n_cycles` is. Cycles
        end on steps, so that it need not be a multiple of `n_cycles`. "auto": as many as make
        4,000 steps of the automatic `batch_size` over all rows, at least 10 and at most 250 (at
        most half the number of rows, but not below 100).
    batch_size : int or "auto", default="auto"
        Rows of a step, at most; all batches of an epoch are of one size, give or take a row.
        "auto": the number of rows / 24, rounded to a power of two from 32 to 128.
    schedule : {"cosine", "triangular", "triangular2", "exp_range"} or callable, \
            default="cosine"
        Shape of the learning rate within a cycle: half a cosine ([2]_, eq. 5), or the triangles
        of [3]_, section 3. A callable gets an object with ``step``, ``cycle``, ``progress`` (in
        [0, 1)) and ``length``, and returns a fraction of `lr`.
    restart : {"warm", "cold"}, default="warm"
        Whether a new cycle goes on from the weights there are, or draws new ones: an ordinary
        deep ensemble within the same budget.
    optimizer : torch.optim.Optimizer class or "auto", default="auto"
        Where torch has a fused step for it, that is used. "auto": ``torch.optim.AdamW`` with
        ``betas=(0.9, 0.99)`` and without weight decay, unless ``optimizer__*`` say otherwise.
    criterion : nn.Module class or instance, default=None
        The loss of the raw scores. None: ``torch.nn.CrossEntropyLoss``.
    n_chains : int or "auto", default="auto"
        Copies of the network, each with an initialisation, batches and a fold of its own. The
        snapshots of one run are alike; those of several chains differ more ([4]_). More chains
        than rows are clipped with a warning. "auto": 1 for a `module` of yours. For the built-in
        network 8, and 4 from 200,000 rows on; below 128 rows one for each 16 rows, and 1 up to 32
        rows. Where `validation` is a splitter, the number of its splits.
    members : {"auto", "all", "stacked", "greedy"}, int or callable, default="auto"
        Weight of each cycle, which its chains share. "all": the same for all. An int: the same for
        the last so many ([1]_, section 3), 0 for the others. By unseen rows: "stacked" finds the
        weights, at least 0 and of sum 1, that have the least log-loss ([5]_); "greedy" adds, round
        after round, the cycle that lowers it most ([6]_, section 2.1). A callable gets
        ``predictions`` of shape (n_cycles, n_unseen, n_classes), ``y`` (class indices) and
        ``sample_weight``, and returns a weight for each cycle. Cycles of weight 0 cost nothing at
        prediction. "auto": "stacked" where there are unseen rows, else "all".
    validation : {"auto", "cross"}, float, splitter or None, default="auto"
        Rows that a chain is not trained on. "cross": each chain leaves out a fold of its own; a
        single chain leaves out one of five. A float: this fraction of the rows, the same for all
        chains. A splitter of scikit-learn that leaves out each row exactly once, such as
        GroupKFold: a split for each chain. None: no rows. "auto": "cross" with several chains,
        else None. The cycles are weighted and scored by these rows (see Notes).
    early_stopping : bool or "auto", default="auto"
        Whether the run ends after `n_iter_no_change` cycles that brought no gain for the unseen
        rows. Without unseen rows it does nothing. "auto": see Notes.
    n_iter_no_change : int, default=2
        Number of such cycles in a row. They are kept, and weighted as the others are.
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Columns that are categories, of the built-in network. "from_dtype": those of a frame whose
        type says so, and strings. A list of names or positions, or a mask: these alone, and any
        other column that is no number is refused. None: no column. See Notes.
    voting : {"soft", "hard"}, default="soft"
        Whether the members' probabilities or their votes are averaged. A tie goes to the first
        class. With "hard" there is no `predict_proba`, `predict_log_proba` and
        `staged_predict_proba`; cycles are weighted and scored by probabilities all the same.
    class_weight : dict or "balanced", default=None
        Weight of each class in the loss and in the scores of unseen rows; "balanced": inversely
        proportional to its rows. None: all are 1.
    net : skorch.NeuralNet subclass, default=None
        A class of your own to train with, such as one that overrides ``get_loss``. None: ours.
    callbacks : list of skorch callbacks, default=None
        Copies of them run beside ours; find them in ``net_.callbacks_``. None: no others.
    device : str or torch.device, default="cpu"
        Where to train and predict.
    warm_start : bool, default=False
        Whether `fit` adds another full budget to a fitted ensemble.
    random_state : int, RandomState instance or None, default=None
        An integer makes a fit the same to the bit.
    verbose : int, default=0
        1 prints a line for each cycle and a progress bar, 0 nothing at all.
    **kwargs : dict
        Arguments by skorch's prefixes: ``module__*`` (of the built-in network ``hidden``, by
        default 128-64 below 10,000 rows and 128-128 from there on, ``dropout``, by default 0, and
        ``column_dropout``, by default 0.1 below 200,000 rows and 0 from there on),
        ``optimizer__*``, ``criterion__*``, ``iterator_train__*`` (of a DataLoader, which then
        replaces our batches), ``callbacks__*``, ``net__*`` (the rest of skorch's ``NeuralNet``),
        and ``schedule__min_lr``, ``schedule__gamma`` (decay a step of "exp_range") and
        ``schedule__burn_in_epochs`` (epochs at `lr` before the first cycle).

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The class labels, sorted.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where X has names that are all strings.
    net_ : skorch.NeuralNet
        The net that trained; ``net_.module_`` holds the last snapshot of the first chain.
    snapshots_ : list of dict
        Parameters and buffers of each chain at the end of each cycle, as copies; each loads into
        a fresh module. The index is ``cycle * n_chains_ + chain``.
    member_weights_ : ndarray of float64 of shape (n_snapshots,)
        Weight of each snapshot in the average, in the same order.
    history_ : skorch.history.History
        A row for each epoch; of the first chain, where they train one after another.
    n_iter_ : int
        Epochs begun.
    n_cycles_ : int
        Cycles that ended in snapshots.
    n_chains_ : int
        Number of chains.
    validation_score_ : float
        Negative log-loss of the unseen rows under the weights of the cycles: higher is better.
        There only where there are unseen rows.
    cycle_scores_ : ndarray of float64 of shape (`n_cycles_`,)
        The same after 1, 2, … cycles.
    oof_decision_function_ : ndarray of float64 of shape (n_samples, n_classes)
        Class probabilities of each row of the last fit, out of fold; NaN where all chains were
        trained on it. There only with several chains that leave out rows.

    See Also
    --------
    SnapshotEnsembleRegressor : The same for regression.
    learning_rates : The rates of a run as an array, without training.
    skensemble.model_selection.cycle_curve : The score after 1, 2, … cycles.

    Notes
    -----
    A fold is a hash of a row's values and of the seed, or of its group where `fit` is given
    groups. So identical rows share a fold, in this call and in later ones; rows of a dataset are
    told apart by their number. With ``X_val`` given to `fit`, nothing else is left out.

    A row's unseen prediction is the mean over the chains that left it out: with "cross", that of
    one chain. The ensemble averages over all chains, and mostly scores better than
    ``validation_score_`` says. The weights of the cycles are chosen by the rows that are scored;
    they are few numbers, but with few rows the score is a little too good for that. Weights of
    rows and classes count in both.

    Cycles are compared by log-loss, whatever the `criterion` is.

    With ``early_stopping="auto"`` a run ends early wherever there are unseen rows. A gain is a loss
    that is lower than the least before by more than a thousandth of it.

    Chains of a module that ``torch.func.vmap`` takes train as one batched module. Those of others
    (such as one with a ``nn.GRU``), of a `net` with a training step of its own, or with callbacks
    that look at single batches train one after another, cycle by cycle. The results are the same
    but for rounding and for what dropout draws.

    The built-in network takes tables as they are: arrays, sparse matrices, and frames of pandas,
    polars and others with numbers, categories, strings, booleans and dates. Missing values are
    values of their own, and categories that `fit` has not seen are none.
    See :class:`~skensemble._data.encoder.TableEncoder` and :class:`~skensemble._data.frames.Columns`.

    Up to 32 rows in one batch, the built-in network trains in float64 and without any dropout:
    there a row of weight two is the same as two rows.

    References
    ----------
    .. [1] G. Huang, Y. Li, G. Pleiss, Z. Liu, J. Hopcroft and K. Weinberger, "Snapshot
       Ensembles: Train 1, Get M for Free", ICLR 2017.
    .. [2] I. Loshchilov and F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts",
       ICLR 2017.
    .. [3] Leslie N. Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017.
    .. [4] S. Fort, H. Hu and B. Lakshminarayanan, "Deep Ensembles: A Loss Landscape Perspective",
       arXiv:1912.02757, 2019.
    .. [5] D. H. Wolpert, "Stacked Generalization", Neural Networks 5(2), 1992.
    .. [6] R. Caruana, A. Niculescu-Mizil, G. Crew and A. Ksikes, "Ensemble Selection from
       Libraries of Models", ICML 2004.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from skensemble import SnapshotEnsembleClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
    >>> model = SnapshotEnsembleClassifier(n_cycles=3, random_state=0).fit(X_train, y_train)
    >>> model.n_chains_, len(model.snapshots_)
    (7, 21)
    >>> model.predict_proba(X_test).shape
    (38, 3)
    >>> bool(model.score(X_test, y_test) > 0.9)
    True
    >>> model.cycle_scores_.shape, bool(model.validation_score_ > -0.3)
    ((3,), True)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseSnapshotEnsemble._parameter_constraints,
        "voting": [StrOptions({"soft", "hard"})],
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }
    _net_class = ClassifierNet
    _fitted_names = BaseSnapshotEnsemble._fitted_names | {"classes_", "_by_class_"}
    classes_: NDArray[Any]
    _by_class_: NDArray[np.float64]
    oof_decision_function_: NDArray[np.float64]

    def __init__(
        self,
        module: Any = None,
        *,
        n_cycles: int = 8,
        cycle_mult: float = 1.5,
        lr: float = 0.008,
        max_epochs: int | str = "auto",
        batch_size: int | str = "auto",
        schedule: Any = "cosine",
        restart: str = "warm",
        optimizer: Any = "auto",
        criterion: Any = None,
        n_chains: int | str = "auto",
        members: Any = "auto",
        validation: Any = "auto",
        early_stopping: bool | str = "auto",
        n_iter_no_change: int = 2,
        categorical_features: Any = "from_dtype",
        voting: str = "soft",
        class_weight: Any = None,
        net: Any = None,
        callbacks: Any = None,
        device: Any = "cpu",
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 0,
        **kwargs: Any,
    ):
        super().__init__(
            module,
            n_cycles=n_cycles,
            cycle_mult=cycle_mult,
            lr=lr,
            max_epochs=max_epochs,
            batch_size=batch_size,
            schedule=schedule,
            restart=restart,
            optimizer=optimizer,
            criterion=criterion,
            n_chains=n_chains,
            members=members,
            validation=validation,
            early_stopping=early_stopping,
            n_iter_no_change=n_iter_no_change,
            categorical_features=categorical_features,
            net=net,
            callbacks=callbacks,
            device=device,
            warm_start=warm_start,
            random_state=random_state,
            verbose=verbose,
            **kwargs,
        )
        self.voting = voting
        self.class_weight = class_weight

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Add one cycle of all chains to the ensemble, or begin one.

        The cycle is ``max_epochs / n_cycles`` epochs of the rows given long. Snapshots that are
        there are not touched; the columns' and targets' scales and the number of chains stay
        those of the first call. All cycles are weighted and scored anew, by the rows of this call
        that are left out.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Training rows.
        y : array-like of shape (n_samples,)
            Class labels.
        classes : array-like of shape (n_classes,), default=None
            All classes that later calls may bring; used in the first call alone. None: those of
            that call's `y`.
        sample_weight : array-like of shape (n_samples,), default=None
            See :meth:`fit`.

        Returns
        -------
        self : object
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "Got class_weight='balanced' with partial_fit, but expected a dict or None: the "
                "balance of rows yet to come is not known. Use compute_class_weight of "
                "sklearn.utils.class_weight on all of them."
            )
        return self._partial_fit(X, y, sample_weight, classes=classes)

    def predict(self, X: Any) -> NDArray[Any]:
        """Class of each row: that with the highest mean probability, or with most votes.

        Members of weight 0 are not computed.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows to predict.

        Returns
        -------
        y : ndarray of shape (n_samples,)
        """
        return self._labels(self._ensemble(X))

    @available_if(_votes_softly)
    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Weighted mean of the members' class probabilities (Huang et al. 2017, section 3).

        The weights are ``member_weights_``; members of weight 0 are not computed.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows to predict.

        Returns
        -------
        p : ndarray of float64 of shape (n_samples, n_classes)
            Columns in the order of ``classes_``; rows sum to 1.
        """
        return _at_most_one(self._ensemble(X))

    @available_if(_votes_softly)
    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Logarithm of :meth:`predict_proba`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows to predict.

        Returns
        -------
        log_p : ndarray of float64 of shape (n_samples, n_classes)
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def staged_predict(self, X: Any) -> Any:
        """Classes predicted after 1, 2, … M cycles of all chains.

        Each stage has the weights that the rule `members` gives to its cycles alone.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows to predict.

        Yields
        ------
        y : ndarray of shape (n_samples,)
        """
        for stage in self._stages(X):
            yield self._labels(stage)

    @available_if(_votes_softly)
    def staged_predict_proba(self, X: Any) -> Any:
        """Class probabilities predicted after 1, 2, … M cycles of all chains.

        Each stage has the weights that the rule `members` gives to its cycles alone.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows to predict.

        Yields
        ------
        p : ndarray of float64 of shape (n_samples, n_classes)
        """
        yield from _at_most_one(self._stages(X))

    def predict_members(self, X: Any) -> NDArray[np.float64]:
        """Class probabilities of every snapshot, whatever its weight.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows to predict.

        Returns
        -------
        p : ndarray of float64 of shape (n_snapshots, n_samples, n_classes)
            In the order of ``snapshots_``.
        """
        return self._each_member(X)

    def _labels(self, combined: NDArray[Any]) -> NDArray[Any]:
        return self.classes_[combined.argmax(axis=1)]

    def _vote(self, values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return (majority if self.voting == "hard" else average)(values, weights)

    def _refuse_multilabel(self, y: Any) -> None:
        kind = type_of_target(y if issparse(y) else np.asarray(y))
        if kind.startswith("multilabel"):
            raise ValueError(
                f"Got y of type {kind!r}, but multilabel targets are not supported; expected one "
                "label a row."
            )

    def _encode_y(self, y: Any, sample_weight: Any, *, go_on: bool, classes: Any) -> NDArray[Any]:
        check_classification_targets(y)
        labels = np.unique(y)
        known = self.classes_ if go_on else labels if classes is None else np.unique(classes)
        if go_on and classes is not None and not np.array_equal(known, np.unique(classes)):
            raise ValueError(
                f"Got classes={np.unique(classes).tolist()}, but expected those of the first call: "
                f"{known.tolist()}."
            )
        strange = np.setdiff1d(labels, known)
        if len(strange):
            raise ValueError(
                f"Got y with the classes {strange.tolist()}, but expected those of the first call: "
                f"{known.tolist()}."
            )
        self.classes_ = known
        codes = np.searchsorted(known, y).astype(np.int64)
        n_present = len(np.unique(codes if sample_weight is None else codes[sample_weight > 0]))
        if len(known) < 2 or (n_present < 2 and classes is None and not go_on):
            raise ValueError(
                f"Got y with {n_present} class (of the rows that weigh anything), but expected at "
                "least 2 classes."
            )
        return codes

    def _weigh_classes(self, y: NDArray[Any], weight: Any, is_held: bool) -> Any:
        if self.class_weight is None:
            return weight
        if is_held and "_by_class_" in vars(self):
            by_class = self._by_class_
        elif self.class_weight == "balanced":
            # As scikit-learn's, but a row of weight two counts as two.
            mass = np.bincount(y, weights=weight, minlength=len(self.classes_))
            by_class = mass.sum() / (np.count_nonzero(mass) * np.where(mass > 0, mass, 1))
        else:
            by_class = compute_class_weight(
                self.class_weight, classes=self.classes_, y=self.classes_
            )
        if (by_class < 0).any() or not by_class[y].any():
            raise ValueError(
                f"Got class_weight={self.class_weight!r}, but expected weights of at least 0, not "
                "all of them 0."
            )
        self._by_class_ = by_class
        return by_class[y] if weight is None else weight * by_class[y]

    def _default_criterion(self) -> type[nn.Module]:
        return nn.CrossEntropyLoss

    def _n_outputs(self) -> int:
        return len(self.classes_)

    def _check_output(self, output: torch.Tensor, n_samples: int) -> None:
        check_scores(output, self._module_name(), n_samples, len(self.classes_))

    def _target_tensor(self, y: NDArray[Any], output: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(y)

    def _truth(self, y: NDArray[Any]) -> NDArray[Any]:
        return y

    def _keep_unseen(self, combined: NDArray[np.float64]) -> None:
        self.oof_decision_function_ = combined / combined.sum(axis=1, keepdims=True)

    def _member_values(self, outputs: torch.Tensor) -> torch.Tensor:
        # In float64: in float32 a softmax saturates to exactly 1. Along so short an axis it is
        # eight times slower than across it.
        return torch.softmax(outputs.mT.contiguous(), dim=-2, dtype=torch.float64).mT

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = True
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = self.module is None
        return tags


class SnapshotEnsembleRegressor(RegressorMixin, BaseSnapshotEnsemble):
    """Networks trained over several cycles, whose snapshots predict together.

    One run of stochastic gradient descent, the learning rate brought down to its lowest and set
    up again `n_cycles` times; the weights at the end of each cycle are kept in memory, and the
    mean of their outputs predicts ([1]_).

    The built-in network is trained in several chains: copies of it that take every step together,
    each from an initialisation of its own ([4]_). Each chain leaves out a fold of the rows, and
    the cycles are weighted by what they predict out of fold ([5]_). A `module` of yours is trained
    in one chain on all rows, and its snapshots count alike, unless you say otherwise.

    Parameters
    ----------
    module : nn.Module class, factory or instance, default=None
        The network, which returns shape (n, n_outputs) or, for one output, (n,). A constructor's
        parameters named ``n_inputs`` and ``n_outputs`` get the number of columns and of outputs.
        It sees X unscaled: floats as float32, integers as int64. An instance is copied at each
        fit, its parameters being the start of the first chain. None: the built-in network for
        tables (:class:`~skensemble.networks.TableNetwork`), whose columns are centred and scaled.
    n_cycles : int, default=8
        Number of cycles, and so of snapshots of each chain, in one budget. More than there are
        steps are clipped with a warning.
    cycle_mult : float, default=1.5
        Each cycle is this many times as long as the one before (T_mult in [2]_).
    lr : float, default=0.012
        Highest learning rate, at which every cycle starts or which it passes.
    max_epochs : int or "auto", default="auto"
        The budget: passes of each chain over its rows, the same whatever `n_cycles` is. Cycles
        end on steps, so that it need not be a multiple of `n_cycles`. "auto": as many as make
        4,000 steps of the automatic `batch_size` over all rows, at least 10 and at most 250 (at
        most half the number of rows, but not below 100).
    batch_size : int or "auto", default="auto"
        Rows of a step, at most; all batches of an epoch are of one size, give or take a row.
        "auto": the number of rows / 24, rounded to a power of two from 32 to 128.
    schedule : {"cosine", "triangular", "triangular2", "exp_range"} or callable, \
            default="cosine"
        Shape of the learning rate within a cycle: half a cosine ([2]_, eq. 5), or the triangles
        of [3]_, section 3. A callable gets an object with ``step``, ``cycle``, ``progress`` (in
        [0, 1)) and ``length``, and returns a fraction of `lr`.
    restart : {"warm", "cold"}, default="warm"
        Whether a new cycle goes on from the weights there are, or draws new ones: an ordinary
        deep ensemble within the same budget.
    optimizer : torch.optim.Optimizer class or "auto", default="auto"
        Where torch has a fused step for it, that is used. "auto": ``torch.optim.AdamW`` with
        ``betas=(0.9, 0.99)`` and without weight decay, unless ``optimizer__*`` say otherwise.
    criterion : nn.Module class or instance, default=None
        The loss of the outputs. None: ``torch.nn.MSELoss``.
        With that or ``L1Loss``, y is centred and scaled for training, and predictions are scaled
        back; any other sees y as it is.
    n_chains : int or "auto", default="auto"
        Copies of the network, each with an initialisation, batches and a fold of its own. The
        snapshots of one run are alike; those of several chains differ more ([4]_). More chains
        than rows are clipped with a warning. "auto": 1 for a `module` of yours. For the built-in
        network 16, 8 from 10,000 rows and 4 from 200,000 rows on; below 256 rows one for each 16
        rows, and 1 up to 32 rows. Where `validation` is a splitter, the number of its splits.
    members : {"auto", "all", "stacked", "greedy"}, int or callable, default="auto"
        Weight of each cycle, which its chains share. "all": the same for all. An int: the same for
        the last so many ([1]_, section 3), 0 for the others. By unseen rows: "stacked" finds the
        weights, at least 0 and of sum 1, that have the least squared error ([5]_); "greedy" adds,
        round after round, the cycle that lowers it most ([6]_, section 2.1). A callable gets
        ``predictions`` of shape (n_cycles, n_unseen, n_outputs), ``y`` (values) and
        ``sample_weight``, and returns a weight for each cycle. Cycles of weight 0 cost nothing at
        prediction. "auto": "stacked" where there are unseen rows and the criterion is None or one
        of torch's losses of differences, else "all".
    validation : {"auto", "cross"}, float, splitter or None, default="auto"
        Rows that a chain is not trained on. "cross": each chain leaves out a fold of its own; a
        single chain leaves out one of five. A float: this fraction of the rows, the same for all
        chains. A splitter of scikit-learn that leaves out each row exactly once, such as
        GroupKFold: a split for each chain. None: no rows. "auto": "cross" with several chains,
        else None. The cycles are weighted and scored by these rows (see Notes).
    early_stopping : bool or "auto", default="auto"
        Whether the run ends after `n_iter_no_change` cycles that brought no gain for the unseen
        rows. Without unseen rows it does nothing. "auto": see Notes.
    n_iter_no_change : int, default=2
        Number of such cycles in a row. They are kept, and weighted as the others are.
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Columns that are categories, of the built-in network. "from_dtype": those of a frame whose
        type says so, and strings. A list of names or positions, or a mask: these alone, and any
        other column that is no number is refused. None: no column. See Notes.
    net : skorch.NeuralNet subclass, default=None
        A class of your own to train with, such as one that overrides ``get_loss``. None: ours.
    callbacks : list of skorch callbacks, default=None
        Copies of them run beside ours; find them in ``net_.callbacks_``. None: no others.
    device : str or torch.device, default="cpu"
        Where to train and predict.
    warm_start : bool, default=False
        Whether `fit` adds another full budget to a fitted ensemble.
    random_state : int, RandomState instance or None, default=None
        An integer makes a fit the same to the bit.
    verbose : int, default=0
        1 prints a line for each cycle and a progress bar, 0 nothing at all.
    **kwargs : dict
        Arguments by skorch's prefixes: ``module__*`` (of the built-in network ``hidden``, by
        default 128-128 for up to 8 chains and 64-64 for more, ``dropout`` and
        ``column_dropout``, by default 0), ``optimizer__*``, ``criterion__*``,
        ``iterator_train__*`` (of a DataLoader, which then replaces our batches),
        ``callbacks__*``, ``net__*`` (the rest of skorch's ``NeuralNet``), and
        ``schedule__min_lr``, ``schedule__gamma`` (decay a step of "exp_range") and
        ``schedule__burn_in_epochs`` (epochs at `lr` before the first cycle).

    Attributes
    ----------
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where X has names that are all strings.
    net_ : skorch.NeuralNet
        The net that trained; ``net_.module_`` holds the last snapshot of the first chain.
    snapshots_ : list of dict
        Parameters and buffers of each chain at the end of each cycle, as copies; each loads into
        a fresh module. The index is ``cycle * n_chains_ + chain``.
    member_weights_ : ndarray of float64 of shape (n_snapshots,)
        Weight of each snapshot in the average, in the same order.
    history_ : skorch.history.History
        A row for each epoch; of the first chain, where they train one after another.
    n_iter_ : int
        Epochs begun.
    n_cycles_ : int
        Cycles that ended in snapshots.
    n_chains_ : int
        Number of chains.
    validation_score_ : float
        Negative mean squared error of the unseen rows under the weights of the cycles: higher is
        better. There only where there are unseen rows.
    cycle_scores_ : ndarray of float64 of shape (`n_cycles_`,)
        The same after 1, 2, … cycles.
    oof_prediction_ : ndarray of float64 of shape (n_samples,) or (n_samples, n_outputs)
        Prediction of each row of the last fit, out of fold; NaN where all chains were trained on
        it. There only with several chains that leave out rows.

    See Also
    --------
    SnapshotEnsembleClassifier : The same for classification.
    learning_rates : The rates of a run as an array, without training.
    skensemble.model_selection.cycle_curve : The score after 1, 2, … cycles.

    Notes
    -----
    A fold is a hash of a row's values and of the seed, or of its group where `fit` is given
    groups. So identical rows share a fold, in this call and in later ones; rows of a dataset are
    told apart by their number. With ``X_val`` given to `fit`, nothing else is left out.

    A row's unseen prediction is the mean over the chains that left it out: with "cross", that of
    one chain. The ensemble averages over all chains, and mostly scores better than
    ``validation_score_`` says. The weights of the cycles are chosen by the rows that are scored;
    they are few numbers, but with few rows the score is a little too good for that. Weights of
    rows count in both.

    Cycles are compared by the squared error of what `predict` returns, whatever the `criterion`
    is. With one of torch's that is no loss of differences, such as ``PoissonNLLLoss``, that may be
    on another scale than y; "auto" is then "all" for `members` and False for `early_stopping`.

    With ``early_stopping="auto"`` a run ends early wherever there are unseen rows. A gain is a loss
    that is lower than the least before by more than a thousandth of it.

    Chains of a module that ``torch.func.vmap`` takes train as one batched module. Those of others
    (such as one with a ``nn.GRU``), of a `net` with a training step of its own, or with callbacks
    that look at single batches train one after another, cycle by cycle. The results are the same
    but for rounding and for what dropout draws.

    The built-in network takes tables as they are: arrays, sparse matrices, and frames of pandas,
    polars and others with numbers, categories, strings, booleans and dates. Missing values are
    values of their own, and categories that `fit` has not seen are none.
    See :class:`~skensemble._data.encoder.TableEncoder` and :class:`~skensemble._data.frames.Columns`.

    Up to 32 rows in one batch, the built-in network trains in float64 and without any dropout:
    there a row of weight two is the same as two rows.

    References
    ----------
    .. [1] G. Huang, Y. Li, G. Pleiss, Z. Liu, J. Hopcroft and K. Weinberger, "Snapshot
       Ensembles: Train 1, Get M for Free", ICLR 2017.
    .. [2] I. Loshchilov and F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts",
       ICLR 2017.
    .. [3] Leslie N. Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017.
    .. [4] S. Fort, H. Hu and B. Lakshminarayanan, "Deep Ensembles: A Loss Landscape Perspective",
       arXiv:1912.02757, 2019.
    .. [5] D. H. Wolpert, "Stacked Generalization", Neural Networks 5(2), 1992.
    .. [6] R. Caruana, A. Niculescu-Mizil, G. Crew and A. Ksikes, "Ensemble Selection from
       Libraries of Models", ICML 2004.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skensemble import SnapshotEnsembleRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = SnapshotEnsembleRegressor(n_cycles=3, max_epochs=12, random_state=0).fit(X, y)
    >>> [prediction.shape for prediction in model.staged_predict(X)]
    [(442,), (442,), (442,)]
    >>> bool(model.score(X, y) > 0.4)
    True
    >>> bool(((y - model.oof_prediction_) ** 2).mean() < 0.7 * y.var())
    True
    """

    _net_class = RegressorNet
    _fitted_names = BaseSnapshotEnsemble._fitted_names | {"_y_center_", "_y_scale_"}
    _y_center_: NDArray[np.float64]
    _y_scale_: NDArray[np.float64]

    def __init__(
        self,
        module: Any = None,
        *,
        n_cycles: int = 8,
        cycle_mult: float = 1.5,
        lr: float = 0.012,
        max_epochs: int | str = "auto",
        batch_size: int | str = "auto",
        schedule: Any = "cosine",
        restart: str = "warm",
        optimizer: Any = "auto",
        criterion: Any = None,
        n_chains: int | str = "auto",
        members: Any = "auto",
        validation: Any = "auto",
        early_stopping: bool | str = "auto",
        n_iter_no_change: int = 2,
        categorical_features: Any = "from_dtype",
        net: Any = None,
        callbacks: Any = None,
        device: Any = "cpu",
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 0,
        **kwargs: Any,
    ):
        super().__init__(
            module,
            n_cycles=n_cycles,
            cycle_mult=cycle_mult,
            lr=lr,
            max_epochs=max_epochs,
            batch_size=batch_size,
            schedule=schedule,
            restart=restart,
            optimizer=optimizer,
            criterion=criterion,
            n_chains=n_chains,
            members=members,
            validation=validation,
            early_stopping=early_stopping,
            n_iter_no_change=n_iter_no_change,
            categorical_features=categorical_features,
            net=net,
            callbacks=callbacks,
            device=device,
            warm_start=warm_start,
            random_state=random_state,
            verbose=verbose,
            **kwargs,
        )

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Add one cycle of all chains to the ensemble, or begin one.

        The cycle is ``max_epochs / n_cycles`` epochs of the rows given long. Snapshots that are
        there are not touched; the columns' and targets' scales and the number of chains stay
        those of the first call. All cycles are weighted and scored anew, by the rows of this call
        that are left out.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Target values.
        sample_weight : array-like of shape (n_samples,), default=None
            See :meth:`fit`.

        Returns
        -------
        self : object
        """
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Weighted mean of the members' predictions.

        The weights are ``member_weights_``; members of weight 0 are not computed.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows to predict.

        Returns
        -------
        y : ndarray of float64 of shape (n_samples,) or (n_samples, n_outputs)
        """
        return self._squeezed(self._ensemble(X))

    def staged_predict(self, X: Any) -> Any:
        """Values predicted after 1, 2, … M cycles of all chains.

        Each stage has the weights that the rule `members` gives to its cycles alone.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows to predict.

        Yields
        ------
        y : ndarray of float64 of shape (n_samples,) or (n_samples, n_outputs)
        """
        for stage in self._stages(X):
            yield self._squeezed(stage)

    def predict_members(self, X: Any) -> NDArray[np.float64]:
        """Predictions of every snapshot, whatever its weight.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows to predict.

        Returns
        -------
        y : ndarray of float64 of shape (n_snapshots, n_samples) or \
                (n_snapshots, n_samples, n_outputs)
            In the order of ``snapshots_``.
        """
        return self._squeezed(self._each_member(X))

    def _squeezed(self, values: NDArray[Any]) -> NDArray[Any]:
        """One output is a plain vector."""
        return values[..., 0] if values.shape[-1] == 1 else values

    def _encode_y(self, y: Any, sample_weight: Any, *, go_on: bool, classes: Any) -> NDArray[Any]:
        y = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        if go_on:
            if y.shape[1] != len(self._y_center_):
                raise ValueError(
                    f"Got y with {y.shape[1]} outputs, but expected {len(self._y_center_)} as in "
                    "the first call."
                )
        else:
            self._learn_target_scale(y, sample_weight)
        return (y - self._y_center_) / self._y_scale_

    def _learn_target_scale(self, y: NDArray[Any], sample_weight: Any) -> None:
        """Mean 0 and variance 1, where the loss scales with y; other losses see y as it is."""
        self._y_center_, self._y_scale_ = np.zeros(y.shape[1]), np.ones(y.shape[1])
        if self._criterion_class() not in (None, nn.MSELoss, nn.L1Loss):
            return
        largest = np.abs(y).max(axis=0)
        unit = np.where(largest > 0, largest, 1.0)  # against overflow of squares
        center = np.average(y / unit, axis=0, weights=sample_weight)
        variance = np.average((y / unit - center) ** 2, axis=0, weights=sample_weight)
        # Against rounding: a constant target is only centred.
        varies = np.sqrt(variance) > 10 * np.finfo(np.float64).eps
        self._y_center_ = center * unit
        self._y_scale_ = np.where(varies, np.sqrt(variance) * unit, 1.0)

    def _criterion_class(self) -> Any:
        criterion = getattr(self.criterion, "func", self.criterion)  # of a functools.partial
        return type(criterion) if isinstance(criterion, nn.Module) else criterion

    def _is_loss_known(self) -> bool:
        """Outputs of another criterion may be anything, such as logarithms of rates."""
        differences = (None, nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss)
        return self._criterion_class() in differences

    def _default_criterion(self) -> type[nn.Module]:
        return nn.MSELoss

    def _n_outputs(self) -> int:
        return len(self._y_center_)

    def _check_output(self, output: torch.Tensor, n_samples: int) -> None:
        check_outputs(output, self._module_name(), n_samples, len(self._y_center_))

    def _target_tensor(self, y: NDArray[Any], output: torch.Tensor) -> torch.Tensor:
        """Of the output's shape, so that a loss broadcasts nothing."""
        return torch.from_numpy(y[:, 0] if output.ndim == 1 else y).to(output.dtype)

    def _truth(self, y: NDArray[Any]) -> NDArray[Any]:
        return y * self._y_scale_ + self._y_center_

    def _keep_unseen(self, combined: NDArray[np.float64]) -> None:
        self.oof_prediction_ = self._squeezed(combined)

    def _member_values(self, outputs: torch.Tensor) -> torch.Tensor:
        values = outputs.double().reshape(*outputs.shape[:2], -1)
        return values * torch.from_numpy(self._y_scale_) + torch.from_numpy(self._y_center_)

    def _y_checks(self) -> dict[str, Any]:
        return {"multi_output": True, "y_numeric": True}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = self.module is None
        return tags
