"""What a file says of itself is compared, and believed nowhere."""

import json

import numpy as np
import pytest
from file_models import fitted
from test_foreign import with_names

import skensemble
from skensemble._persistence.audit import audit, check_trust, parse
from skensemble._persistence.container import Container, Fault, write_container


@pytest.fixture
def path(tmp_path):
    fitted("held_out")[0].save(tmp_path / "model", include=["unseen"])
    return tmp_path / "model"


def test_steps_build_nothing(path):
    parsed = parse(path)
    assert set(parsed.document) == {
        "versions", "estimator", "made_of", "intake", "targets", "verdict", "stage_weights",
        "chosen", "seed", "n_steps", "highest_lr", "is_time_limited", "net", "state", "training",
        "snapshots",
    }  # fmt: skip
    audited = audit(parsed)
    assert audited.values["intake"].tag == "Intake"
    assert audited.values["estimator"]["parameters"]["n_chains"] == 2
    check_trust(audited, None, ())


def test_versions(path):
    file = Container(path)
    arrays = {name: file.read(name) for name in file.entries}
    for version, error in [("2", "format version 2, but expected at most 1"), ("0", "version '0'"),
                           ("", "version ''"), ("one", "version 'one'")]:  # fmt: skip
        write_container(path, arrays, {**file.texts, "format_version": version})
        with pytest.raises(ValueError, match=error):
            skensemble.load(path)
    write_container(path, arrays, {**file.texts, "format": "other"})
    with pytest.raises(ValueError, match="the format 'other'"):
        skensemble.load(path)
    write_container(path, {"a": np.ones(2)}, {})
    with pytest.raises(ValueError, match="nothing in it that says that skensemble"):
        skensemble.load(path)


def set_at(document, way, value):
    *way, last = way
    for step in way:
        document = document[step]
    document[last] = value(document[last]) if callable(value) else value


@pytest.mark.parametrize("hidden", [[10**12], [3000, 3000], [1] * 50, [-1], "ab", None])
def test_lies_about_sizes_take_no_memory(hidden, tmp_path):
    model, _, _ = fitted("table_default")
    model.save(tmp_path / "model")
    with_names(tmp_path / "model", lambda d: set_at(d, ["net", "sizes", "hidden"], hidden))
    # Not by the network, which would take the memory first.
    with pytest.raises(ValueError, match=r"for tensors of other sizes|cannot be read"):
        skensemble.load(tmp_path / "model")


LIES = {
    "a tensor that is not there": (["snapshots", "stacks"], lambda s: [["x", "float32"], *s]),
    "a tensor too few": (["snapshots", "stacks"], lambda s: s[1:]),
    "a tensor twice": (["snapshots", "stacks"], lambda s: [s[0], *s]),
    "another type": (["snapshots", "stacks", 0, 1], "float64"),
    "no type": (["snapshots", "stacks", 0, 1], "load"),
    "a shape": (["snapshots", "stacks", 0], lambda s: [*s, [10**12]]),
    "places": (["snapshots", "places"], {"$": "array", "at": "a1"}),
    "digests": (["snapshots", "digests"], {"$": "array", "at": "a1"}),
    "chains": (["chosen", "n_chains"], 3),
    "many layers": (
        ["estimator", "parameters", "module__hidden"],
        {"$": "tuple", "of": [1] * 1000},
    ),
    "hidden": (["estimator", "parameters", "module__hidden"], {"$": "tuple", "of": [10**9]}),
    "history": (["net", "history"], {"rows": [1]}),
    "no history": (["net", "history"], {}),
    "gaps": (["net", "history"], {"columns": {"batches": [[]], "a": []}}),
    "setting": (["net", "settings", "lr"], "fast"),
    "a parameter": (["estimator", "parameters", "n_cycles"], -3),
    "an unknown one": (["estimator", "parameters", "learning"], 3),
    "a class": (["estimator", "class"], "Estimator"),
    "another class": (["estimator", "class"], "SnapshotEnsembleRegressor"),
    "an object of ours": (["estimator", "parameters", "lr"], {"$": "Reading"}),
    "seed": (["seed"], "0"),
    "weights": (["stage_weights"], {"$": "array", "at": "a2"}),
    "made of": (["made_of", "same"], ["nothing"]),
    "verdict": (["verdict", "$"], "Chosen"),
}


@pytest.mark.parametrize("name", LIES)
def test_lies_with_a_right_digest_are_refused(name, path):
    way, value = LIES[name]
    with_names(path, lambda document: set_at(document, way, value))
    with pytest.raises(ValueError, match="Got "):
        skensemble.load(path)


@pytest.mark.parametrize("which", ["stage_weights", "cycle_scores", "member"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -1e30])
def test_numbers_that_are_none_are_refused(which, value, path):
    file = Container(path)
    document = json.loads(file.texts["document"])
    name = "snapshots/layers.0.weight"
    if which == "stage_weights":
        name = document["stage_weights"]["at"]
    elif which == "cycle_scores":
        name = document["verdict"]["cycle_scores"]["at"]
        value = np.nan if value == -1e30 else value
    arrays = {name: file.read(name) for name in file.entries}
    arrays[name].reshape(-1)[0] = value
    write_container(path, arrays, file.texts)
    with pytest.raises(ValueError, match="digest says"):
        skensemble.load(path)
    with_names(path, lambda document: None)  # and now with a right digest
    if which == "member" and np.isfinite(value):
        skensemble.load(path)  # a number as any other
        return
    with pytest.raises(ValueError, match=r"not finite|too small"):
        skensemble.load(path)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda a: a[::-1], "cycles yet to come"), (lambda a: a * 2, "do not sum to 1"),
        (lambda a: a[:1, :1], "snapshots that are not as many"), (lambda a: a[:1], "of no cycles"),
        (lambda a: np.zeros((0, 0)), "of no cycles"), (lambda a: -a, "too small"),
    ],
)  # fmt: skip
def test_weights_of_cycles_are_weights(change, what, path):
    file = Container(path)
    name = json.loads(file.texts["document"])["stage_weights"]["at"]
    arrays = {name: file.read(name) for name in file.entries}
    arrays[name] = np.ascontiguousarray(change(arrays[name]))
    write_container(path, arrays, file.texts)
    with_names(path, lambda document: None)
    with pytest.raises(ValueError, match=what):
        skensemble.load(path)


def test_nothing_is_missing(path):
    document = parse(path).document
    for name in document:
        fitted("held_out")[0].save(path)
        with_names(path, lambda d, name=name: d.pop(name))
        with pytest.raises(ValueError, match=f"no '{name}' in its document"):
            skensemble.load(path)


def test_a_splitter_of_the_users_is_not_looked_up_beside_its_estimator(tmp_path):
    model, _, _ = fitted("folds_of_groups")
    model.save(tmp_path / "model")
    audited = audit(parse(tmp_path / "model"), model)
    assert audited.values["chosen"].fields["left_out_by"][1] is model.validation
    assert "estimator" not in audited.values


def test_faults_are_of_one_kind(path):
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(Fault):
        parse(path)
    with pytest.raises(ValueError, match=r"Got path=.*, a file with .* whole and unchanged"):
        skensemble.load(path)
