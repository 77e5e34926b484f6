"""The story of a fit, from top to bottom: :func:`fit_members`."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from skorch.utils import to_device

from ._data.folds import Chosen, Rows, choose_folds
from ._data.intake import Intake, place_rows
from ._data.reading import Examples, Known, read_later, read_training, read_validation
from ._nets.generators import Generators, chain_seed, private_generators, seed_of
from ._training.interrupts import Interrupts
from ._training.lane import make_lanes
from ._training.making import (
    N_PROBE_ROWS,
    Ready,
    carry_on,
    join_chains,
    make_nets,
    monitors_unseen,
    try_out,
)
from ._training.planning import Done, RunPlan, count_steps, plan_run
from ._training.run import Run
from .fitted import Fitted, Resume, weigh_cycles
from .parameters import NetParameters
from .unseen import Patience, UnseenRows


class Given(NamedTuple):
    """What the user gave to one call, unchecked."""

    X: Any
    y: Any = None
    sample_weight: ArrayLike | None = None
    groups: ArrayLike | None = None
    X_val: Any = None
    y_val: Any = None
    sample_weight_val: ArrayLike | None = None
    classes: ArrayLike | None = None
    #: Whether to train one cycle alone, as partial_fit does.
    is_one_cycle: bool = False


class Judged(NamedTuple):
    """Rows that the chains have not seen."""

    unseen: UnseenRows | None
    #: For each chain the rows for callbacks that monitor unseen ones.
    valid: list[Any]


def fit_members(
    estimator: NetParameters, given: Given, before: Fitted | None, interrupts: Interrupts
) -> tuple[Fitted, Callable[[], list[str]]]:
    """Train an ensemble, or carry one on, and weigh its members.

    Parameters
    ----------
    estimator : NetParameters
        Its parameters count; nothing is written on it.
    given : Given
    before : Fitted or None
        The ensemble to go on with; None: a new one.
    interrupts : Interrupts
        Entered by the caller, who puts away the result before leaving it.

    Returns
    -------
    fitted : Fitted
    messages : callable
        Returns what to warn the user of, once the result is safe.
    """
    if before is not None:
        estimator._check_unchanged(before.resume.made_of)
    estimator._check_parameters()
    data, known, held = _read(estimator, given, before)
    seed = seed_of(estimator.random_state) if before is None else before.resume.seed
    chosen = choose_folds(
        estimator._asked_folds(),
        data.source,
        data.y,
        given.groups,
        seed,
        has_validation=held is not None,
        before=None if before is None else before.resume.chosen,
    )
    device = torch.device(estimator.device or "cpu")
    with (
        private_generators(device),
        torch.inference_mode(False),  # a user may fit within one of torch's modes
        torch.enable_grad(),
    ):
        generators = _make_generators(device, seed, chosen.n_chains, before)
        with generators[0].within():
            if before is None:
                known = known._replace(intake=_learn_columns(estimator, known.intake, data, device))
            ready = _prepare(estimator, data, known, chosen, generators, before, held is not None)
            judged = _judge(estimator, data, held, known, chosen, ready)
        with ready.few_threads():
            plan = _plan(estimator, given, ready, before)
            run = _make_run(estimator, ready, judged, plan, generators, interrupts, before, known)
            states = run.train(redraw=before is not None and estimator.restart == "cold")
        done = 0 if before is None else before.resume.n_steps
        resume = Resume(
            [chain.state() for chain in generators],
            seed,
            chosen._replace(folds=None),
            max(0, done - plan.burn_in + run.n_steps),
            estimator._made_of(),
            estimator._highest_lr(),
        )
        for net in ready.nets:
            net.settle()
        kept = [] if before is None else before.all_states()
        kept += [state for cycle in states for state in cycle]
        rule = estimator._rule(known.targets)
        weighed = weigh_cycles(kept, chosen.n_chains, rule, judged.unseen, known.targets)
    return Fitted(ready.nets, *weighed, *known, resume), run.messages


def choose_members(
    estimator: NetParameters, fitted: Fitted, X: Any, y: Any, sample_weight: ArrayLike | None
) -> Fitted:
    """Weigh the members of an ensemble again, by other rows and the rule of now."""
    estimator._check_parameters()
    known = Known(fitted.intake, estimator._targets().adopt(fitted.targets))
    data = read_later(estimator, X, y, sample_weight, known)
    net, n_samples = fitted.nets[0], data.source.n_samples
    rows = place_rows(known.intake.rows(data.source), torch.empty(n_samples), None, net.device)
    index = [np.arange(n_samples)] * fitted.n_chains
    unseen = UnseenRows(net, rows.X, index, *_judging(estimator, data, known))
    for cycle in range(fitted.n_cycles):
        unseen.add(fitted.states(cycle))
    rule = estimator._rule(known.targets)
    weighed = weigh_cycles(fitted.all_states(), fitted.n_chains, rule, unseen, known.targets)
    return replace(fitted, **weighed._asdict())


# ----------------------------------------------------------------------- rows, folds, generators


def _read(
    estimator: NetParameters, given: Given, before: Fitted | None
) -> tuple[Examples, Known, Examples | None]:
    """Check what the user gave: rows to train on, what is known of them, rows to judge by."""
    data, known = read_training(
        estimator,
        given.X,
        given.y,
        given.sample_weight,
        targets=estimator._targets(),
        classes=given.classes,
        before=None if before is None else before.known,
    )
    held = read_validation(estimator, given.X_val, given.y_val, given.sample_weight_val, known)
    return data, known, held


def _make_generators(
    device: torch.device, seed: int, n_chains: int, before: Fitted | None
) -> list[Generators]:
    """Make those of each chain, at its seed or where it had come to."""
    if before is not None:
        return [Generators(device, state) for state in before.resume.generators]
    return [Generators(device, chain_seed(seed, k)) for k in range(n_chains)]


def _learn_columns(
    estimator: NetParameters, intake: Intake, data: Examples, device: torch.device
) -> Intake:
    return intake.encode(
        data.source,
        data.sample_weight,
        estimator._new_encoder(),
        module=estimator.module,
        batch_size=estimator._batch_size(data.source.n_samples),
        device=device,
    )


# ------------------------------------------------------------------------------- nets and rows


def _prepare(
    estimator: NetParameters,
    data: Examples,
    known: Known,
    chosen: Chosen,
    generators: list[Generators],
    before: Fitted | None,
    has_validation: bool,
) -> Ready:
    """Make the nets or carry them on, and put the rows where they are."""
    intake, targets = known
    X = intake.rows(data.source)
    n_samples, probe_rows = len(X), X[:N_PROBE_ROWS]
    recipe = estimator._recipe(intake, targets, n_samples, chosen.n_chains)
    if before is None:
        has_unseen = has_validation or chosen.folds is not None
        nets = make_nets(recipe, generators, probe_rows, has_unseen=has_unseen)
    else:
        lr_ratio = estimator._highest_lr() / before.resume.highest_lr
        nets = carry_on(before.nets, recipe.settings["batch_size"], lr_ratio)
    device = nets[0].device
    probe_rows = to_device(probe_rows, device)
    output = try_out(nets[0], probe_rows, recipe.module_name)
    targets.check_output(output, recipe.module_name, min(N_PROBE_ROWS, n_samples))
    weight = None
    if data.loss_weight is not None:
        for net in nets:
            net.weigh_criterion()
        weight = torch.from_numpy(data.loss_weight).to(output.dtype)
    rows = place_rows(X, targets.tensor(data.y, output), weight, device)
    rows = rows.with_chains(chosen.chain_rows(n_samples))
    if before is None:
        nets = join_chains(nets, rows, probe_rows)
    return Ready(nets, rows, probe_rows, output)


# --------------------------------------------------------------------------------- unseen rows


def _judge(
    estimator: NetParameters,
    data: Examples,
    held: Examples | None,
    known: Known,
    chosen: Chosen,
    ready: Ready,
) -> Judged:
    """Prepare the rows by which cycles are weighed: those left out, or those given for it."""
    none = Judged(None, [None] * chosen.n_chains)
    if held is not None:
        X = known.intake.rows(held.source)
        y = known.targets.tensor(held.y, ready.output)
        judged, rows = held, place_rows(X, y, None, ready.nets[0].device)
        index: list[Rows] = [np.arange(len(X))] * chosen.n_chains
    elif chosen.folds is not None:
        judged, rows, index = data, ready.rows, chosen.folds.left_out
    else:
        return none
    weight = judged.loss_weight
    if weight is not None and not weight[np.concatenate(index)].any():
        return none
    net = ready.nets[0]
    unseen = UnseenRows(net.of_one_chain(), rows.X, index, *_judging(estimator, judged, known))
    if not monitors_unseen(net):
        return none._replace(unseen=unseen)
    return Judged(unseen, [rows.part(torch.from_numpy(part)) for part in index])


def _judging(estimator: NetParameters, judged: Examples, known: Known) -> tuple[Any, ...]:
    """Return what unseen predictions are compared with, and the rule for members."""
    targets = known.targets
    truth = targets.truth(judged.y)
    return truth, judged.loss_weight, targets.values, estimator._rule(targets)


def _patience(
    estimator: NetParameters, known: Known, n_before: int, n_planned: int
) -> Patience | None:
    """Say when unseen rows are to end the run; None: never."""
    # "auto" ends runs too: that pays (see benchmarks/README.md).
    early = estimator.early_stopping
    if early is True or (early and known.targets.is_loss_known):
        return Patience(int(estimator.n_iter_no_change), n_before, n_before + n_planned)
    return None


# ------------------------------------------------------------------------------------- the run


def _plan(estimator: NetParameters, given: Given, ready: Ready, before: Fitted | None) -> RunPlan:
    """Plan steps, cycles and rates."""
    done = None if before is None else Done(before.n_cycles, before.resume.n_steps)
    timetable = estimator._timetable(len(ready.rows), is_one_cycle=given.is_one_cycle)
    return plan_run(timetable, count_steps(ready), done)


def _make_run(
    estimator: NetParameters,
    ready: Ready,
    judged: Judged,
    plan: RunPlan,
    generators: list[Generators],
    interrupts: Interrupts,
    before: Fitted | None,
    known: Known,
) -> Run:
    """Set up the lanes, and show the unseen rows the cycles of earlier calls."""
    n_before = 0 if before is None else before.n_cycles
    lanes = make_lanes(
        ready,
        judged.valid,
        plan,
        generators,
        interrupts,
        cold=estimator.restart == "cold",
        progress=plan.progress(n_before) if estimator.verbose else None,
    )
    unseen = judged.unseen
    if unseen is None:
        return Run(plan, lanes, interrupts)
    if before is not None:
        for cycle in range(n_before):
            unseen.add(before.states(cycle))
    unseen.patience = _patience(estimator, known, n_before, plan.n_cycles)
    return Run(plan, lanes, interrupts, unseen.add)
