"""The nets of a file: made as a fit makes them, and filled with what training left in them."""

from typing import Any

import numpy as np

from skensemble._compat import recompute
from skensemble._nets.generators import Generators, as_in_a_fit, chain_seed
from skensemble._nets.snapshots import load_state
from skensemble._training.making import Recipe, join_in_groups, make_nets
from skensemble._training.net import SnapshotNet
from skensemble._training.state import restore_net
from skensemble._types import Options
from skensemble.fitted import Fitted, Resume
from skensemble.parameters import NetParameters

from .stored import Stack
from .trying import check_tensors, zeros_for


def remake_recipe(
    estimator: NetParameters, values: Options, intake: Any, targets: Any, n_chains: int
) -> Recipe:
    """Return what the nets of the fit were made of."""
    sizes = {"n_outputs": targets.n_outputs, **intake.sizes()}
    found = values["net"]
    recipe = estimator._recipe(sizes, (100, 1), n_chains, targets, is_small=intake.is_small)
    settings = {name: found["settings"][name] for name in recipe.settings if name != "device"}
    settings |= {name: int(value) for name, value in settings.items() if name != "lr"}
    sizes = dict(recipe.sizes)
    if estimator.module is None:
        sizes |= {name: found["sizes"][name] for name in ("hidden", "column_dropout")}
    return recipe._replace(settings={**recipe.settings, **settings}, sizes=sizes)


def remake_nets(
    estimator: NetParameters, recipe: Recipe, intake: Any, resume: Resume, state: Options | None
) -> list[SnapshotNet]:
    """Make the net of the first chain; of all chains where training is to go on."""
    device = estimator._device()
    is_private = estimator._draws_privately()
    n_nets = 1 if state is None else resume.chosen.n_chains
    with as_in_a_fit(device, is_private=is_private):
        seeds = [chain_seed(resume.seed, k) for k in range(n_nets)]
        generators = [Generators(device, seed, is_private=is_private) for seed in seeds]
        with generators[0].within():
            zeros = zeros_for(intake, estimator.views)
            nets = make_nets(recipe, generators, zeros, has_unseen=True)
            if state is not None and len(state["nets"]) < n_nets:
                nets = join_in_groups(nets, len(state["nets"]))
    return nets


def fill_net(net: SnapshotNet, fitted: Fitted, found: Options, stacks: dict[str, Stack]) -> None:
    """Put into the net of the first chain what training left in it, its last snapshot."""
    module = net.module_
    check_tensors(module, stacks)
    net.history_.extend(found["history"])
    net.takes_first_ = found["takes_first"]
    frozen = set(found["frozen"])
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and name not in frozen)
    for path, part in module.named_modules():
        for name, value in found["attributes"].get(path, {}).items():
            if type(vars(part).get(name)) is type(value):
                setattr(part, name, value)
    members = np.flatnonzero(fitted.member_weights)
    last = len(fitted.snapshots) - fitted.n_chains
    if last in members:  # they are read together
        fitted.snapshots.views(members)
    load_state(module, fitted.snapshots[last])
    recompute(module)


def go_on(nets: list[SnapshotNet], found: Options, state: Options) -> None:
    """Put into the nets of all chains where training stands."""
    histories = [found["history"], *state["histories"]]
    for net, of_net, history in zip(nets, state["nets"], histories, strict=True):
        net.takes_first_ = found["takes_first"]
        if state["are_weighed"]:
            net.weigh_criterion()
        restore_net(net, {**of_net, "history": history})
        net.settle()
