"""The house: which way imports point, and how large a room may be.

To add a room, write the file into the wing that knows its subject, or at the top if it is
documented, and name it in ``FLOORS``: the floor says what it may import, which is everything below.
A file that fits no floor has two subjects.
"""

import ast
import functools
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import skensemble

PACKAGE = Path(skensemble.__file__).parent


FILES = sorted(PACKAGE.rglob("*.py"))


#: From the top down. Files of one floor, and of one wing, may import each other in no circle.
FLOORS = [
    {"__init__"},
    {"persistence", "display"},
    {"classifier", "regressor", "model_selection", "averaging"},
    {"uncertainty", "importance", "rate_range"},
    {"predicting"},
    {"export", "pipelines"},
    {"callbacks"},
    {"base"},
    {"followed"},
    {"reshaping"},
    {"fitting", "other_files", "choosing"},
    {"outcome"},
    {"hearers"},
    {"call"},
    {"_persistence"},
    {"_export"},
    {"removal", "intervals"},
    {"fitted"},
    {"weighing"},
    {"unseen", "parameters"},
    {"scoring"},
    {"_training"},
    {"_data"},
    {"networks", "members", "keywords", "_uncertainty", "mean_losses"},
    {"measures", "foreign_names"},
    {"_nets"},
    {"schedules", "defaults", "metrics", "_compat"},
    {"_warnings"},
    {"_locks", "_types"},
]


def name_of(path):
    """Return "fitting" or "_data.rows"; a wing's own docstring is "_data"."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


NAMES = {name_of(path): path for path in FILES}
TREES = {path: ast.parse(path.read_text()) for path in FILES}


def imports_of(path):
    """Return the modules of this package that a file imports, wherever the import stands."""
    package = ["skensemble", *path.relative_to(PACKAGE).parent.parts]
    found = set()
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    inside = {name.removeprefix("skensemble.") for name in found if name.startswith("skensemble.")}
    return inside & set(NAMES)


GRAPH = {name: imports_of(path) for name, path in NAMES.items()}


def floor_of(name):
    top = name.partition(".")[0]
    return next(i for i, floor in enumerate(FLOORS) if top in floor)


@pytest.mark.parametrize("name", NAMES)
def test_imports_point_down(name):
    assert any(name.partition(".")[0] in floor for floor in FLOORS), "name it in FLOORS"
    for imported in GRAPH[name]:
        # A documented wing hands out what is in its rooms.
        may = "." in name or not name.startswith("_")
        in_one_wing = may and imported.partition(".")[0] == name.partition(".")[0]
        assert in_one_wing or floor_of(imported) > floor_of(name), f"{name} imports {imported}"


def test_no_imports_go_round():
    left = dict(GRAPH)
    while free := {name for name in left if not GRAPH[name] & set(left)}:
        left = {name: imported for name, imported in left.items() if name not in free}
    assert not left, f"a circle among {sorted(left)}"


@pytest.mark.parametrize("name", NAMES)
def test_no_room_outgrows_itself(name):
    text = NAMES[name].read_text()
    assert len(text.splitlines()) <= 500
    assert len(GRAPH[name]) <= 12
    for node in ast.walk(TREES[NAMES[name]]):
        if isinstance(node, ast.ClassDef):
            methods = [part for part in node.body if isinstance(part, ast.FunctionDef)]
            assert len(methods) <= 25, node.name
            assert code_lines(node) <= 250, node.name


def code_lines(node):
    """Count the lines of a class without docstrings, comments and blanks."""
    lines = set()
    for part in ast.walk(node):
        is_docstring = isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)
        if isinstance(part, ast.stmt) and not is_docstring:
            last = part.body[0].lineno - 1 if getattr(part, "body", None) else part.end_lineno
            lines |= set(range(part.lineno, last + 1))
    return len(lines)


@pytest.mark.parametrize("wing", ["_data", "_export", "_nets", "_persistence", "_training"])
def test_a_wing_says_what_it_knows(wing):
    text = importlib.import_module(f"skensemble.{wing}").__doc__
    assert "The wing knows" in text
    assert "may import" in text


@functools.cache
def own_private_names():
    """Return all names with an underscore that this package defines itself."""
    found = set()
    for path in FILES:
        for node in ast.walk(TREES[path]):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                found.add(node.attr)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
    return found


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"_compat"}))
def test_private_names_of_others_stand_in_compat(name):
    from skensemble._compat import PRIVATE

    foreign = {private.name for private in PRIVATE} - {"_get_param_names"}
    # Public in spite of their underscore: namedtuples, and scikit-learn's hooks for estimators.
    public = {"_asdict", "_replace", "_get_param_names", "_parameter_constraints"}
    own = (own_private_names() - foreign) | public
    for node in ast.walk(TREES[NAMES[name]]):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            assert node.attr in own, f"line {node.lineno}: {node.attr}"
        elif isinstance(node, ast.ImportFrom) and not node.level:
            parts = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            if parts[0] not in ("skensemble", "__future__"):
                assert not any(map(is_private, parts)), f"line {node.lineno}: {parts}"


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def test_shared_parameters_are_documented_alike():
    """The two estimators share most paragraphs; a change of one must reach the other."""
    one, other = (
        paragraphs(getattr(skensemble, name))
        for name in ("SnapshotEnsembleClassifier", "SnapshotEnsembleRegressor")
    )
    differ = {name for name in one.keys() & other.keys() if one[name] != other[name]}
    # Losses, defaults and the meaning of y differ between the two; nothing else does.
    assert differ <= {
        "lr", "optimizer", "criterion", "n_chains", "members", "validation_score_", "module",
        "**kwargs", "early_stopping",
    }  # fmt: skip


def paragraphs(estimator):
    """Return what is said of each parameter and attribute, by name."""
    text = inspect.getdoc(estimator).split("See Also\n")[0]
    found, name = {}, None
    for line in text.splitlines():
        if line and not line.startswith(" ") and " : " in line:
            name = line.partition(" : ")[0]
            found[name] = [line]
        elif name is not None and line.startswith(" "):
            found[name].append(line)
        else:
            name = None
    return found


def test_the_import_brings_nothing_that_is_optional():
    script = (
        "import sys, skorch\n"  # which brings pandas itself, where that is installed
        "before = set(sys.modules)\n"
        "import skensemble\n"
        "heavy = {'matplotlib', 'sphinx', 'pandas', 'polars', 'dask', 'distributed', 'onnx'}\n"
        "print(sorted(heavy & set(sys.modules) - before))"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


TESTED = [path.stem for path in FILES if path.stem not in ("__init__", "_types")]


@pytest.mark.parametrize("module", TESTED)
def test_every_module_has_its_test_file(module):
    assert (Path(__file__).parent / f"test_{module.lstrip('_')}.py").exists()
    assert TESTED.count(module) == 1, "two modules of one name would share a file"
