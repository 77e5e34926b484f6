"""Files that earlier versions wrote load, and predict as they did then.

``python tests/test_golden.py`` writes a file of each kind that has none, with what it predicts. A
file that is there is never written again: it is what users have. The data of these kinds in
``file_models.py`` stay as they are.
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # where this is run as a script

from file_models import fitted

import skensemble

HERE = Path(__file__).parent / "golden"
SAID = HERE / "predictions.json"

#: Kinds, and what their files keep beside.
KINDS = {
    **dict.fromkeys([
        "labels_whole", "labels_bytes8", "labels_text", "labels_text_objects", "labels_truth",
        "labels_float", "labels_large", "labels_several",
        "table_small", "table_constant", "table_huge",
        "frame_pandas", "frame_polars", "frame_named_categories", "array_categories", "sparse",
        "regressor", "regressor_several", "regressor_of_counts", "module_own", "module_chains",
        "module_recurrent", "module_instance", "module_factory", "module_of_torch",
        "module_normed", "module_half", "module_images", "module_dict", "voting_hard",
        "schedule_own", "members_own", "criterion_own", "net_own", "callbacks", "cold",
        "folds_of_splitter",
    ], ()),
    "held_out": ("unseen",),
    "weights": ("training",),
    "optimizer": ("unseen", "training"),
}  # fmt: skip

#: Rows whose predictions are kept.
N = 6


def say(model, X):
    """Return what a model predicts, as JSON has it."""
    members = model.predict_members(X)[:, :N].round(7)
    return {"predict": [str(p) for p in model.predict(X)[:N].tolist()], "members": members.tolist()}


def load(name):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*has another source than now")
        return skensemble.load(HERE / f"{name}.model", **fitted(name)[2])


@pytest.mark.parametrize("name", KINDS)
def test_files_of_earlier_versions_predict_as_they_did(name):
    said = json.loads(SAID.read_text())[name]
    model, X = load(name), fitted(name)[1]
    found = say(model, X)
    if len(np.shape(said["predict"])) and name.startswith("regressor"):
        one, other = ([eval(p) for p in part["predict"]] for part in (found, said))
        assert np.allclose(one, other, rtol=1e-5, atol=1e-6)
    else:
        assert found["predict"] == said["predict"]
    assert np.allclose(found["members"], said["members"], rtol=1e-5, atol=1e-6)
    assert hasattr(model, "oof_decision_function_") == ("unseen" in KINDS[name])
    assert (HERE / f"{name}.model").stat().st_size < 100_000


@pytest.mark.parametrize("name", [name for name in KINDS if "training" in KINDS[name]])
def test_training_of_earlier_versions_goes_on(name):
    X = fitted(name)[1]
    model = load(name)
    n = model.n_cycles_
    assert model.partial_fit(X, model.predict(X)).n_cycles_ == n + 1


def test_every_golden_file_is_tested():
    assert {path.stem for path in HERE.glob("*.model")} == {*KINDS}


def write():
    """Write the files that are not there."""
    HERE.mkdir(exist_ok=True)
    said = json.loads(SAID.read_text()) if SAID.exists() else {}
    for name, include in KINDS.items():
        if name not in said:
            model, X, _ = fitted(name)
            model.save(HERE / f"{name}.model", include=include)
            said[name] = say(model, X)
    lines = [f"{json.dumps(name)}: {json.dumps(part)}" for name, part in sorted(said.items())]
    SAID.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    write()
