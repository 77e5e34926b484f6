"""The regressor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin
from sklearn.utils import Tags
from skorch import NeuralNet

from ._compat import StrOptions
from ._data.named_targets import CRITERIA, targets_of
from ._data.targets import RealTargets
from ._training.net import RegressorNet
from ._types import (
    CriterionLike,
    Input,
    Members,
    ModuleLike,
    Options,
    Parameter,
    PathLike,
    RandomState,
    Schedule,
    Scoring,
    Validation,
    View,
    Views,
)
from .export import OnnxExport
from .importance import ColumnImportance
from .uncertainty import ValueUncertainty


class SnapshotEnsembleRegressor(RegressorMixin, OnnxExport, ColumnImportance, ValueUncertainty):
    """Networks trained over several cycles, whose snapshots predict together.

    Within one run of stochastic gradient descent the learning rate falls and restarts `n_cycles`
    times. The weights at the end of each cycle are kept in memory, and the mean of their outputs
    predicts ([1]_).

    The built-in network is trained in several chains: copies of it that take every step together,
    each from its own initialisation ([4]_). Each chain leaves out a fold of the rows, and the
    cycles are weighted by their predictions out of fold ([5]_). A `module` of your own is trained
    in one chain on all rows and its snapshots have equal weights, unless you ask for more.

    Parameters
    ----------
    module : nn.Module class, factory or instance, default=None
        The network, which returns shape (n, n_outputs) or, for one output, (n,). A constructor's
        parameters named ``n_inputs`` and ``n_outputs`` get the number of columns and of outputs.
        It sees X unscaled: floats as float32, integers as int64. An instance is copied at each
        fit, its parameters being the start of the first chain. None: the built-in network for
        tables (:class:`~skensemble.networks.TableNetwork`), whose columns are centred and scaled.
    n_cycles : int, default=8
        Number of cycles in one budget, and of snapshots of each chain. It is clipped to the number
        of steps, with a warning.
    cycle_mult : float or "auto", default="auto"
        Each cycle is this many times as long as the one before (T_mult in [2]_). "auto": 2 for
        values and the built-in network, else 1.5.
    lr : float or "auto", default="auto"
        Highest learning rate of a cycle. "auto": 0.012; for the built-in network 0.018 up to 1,000
        rows, 0.012 from 3,000 rows on, and a power of the number of rows in between.
    max_epochs : int or "auto", default="auto"
        The budget: how often each chain passes over its rows, for any number of cycles. It need
        not be a multiple of `n_cycles`, since cycles end on steps. "auto": as many as make 3,200
        steps of the automatic `batch_size`, at most 200 (for a `module` of your own 4,000 steps and
        at most 250), and at least 10. At most half the number of rows, but not below 100; with more
        columns than rows, and than 128, multiplied by rows / columns.
    batch_size : int or "auto", default="auto"
        Largest number of rows in a step. The batches of an epoch differ by one row at most. "auto":
        rows / 12 (a `module` of your own: rows / 24), rounded to a power of two from 32 to 128.
    schedule : {"cosine", "triangular", "triangular2", "exp_range"} or callable, \
            default="cosine"
        Shape of the learning rate within a cycle: half a cosine ([2]_, eq. 5), or the triangles
        of [3]_, section 3. A callable gets an object with ``step``, ``cycle``, ``progress`` (in
        [0, 1)) and ``length``, and returns a fraction of `lr`.
    restart : {"warm", "cold", "star"}, default="warm"
        Whether a new cycle keeps the weights or draws new ones. "cold" makes an ordinary deep
        ensemble within the same budget. "star": all begin where the first one ended, each with an
        optimizer begun anew (StarSSE of Sadrtdinov et al. 2023); a `cycle_mult` of 1 or less gives
        the first one time.
    snapshots_per_cycle : int, default=1
        Snapshots of each cycle: one at its end, and others evenly spaced in its last fifth, where
        the rate is low (as the samples of cyclical SG-MCMC, Zhang et al. 2020, section 3). They
        share the weight of the cycle, and prediction takes as many times as long.
    optimizer : torch.optim.Optimizer class or str, default="auto"
        Its fused step is used where torch has one. A name, such as "sgd", stands for a class of
        ``torch.optim``. "auto": ``torch.optim.AdamW`` with ``betas=(0.9, 0.97)``, for a `module` of
        your own ``(0.9, 0.99)``, and no weight decay, unless ``optimizer__*`` say otherwise.
    criterion : nn.Module class or instance, or str, default=None
        The loss of the outputs, or the name of one of torch's, such as "l1". None:
        ``torch.nn.MSELoss``. Where it means the same in any unit of y, y is centred and scaled to a
        standard deviation of 1 for training, and predictions are scaled back: with MSE, L1,
        SmoothL1 and Huber (whose ``beta`` and ``delta`` count in standard deviations), and with a
        loss of your own, such as a pinball loss, for which a trial shows it. Any other sees y as it
        is, unless ``criterion__scale_target=True``. Of the names of scikit-learn's boosting
        "squared_error", "absolute_error", "huber", "quantile" (of ``criterion__quantile``, by
        default 0.5), "poisson" and "gamma", the last two predict the mean of y times the
        exponential of the outputs; y is at least 0, or above 0. Cycles are compared by the loss so
        named, "poisson" and "gamma" by their deviance.
    distribution : {"quantiles"} or None, default=None
        "quantiles": the network has an output for each level of a grid of quantiles, trained by the
        mean pinball loss. :meth:`predict_quantiles` predicts them, :meth:`predict` the mean, and
        :meth:`predict_interval` rests on them. The levels are ``criterion__levels``, by default
        0.01, 0.025, 0.05, 0.1, 0.15, … 0.95, 0.975, 0.99; `criterion` must be None. A `module` of
        your own has as many outputs for each column of y, which are sorted. For each unseen row the
        estimator keeps as many numbers.
    n_chains : int or "auto", default="auto"
        Number of copies of the network, each with its own initialisation, batches and fold. The
        snapshots of one run are alike; those of several chains differ more ([4]_). It is clipped
        to the number of rows, with a warning. "auto": 1 for a `module` of your own. For the
        built-in network 16, 8 from 10,000 rows and 4 from 200,000 rows on; below 256 rows one for
        each 16 rows, and 1 up to 32 rows. Where `validation` is a splitter, the number of its
        splits.
    members : {"auto", "all", "stacked", "greedy"}, int or callable, default="auto"
        Weight of each cycle, which its chains share. "all": equal weights. An int: equal weights
        for that many last cycles ([1]_, section 3), 0 for the others. Two rules look at unseen
        rows: "stacked" finds the weights, at least 0 and of sum 1, that have the least squared
        error ([5]_); "greedy" adds, round after round, the cycle that lowers it most ([6]_, section
        2.1). A callable gets ``predictions`` of shape (n_cycles, n_unseen, n_outputs), ``y``
        (values) and ``sample_weight``, and returns a weight for each cycle. Cycles of weight 0 cost
        nothing at prediction. "auto": "stacked" where there are unseen rows and the criterion is
        None or one of torch's losses of differences, else "all".
    validation : {"auto", "cross", "last"}, float, splitter or None, default="auto"
        Rows that a chain is not trained on; the cycles are weighted and scored by them (see
        Notes). "cross": each chain leaves out its own fold; a single chain leaves out one of five.
        A float: all chains leave out this fraction of the rows; "last": the last fifth, where rows
        stand in the order of time. A splitter of scikit-learn that leaves out each row exactly
        once, such as GroupKFold: one split for each chain. TimeSeriesSplit, or a splitter of a
        single split: all chains leave out its last part. None: no rows. "auto": "cross" with
        several chains, else None.
    early_stopping : bool or "auto", default="auto"
        Whether the run ends after `n_iter_no_change` cycles without gain on the unseen rows.
        Without unseen rows it has no effect. "auto": see Notes.
    n_iter_no_change : int, default=1
        Number of cycles without gain, in a row, that end a run; they are kept and weighted too.
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Which columns the built-in network takes as categories. "from_dtype": those whose type in
        a frame says so, and strings. A list of names or positions, or a mask: only these; any
        other column that is not a number is refused. None: no column. See Notes.
    scoring : str or callable, default=None
        What weighs the cycles, ends runs and is reported of unseen rows: the name of a scorer of
        scikit-learn, or a ``scorer(estimator, X, y)``, for which `X` has row numbers. It gets the
        weights of rows if it takes them (with metadata routing: requests them). By a metric that is
        no loss, "stacked" is "greedy" where that beats the weights of least loss by more than the
        standard error over folds, and a run ends once neither gains. None: see Notes.
    time_limit : float, default=None
        Seconds from the call of `fit` to its end. The cycles are shortened, or fewer, so that the
        last one ends in time; at least one is trained. Only a limit that shortens them changes the
        result, which then depends on the speed of the machine.
    checkpoint_dir : path-like, default=None
        A folder in which the fit writes one file after each cycle. :func:`~skensemble.load` makes a
        model of it, and a fit of the same data and parameters that was killed goes on from it to
        the same bits; a finished one returns at once. None: nothing is written.
    n_jobs : int, default=None
        Workers of joblib that share the chains of one fit, as groups of them, to the same bits. 1:
        one thread. More, or -1 for all CPUs: processes, or the workers of joblib's active backend,
        such as a cluster's in ``with joblib.parallel_config("dask"):``. None: those of an active
        configuration, else a thread for each CPU. In a parallel search it has no effect. With
        `callbacks`, a `time_limit`, another `device` or a dataset, chains stay in this process.
    net : skorch.NeuralNet subclass, default=None
        A class of your own to train with, such as one that overrides ``get_loss``. None: the
        estimator's own.
    callbacks : list of skorch callbacks, default=None
        Callbacks to run. Copies of them are used; find these in ``net_.callbacks_``.
    transform : callable or nn.Module, default=None
        Augmentation for a `module` of your own. It is called with the features of each training
        batch, on `device`: a tensor of shape (n, ...) or a dict of tensors. It returns as many
        rows. Transforms of torchvision's v2 and of kornia can be used. Random numbers should come
        from torch's or numpy's global generator. Read it by ``get_params()["transform"]``: the
        estimator has no attribute of this name, since scikit-learn would take it for a transformer.
    views : list of callables and None, default=None
        Test-time augmentation for a `module` of your own: functions like `transform`. None stands
        for the rows as they are. Each member predicts the mean over the views, for unseen rows
        too. Two views double the time of prediction.
    device : str or torch.device, default="cpu"
        Where to train and predict. "auto": on a GPU where there is one.
    warm_start : bool, default=False
        Whether `fit` adds another full budget to a fitted ensemble.
    random_state : int, RandomState instance or None, default=None
        An integer makes fits equal to the bit. Code of your own (a module, callbacks, a criterion)
        draws from torch's and numpy's global generators: no other thread may draw from them then.
        The built-in network has generators of its own.
    verbose : int, default=0
        1 prints a line for each cycle and why the run has ended, on a terminal and in a notebook
        with a progress bar. 0 prints nothing.
    **kwargs : dict
        Arguments by skorch's prefixes: ``module__*`` (of the built-in network ``hidden``, by
        default 128-128 for up to 8 chains and 64-64 for more, ``dropout`` and
        ``column_dropout``, by default 0), ``optimizer__*``, ``criterion__*``,
        ``iterator_train__*`` (of a DataLoader, which then replaces the built-in batches),
        ``callbacks__*``, ``table__*`` (how the built-in network sees columns: at most
        ``n_pieces``, by default 8, linear pieces of a number and ``max_categories``, by default
        512, inputs of a column of categories, each of which has ``min_rows``, by default 10, and
        ``max_inputs``, by default 1024, of all numbers), ``net__*`` (the rest of skorch's
        ``NeuralNet``), and
        ``schedule__min_lr``, ``schedule__gamma`` (decay per step of "exp_range"),
        ``schedule__cycle_decay`` (highest rate of a cycle as a part of that of the one before,
        never below ``schedule__min_lr``) and ``schedule__burn_in_epochs`` (epochs at `lr` before
        the first cycle).

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
        a fresh module. The index is ``cycle * n_chains_ + chain``; with several snapshots in a
        cycle ``(cycle * snapshots_per_cycle + k) * n_chains_ + chain``, where k counts them.
    member_weights_ : ndarray of float64 of shape (n_snapshots,)
        Weight of each snapshot in the average, in the same order.
    columns_ : sequence of namedtuple
        What became of each column: ``name``, ``read_as``, ``missing`` (share of the rows),
        ``categories`` (distinct ones), ``kept`` (those with an input of their own), ``pieces``
        and ``remark``. Only of the built-in network.
    history_ : skorch.history.History
        A row for each epoch of the chains that train together with the first one, with the rate
        ``lr`` of its last step. Where a cycle ended, the row has its number, ``cycle``, and where
        rows are left out ``unseen_score``, as in ``cycle_scores_``. It prints as a table.
    n_iter_ : int
        Epochs begun.
    is_time_limited_ : bool
        Whether `time_limit` has shortened this fit, or an earlier one that it goes on with.
    n_cycles_ : int
        Cycles that ended in snapshots.
    n_chains_ : int
        Number of chains.
    validation_score_ : float
        Negative mean squared error of the unseen rows under the weights of the cycles, in squared
        units of y; of several outputs the mean; or their `scoring`. With a `criterion` of
        scikit-learn's names the negative mean of that loss or deviance, and with quantiles the
        negative mean pinball loss over the levels, in units of y. Higher is better. Only where
        there are unseen rows.
    validation_r2_ : float
        Coefficient of determination R2 of the same predictions, the mean over the outputs.
    cycle_scores_ : ndarray of float64 of shape (`n_cycles_`,)
        This score after 1, 2, … cycles.
    quantile_levels_ : ndarray of float64 of shape (n_levels,)
        Levels of the quantiles. Only with ``distribution="quantiles"``.
    oof_prediction_ : ndarray of float64 of shape (n_samples,) or (n_samples, n_outputs)
        Prediction of each row of the last fit, out of fold; NaN where all chains were trained on
        it. Only with several chains that leave out rows.

    See Also
    --------
    SnapshotEnsembleClassifier : The counterpart for classification.
    learning_rates : The rates of a run as an array, without training.
    skensemble.model_selection.cycle_curve : The score after 1, 2, … cycles.

    Notes
    -----
    A row's fold is a hash of its values and of the seed, or of its group where `fit` gets groups.
    So identical rows share a fold, in this call and in later ones, unless values repeat by nature:
    a value that has more rows than a fold is spread over all folds. All rows are spread one by one
    where at most 30 % of them are distinct and most distinct rows have copies. Rows of a dataset
    are told apart by their number. With ``X_val`` given to `fit`, no other rows are left out. A
    fold of more than twice the average size, such as that of one large group, is weighed as one of
    average size: the chain that leaves it out is trained on few rows. Rows that differ by a row
    number, or by noise, are no copies; where they come from one source, give `groups`.

    A row's unseen prediction is the mean over the chains that left it out: with "cross", that of
    one chain. The ensemble averages over all chains and usually scores better than
    ``validation_score_``. The rows that are scored also choose the weights of the cycles. These
    are few numbers, yet with few rows they make the score slightly optimistic. Weights of
    rows count in both.

    Cycles are compared by `scoring`, by the pinball loss of quantiles, by a `criterion` of
    scikit-learn's names, or by the squared error of `predict` for any other; several outputs
    count alike there, each divided by its standard deviation. Any other criterion that is not a
    loss of differences, such as ``PoissonNLLLoss``, may have outputs on another scale than y;
    "auto" is then "all" for `members` and False for `early_stopping`.

    With ``early_stopping="auto"`` a run ends early wherever there are unseen rows. A cycle
    that doubles the steps is a gain where it lowers the least loss so far by 0.05 %, and a
    shorter one where it lowers it by its share of that.

    Chains of a module that ``torch.func.vmap`` supports train as one batched module. Chains of
    other modules (such as one with a ``nn.GRU``), of a `net` with its own training step, and with
    callbacks that look at single batches train one after another, cycle by cycle. The results
    differ by rounding and by the masks that dropout draws.

    The built-in network takes tables as they are: arrays, sparse matrices, and frames of pandas,
    polars and others with numbers, categories, strings, booleans and dates. It learns from
    missing values, and treats a category that `fit` has not seen as none of the known ones.
    :ref:`The user guide <reading-tables>` says how each kind of column is read.

    Up to 32 rows in one batch, the built-in network trains in float64 and without any dropout, so
    that a row of weight two equals two rows.

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

    _parameter_constraints: ClassVar[dict[str, list[object]]] = {
        **ValueUncertainty._parameter_constraints,
        "distribution": [StrOptions({"quantiles"}), None],
    }
    _net_class = RegressorNet
    _named_losses = CRITERIA

    def __init__(
        self,
        module: ModuleLike | None = None,
        *,
        n_cycles: int = 8,
        cycle_mult: float | str = "auto",
        lr: float | str = "auto",
        max_epochs: int | str = "auto",
        batch_size: int | str = "auto",
        schedule: Schedule = "cosine",
        restart: str = "warm",
        snapshots_per_cycle: int = 1,
        optimizer: type[torch.optim.Optimizer] | str = "auto",
        criterion: CriterionLike | None = None,
        distribution: str | None = None,
        n_chains: int | str = "auto",
        members: Members = "auto",
        validation: Validation | None = "auto",
        early_stopping: bool | str = "auto",
        n_iter_no_change: int = 1,
        categorical_features: ArrayLike | None = "from_dtype",
        scoring: Scoring | None = None,
        time_limit: float | None = None,
        checkpoint_dir: PathLike | None = None,
        n_jobs: int | None = None,
        net: type[NeuralNet] | None = None,
        callbacks: Sequence[object] | None = None,
        transform: View | None = None,
        views: Views | None = None,
        device: str | torch.device | None = "cpu",
        warm_start: bool = False,
        random_state: RandomState | None = None,
        verbose: int = 0,
        **kwargs: Parameter,
    ):
        self._keep(
            kwargs,
            module=module,
            n_cycles=n_cycles,
            cycle_mult=cycle_mult,
            lr=lr,
            max_epochs=max_epochs,
            batch_size=batch_size,
            schedule=schedule,
            restart=restart,
            snapshots_per_cycle=snapshots_per_cycle,
            optimizer=optimizer,
            criterion=criterion,
            distribution=distribution,
            n_chains=n_chains,
            members=members,
            validation=validation,
            early_stopping=early_stopping,
            n_iter_no_change=n_iter_no_change,
            categorical_features=categorical_features,
            scoring=scoring,
            time_limit=time_limit,
            checkpoint_dir=checkpoint_dir,
            n_jobs=n_jobs,
            net=net,
            callbacks=callbacks,
            transform=transform,
            views=views,
            device=device,
            warm_start=warm_start,
            random_state=random_state,
            verbose=verbose,
        )

    def partial_fit(self, X: Input, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
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

    def _targets(self) -> RealTargets:
        options = self._by_prefix("criterion")
        return targets_of(self.criterion, self._named_criterion(), options, self.distribution)

    def _made_of(self) -> Options:
        return {**super()._made_of(), "distribution": self.distribution}

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = self.module is None
        return tags
