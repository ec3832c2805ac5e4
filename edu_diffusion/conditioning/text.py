"""Text as a condition: words become numbers, and a transformer reads the numbers.

tokenizer = scene_tokenizer()
tokens = tokenizer(["a red star", "一颗红色的星星"])      whole numbers, one row a caption
states, pooled = TextEncoder(tokenizer.size)(tokens)      a vector for each word, and one for the caption
"""

import difflib
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from edu_diffusion.data.captions import split_words, words
from edu_diffusion.nets import Transformer, learned_places

PAD, START, END = 0, 1, 2
SPECIAL = ("<pad>", "<start>", "<end>")
LENGTH = 24

Tokens = Int64[Tensor, "n length"]


class Tokenizer:
    """Captions as rows of whole numbers: start, a number for each word, end, and padding up to `length`.

    `words` is the vocabulary, `split` cuts a text into words. Two languages share one vocabulary, but not one caption.

    Raises: ValueError if a word is given twice, or if there is no room for a word.
    """

    def __init__(self, words: Sequence[str], length: int = LENGTH, split: Callable[[str], list[str]] = str.split):
        if len(set(words)) < len(words):
            raise ValueError(f"each word of the vocabulary must be given once; twice came {_twice(words)!r}")
        if length < 3:
            raise ValueError(f"length must be at least 3 (start, a word, end), got {length}")
        self.words, self.length, self.split = (*SPECIAL, *words), length, split
        self.number = {word: i for i, word in enumerate(self.words)}

    @property
    def size(self) -> int:
        """How many different numbers there are."""
        return len(self.words)

    @property
    def null(self) -> Int64[Tensor, "1 length"]:
        """The caption that says nothing: start, end, padding."""
        return torch.tensor([self._padded([])])

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """The captions' numbers, int64.

        Raises: ValueError for one string in place of a list, for an empty caption, for a word that is not in the
        vocabulary (naming the nearest), for a caption in two languages, and for one that is too long.
        """
        if isinstance(texts, str):
            raise ValueError(f"give a list of captions, even for one: [{texts!r}]")
        rows = [self._padded(self._numbers(text)) for text in texts]
        return torch.tensor(rows, dtype=torch.int64).reshape(len(rows), self.length)

    def text(self, tokens: Tokens) -> list[str]:
        """The captions that these numbers stand for: up to the end, without the special numbers.

        Raises: ValueError if a number is not in 0..size - 1.
        """
        self.check(tokens)
        return [self._joined(row) for row in tokens.tolist()]

    def real(self, tokens: Tokens) -> Bool[Tensor, "n length"]:
        """True where there is more than padding."""
        return real(tokens)

    def check(self, tokens: Tokens) -> None:
        """Refuse rows of numbers that this tokenizer cannot have written.

        Raises: ValueError if a number is not in 0..size - 1, or if a row has no end.
        """
        low, high = (int(value) for value in tokens.aminmax())
        if low < 0 or high >= self.size:
            raise ValueError(f"a token must be in 0..{self.size - 1}, got {low if low < 0 else high}")
        if not (tokens == END).any(1).all():
            raise ValueError("every caption must have an end token: make rows with the tokenizer, do not cut them")

    def _numbers(self, text: str) -> list[int]:
        found = self.split(text.casefold())
        if not found:
            raise ValueError('a caption must have at least one word, got "". For "no caption" there is tokenizer.null')
        unknown = self._first_unknown(found)
        if unknown:
            raise ValueError(f"unknown word {unknown!r} in {text!r}: {self._nearest(unknown)}")
        one, other = next((w for w in found if chinese(w)), None), next((w for w in found if not chinese(w)), None)
        if one and other:
            raise ValueError(f"one language a caption: {one!r} and {other!r} both stand in {text!r}")
        if len(found) > self.length - 2:
            raise ValueError(f"a caption may have {self.length - 2} words, got {len(found)}: {text!r}")
        return [self.number[word] for word in found]

    def _first_unknown(self, found: list[str]) -> str:
        """The first word that is not known, or "". Chinese is not written in words: all signs up to a known one."""
        unknown = ""
        for word in found:
            if word in self.number and word not in SPECIAL:
                if unknown:
                    break
            elif not unknown or (chinese(unknown) and chinese(word)):
                unknown += word
            else:
                break
        return unknown

    def _padded(self, numbers: list[int]) -> list[int]:
        return [START, *numbers, END] + [PAD] * (self.length - 2 - len(numbers))

    def _joined(self, row: list[int]) -> str:
        found = [self.words[i] for i in row[: row.index(END)] if i >= len(SPECIAL)]
        return ("" if found and chinese(found[0]) else " ").join(found)

    def _nearest(self, word: str) -> str:
        """What to tell of an unknown word."""
        known = [each for each in self.words[len(SPECIAL) :] if chinese(each) == chinese(word)]
        near = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
        near = near or [each for each in known if set(each) & set(word)][:3] if chinese(word) else near
        return "did you mean " + " or ".join(map(repr, near)) + "?" if near else f"known are {', '.join(known)}"


def scene_tokenizer(length: int = LENGTH) -> Tokenizer:
    """The tokenizer of the captioned scenes: all words of `data.captions`, in both languages."""
    return Tokenizer(words(), length, split_words)


def real(tokens: Tokens) -> Bool[Tensor, "n length"]:
    """True where there is more than padding."""
    return tokens != PAD


def chinese(word: str) -> bool:
    """Whether a word is written in Chinese characters."""
    return any("\u4e00" <= letter <= "\u9fff" for letter in word)


class TextEncoder(nn.Module):
    """Reads captions: a transformer over the words and their places, in which padding is never looked at.

    `vocabulary` is the tokenizer's `size`, `length` the longest row it may be given. Every word sees every other;
    `causal`, each sees only those before it, and the end token is then the only one that has seen all.

    Source: CLIP (arXiv:2103.00020), section 2.4 (causal there); GLIDE (arXiv:2112.10741), section 4.1.
    """

    def __init__(self, vocabulary: int, *, length: int = LENGTH, width: int = 96, depth: int = 2, causal: bool = False):
        super().__init__()
        self.width, self.length = width, length
        self.embed = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.embed.weight, std=0.02)
        self.where = learned_places(length, width)
        self.body = Transformer(width, depth, causal=causal)
        # A block starts as the identity, and the end token would at first say nothing of the caption. CLIP starts with
        # random layers throughout: so from the first step on there is something to compare.
        for block in self.body.blocks:
            block.out.reset_parameters()
            block.think[-1].reset_parameters()

    def forward(self, tokens: Tokens) -> tuple[Float[Tensor, "n length width"], Float[Tensor, "n width"]]:
        """A vector for each token, and one for each caption: that of its end token. At padding the vectors are 0.

        Raises: ValueError if the rows are longer than `length`.
        """
        if tokens.shape[1] > self.length:
            raise ValueError(f"rows may have {self.length} tokens, got {tokens.shape[1]}: use the tokenizer's length")
        mask = real(tokens)
        states = self.body(self.embed(tokens) + self.where[:, : tokens.shape[1]], mask)
        # At padding there is nothing to say: whoever forgets the mask adds zeros, and not noise.
        states = states * mask[..., None]
        end = (tokens == END).int().argmax(1)
        return states, states[torch.arange(len(tokens), device=tokens.device), end]


def _twice(words: Sequence[str]) -> str:
    return next(word for i, word in enumerate(words) if word in words[:i])
