"""The story of a fit, from top to bottom: :func:`fit_members`."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from skorch.utils import to_device

from ._data.folds import Chosen, Rows, choose_folds
from ._data.intake import place_rows
from ._data.reading import Examples, Known, read_later, read_training, read_validation
from ._nets.generators import Generators, chain_seed, seed_of, taking_turns
from ._training.interrupts import Interrupts
from ._training.lane import make_lanes
from ._training.making import (
    N_PROBE_ROWS,
    Ready,
    carry_on,
    join_chains,
    make_nets,
    monitors_unseen,
    try_criterion,
    try_out,
    warn_of_scales,
)
from ._training.planning import Done, RunPlan, count_steps, plan_run
from ._training.run import Run
from .fitted import Fitted, Resume, weigh_cycles
from .parameters import NetParameters
from .unseen import Patience, UnseenRows

#: Part of the loss of unseen rows after the first cycle by which the last one may still lower it:
#: where it is more, the budget was too short.
NOT_CONVERGED = 0.1


class Given(NamedTuple):
    """What the user gave to one call, unchecked."""

    X: object
    y: ArrayLike | None = None
    sample_weight: ArrayLike | None = None
    groups: ArrayLike | None = None
    X_val: object = None
    y_val: ArrayLike | None = None
    sample_weight_val: ArrayLike | None = None
    classes: ArrayLike | None = None
    #: Whether to train one cycle alone, as partial_fit does.
    is_one_cycle: bool = False


class Call(NamedTuple):
    """One call, checked: what it is to train, and by which rows it is judged."""

    #: Its parameters count; nothing is written on it.
    estimator: NetParameters
    is_one_cycle: bool
    #: The ensemble to go on with; None: a new one.
    before: Fitted | None
    data: Examples
    #: Rows given to judge by; None: those that the chains leave out, if any.
    held: Examples | None
    known: Known
    seed: int
    chosen: Chosen

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and of columns, where X is a table; else 1."""
        return self.data.source.n_samples, self.known.intake.n_features or 1

    @property
    def n_before(self) -> int:
        """Cycles of earlier calls."""
        return 0 if self.before is None else self.before.n_cycles


def fit_members(
    estimator: NetParameters, given: Given, before: Fitted | None, interrupts: Interrupts
) -> tuple[Fitted, Callable[[], list[tuple[str, type[Warning]]]]]:
    """Train an ensemble, or carry on the one `before`, and weigh its members.

    The caller has entered `interrupts`, and puts away the result before leaving it. The second
    result is a function that returns what to warn the user of once the first is safe.
    """
    call = _read(estimator, given, before)
    interrupts.check()
    device = estimator._device()
    is_private = estimator._draws_privately() and not call.data.source.is_read_by_user
    with (
        taking_turns(device, is_private=is_private),
        torch.inference_mode(False),  # a user may fit within one of torch's modes
        torch.enable_grad(),
    ):
        generators = _make_generators(call, device, is_private=is_private)
        with generators[0].within():
            call = _learn_columns(call, device)
            interrupts.check()
            ready = _prepare(call, generators)
            unseen, valid = _judge(call, ready)
            interrupts.check()
        with ready.few_threads():
            plan = _plan(call, ready)
            progress = plan.progress(call.n_before) if estimator.verbose else None
            cold = estimator.restart == "cold"
            lanes = make_lanes(
                ready, valid, plan, generators, interrupts, cold=cold, progress=progress
            )
            if unseen is not None:
                unseen.pause = interrupts.check
                _show_earlier(call, unseen, plan)
            run = Run(plan, lanes, interrupts, None if unseen is None else unseen.add)
            states = run.train(redraw=cold and before is not None)
        for net in ready.nets:
            net.settle()
        resume = _resume(call, plan, run, generators)
        kept = [] if before is None else before.all_states()
        kept += [state for cycle in states for state in cycle]
        fitted = _weigh(call, ready, kept, unseen, resume)
    return fitted, lambda: _messages(call, run, unseen)


def _messages(call: Call, run: Run, unseen: UnseenRows | None) -> list[tuple[str, type[Warning]]]:
    """Return what to warn the user of, once what was trained is safe."""
    said: list[tuple[str, type[Warning]]] = [(text, RuntimeWarning) for text in run.messages()]
    if call.before is None and (text := run.explosion()):
        said.append((text, RuntimeWarning))
    elif unseen is not None and run.is_whole and not call.is_one_cycle:
        gain = unseen.last_gain()
        if gain > NOT_CONVERGED:
            epochs = call.estimator.max_epochs
            text = (
                f"Got max_epochs={epochs!r} and n_cycles={run.n_planned}, but expected a budget "
                "whose last cycle lowers the loss of unseen rows by at most "
                f"{NOT_CONVERGED:.0%} of what it was after the first: it lowered it by {gain:.1%}; "
                "set more max_epochs, or more n_cycles."
            )
            said.append((text, ConvergenceWarning))
    return said


def choose_members(
    estimator: NetParameters, fitted: Fitted, X: object, y: ArrayLike, weight: ArrayLike | None
) -> Fitted:
    """Weigh the members of an ensemble again, by other rows and the rule of now."""
    estimator._check_parameters()
    known = Known(fitted.intake, estimator._targets().adopt(fitted.targets))
    data = read_later(estimator, X, y, weight, known)
    net, n_samples = fitted.nets[0], data.source.n_samples
    rows = place_rows(
        known.intake.rows(data.source), torch.empty(n_samples, device="cpu"), None, net.device
    )
    index = [np.arange(n_samples)] * fitted.n_chains
    rule = estimator._rule(known.targets)
    unseen = UnseenRows(net, rows.X, index, data.y, data.loss_weight, known.targets, rule)
    for cycle in range(fitted.n_cycles):
        unseen.add(fitted.states(cycle))
    weighed = weigh_cycles(fitted.all_states(), fitted.n_chains, rule, unseen, known.targets)
    return replace(fitted, **weighed._asdict())


def _read(estimator: NetParameters, given: Given, before: Fitted | None) -> Call:
    """Check parameters and rows, and decide which rows each chain leaves out."""
    if before is not None:
        estimator._check_unchanged(before.resume.made_of)
    estimator._check_parameters()
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
    return Call(estimator, given.is_one_cycle, before, data, held, known, seed, chosen)


def _make_generators(call: Call, device: torch.device, *, is_private: bool) -> list[Generators]:
    """Make those of each chain, at its seed or where it had come to."""
    if call.before is None:
        starts: list[Any] = [chain_seed(call.seed, k) for k in range(call.chosen.n_chains)]
    else:
        starts = call.before.resume.generators
    return [Generators(device, start, is_private=is_private) for start in starts]


def _learn_columns(call: Call, device: torch.device) -> Call:
    """Learn what the network sees of X, in later calls of columns that said nothing before."""
    estimator, data = call.estimator, call.data
    if call.before is not None:
        late = call.known.intake.learn_late(data.source, data.sample_weight)
        return call._replace(known=call.known._replace(intake=late))
    intake = call.known.intake.encode(
        data.source,
        data.sample_weight,
        estimator._new_encoder(),
        module=estimator.module,
        batch_size=estimator._batch_size(data.source.n_samples),
        device=device,
    )
    return call._replace(known=call.known._replace(intake=intake))


def _prepare(call: Call, generators: list[Generators]) -> Ready:
    """Make the nets or carry them on, and put the rows where they are."""
    estimator, before, chosen = call.estimator, call.before, call.chosen
    intake, targets = call.known
    X = intake.rows(call.data.source)
    n_samples, probe_rows = len(X), X[:N_PROBE_ROWS]
    sizes = {"n_outputs": targets.n_outputs, **intake.sizes()}
    is_small = intake.is_small
    recipe = estimator._recipe(sizes, call.shape, chosen.n_chains, is_small=is_small)
    if before is None:
        has_unseen = call.held is not None or chosen.folds is not None
        nets = make_nets(recipe, generators, probe_rows, has_unseen=has_unseen)
    else:
        lr_ratio = estimator._highest_lr() / before.resume.highest_lr
        nets = carry_on(before.nets, recipe.settings["batch_size"], lr_ratio)
    device = nets[0].device
    probe_rows = to_device(probe_rows, device)
    output, outputs = try_out(nets[0], probe_rows, recipe.module_name)
    targets.check_output(output, recipe.module_name, min(N_PROBE_ROWS, n_samples))
    y = targets.tensor(call.data.y, output)
    if before is None:
        try_criterion(nets, outputs, y)
        warn_of_scales(X, nets[0].module_)
    weight = None
    if call.data.loss_weight is not None:
        for net in nets:
            net.weigh_criterion()
        weight = torch.from_numpy(call.data.loss_weight).to(output.dtype)
    rows = place_rows(X, y, weight, device)
    rows = rows.with_chains(chosen.chain_rows(n_samples))
    if before is None:
        nets = join_chains(nets, rows, probe_rows)
    return Ready(nets, rows, probe_rows, output)


def _judge(call: Call, ready: Ready) -> tuple[UnseenRows | None, list[Any]]:
    """Prepare the rows by which cycles are weighed: those left out, or those given for it.

    The second result has for each chain the rows for callbacks that monitor unseen ones.
    """
    net, targets, n_chains = ready.nets[0], call.known.targets, call.chosen.n_chains
    nothing: list[Any] = [None] * n_chains
    if call.held is not None:
        X = call.known.intake.rows(call.held.source)
        y = targets.tensor(call.held.y, ready.output)
        judged, rows = call.held, place_rows(X, y, None, net.device)
        index: list[Rows] = [np.arange(len(X))] * n_chains
        weight = judged.loss_weight
    elif call.chosen.folds is not None:
        judged, rows, index = call.data, ready.rows, call.chosen.folds.left_out
        weight = call.chosen.folds.weigh(judged.loss_weight, len(judged.y))
    else:
        return None, nothing
    if weight is not None and not weight[np.concatenate(index)].any():
        return None, nothing
    rule = call.estimator._rule(targets)
    unseen = UnseenRows(net.of_one_chain(), rows.X, index, judged.y, weight, targets, rule)
    if not monitors_unseen(net):
        return unseen, nothing
    return unseen, [rows.part(torch.from_numpy(part)) for part in index]


def _plan(call: Call, ready: Ready) -> RunPlan:
    """Plan steps, cycles and rates."""
    done = None
    if call.before is not None:
        done = Done(call.before.n_cycles, call.before.resume.n_steps)
    timetable = call.estimator._timetable(call.shape, is_one_cycle=call.is_one_cycle)
    return plan_run(timetable, count_steps(ready), done)


def _show_earlier(call: Call, unseen: UnseenRows, plan: RunPlan) -> None:
    """Show the unseen rows the cycles of earlier calls, and say when they may end the run."""
    if call.before is not None:
        unseen.show(call.before.snapshots, call.n_before)
    early = call.estimator.early_stopping
    # "auto" ends runs too: that pays (see benchmarks/README.md).
    if early is True or (early and call.known.targets.is_loss_known):
        n_iter_no_change = int(call.estimator.n_iter_no_change)
        unseen.patience = Patience(n_iter_no_change, call.n_before, call.n_before + plan.n_cycles)


def _resume(call: Call, plan: RunPlan, run: Run, generators: list[Generators]) -> Resume:
    """Note what a later call needs to go on."""
    done = 0 if call.before is None else call.before.resume.n_steps
    return Resume(
        generators=[chain.state() for chain in generators],
        seed=call.seed,
        chosen=call.chosen._replace(folds=None),
        n_steps=max(0, done - plan.burn_in + run.n_steps),
        made_of=call.estimator._made_of(),
        highest_lr=call.estimator._highest_lr(),
    )


def _weigh(
    call: Call,
    ready: Ready,
    states: list[dict[str, torch.Tensor]],
    unseen: UnseenRows | None,
    resume: Resume,
) -> Fitted:
    rule = call.estimator._rule(call.known.targets)
    n_chains = call.chosen.n_chains
    weighed = weigh_cycles(states, n_chains, rule, unseen, call.known.targets)
    return Fitted(ready.nets, *weighed, *call.known, resume)
