"""What the documentation says: README's code, docstrings' examples and defaults."""

import doctest
import importlib
import inspect
import pkgutil
import re
import textwrap
from pathlib import Path

import pytest

import skensemble
import skensemble.metrics

TOP = Path(__file__).parent.parent
BLOCKS = re.findall(r"^```python\n(.*?)^```", (TOP / "README.md").read_text(), re.M | re.S)
PAGES = sorted([*(TOP / "docs").glob("*.rst"), *(TOP / "docs" / "guide").glob("*.rst")])
#: Files of the repository that README points to.
LINKS = re.findall(r"\]\(([^)#:]+)[^)]*\)", (TOP / "README.md").read_text())
#: Files that the pages write.
ASKED_FOR = {"model.joblib", "last.pt", "wine.model", "own.model", "last.safetensors"}
ASKED_FOR |= {"model.safetensors", "model.skops", "rent.safetensors", "runs"}
DOCUMENTED = [getattr(skensemble, name) for name in skensemble.__all__]
DOCUMENTED += [f for name, f in vars(skensemble.metrics).items() if inspect.isfunction(f)]
MODULES = [m.name for m in pkgutil.walk_packages(skensemble.__path__, "skensemble.")]


def rst_blocks(text):
    """The Python code blocks of a page, without their indent."""
    found = re.finditer(r"^( *)\.\. code-block:: python\n((?: *\n|\1 +.*\n)*)", text + "\n", re.M)
    for match in found:
        lines = [line for line in match[2].splitlines() if not re.match(r" *:\w+:", line)]
        yield textwrap.dedent("\n".join(lines))


def test_readme_has_python_blocks():
    assert BLOCKS


def test_readme_blocks_run_one_after_another(tmp_path, monkeypatch):
    """In one namespace, as somebody who pastes them does; they write what they ask for alone."""
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), namespace)
    assert {p.name for p in tmp_path.iterdir()} <= ASKED_FOR


@pytest.mark.parametrize("link", sorted({*LINKS} - {"https"}))
def test_readme_links_to_files_that_exist(link):
    assert (TOP / link).exists()


def test_readme_has_the_test_command_of_ci():
    command = 'pip install -c constraints.txt ".[test]" && pytest'
    assert command in (TOP / "README.md").read_text().splitlines()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_blocks_of_the_site_run_page_by_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    namespace = {"__name__": "__main__"}
    for block in rst_blocks(page.read_text()):
        exec(compile(block, page.name, "exec"), namespace)
    assert doctest.testfile(str(page), module_relative=False).failed == 0
    assert {p.name for p in tmp_path.iterdir()} <= ASKED_FOR


@pytest.mark.parametrize("name", MODULES)
def test_doctests(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("documented", DOCUMENTED, ids=lambda value: value.__name__)
def test_docstrings_state_the_defaults_of_the_signature(documented):
    text = inspect.getdoc(documented)
    stated = {
        match[1]: match[2]
        for match in re.finditer(
            r"^(\w+) : (?:.|\\\n)*?\n?.*?default=(\S+)\s*$", text.split("Returns\n")[0], re.M
        )
    }
    for parameter in inspect.signature(documented).parameters.values():
        if parameter.default is parameter.empty:
            continue
        default = parameter.default
        shown = f'"{default}"' if isinstance(default, str) else repr(default)
        if isinstance(default, type):
            shown = f"{default.__module__.rpartition('.')[0]}.{default.__name__}"
        assert stated.get(parameter.name) == shown, parameter.name
