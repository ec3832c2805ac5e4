"""The course as a site: the executed notebooks, a glossary, the notation, and the package's pages. Builds offline."""

import sys
import tomllib
from pathlib import Path

BOOK = Path(__file__).resolve().parent
sys.path[:0] = [str(BOOK / "_ext"), str(BOOK.parent / "tools"), str(BOOK.parent)]

from address import address  # noqa: E402

project = "edu_diffusion"
author = "edu_diffusion contributors"
copyright = "edu_diffusion contributors. Text and notebooks: CC BY 4.0; code: MIT"
release = tomllib.loads((BOOK.parent / "pyproject.toml").read_text())["project"]["version"]
language = "en"

extensions = ["myst_nb", "sphinx_design", "sphinx_copybutton", "made_pages", "lesson_links"]

# The notebooks carry their outputs; the book shows those and runs nothing.
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["amsmath", "deflist", "dollarmath"]
myst_heading_anchors = 3

# Scripts that pages would load from the net are vendored, so that widgets and formulas work with no network.
mathjax_path = "vendor/tex-svg-full.js"
nb_ipywidgets_js = {"vendor/require.js": {}, "vendor/embed-amd.js": {}}

html_theme = "sphinx_book_theme"
html_title = "edu_diffusion"
html_static_path = ["_static"]
html_css_files = ["course.css"]
html_js_files = [("course.js", {"defer": "defer", "priority": 600})]  # after MathJax
html_theme_options = {
    "use_download_button": True,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
    "home_page_in_toc": False,
    "navigation_with_keys": False,  # the arrow keys belong to the sliders
}
if address():
    html_theme_options |= {"repository_url": address(), "use_repository_button": True, "use_issues_button": True}
add_module_names = False
toc_object_entries_show_parents = "hide"
copybutton_prompt_text = r"\$ |>>> "
