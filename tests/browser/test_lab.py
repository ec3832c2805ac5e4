"""Lessons in JupyterLab: they run from top to bottom, a slider moves its picture, and what is typed is drawn."""

from sliders import IN_SIGHT, shown_picture

PANEL = ".jp-NotebookPanel:not(.lm-mod-hidden)"
KERNEL_READY = """async () => {
  const context = window.jupyterapp.shell.currentWidget?.sessionContext;
  if (!context) return false;
  await context.ready;
  return context.session?.kernel?.status === 'idle';
}"""
EVERY_CELL_RAN = """() => {
  const cells = window.jupyterapp.shell.currentWidget.content.widgets.filter(cell => cell.model.type === 'code');
  return cells.every(cell => cell.model.executionCount || !cell.model.sharedModel.source.trim());
}"""
ERRORS = """() => window.jupyterapp.shell.currentWidget.content.widgets
  .filter(cell => cell.model.type === 'code')
  .flatMap(cell => cell.model.outputs.toJSON())
  .filter(output => output.output_type === 'error').map(output => output.ename + ': ' + output.evalue)"""


def run_from_top(page, lab: str, name: str) -> None:
    """Open a lesson, and run all its cells in a fresh kernel; none may fail."""
    page.goto(f"{lab}/lab/tree/notebooks/{name}.ipynb?reset", wait_until="domcontentloaded")
    page.wait_for_selector(f"{PANEL} .jp-Cell")
    page.wait_for_function(KERNEL_READY)
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_function(EVERY_CELL_RAN, timeout=5 * 60_000)
    page.wait_for_function(KERNEL_READY)
    assert page.evaluate(ERRORS) == []


def test_the_noise_schedule_moves_in_jupyterlab(lab, page):
    run_from_top(page, lab, "06_forward_diffusion")
    handle = page.locator(f"{PANEL} .noUi-handle").first
    handle.scroll_into_view_if_needed()
    handle.wait_for()
    before = shown_picture(page, handle)
    handle.press("ArrowRight")
    page.wait_for_timeout(500)
    after = shown_picture(page, handle)
    assert before["alt"] and after["alt"]
    assert before["src"] != after["src"], "the slider moved and the picture stayed the same"


def test_what_is_typed_is_drawn_in_jupyterlab(lab, page):
    run_from_top(page, lab, "00_start_here")
    box = page.locator(f"{PANEL} .widget-text input").first
    box.scroll_into_view_if_needed()
    element, seen = box.element_handle(), [shown_picture(page, box)]
    for caption in ("a blue circle", "一个绿色的圆环"):
        box.fill(caption)
        box.press("Enter")
        page.wait_for_function(f"box => ({IN_SIGHT})(box)?.alt.includes('{caption}')", arg=element)
        seen.append(shown_picture(page, box))
    assert len({picture["src"] for picture in seen}) == 3, "another caption, and the same picture"
    box.fill("a cat")
    box.press("Enter")
    page.get_by_text("unknown word 'cat'").first.wait_for()
