"""CLIP (Radford et al. 2021, arXiv:2103.00020), on one page.

Two towers. One turns a picture into 64 numbers, the other a caption, both of length 1. In a batch of n pictures and
their captions each picture must find its own caption among all n, and each caption its picture. Nobody names a class.
What comes out is one space for pictures and words, and every later system of the course starts from it.

    clip.image_emb(x), clip.text_emb(tokens)     unit vectors: their dot product says how well the two go together
    clip.text_states(tokens)                     a vector for each word, for the prior of unCLIP
    clip.zero_shot(x, prompts)                   a classifier made of captions
    clip.guide(denoiser, tokens, scale)          GLIDE's CLIP guidance
    freeze(clip); fingerprint(clip)              what is built on it must find it as it was
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from edu_diffusion.conditioning.text import TextEncoder, Tokenizer, scene_tokenizer
from edu_diffusion.diffusion import ClassifierGuided, NoiseSchedule, UniformTimes, cosine, q_sample
from edu_diffusion.diffusion.guidance import LogProb
from edu_diffusion.diffusion.schedule import Times
from edu_diffusion.nets import Residual, TimeEmbedding, group_norm, zeroed
from edu_diffusion.nets.layers import resize
from edu_diffusion.training import bare
from edu_diffusion.types import Batch, Rng, check_pictures

Pictures = Float[Tensor, "n c h w"]
Tokens = Int64[Tensor, "n length"]
Embeddings = Float[Tensor, "n d"]
SIDE, LARGEST, PART = 32, 100.0, 500  # pixels the tower sees; the largest factor; how many are looked at together


class ImageTower(nn.Module):
    """A picture as a vector: convolutions down to a map of 4x4 places, then one linear layer that knows the places.

    Pictures of another size are brought to 32x32 first, larger ones by averaging areas. Squares of 4x4 pixels become
    channels at once: most of the work is then done on few places. With `time` it is told how noisy the picture is.
    """

    def __init__(self, out: int = 64, *, channels: int = 3, widths: tuple[int, int] = (96, 128), time: bool = False):
        super().__init__()
        (wide, wider), self.channels = widths, channels
        self.enter = nn.Conv2d(16 * channels, wide, 3, padding=1)
        self.look = nn.Sequential(Residual(wide), nn.Conv2d(wide, wider, 3, stride=2, padding=1), Residual(wider))
        self.leave = nn.Sequential(group_norm(wider), nn.SiLU(), nn.Flatten(), nn.Linear(wider * (SIDE // 8) ** 2, out))
        tell = nn.Sequential(TimeEmbedding(64), nn.SiLU(), zeroed(nn.Linear(64, wide)))
        self.embed_time = tell if time else None

    def forward(self, x: Pictures, t: Float[Tensor, "n"] | None = None) -> Embeddings:
        """The vectors, of any length. Without t the pictures are clean, which is t = 0.

        Raises: ValueError for another number of channels, or for pictures that are not square.
        """
        if x.shape[1] != self.channels or x.shape[2] != x.shape[3]:
            raise ValueError(f"pictures must be square, of {self.channels} channels, got {tuple(x.shape[1:])}")
        h = self.enter(F.pixel_unshuffle(resize(x, (SIDE, SIDE)), 4))
        if self.embed_time is not None:
            h = h + self.embed_time(x.new_zeros(len(x)) if t is None else t)[..., None, None]
        return self.leave(self.look(h))


class CLIP(nn.Module):
    """The two towers and the temperature.

    Source: CLIP (arXiv:2103.00020), figure 3 and section 2.5: the temperature starts at 0.07; its inverse, the factor
    on all similarities, is learned as a logarithm, and kept at 100 at most.
    """

    def __init__(self, image: ImageTower, text: TextEncoder, out: int = 64, temperature: float = 0.07):
        super().__init__()
        self.image, self.text = image, text
        self.to_emb = nn.Linear(text.width, out, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    @property
    def logit_scale(self) -> Float[Tensor, ""]:
        """One over the temperature, at most 100."""
        return self.log_scale.clamp(max=math.log(LARGEST)).exp()

    def forward(
        self, x: Pictures | None = None, tokens: Tokens | None = None, t: Float[Tensor, "n"] | None = None
    ) -> Float[Tensor, "*both n d"]:
        """The embeddings, of length 1: of pictures, of captions, or of both, stacked in this order."""
        found = [] if x is None else [F.normalize(self.image(x, t).float(), dim=-1)]
        if tokens is not None:
            found.append(F.normalize(self.to_emb(self.text(tokens)[1]).float(), dim=-1))
        return found[0] if len(found) == 1 else torch.stack(found)


def small_clip(tokenizer: Tokenizer | None = None, *, time: bool = False, **options) -> CLIP:
    """CLIP at the course's size: 0.7M parameters look, 0.25M read; the captions are the scenes', if not said else."""
    tokenizer = tokenizer or scene_tokenizer()
    return CLIP(ImageTower(time=time), TextEncoder(tokenizer.size, length=tokenizer.length), **options)


def contrastive_loss(
    image_emb: Embeddings, text_emb: Embeddings, scale: Float[Tensor, ""] | float
) -> Float[Tensor, ""]:
    """Each picture finds its caption, each caption its picture: the mean of two cross-entropies, in nats.

    Row i of both belongs together; `scale` is one over the temperature. Where nothing is known it is log n.

    Source: CLIP (arXiv:2103.00020), figure 3.
    """
    # A factor of up to 100 makes small errors large: no half precision here.
    with torch.autocast(image_emb.device.type, enabled=False):
        logits = scale * image_emb.float() @ text_emb.float().T
    own = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


@dataclass
class ClipRecipe:
    """The recipe: pictures and their captions, a contrastive loss over the batch.

    Every other pair of the batch is a wrong answer, so the batch says how hard the question is: with
    `data.scenes.with_swapped` there are hard ones in it. With `noisy` the pictures are noised to a random time of
    `schedule`, and the image tower is told it: such a CLIP can guide a diffusion model at every step.
    """

    net: CLIP | None = None
    tokenizer: Tokenizer = field(default_factory=scene_tokenizer)
    noisy: bool = False
    schedule: NoiseSchedule = field(default_factory=cosine)

    def __post_init__(self):
        self.net = self.net or small_clip(self.tokenizer, time=self.noisy)
        self.modules: dict[str, nn.Module] = {"net": self.net}
        self.times = UniformTimes(self.schedule.T)

    @property
    def inner(self) -> CLIP:
        """The network itself."""
        return bare(self.modules["net"])

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.inner.log_scale.device

    @property
    def logit_scale(self) -> Float[Tensor, ""]:
        """One over the learned temperature."""
        return self.inner.logit_scale

    def check(self, batch: Batch) -> None:
        """Refuse pictures that are not in [-1, 1], and rows that are no captions.

        Raises: ValueError saying what was given.
        """
        check_pictures(batch.x)
        if batch.y is None or batch.y.ndim != 2:
            raise ValueError("CLIP learns from captions: batch.y must be rows of token numbers, as `Scenes` gives them")
        self.tokenizer.check(batch.y)

    def losses(self, batch: Batch, rng: Rng) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        """One phase: the contrastive loss. Measures how many pictures find their caption, and the factor."""
        with torch.no_grad():  # beyond the clamp there is no gradient: it could never come back
            self.inner.log_scale.clamp_(max=math.log(LARGEST))
        x, t = batch.x, None
        if self.noisy:
            t, _ = self.times.draw(len(batch), rng)
            x = q_sample(self.schedule, x, t, rng.normal_like(x))
            t = t.to(x.device, torch.float32)
        image_emb, text_emb = (everyones(part, rng) for part in self.modules["net"](x, batch.y, t))
        scale = self.inner.logit_scale
        found = (image_emb @ text_emb.T).argmax(1) == torch.arange(len(image_emb), device=x.device)
        loss = contrastive_loss(image_emb, text_emb, scale)
        yield "net", loss, {"found": found.float().mean(), "logit scale": scale}

    @torch.no_grad()
    def image_emb(self, x: Pictures, t: Times = 0) -> Float[Tensor, "n d"]:
        """The pictures' embeddings, of length 1, where CLIP computes. t is told to a CLIP of noisy pictures."""
        return torch.cat([self._look(part.to(self.device), t) for part in x.split(PART)])

    @torch.no_grad()
    def text_emb(self, tokens: Tokens) -> Float[Tensor, "n d"]:
        """The captions' embeddings, of length 1."""
        return torch.cat([self.modules["net"](tokens=part.to(self.device)) for part in tokens.split(PART)])

    @torch.no_grad()
    def text_states(self, tokens: Tokens) -> Float[Tensor, "n length width"]:
        """A vector for each token, 0 at padding: what the text tower thinks before it sums up."""
        return torch.cat([self.inner.text(part.to(self.device))[0].float() for part in tokens.split(PART)])

    def read(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """The embeddings of captions in words.

        Raises: ValueError where the tokenizer does.
        """
        return self.text_emb(self.tokenizer(texts))

    def prompts(self, classes: Sequence[Sequence[str]]) -> Float[Tensor, "k d"]:
        """An embedding for each class: the mean of those of all its captions, brought back to length 1.

        Source: CLIP (arXiv:2103.00020), section 3.1.4, prompt ensembles.
        """
        return torch.stack([F.normalize(self.read(list(texts)).mean(0), dim=0) for texts in classes])

    def zero_shot(
        self, x: Pictures, classes: Sequence[Sequence[str]], mean_of: str = "embeddings"
    ) -> Int64[Tensor, "n"]:
        """The number of the class whose captions fit each picture best; on the CPU.

        A class with several captions is the mean of their "embeddings", one more vector to compare with; or each
        caption is asked, and the mean of their "probabilities" tells. Both take the same captions. The second asks
        more: a class may look very different from caption to caption, and then its mean is near none of them.

        Raises: ValueError if `mean_of` is neither.

        Source: CLIP (arXiv:2103.00020), section 3.1.4, which takes the first, as it costs no more than one caption.
        """
        return self.nearest_class(self.image_emb(x), classes, mean_of)

    def nearest_class(
        self, image_emb: Embeddings, classes: Sequence[Sequence[str]], mean_of: str = "embeddings"
    ) -> Int64[Tensor, "n"]:
        """The same for pictures whose embeddings are known."""
        if mean_of not in ("embeddings", "probabilities"):
            raise ValueError(f'mean_of must be "embeddings" or "probabilities", got {mean_of!r}')
        if mean_of == "embeddings":
            return (image_emb @ self.prompts(classes).T).argmax(1).cpu()
        # exp(scale cos) is a caption's probability up to a factor that all captions of a picture share.
        likely = [self.logit_scale.detach() * image_emb @ self.read(list(texts)).T for texts in classes]
        scores = [part.logsumexp(1) - math.log(part.shape[1]) for part in likely]
        return torch.stack(scores, 1).argmax(1).cpu()

    def log_prob(self, tokens: Tokens) -> LogProb:
        """How well x_t goes with its caption, a function of (x_t, t): what guidance takes the gradient of.

        The dot product of the embeddings times the factor. At the minimum of the loss it is the caption's
        log-probability, up to a term that does not depend on x_t. A CLIP of clean pictures looks at x_t as if it were
        one.

        Source: GLIDE (arXiv:2112.10741), section 2.4.
        """
        wanted, scale = self.text_emb(tokens), self.logit_scale.detach()

        def answer(x_t: Float[Tensor, "n c h w"], t: Times) -> Float[Tensor, "n"]:
            return scale * (self._look(x_t, t) * wanted.to(x_t.device)).sum(1)

        return answer

    def guide(self, denoiser, tokens: Tokens, scale: float = 1.0) -> ClassifierGuided:
        """The denoiser, guided towards captions. Scale 0 is off.

        Raises: ValueError if this CLIP was trained on noise of another schedule than the denoiser's.
        """
        if self.noisy and not torch.equal(denoiser.schedule.alpha_bar, self.schedule.alpha_bar):
            raise ValueError(
                f"this CLIP was trained on the schedule {self.schedule.name!r}, the denoiser on "
                f"{denoiser.schedule.name!r}: at one t they mean different noise. Train it on the denoiser's schedule"
            )
        return ClassifierGuided(denoiser, self.log_prob(tokens), scale)

    def _look(self, x: Pictures, t: Times) -> Float[Tensor, "n d"]:
        times = torch.as_tensor(t, dtype=torch.float32, device=x.device).expand(len(x)) if self.noisy else None
        return self.modules["net"](x, t=times)


def everyones(mine: Embeddings, rng: Rng) -> Embeddings:
    """The embeddings of the whole batch, where several processes hold a part each; gradients flow back to all."""
    if rng.world == 1:
        return mine
    from torch.distributed.nn.functional import all_gather

    return torch.cat(all_gather(mine.contiguous()))


def freeze(clip: ClipRecipe) -> ClipRecipe:
    """The same CLIP, in evaluation mode, with weights that no training can change. Changes it in place."""
    clip.inner.eval().requires_grad_(False)
    return clip


def fingerprint(clip: ClipRecipe | CLIP) -> str:
    """SHA-256 of all weights: equal for the same weights, whatever device they are on."""
    digest = hashlib.sha256()
    for name, value in sorted((clip.inner if isinstance(clip, ClipRecipe) else clip).state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def check_same(clip: ClipRecipe | CLIP, expected: str) -> None:
    """Refuse a CLIP that is not the one that something was trained with, by its fingerprint.

    Raises: ValueError if its weights are others.
    """
    if (given := fingerprint(clip)) != expected:
        raise ValueError(
            f"this CLIP (fingerprint {given[:12]}) is not the one that the model was trained with ({expected[:12]}): "
            "its embeddings mean something else. Use that CLIP, or train the model again with this one"
        )
