"""Lesson 06 in JupyterLab: it runs from top to bottom, and the noise-schedule slider moves the picture."""

from sliders import shown_picture

NOTEBOOK = "notebooks/06_forward_diffusion.ipynb"
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


def test_the_noise_schedule_moves_in_jupyterlab(lab, page):
    page.goto(f"{lab}/lab/tree/{NOTEBOOK}?reset", wait_until="domcontentloaded")
    page.wait_for_selector(f"{PANEL} .jp-Cell")
    page.wait_for_function(KERNEL_READY)
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_function(EVERY_CELL_RAN, timeout=5 * 60_000)
    page.wait_for_function(KERNEL_READY)
    assert page.evaluate(ERRORS) == []
    handle = page.locator(f"{PANEL} .noUi-handle").first
    handle.scroll_into_view_if_needed()
    handle.wait_for()
    before = shown_picture(page, handle)
    handle.press("ArrowRight")
    page.wait_for_timeout(500)
    after = shown_picture(page, handle)
    assert before["alt"] and after["alt"]
    assert before["src"] != after["src"], "the slider moved and the picture stayed the same"
