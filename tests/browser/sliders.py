"""Finding the picture that a slider moves, as a reader's eye does: the one in sight in the slider's own widget."""

IN_SIGHT = """handle => {
  let box = handle;
  while (box && !box.querySelector('img')) box = box.parentElement;
  const seen = [...box.querySelectorAll('img')].filter(img => img.checkVisibility() && img.width > 0);
  return seen.length ? {src: seen[0].src, alt: seen[0].alt} : null;
}"""


def shown_picture(page, handle) -> dict:
    """Source and alt text of the picture beside the slider; waits until one is in sight."""
    element = handle.element_handle()
    return page.wait_for_function(IN_SIGHT, arg=element).json_value()
