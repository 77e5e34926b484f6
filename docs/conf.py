"""Configuration of the Sphinx site."""

import os
import re
import sys
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import skensemble  # noqa: E402

CHANGELOG = str(HERE.parent / "CHANGELOG.md")

project = "skensemble"
author = "the skensemble developers"
copyright = author
version = release = skensemble.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
smartquotes = False  # quotes are those of code
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]

# -- Python objects ------------------------------------------------------------------------------

autosummary_generate = True
autodoc_typehints = "none"  # the docstrings say it
autodoc_preserve_defaults = True
toc_object_entries_show_parents = "hide"
# Methods are listed by _templates/autosummary/class.rst.
numpydoc_show_class_members = False

# The inventories of other projects are on the network, which a build does without unless asked.
if os.environ.get("DOCS_ONLINE"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
        "skorch": ("https://skorch.readthedocs.io/en/stable", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
    }

# -- Gallery -------------------------------------------------------------------------------------

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"\.py$",  # all are run
    "within_subsection_order": "gallery_order.first_things_first",
    "default_thumb_file": str(HERE / "_static" / "thumbnail.png"),
    "doc_module": ("skensemble",),
    "backreferences_dir": "generated/backreferences",
    "reference_url": {"skensemble": None},
    "image_srcset": ["2x"],
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
    "download_all_examples": False,
}

# -- HTML ----------------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = "skensemble"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_logo = html_favicon = "_static/logo.svg"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "skensemble"},
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 7,  # what fits into a line at 1280 pixels
    "header_dropdown_text": "More",
    "show_toc_level": 2,
    "footer_start": [],
    "footer_end": ["sphinx-version"],
}
# Pages of a section have the others beside them; these stand alone.
ALONE = ("install", "faq", "coming_from", "errors", "cluster", "changelog", "search", "genindex")
html_sidebars = dict.fromkeys(ALONE, ())
html_math_renderer = "mathml"

# -- Formulas, docstrings and changelog ----------------------------------------------------------


def visit_math(translator, node):
    """A formula as MathML, which browsers show without a script from elsewhere."""
    translator.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def visit_math_block(translator, node):
    """The same for a formula on a line of its own."""
    formula = tex2mathml(node.astext(), as_block=True)
    translator.body.append(f'<div class="formula">{formula}</div>')
    raise nodes.SkipNode


#: What reStructuredText would read in docstrings, and should not.
PLAIN = [
    # References of scikit-learn's own docstrings to its glossary and guide: the words stay.
    (re.compile(r":(?:ref|term):`([^`<]+?)\s*(?:<[^`>]*>)?`"), r"\1"),
]


def as_plain_text(app, what, name, obj, options, lines):
    """Change docstrings by PLAIN."""
    for pattern, replacement in PLAIN:
        lines[:] = [pattern.sub(replacement, line) for line in lines]


def from_markdown(text):
    """The little Markdown that CHANGELOG.md needs, as reStructuredText; its title is left out."""
    text = re.sub(r"^# .*\n", "", text)
    text = re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", text)
    text = re.sub(r"(?<!\!)\[([^\]]+)\]\(([^)]+)\)", r"`\1 <\2>`__", text)
    for mark, line in (("## ", "-"), ("### ", "~")):
        text = re.sub(
            rf"^{mark}(.+)$",
            lambda match, line=line: f"{match[1]}\n{line * len(match[1])}",
            text,
            flags=re.MULTILINE,
        )
    return text


def read_changelog(app, docname, source):
    """The page of the changelog is the repository's file."""
    if docname == "changelog":
        app.env.note_dependency(CHANGELOG)
        source[0] += "\n" + from_markdown(Path(CHANGELOG).read_text(encoding="utf-8"))


def setup(app):
    app.connect("source-read", read_changelog)
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    app.connect("autodoc-process-docstring", as_plain_text)
