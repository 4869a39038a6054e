"""What plain speech has no place for, as patterns over a text whose value is masked."""

import regex  # type: ignore[import-untyped]

from services.content.domain.values import MASK
from services.content.domain.words import UNSPACED

_DOUBLE_QUOTES = '"＂“”„‟«»‹›「」『』｢｣《》〈〉﹁﹂〝〞〟'
_SINGLE = "['‘’‚‛＇]"
_BESIDE = rf"[\p{{L}}\p{{M}}\p{{N}}{MASK}]"
# An apostrophe has a letter, or the value, on both sides, or ends a word: "un po'", "the girls' room".
# What ends a word closes a quotation only if something opened it.
_SINGLE_QUOTE = rf"(?<!{_BESIDE}){_SINGLE}|(?<=(?<!{_BESIDE}){_SINGLE}.*){_SINGLE}(?!{_BESIDE})"
QUOTE = regex.compile(rf"[{_DOUBLE_QUOTES}]|{_SINGLE_QUOTE}")

_STAGE_DIRECTION = rf"[(（][^()（）{MASK}]{{0,60}}[)）]"
_NAMED = rf"(?:(?:[\p{{L}}\p{{M}}\p{{N}}'’-]+\s*){{1,5}}:(?=\s|$)|(?:[{UNSPACED}\p{{Hangul}} ]{{1,8}})[:：])"
LABEL = regex.compile(rf"^\s*(?:{_STAGE_DIRECTION}|{_NAMED})\s*")

BULLET = regex.compile(
    r"^\s*(?:[-–—•·‣◦▪●■◆※]+\s+|[•・‣◦▪●■◆※]+|(?:\d{1,2}|[a-z])[.)]\s+|[(（]\d{1,2}[)）]\s*"
    r"|\d{1,2}[、．）]\s*|[一二三四五六七八九十]、\s*|[①-⑳]\s*)"
)
# "1) the kettle 2) the window": points that are counted are a list, wherever they stand.
ENUMERATION = regex.compile(
    r"(?<![\p{L}\p{N}])(?:1(?:[)）、]|\.\s).*(?<![\p{L}\p{N}])2(?:[)）、]|\.\s)|①.*②|一、.*二、|a[)）].*(?<!\p{L})b[)）])"
)

LISTED = regex.compile(rf"{BULLET.pattern}|{ENUMERATION.pattern}")

MARKUP = regex.compile(r"[*_`#~|<>\[\]{}\\【】〔〕]")
EMOJI = regex.compile(r"[\p{Extended_Pictographic}\p{Emoji_Presentation}\p{Regional_Indicator}\uFE0F\u20E3]")
LINE_BREAK = regex.compile(r"[\p{Cc}\p{Zl}\p{Zp}]")
