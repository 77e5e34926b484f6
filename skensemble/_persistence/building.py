"""The last step of loading: what a file says, once it is checked, to an estimator with nets."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import torch

from skensemble._types import ModuleLike, Options
from skensemble._warnings import short, warn
from skensemble.fitted import Fitted, Resume
from skensemble.parameters import NetParameters

from .audit import Audited
from .container import Fault
from .foreign import Maker
from .remaking import fill_net, go_on, remake_nets, remake_recipe
from .schema import make_record
from .stored import StoredSnapshots
from .tree import Foreign
from .trying import odd_tensors, try_out, try_sizes


class Loaded(NamedTuple):
    """What a file holds."""

    #: With the parameters of the file, or the one that was given.
    estimator: NetParameters
    fitted: Fitted
    #: See :func:`~skensemble._persistence.saving.write_model`.
    extra: Any


def construct(
    audited: Audited,
    kinds: Mapping[str, type[NetParameters]],
    module: ModuleLike | None,
    trusted: Collection[str],
    estimator: NetParameters | None,
) -> Loaded:
    """Build the estimator and its nets, and put the last snapshot into these."""
    values = audited.values
    maker = Maker(trusted, make_record)
    if estimator is None:
        estimator, then = _make_estimators(values, kinds, module, maker)
    else:
        then = estimator
    then._check_parameters()
    intake, targets, chosen, verdict = (
        maker.make(values[name]) for name in ("intake", "targets", "chosen", "verdict")
    )
    snapshots = values["snapshots"]
    stored = StoredSnapshots(
        audited.file, audited.stacks, snapshots["digests"], snapshots["places"]
    )
    state = values["state"]
    resume = Resume(
        [] if state is None else state["generators"],
        values["seed"],
        chosen,
        values["n_steps"],
        then._made_of(),
        values["highest_lr"],
        values["is_time_limited"],
    )
    recipe = remake_recipe(then, values, intake, targets, chosen.n_chains)
    try_sizes(recipe, audited.stacks)
    nets = remake_nets(then, recipe, intake, resume, state)
    if module is not None and (odd := odd_tensors(nets[0].of_one_chain().module_, audited.stacks)):
        raise ValueError(
            f"Got module={short(module)} with other tensors than the file has: {short(odd)}, but "
            "expected the module that the ensemble was made with."
        )
    fitted = Fitted(nets, stored, values["stage_weights"], verdict, intake, targets, resume)
    if state is None:
        fill_net(nets[0], fitted, values["net"], audited.stacks)
    else:
        go_on(nets, values["net"], state)
    if values["net"]["runs_on_zeros"] and then.module is not None:
        try_out(fitted)
    return Loaded(estimator, fitted, values["training"])


def _make_estimators(
    values: Options,
    kinds: Mapping[str, type[NetParameters]],
    module: ModuleLike | None,
    maker: Maker,
) -> tuple[NetParameters, NetParameters]:
    """Make the estimator, and one with the parameters that its nets are made of."""
    found, made_of = values["estimator"], values["made_of"]["other"]
    cls = kinds.get(found["class"])
    if cls is None:
        if "." not in found["class"]:
            raise Fault(f"the unknown estimator {short(found['class'])}")
        cls = maker.find(Foreign("name", found["class"], None))
        if not isinstance(cls, type) or not issubclass(cls, NetParameters):
            raise Fault(f"the estimator {short(found['class'])}, which is none")
    parameters = _replace_module(found["parameters"], module, maker)
    made = {n: maker.make(value) for n, value in parameters.items() if n != "checkpoint_dir"}
    made["device"] = _device_here(made.get("device", "cpu"))
    estimator = cls(**made)
    # A keyword that came after the fit says nothing of its nets.
    late = estimator._made_of().keys() - {*values["made_of"]["same"], *made_of}
    then = {name: value for name, value in made.items() if name not in late}
    then |= maker.make(_replace_module(made_of, module, maker))
    return estimator, cls(**then)


def _replace_module(parameters: Options, module: ModuleLike | None, maker: Maker) -> Options:
    """Put the module that was given in place of the one of the file."""
    if module is None or "module" not in parameters:
        return parameters
    found = parameters["module"]
    if found is None:
        raise ValueError(
            f"Got module={short(module)}, but expected none: the file is of the built-in network."
        )
    if isinstance(found, Foreign):
        maker.compare_source(found, module)
    return {**parameters, "module": module}


def _device_here(device: Any) -> Any:
    """Return the device, or the CPU where it is missing here."""
    if device in ("auto", None):
        return device
    kind = torch.device(device)
    n = torch.cuda.device_count() if kind.type == "cuda" else 1
    is_there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if is_there.get(kind.type, True) and (kind.index or 0) < n:
        return device
    warn(
        f"Got a file of a model on device={short(str(device))}, which is not here: it is loaded on "
        "the CPU."
    )
    return "cpu"
