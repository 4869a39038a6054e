"""Draws the comparison: one panel for each plan and load, one bar for each policy."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

BARS: Final = {
    "decayed_rate": "#1b6ca8",
    "lru": "#a0a0a0",
    "lfu": "#949494",
    "sieve": "#888888",
    "tinylfu": "#7c7c7c",
    "lru_token_bucket": "#707070",
}
COLUMNS: Final = 3
WIDTH, HEIGHT, MARGIN, TOP = 420, 260, 24, 64
INK, FAINT, LIMIT = "#222222", "#dddddd", "#c0392b"


@dataclass(frozen=True, slots=True)
class Row:
    policy: str
    slots: int
    adds: int
    users: int
    share: float
    static_best: float
    upper_bound: float


def draw(rows: list[Row], path: Path) -> None:
    panels: dict[tuple[int, int, int], list[Row]] = {}
    for row in rows:
        panels.setdefault((row.slots, row.adds, row.users), []).append(row)
    lines = -(-len(panels) // COLUMNS)
    image = Image.new("RGB", (COLUMNS * WIDTH, TOP + lines * HEIGHT), "white")
    pen = ImageDraw.Draw(image)
    title = "Share of performances served by the provider's clones, in the first 30 days"
    pen.text((MARGIN, 10), title, fill=INK, font=ImageFont.load_default(18))
    legend = "dashed: the busiest users hold the places throughout    red: no schedule serves more"
    pen.text((MARGIN, 38), legend, fill=INK, font=ImageFont.load_default(13))
    for place, panel in enumerate(panels.values()):
        _panel(pen, panel, place % COLUMNS * WIDTH, TOP + place // COLUMNS * HEIGHT)
    image.save(path, optimize=True)


def _panel(pen: ImageDraw.ImageDraw, panel: list[Row], left: int, top: int) -> None:
    small = ImageFont.load_default(11)
    first = panel[0]
    title = f"{first.slots} places, {first.adds} adds, {first.users} users"
    pen.text((left + MARGIN, top), title, fill=INK, font=ImageFont.load_default(14))
    floor, tall = top + HEIGHT - 58, HEIGHT - 90
    wide = (WIDTH - 2 * MARGIN) // len(panel)
    pen.line((left + MARGIN, floor, left + WIDTH - MARGIN, floor), fill=FAINT)
    for place, row in enumerate(panel):
        x = left + MARGIN + place * wide
        height = round(row.share * tall)
        pen.rectangle((x + 5, floor - height, x + wide - 5, floor), fill=BARS[row.policy])
        pen.text((x + wide / 2, floor - 16), f"{row.share:.3f}", "white", small, anchor="ma")
        pen.text((x + wide / 2, floor + 4), row.policy.replace("_", "\n"), INK, small, anchor="ma")
    for x in range(left + MARGIN, left + WIDTH - MARGIN, 10):
        level = floor - round(first.static_best * tall)
        pen.line((x, level, x + 5, level), fill=INK)
    limit = floor - round(first.upper_bound * tall)
    pen.line((left + MARGIN, limit, left + WIDTH - MARGIN, limit), fill=LIMIT)
