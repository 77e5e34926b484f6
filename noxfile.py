"""One session a task, for contributors and for CI; ``nox --list`` shows them.

Most sessions run in the environment that is active, with the extra "dev": PyTorch is large, and a
copy for each session would take minutes. Only ``floors`` and ``wheel`` make one of their own.
"""

import os
from pathlib import Path

import nox
from nox.project import load_toml
from packaging.requirements import Requirement

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests"]  # what ``nox`` alone runs

ROOT = Path(__file__).parent
CONSTRAINED = ("-c", "constraints.txt")

#: Files that GitHub and others read, by the schema that check-jsonschema brings for them.
SCHEMAS = {
    "vendor.github-workflows": ".github/workflows/*.yml",
    "custom.github-workflows-require-timeout": ".github/workflows/*.yml",
    "vendor.github-issue-forms": ".github/ISSUE_TEMPLATE/[!c]*.yml",
    "vendor.github-issue-config": ".github/ISSUE_TEMPLATE/config.yml",
    "vendor.citation-file-format": "CITATION.cff",
}

#: Warnings of the oldest scikit-learn: it parametrizes by a generator and passes old options on.
OLD_WARNINGS = ("pytest.PytestRemovedIn10Warning", "DeprecationWarning")

#: Tests that the oldest scikit-learn (1.6) cannot pass, or need not, and why.
NOT_ON_FLOORS = {
    "tests/test_clients.py::test_calibration[temperature]": "it has no such method",
    "tests/test_clients.py::test_weights_are_routed_through_pipeline_and_search": (
        "its search asks the pipeline itself for a request of weights"
    ),
    "tests/test_clients.py::test_configurations_change_no_prediction": (
        "it passes scipy old options, and a step gets no names from polars; both are errors there"
    ),
    "tests/test_elsewhere.py::test_a_killed_worker_moves_no_bit": "new workers take long to begin",
    "tests/test_elsewhere.py::test_dask_gives_the_same_bits_also_where_a_worker_is_killed": (
        "Dask is not among the dependencies"
    ),
    "tests/test_golden.py::test_files_of_earlier_versions_predict_as_they_did[frame_polars]": (
        "a step gets no names from polars"
    ),
    "tests/test_targets.py::test_labels_of_any_kind[tensor]": (
        "its accuracy_score compares no tensor with an array"
    ),
}

#: Files that the oldest versions need not pass: words of scikit-learn's own are newer, and neither
#: statistics, threads and signals nor our own source hang on versions; torch is the same as in all
#: other sessions. The cluster's are not among the dependencies.
IGNORED_ON_FLOORS = (
    "tests/test_architecture.py",
    "tests/test_assignment.py",
    "tests/test_cluster.py",
    "tests/test_docs.py",
    "tests/test_error_page.py",
    "tests/test_generators.py",
    "tests/test_heap.py",
    "tests/test_honesty.py",
    "tests/test_importance.py",
    "tests/test_interrupts.py",
    "tests/test_limit.py",
    "tests/test_mistakes.py",
    "tests/test_mutations.py",
    "tests/test_run.py",
    "tests/test_threads.py",
    "tests/test_transforms.py",
    "tests/test_uncertainty.py",
)

#: In one process, since importing takes longer than most of them.
SMALLEST_BENCHES = """
import sys
from benchmarks.__main__ import COMMANDS, ON_TABLES, main
folder, *names = sys.argv[1:]
for name in names or [*COMMANDS, *ON_TABLES]:
    print("\\n##", name, flush=True)
    main([name, "--smallest", "--json", folder])
"""

# No session opens a window.
os.environ.setdefault("MPLBACKEND", "Agg")


@nox.session
def tests(session: nox.Session) -> None:
    """Run pytest; warnings are errors. What follows "--" goes to pytest."""
    session.run("pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, spelling and the files that GitHub reads; change nothing."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("codespell")
    session.run("pre-commit", "validate-config")
    for schema, pattern in SCHEMAS.items():
        files = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(pattern))
        session.run("check-jsonschema", "--builtin-schema", schema, *files)


@nox.session
def types(session: nox.Session) -> None:
    """Run mypy, strict."""
    session.run("mypy", *session.posargs)


@nox.session
def examples(session: nox.Session) -> None:
    """Run every script in examples/; warnings are errors."""
    pictures = session.create_tmp()
    for script in sorted(ROOT.glob("examples/*.py")):
        session.run("python", "-W", "error", str(script), f"{pictures}/{script.stem}.png")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site in docs/_build/html; warnings are errors.

    The session "examples" runs the examples. To run them for the gallery as well:
    ``nox -s docs -- -D plot_gallery=1``.
    """
    session.run(
        *("python", "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"),
        *("-D", "plot_gallery=0", *session.posargs),
        *("docs", "docs/_build/html"),
    )


@nox.session
def benches(session: nox.Session) -> None:
    """Run every benchmark at its smallest, to see that it runs; or those named after "--"."""
    results = session.create_tmp()
    session.run("python", "-W", "ignore", "-c", SMALLEST_BENCHES, results, *session.posargs)


@nox.session(venv_backend="virtualenv")
def floors(session: nox.Session) -> None:
    """Run the tests with the oldest versions that the dependencies admit."""
    admitted = Path(session.create_tmp()) / "floors.txt"
    admitted.write_text("\n".join(oldest_admitted()) + "\n")
    session.install("-c", str(admitted), ".[test]")
    session.run(
        "pytest",
        *(option for warning in OLD_WARNINGS for option in ("-W", f"ignore::{warning}")),
        *(option for test in NOT_ON_FLOORS for option in ("--deselect", test)),
        *(f"--ignore={path}" for path in IGNORED_ON_FLOORS),
        *session.posargs,
    )


def oldest_admitted() -> list[str]:
    """Return a constraint for each dependency of pyproject.toml."""
    # The old builds of torch are large, and the CPU's are not on PyPI.
    torch = [line for line in Path("constraints.txt").read_text().split() if "torch==" in line]
    dependencies = map(Requirement, load_toml("pyproject.toml")["project"]["dependencies"])
    floors = [str(d).replace(">=", "==") for d in dependencies if d.name != "torch"]
    return floors + torch


@nox.session(venv_backend="virtualenv")
def wheel(session: nox.Session) -> None:
    """Build the wheel and use it in a new environment."""
    folder = Path(session.create_tmp()).resolve()
    session.install(*CONSTRAINED, "build")
    session.run("python", "-m", "build", "--quiet", "--outdir", str(folder))
    session.install(*CONSTRAINED, *map(str, folder.glob("*.whl")))
    with session.chdir(folder):  # where only the wheel can be imported
        session.run("python", "-W", "error", str(ROOT / "examples" / "quickstart.py"), silent=True)
        version = "import skensemble; print('quickstart ran with', skensemble.__version__)"
        session.run("python", "-c", version)
