"""Entries whose training begins at another entry's trained weights."""

from edu_diffusion.systems.glide import Glide, GlideInpaint


def reading_as_clip(name: str = "clip-scenes") -> Glide:
    """A GLIDE with a trained CLIP's text tower, which learns on; all else is new.

    Raises: FileNotFoundError, saying how to train it, if that one is not there yet.
    """
    from edu_diffusion.zoo.loading import load

    return Glide.from_clip(load(name, "cpu"), learn_text=True)


def tuned_to_inpaint(name: str = "glide-32") -> GlideInpaint:
    """An inpainting GLIDE that has all of a trained GLIDE's weights, and its new channels at 0.

    Raises: FileNotFoundError, saying how to train it, if that one is not there yet.
    """
    from edu_diffusion.zoo.loading import load  # which knows the entries, and they know how each is built

    glide: Glide = load(name, "cpu")
    return GlideInpaint.from_glide(glide)
