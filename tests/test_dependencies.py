"""What the package imports is what it declares."""

import ast
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import skensemble

ROOT = Path(__file__).parent.parent
PACKAGE = Path(skensemble.__file__).parent
FILES = {str(path.relative_to(PACKAGE)): path for path in sorted(PACKAGE.rglob("*.py"))}

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]

#: Packages whose name is not that under which they are installed.
INSTALLED_AS = {"sklearn": "scikit-learn"}

#: The extra of a place, by the first part of its path.
EXTRA_OF = {"_export": "onnx", "export.py": "onnx", "display": "plot"}

#: Read or made only where the caller's own values are of these packages.
OF_THE_CALLER = {"_persistence/moments.py": {"pandas"}}


def names_of(requirements):
    return {Requirement(text).name for text in requirements}


def imports_of(nodes):
    """Return what a file imports of other projects, as it is installed."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module)
    packages = {name.partition(".")[0] for name in found}
    others = packages - set(sys.stdlib_module_names) - {"skensemble"}
    return {INSTALLED_AS.get(name, name) for name in others}


TREES = {name: ast.parse(path.read_text()) for name, path in FILES.items()}
IMPORTED = {name: imports_of(ast.walk(tree)) for name, tree in TREES.items()}


@pytest.mark.parametrize("name", FILES)
def test_what_is_imported_is_declared(name):
    """Imports within functions count: they fail later, and not less."""
    extra = EXTRA_OF.get(Path(name).parts[0])
    declared = names_of([*PROJECT["dependencies"], *EXTRAS.get(extra, [])])
    assert IMPORTED[name] - declared == OF_THE_CALLER.get(name, set())


@pytest.mark.parametrize("name", OF_THE_CALLER)
def test_packages_of_the_caller_are_imported_within_functions(name):
    assert not imports_of(TREES[name].body) & OF_THE_CALLER[name]


def test_what_is_declared_is_imported():
    assert names_of(PROJECT["dependencies"]) <= set.union(*IMPORTED.values())


@pytest.mark.parametrize(
    "requirement", [*PROJECT["dependencies"], *EXTRAS["onnx"], *EXTRAS["plot"]]
)
def test_each_dependency_has_a_floor_and_a_tested_version(requirement):
    """The session "floors" installs the one, CI the other."""
    requirement = Requirement(requirement)
    assert [clause.operator for clause in requirement.specifier] == [">="]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    tested = {
        r.name: r for r in map(Requirement, filter(None, (t.partition("#")[0] for t in lines)))
    }
    (version,) = tested[requirement.name].specifier
    assert version.operator == "=="
    assert version.version in requirement.specifier
