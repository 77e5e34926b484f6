"""The story of a fit, from top to bottom: :func:`fit_members`."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from skorch.utils import to_device

from ._data.folds import Rows
from ._data.intake import few_rows, place_rows
from ._nets.generators import Generators, as_in_a_fit, chain_seed
from ._training.interrupts import Interrupts
from ._training.making import (
    N_PROBE_ROWS,
    Ready,
    carry_on,
    check_raw_scores,
    join_chains,
    make_nets,
    monitors_unseen,
    multiplications_of_a_step,
    try_criterion,
    try_out,
    warn_of_scales,
)
from ._training.planning import Done, RunPlan, count_steps, plan_run
from ._training.starting import begin_from_first, make_run, start_stopwatch
from .call import Call, Given, read_call
from .fitted import Fitted
from .outcome import Outcome, open_file
from .parameters import NetParameters, metrics_of
from .unseen import Patience, UnseenRows


def fit_members(
    estimator: NetParameters, given: Given, before: Fitted | None, interrupts: Interrupts
) -> tuple[Fitted, Callable[[], list[tuple[str, type[Warning]]]]]:
    """Train an ensemble, or carry on the one `before`, and weigh its members.

    The caller has entered `interrupts`, and puts away the result before leaving it. The second
    result is a function that returns what to warn the user of once the first is safe.
    """
    stopwatch = start_stopwatch(estimator.time_limit)
    call = read_call(estimator, given, before)
    interrupts.check()
    file = open_file(call, given)
    if file.found is not None and file.found.stood is None:
        return file.found.fitted, file.found.messages
    device = estimator._device()
    is_private = estimator._draws_privately() and not call.data.source.is_read_by_user
    with as_in_a_fit(device, is_private=is_private):
        generators = _make_generators(call, device, is_private=is_private)
        with generators[0].within():
            call = _learn_columns(call, device)
            interrupts.check()
            ready = _prepare(call, generators)
            unseen, valid = _judge(call, ready)
            threads = ready.threads(
                is_private=is_private, n_jobs=estimator.n_jobs, is_limited=stopwatch is not None
            )
            interrupts.check()
        with threads.in_use():
            plan = _plan(call, ready)
            progress = plan.progress(call.n_before) if estimator.verbose else None
            cold = estimator.restart == "cold"
            if unseen is not None:
                unseen.pause, unseen.n_threads = interrupts.check, threads.n_at_home
                with generators[0].within():
                    _show_earlier(call, unseen, plan)
            run = make_run(
                ready,
                valid,
                plan,
                generators,
                interrupts,
                None if unseen is None else unseen.add,
                cold=cold,
                progress=progress,
                threads=threads,
                stopwatch=stopwatch,
                n_judged=0 if unseen is None else sum(map(len, unseen.left_out)),
                is_heard=call.is_heard,
                n_per_cycle=int(estimator.snapshots_per_cycle),
                transform=estimator._named("transform"),
                views=estimator.views,
            )
            if estimator.restart == "star":
                begin_from_first(run, None if before is None else before.states(0))
            outcome = Outcome(call, ready, run, unseen, file, given)
            run.train(redraw=cold and before is not None)
        for net in ready.nets:
            net.settle()
        return outcome.finish(generators), outcome.messages


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
        estimator._by_prefix("table"),
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
    n_samples, probe_rows = len(X), few_rows(X, N_PROBE_ROWS, estimator.views)
    sizes = {"n_outputs": targets.n_outputs, **intake.sizes()}
    is_small = intake.is_small
    recipe = estimator._recipe(sizes, call.shape, chosen.n_chains, targets, is_small=is_small)
    targets.check_loss(recipe.criterion)
    if before is None:
        has_unseen = call.held is not None or chosen.folds is not None
        nets = make_nets(recipe, generators, probe_rows, has_unseen=has_unseen)
    else:
        lr_ratio = estimator._highest_lr(call.shape[0]) / before.resume.highest_lr
        nets = carry_on(before.nets, recipe.settings["batch_size"], lr_ratio)
    device = nets[0].device
    probe_rows = to_device(probe_rows, device)
    output, outputs = try_out(nets[0], probe_rows, recipe.module_name)
    targets.check_output(output, recipe.module_name, min(N_PROBE_ROWS, n_samples))
    y = targets.tensor(call.data.y, output)
    if targets.has_sigmoids:
        check_raw_scores(nets[0], probe_rows, recipe.module_name)
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
    step = multiplications_of_a_step(nets[0], rows, probe_rows)
    if before is None:
        nets = join_chains(nets, rows, probe_rows, step)
    return Ready(nets, rows, probe_rows, output, step)


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
    unseen = UnseenRows(
        net.of_one_chain(),
        rows.X,
        index,
        judged.y,
        weight,
        targets,
        rule,
        row_weight=judged.sample_weight,
        views=call.estimator.views,
        **metrics_of(call.estimator),
    )
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
    is_known = call.known.targets.is_loss_known or call.estimator.scoring is not None
    if early is True or (early and is_known):
        done = 0 if call.before is None else call.before.resume.n_steps
        ends = [max(1, done)] * call.n_before + (done + plan.plan.ends).tolist()
        unseen.patience = Patience(int(call.estimator.n_iter_no_change), ends, call.n_before)
