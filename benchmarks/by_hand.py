"""What is written by hand for speed, against its plain spelling in torch."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from skensemble._nets import by_hand
from skensemble._nets.chains import Chains
from skensemble._nets.losses import differentiate
from skensemble.networks import TableNetwork

from .timing import interleaved, ratios, repeated

N_CHAINS, N_ROWS, N_INPUTS, N_CLASSES = 8, 128, 54, 7


def run(repeats: int, smallest: bool, peers: bool) -> list[dict[str, Any]]:
    """Return a row for each: the plain spelling's time divided by ours, on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    calls = 3 if smallest else 300
    rows = []
    try:
        for name, (plain, ours) in pairs().items():
            seconds = interleaved(
                {"plain": repeated(plain, calls), "ours": repeated(ours, calls)}, repeats
            )
            microseconds = 1e6 * sorted(seconds["ours"])[repeats // 2] / calls
            rows.append(
                {
                    "by hand": name,
                    "ours, us": microseconds,
                    "plain / ours": ratios(seconds, "ours")["plain"],
                }
            )
    finally:
        torch.set_num_threads(before)
    return rows


def pairs() -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """Return for each name the plain spelling and ours, on a step of the built-in network."""
    hidden = torch.randn(N_CHAINS, N_ROWS, 128)
    leaf = hidden.clone().requires_grad_()
    ones = torch.ones_like(hidden)
    X = torch.randn(N_CHAINS, N_ROWS, N_INPUTS)
    y = torch.randint(0, N_CLASSES, (N_CHAINS, N_ROWS))
    scores = torch.randn(N_CHAINS, N_ROWS, N_CLASSES)
    criterion = nn.CrossEntropyLoss()
    loss = by_hand.gradient_by_hand(criterion)
    assert loss is not None
    chains = Chains([TableNetwork(N_INPUTS, N_CLASSES) for _ in range(N_CHAINS)]).train()
    parameters = list(chains.parameters())
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    optimizer = torch.optim.AdamW(parameters, lr=1e-6, fused=True)
    sequence = nn.Sequential(
        nn.Linear(N_INPUTS, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 7)
    ).eval()
    shortened = copy.deepcopy(sequence)
    by_hand.shorten_sequences(shortened)
    rows = torch.randn(2048, N_INPUTS)

    def mish_by_autograd() -> None:
        leaf.grad = None
        nn.functional.mish(leaf).backward(ones)

    def step_by_autograd() -> None:
        for parameter in parameters:
            parameter.grad = None
        chains.each(X).backward(scores)

    def step_by_hand() -> None:
        for parameter in parameters:
            parameter.grad = None
        _, pull = chains.each_and_pullback(X)
        pull(scores)

    def without_gradient(module: nn.Module) -> Callable[[], Any]:
        def call() -> None:
            with torch.inference_mode():
                module(rows)

        return call

    return {
        "mish_and_slope": (mish_by_autograd, lambda: by_hand.mish_and_slope(hidden.clone())),
        "unit_masks": (
            lambda: nn.functional.dropout(ones, 0.1),
            lambda: by_hand.unit_masks(X, [128], 0.1),
        ),
        "perceptrons, pull_back": (step_by_autograd, step_by_hand),
        "gradient_by_hand": (lambda: differentiate(criterion, scores, y), lambda: loss(scores, y)),
        "bare_step": (optimizer.step, by_hand.bare_step(optimizer)),
        "shorten_sequences": (without_gradient(sequence), without_gradient(shortened)),
    }
