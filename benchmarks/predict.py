"""Probabilities of many rows from ten members, against the matrix products alone."""

from typing import Any

import numpy as np
import torch

from .timing import interleaved, ratios
from .workloads import SMALLEST, WORKLOADS, ours


def products(model: Any, X: np.ndarray, chunk: int = 2048) -> None:
    """Compute the matrix products of every member over cache-sized chunks, and nothing else."""
    rows = torch.from_numpy(X)
    members = [
        [state[name].T.contiguous() for name in state if name.endswith("weight")]
        for state in model.snapshots_
    ]
    with torch.inference_mode():
        for start in range(0, len(rows), chunk):
            for matrices in members:
                h = rows[start : start + chunk]
                for matrix in matrices:
                    h = h @ matrix


def run(repeats: int, smallest: bool, peers: bool) -> list[dict[str, Any]]:
    """Return the figures of ten members of the first workload's network."""
    work = (SMALLEST if smallest else WORKLOADS)["W1"]._replace(epochs=2)
    X, y = work.data()
    model = ours(work, X, y, n_cycles=10)
    seconds = interleaved(
        {
            "products": lambda: products(model, X),
            "predict_proba": lambda: model.predict_proba(X),
            "staged_predict_proba": lambda: list(model.staged_predict_proba(X)),
        },
        repeats,
    )
    floor, stages = ratios(seconds, "products"), ratios(seconds, "predict_proba")
    return [
        {
            "rows": len(X),
            "members": 10,
            "products, s": sorted(seconds["products"])[repeats // 2],
            "predict_proba / products": floor["predict_proba"],
            "staged_predict_proba / predict_proba": stages["staged_predict_proba"],
        }
    ]
