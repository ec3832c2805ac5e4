"""The two languages of the captions, as data: words for each name of the world, and the sentences they stand in.

The order within each tuple is that of the random choice, so changing anything here changes what captions are drawn.
"""

from dataclasses import replace

from edu_diffusion.data.grammar import Language
from edu_diffusion.data.world import COLOURS, GROUNDS, SHAPES

ENGLISH = Language(
    shape={shape: (f"a {{how}} {shape}", f"one {{how}} {shape}", f"{{how}} {shape}") for shape in SHAPES},
    how=("{colour}", "{size} {colour}"),
    names={
        "colour": {colour: (colour,) for colour in COLOURS},
        "size": {"small": ("small", "little"), "large": ("large", "big")},
        "place": {
            "centre": ("in the centre", "in the middle"),
            "left": ("on the left", "at the left"),
            "right": ("on the right", "at the right"),
            "top": ("at the top",),
            "bottom": ("at the bottom",),
        },
        "ground": {ground: (ground,) for ground in GROUNDS},
    },
    one=(
        "{A}",
        "there is {A}",
        "a picture of {A}",
        "{A} {place}",
        "{A} is {place}",
        "there is {A} {place}",
        "{place} is {A}",
    ),
    two={
        "left of": (
            "{A} left of {B}",
            "{A} to the left of {B}",
            "{A} is to the left of {B}",
            "a picture of {A} left of {B}",
            "{B} right of {A}",
            "{B} to the right of {A}",
            "{B} is to the right of {A}",
            "{A} on the left and {B} on the right",
            "on the right {B} and on the left {A}",
        ),
        "above": (
            "{A} above {B}",
            "{A} is above {B}",
            "a picture of {A} above {B}",
            "{A} over {B}",
            "{B} below {A}",
            "{B} is below {A}",
            "{B} under {A}",
            "{A} at the top and {B} at the bottom",
            "at the bottom {B} and at the top {A}",
        ),
    },
    ground=(
        "{core} on a {ground} ground",
        "{core} on {ground}",
        "{core} against a {ground} background",
        "on a {ground} background, {core}",
    ),
    whole="a picture",
    join=" ",
)

# 颗 counts stars and hearts, 个 the rest. 圆, of one syllable, wants 的 or a size before it: {short}, not every {how}.
CHINESE = Language(
    shape={
        "circle": ("一个 {how} 圆形", "一个 {short} 圆"),
        "square": ("一个 {how} 正方形", "一个 {how} 方形"),
        "triangle": ("一个 {how} 三角形",),
        "star": ("一颗 {how} 星星", "一颗 {how} 五角星"),
        "heart": ("一颗 {how} 爱心", "一个 {how} 心形"),
        "ring": ("一个 {how} 圆环",),
        "cross": ("一个 {how} 十字", "一个 {how} 十字形"),
        "diamond": ("一个 {how} 菱形",),
    },
    how=("{colour} 的", "{colour}", "{colour} 的 {size}", "{very} 的 {colour}"),
    names={
        "colour": {
            "red": ("红色",),
            "orange": ("橙色",),
            "yellow": ("黄色",),
            "green": ("绿色",),
            "cyan": ("青色",),
            "blue": ("蓝色",),
            "purple": ("紫色",),
            "pink": ("粉色",),
        },
        "size": {"small": ("小",), "large": ("大",)},
        "very": {"small": ("小 小",), "large": ("大 大",)},
        "place": {
            "centre": ("正中间", "中央"),
            "left": ("左边", "左侧"),
            "right": ("右边", "右侧"),
            "top": ("上方", "上面"),
            "bottom": ("下方", "下面"),
        },
        "ground": {"black": ("黑色",), "grey": ("灰色",), "white": ("白色",)},
    },
    one=(
        "{A}",
        "有 {A}",
        "画面 中 有 {A}",
        "{A} 在 {place}",
        "{place} 有 {A}",
        "{place} 是 {A}",
        "画面 {place} 有 {A}",
    ),
    two={
        "left of": (
            "{A} 在 {B} 的 左边",
            "{A} 在 {B} 左侧",
            "{B} 在 {A} 的 右边",
            "{B} 在 {A} 右侧",
            "画面 中 {A} 在 {B} 的 左边",
            "左边 是 {A}， 右边 是 {B}",
            "{B} 在 右边， {A} 在 左边",
        ),
        "above": (
            "{A} 在 {B} 的 上面",
            "{A} 在 {B} 上方",
            "{B} 在 {A} 的 下面",
            "{B} 在 {A} 下方",
            "画面 中 {A} 在 {B} 的 上面",
            "上面 是 {A}， 下面 是 {B}",
            "{B} 在 下面， {A} 在 上面",
        ),
    },
    ground=(
        "{ground} 背景 上， {core}",
        "{ground} 的 背景 上， {core}",
        "{core}， 背景 是 {ground} 的",
        "{core}， {ground} 背景",
    ),
    whole="画面",
    join="",
)

LANGUAGES = {"en": ENGLISH, "zh": CHINESE}

# What moves stays where it is in the caption: these say one thing, its direction and its speed.
MOVING = {
    "en": replace(
        ENGLISH,
        names=ENGLISH.names
        | {
            "direction": {
                "left": ("to the left", "left"),
                "right": ("to the right", "right"),
                "up": ("up", "upwards"),
                "down": ("down", "downwards"),
                "up left": ("up and to the left",),
                "up right": ("up and to the right",),
                "down left": ("down and to the left",),
                "down right": ("down and to the right",),
            },
            "speed": {"slow": ("slowly",), "fast": ("quickly", "fast")},
        },
        one=(
            "{A} moves {direction}",
            "{A} moving {direction}",
            "{A} is moving {direction}",
            "{A} moves {direction} {speed}",
            "{A} moving {direction} {speed}",
            "{A} is moving {speed} {direction}",
        ),
        two={},
    ),
    "zh": replace(
        CHINESE,
        names=CHINESE.names
        | {
            "direction": {
                "left": ("左",),
                "right": ("右",),
                "up": ("上",),
                "down": ("下",),
                "up left": ("左上方",),
                "up right": ("右上方",),
                "down left": ("左下方",),
                "down right": ("右下方",),
            },
            "speed": {"slow": ("慢慢 地", "缓慢 地"), "fast": ("快速 地", "飞快 地")},
        },
        one=(
            "{A} 向 {direction} 移动",
            "{A} 往 {direction} 移动",
            "画面 中 {A} 正 向 {direction} 移动",
            "{A} {speed} 向 {direction} 移动",
            "{A} 正 {speed} 往 {direction} 移动",
            "画面 中 {A} {speed} 向 {direction} 移动",
        ),
        two={},
    ),
}
