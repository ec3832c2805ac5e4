"""A vector as a small picture: what a small network needs to learn from it where things are."""

from jaxtyping import Float
from torch import Tensor, nn

from edu_diffusion.nets.layers import resize

MAP = 8  # the height and width of the small picture


class LayoutMap(nn.Module):
    """A linear map from `width` numbers to `channels` of 8 by 8 places, enlarged to whatever is drawn.

    A vector that is added to the time embedding says the same to all places, and a place of a noisy picture hardly
    knows where it is: so "left" and "above" take a network of this size very long to learn. Here each place is told of
    its own. The papers' large networks do without.
    """

    def __init__(self, width: int, channels: int):
        super().__init__()
        self.channels = channels
        self.places = nn.Linear(width, channels * MAP**2)

    def forward(self, vec: Float[Tensor, "b v"], like: Float[Tensor, "b c h w"]) -> Float[Tensor, "b m h w"]:
        """The channels, of the height, width and precision of `like`."""
        return resize(self.places(vec).unflatten(1, (-1, MAP, MAP)), like.shape[-2:]).to(like.dtype)
