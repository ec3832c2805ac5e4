"""The tokenizer's round trip and its errors; what the text encoder may and may not see."""

import pytest
import torch

from edu_diffusion.conditioning import TextEncoder, Tokenizer, scene_tokenizer
from edu_diffusion.conditioning.text import END, PAD, START

WORDS = ("a", "red", "star", "blue", "ring", "above", "红色", "的", "星星", "一颗")


def split(text: str) -> list[str]:
    """English at spaces; Chinese, for these tests, at bars."""
    return text.replace("|", " ").split()


@pytest.fixture
def tokenizer():
    return Tokenizer(WORDS, 8, split)


class TestTokenizer:
    def test_start_words_end_padding(self, tokenizer):
        (row,) = tokenizer(["a red star"]).tolist()
        assert row == [START, 3, 4, 5, END, PAD, PAD, PAD]
        assert tokenizer(["a red star", "red"]).dtype == torch.int64

    def test_round_trip(self, tokenizer):
        texts = ["a red star above a ring", "ring", "一颗|红色|的|星星"]
        assert tokenizer.text(tokenizer(texts)) == [*texts[:2], "一颗红色的星星"]

    def test_capitals_do_not_matter(self, tokenizer):
        assert tokenizer(["A Red star"]).equal(tokenizer(["a red star"]))

    def test_the_null_caption_says_nothing(self, tokenizer):
        assert tokenizer.null.tolist() == [[START, END] + [PAD] * 6]
        assert tokenizer.text(tokenizer.null) == [""]

    def test_no_captions_are_no_rows(self, tokenizer):
        assert tokenizer([]).shape == (0, 8)

    def test_what_is_real(self, tokenizer):
        assert tokenizer.real(tokenizer(["a ring"])).tolist() == [[True] * 4 + [False] * 4]

    @pytest.mark.parametrize("empty", ["", "   "])
    def test_an_empty_caption(self, tokenizer, empty):
        with pytest.raises(ValueError, match=r"at least one word.*tokenizer\.null"):
            tokenizer(["a star", empty])

    @pytest.mark.parametrize(
        ("text", "near"),
        [("a rad star", "did you mean 'red'"), ("绿色", "did you mean '红色'"), ("qqqq", "known are a, red, star")],
    )
    def test_an_unknown_word_and_the_nearest(self, tokenizer, text, near):
        with pytest.raises(ValueError, match=near):
            tokenizer([text])

    @pytest.mark.parametrize(
        ("text", "named"), [("一只猫", "一只猫"), ("红色的猫在左边", "猫"), ("red cat dog", "cat")]
    )
    def test_an_unknown_word_is_named_whole(self, text, named):
        with pytest.raises(ValueError, match=f"unknown word '{named}' in"):
            scene_tokenizer()([text])

    def test_a_special_word_is_no_word(self, tokenizer):
        with pytest.raises(ValueError, match="unknown word '<end>'"):
            tokenizer(["a <end> star"])

    def test_two_languages_in_one_caption(self, tokenizer):
        with pytest.raises(ValueError, match="one language a caption: '红色' and 'a'"):
            tokenizer(["a 红色 star"])

    def test_a_caption_that_is_too_long(self, tokenizer):
        tokenizer(["a " * 6])
        with pytest.raises(ValueError, match="may have 6 words, got 7"):
            tokenizer(["a " * 7])

    def test_one_string_is_no_list(self, tokenizer):
        with pytest.raises(ValueError, match="list of captions"):
            tokenizer.__call__.__wrapped__(tokenizer, "a star")  # without the type check of the tests

    def test_numbers_that_it_cannot_have_written(self, tokenizer):
        rows = tokenizer(["a star"])
        with pytest.raises(ValueError, match=r"0\.\.12, got 99"):
            tokenizer.text(rows + 96 * (rows == 3))
        with pytest.raises(ValueError, match="end token"):
            tokenizer.text(rows[:, :3])

    def test_a_vocabulary_with_a_word_twice(self):
        with pytest.raises(ValueError, match="twice came 'red'"):
            Tokenizer(("red", "star", "red"))
        with pytest.raises(ValueError, match="at least 3"):
            Tokenizer(WORDS, 2)


class TestScenes:
    def test_every_word_goes_there_and_back(self):
        from edu_diffusion.data.captions import words

        tokenizer = scene_tokenizer()
        every = list(words())
        assert tokenizer.text(tokenizer(every)) == every
        assert tokenizer.size == len(every) + 3

    def test_captions_of_both_languages_fit(self):
        from edu_diffusion.data.captions import full_caption, split_words
        from edu_diffusion.data.scenes import scene_of

        tokenizer = scene_tokenizer()
        for language in ("en", "zh"):
            texts = [full_caption(scene_of(i), language) for i in range(200)]
            back = tokenizer.text(tokenizer(texts))
            assert [split_words(text) for text in back] == [split_words(text) for text in texts]


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return TextEncoder(13, length=8, width=32, depth=2).eval()


class TestTextEncoder:
    def test_a_vector_for_each_word_and_one_for_the_caption(self, encoder, tokenizer):
        states, pooled = encoder(tokenizer(["a red star", "ring", "a star above a ring"]))
        assert states.shape == (3, 8, 32) and pooled.shape == (3, 32)
        assert pooled.equal(torch.stack([states[0, 4], states[1, 2], states[2, 6]]))

    def test_padding_is_neither_seen_nor_said(self, encoder, tokenizer):
        rows = tokenizer(["a red star"])
        states, pooled = encoder(rows)
        shorter, same = encoder(rows[:, :5])
        torch.testing.assert_close(pooled, same)
        torch.testing.assert_close(states[:, :5], shorter)
        assert states[:, 5:].eq(0).all()

    def test_as_built_a_caption_says_something_already(self, encoder, tokenizer):
        _, pooled = encoder(tokenizer(["a red star", "a blue star", "red a star"]))
        assert torch.pdist(pooled).min() > 1e-3

    def test_causal_words_do_not_see_what_comes_after(self, tokenizer):
        torch.manual_seed(0)
        net = TextEncoder(13, length=8, width=32, causal=True)
        one, other = net(tokenizer(["a red star", "a red ring"]))[0]
        torch.testing.assert_close(one[:3], other[:3])
        assert (one[4] - other[4]).abs().max() > 1e-3

    def test_the_null_caption_has_a_vector_too(self, encoder, tokenizer):
        states, pooled = encoder(tokenizer.null)
        assert pooled.isfinite().all() and pooled.equal(states[:, 1])

    def test_rows_that_are_too_long(self, encoder):
        with pytest.raises(ValueError, match="may have 8 tokens, got 9"):
            encoder(torch.ones(1, 9, dtype=torch.int64))
