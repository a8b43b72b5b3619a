"""The demo's picture: a shop window with a bag that moves on a known path. Drawn with numpy.

`bag_box` is the one definition of the motion: the picture draws it and the demo's hotspot
follows it, so both agree at every moment of wall-clock time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from media import blockcode

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH, HEIGHT = 1280, 720
PERIOD_S = 24.0
_BAG = 200
"""Side of the bag's square in pixels."""
_TEXT_LEFT, _TEXT_TOP = 56, 612


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle in fractions of the picture, 0..1, top left first."""

    x: float
    y: float
    width: float
    height: float


def bag_box(utc_ms: float) -> Box:
    """Where the bag is at this moment of wall-clock time."""
    phase = 2 * math.pi * (utc_ms / 1000 % PERIOD_S) / PERIOD_S
    width, height = _BAG / WIDTH, _BAG / HEIGHT
    centre_x = 0.5 + 0.32 * math.sin(phase)
    centre_y = 0.46 + 0.13 * math.sin(2 * phase)
    return Box(x=centre_x - width / 2, y=centre_y - height / 2, width=width, height=height)


class Picture:
    """Draws frames as yuv420p (BT.709, limited range); the arrays are reused."""

    def __init__(self) -> None:
        self._background = _background()
        sprite, alpha = _bag()
        self._sprite = [plane.astype(np.uint16) for plane in _planes(_to_yuv(sprite), _BAG, _BAG)]
        weight = np.round(alpha * 256).astype(np.uint16)
        half = weight.reshape(_BAG // 2, 2, _BAG // 2, 2).mean(axis=(1, 3)).astype(np.uint16)
        self._alpha = [weight, half, half]
        plate = int(self._background[_TEXT_TOP, _TEXT_LEFT])
        self._glyphs = {char: _glyph(char, plate) for char in _FONT}

    def draw(self, utc_ms: int, frame: int) -> NDArray[np.uint8]:
        """Return the picture of this moment, shape (HEIGHT * 3 / 2, WIDTH)."""
        yuv = self._background.copy()
        planes = _planes(yuv, WIDTH, HEIGHT)
        box = bag_box(utc_ms)
        # Even positions, so that chroma moves with luma.
        left, top = (round(box.x * WIDTH) // 2 * 2, round(box.y * HEIGHT) // 2 * 2)
        for number, plane in enumerate(planes):
            step = 1 if number == 0 else 2
            size = _BAG // step
            patch = plane[top // step : top // step + size, left // step : left // step + size]
            alpha = self._alpha[number]
            patch[:] = (patch * (256 - alpha) + self._sprite[number] * alpha) >> 8
        moment = datetime.fromtimestamp(utc_ms / 1000, UTC)
        self._text(
            planes[0],
            _TEXT_LEFT,
            _TEXT_TOP,
            moment.strftime("%H:%M:%S.") + f"{utc_ms % 1000:03d} UTC",
        )
        self._text(planes[0], _TEXT_LEFT, _TEXT_TOP + 42, f"FRAME {frame:07d}")
        blockcode.draw(planes[0], blockcode.Stamp(utc_ms=utc_ms, frame=frame & 0xFFFF))
        return yuv

    def _text(self, luma: NDArray[np.uint8], left: int, top: int, text: str) -> None:
        for char in text:
            glyph = self._glyphs[char]
            luma[top : top + glyph.shape[0], left : left + glyph.shape[1]] = glyph
            left += glyph.shape[1]


# Shapes are coverage masks in 0..1 with one pixel of anti-aliasing.


def _grid(width: int, height: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    y, x = np.ogrid[0:height, 0:width]
    return x + 0.5, y + 0.5


def _rounded(
    grid: tuple[NDArray[np.float64], NDArray[np.float64]],
    left: float,
    top: float,
    right: float,
    bottom: float,
    radius: float,
    soft: float = 1.0,
) -> NDArray[np.float64]:
    x, y = grid
    dx = np.abs(x - (left + right) / 2) - (right - left) / 2 + radius
    dy = np.abs(y - (top + bottom) / 2) - (bottom - top) / 2 + radius
    outside: NDArray[np.float64] = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0)) + np.minimum(
        np.maximum(dx, dy), 0
    )
    mask: NDArray[np.float64] = np.clip((radius - outside) / soft + 0.5, 0, 1)
    return mask


def _ellipse(
    grid: tuple[NDArray[np.float64], NDArray[np.float64]],
    x: float,
    y: float,
    width: float,
    height: float,
    soft: float = 1.0,
) -> NDArray[np.float64]:
    distance = np.hypot((grid[0] - x) / width, (grid[1] - y) / height)
    mask: NDArray[np.float64] = np.clip((1 - distance) * min(width, height) / soft + 0.5, 0, 1)
    return mask


def _paint(
    rgb: NDArray[np.float64], mask: NDArray[np.float64], colour: tuple[int, int, int]
) -> None:
    rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    area = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    rgb[area] += mask[area][..., None] * (np.array(colour, np.float64) - rgb[area])


@cache
def _background() -> NDArray[np.uint8]:
    """Paint once a process: it takes longer than a reconnect should."""
    return _to_yuv(_window())


def _window() -> NDArray[np.float64]:
    """Paint the background once: a warm wall, two shelves with goods, a plate for the text."""
    grid = _grid(WIDTH, HEIGHT)
    x, y = grid
    top, bottom = np.array([247, 240, 230.0]), np.array([222, 205, 188.0])
    rgb = np.repeat(top + (y / HEIGHT)[..., None] * (bottom - top), WIDTH, axis=1)
    light = np.exp(-(((x - 640) / 520) ** 2 + ((y - 300) / 330) ** 2))
    rgb += light[..., None] * np.array([10, 9, 6.0]) - 6
    for shelf in (300, 560):
        _paint(rgb, 0.35 * _rounded(grid, 60, shelf + 6, 1220, shelf + 40, 12, 22), (90, 66, 48))
        _paint(rgb, _rounded(grid, 50, shelf, 1230, shelf + 18, 5), (158, 112, 76))
        _paint(rgb, _rounded(grid, 50, shelf, 1230, shelf + 6, 3), (186, 138, 98))
    _upper_shelf(rgb, grid, 300)
    _lower_shelf(rgb, grid, 560)
    _paint(rgb, 0.85 * _rounded(grid, 36, 594, 480, 702, 14), (30, 32, 38))
    painted: NDArray[np.float64] = rgb.clip(0, 255)
    return painted


def _upper_shelf(
    rgb: NDArray[np.float64],
    grid: tuple[NDArray[np.float64], NDArray[np.float64]],
    base: float,
) -> None:
    # A vase with leaves, a stack of books, a lamp.
    for lean, tip in ((-34, 96), (0, 70), (32, 100)):
        _paint(rgb, _ellipse(grid, 170 + lean, base - 150, 15, tip / 2), (94, 132, 92))
    _paint(rgb, _ellipse(grid, 170, base - 56, 46, 56), (66, 104, 128))
    _paint(rgb, _rounded(grid, 152, base - 128, 188, base - 80, 8), (66, 104, 128))
    _paint(rgb, 0.35 * _ellipse(grid, 152, base - 66, 10, 30, 8), (255, 255, 255))
    for number, colour in enumerate([(176, 62, 62), (232, 186, 88), (70, 92, 112)]):
        low = base - number * 26
        inset = number * 8
        _paint(rgb, _rounded(grid, 560 + inset, low - 26, 730 - inset, low, 5), colour)
    _paint(rgb, 0.25 * _ellipse(grid, 1090, base - 70, 150, 110, 90), (255, 236, 180))
    _paint(rgb, _rounded(grid, 1083, base - 120, 1097, base - 8, 4), (96, 84, 76))
    _paint(rgb, _ellipse(grid, 1090, base - 6, 42, 8), (96, 84, 76))
    _paint(rgb, _rounded(grid, 1036, base - 178, 1144, base - 112, 26), (250, 224, 168))


def _lower_shelf(
    rgb: NDArray[np.float64],
    grid: tuple[NDArray[np.float64], NDArray[np.float64]],
    base: float,
) -> None:
    # Gift boxes, a bottle, a row of cups.
    _paint(rgb, _rounded(grid, 110, base - 96, 250, base, 6), (188, 204, 196))
    _paint(rgb, _rounded(grid, 168, base - 96, 192, base, 2), (178, 88, 84))
    _paint(rgb, _rounded(grid, 126, base - 150, 226, base - 96, 6), (226, 196, 150))
    _paint(rgb, _rounded(grid, 166, base - 150, 184, base - 96, 2), (96, 120, 104))
    _paint(rgb, _rounded(grid, 980, base - 120, 1030, base, 14), (52, 92, 80))
    _paint(rgb, _rounded(grid, 996, base - 168, 1014, base - 112, 5), (52, 92, 80))
    _paint(rgb, _rounded(grid, 984, base - 78, 1026, base - 30, 4), (236, 228, 210))
    for number, colour in enumerate([(222, 148, 120), (240, 240, 236), (140, 164, 176)]):
        x = 1072 + number * 52
        _paint(rgb, _rounded(grid, x, base - 48, x + 40, base, 10), colour)
        _paint(rgb, 0.35 * _rounded(grid, x + 4, base - 48, x + 36, base - 42, 3), (60, 40, 30))


def _bag() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Paint the moving bag; return its colours and its coverage."""
    grid = _grid(_BAG, _BAG)
    body = _rounded(grid, 26, 72, 174, 184, 18)
    handle = _ellipse(grid, 100, 74, 48, 56) - _ellipse(grid, 100, 74, 36, 44)
    shadow = 0.3 * _ellipse(grid, 100, 184, 84, 12, 12)
    rgb = np.zeros((_BAG, _BAG, 3)) + np.array([70, 48, 36.0])
    _paint(rgb, handle.clip(0, 1), (122, 48, 36))
    _paint(rgb, body, (198, 84, 60))
    _paint(rgb, _rounded(grid, 26, 72, 174, 124, 18) * body, (172, 66, 48))
    _paint(rgb, _rounded(grid, 86, 110, 114, 142, 6), (236, 196, 104))
    _paint(rgb, 0.25 * _rounded(grid, 36, 130, 50, 172, 6, 6), (255, 220, 200))
    return rgb, np.maximum.reduce([body, handle.clip(0, 1), shadow])


def _to_yuv(rgb: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Convert to yuv420p, limited range (ITU-R BT.709 3.2 to 3.5), as one array of rows."""
    height, width, _ = rgb.shape
    red, green, blue = (rgb[..., index] / 255 for index in range(3))
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    planes = [16 + 219 * luma]
    for colour, scale in ((blue, 1.8556), (red, 1.5748)):
        chroma = 128 + 224 * (colour - luma) / scale
        planes.append(chroma.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3)))
    flat = np.concatenate([plane.ravel() for plane in planes])
    yuv: NDArray[np.uint8] = np.round(flat).astype(np.uint8).reshape(height * 3 // 2, width)
    return yuv


def _planes(yuv: NDArray[np.uint8], width: int, height: int) -> list[NDArray[np.uint8]]:
    """Views of the three planes of a yuv420p array."""
    flat = yuv.reshape(-1)
    luma, chroma = width * height, width * height // 4
    return [
        flat[:luma].reshape(height, width),
        flat[luma : luma + chroma].reshape(height // 2, width // 2),
        flat[luma + chroma :].reshape(height // 2, width // 2),
    ]


_SCALE = 4
_INK = 225
"""Luma of the digits."""

_FONT = {
    "0": "01110 10001 10011 10101 11001 10001 01110",
    "1": "00100 01100 00100 00100 00100 00100 01110",
    "2": "01110 10001 00001 00110 01000 10000 11111",
    "3": "11111 00010 00100 00010 00001 10001 01110",
    "4": "00010 00110 01010 10010 11111 00010 00010",
    "5": "11111 10000 11110 00001 00001 10001 01110",
    "6": "00110 01000 10000 11110 10001 10001 01110",
    "7": "11111 00001 00010 00100 01000 01000 01000",
    "8": "01110 10001 10001 01110 10001 10001 01110",
    "9": "01110 10001 10001 01111 00001 00010 01100",
    ":": "00000 00100 00100 00000 00100 00100 00000",
    ".": "00000 00000 00000 00000 00000 01100 01100",
    " ": "00000 00000 00000 00000 00000 00000 00000",
    "A": "01110 10001 10001 11111 10001 10001 10001",
    "C": "01110 10001 10000 10000 10000 10001 01110",
    "E": "11111 10000 10000 11110 10000 10000 11111",
    "F": "11111 10000 10000 11110 10000 10000 10000",
    "M": "10001 11011 10101 10101 10001 10001 10001",
    "R": "11110 10001 10001 11110 10100 10010 10001",
    "T": "11111 00100 00100 00100 00100 00100 00100",
    "U": "10001 10001 10001 10001 10001 10001 01110",
}


def _glyph(char: str, paper: int) -> NDArray[np.uint8]:
    rows = [[int(bit) for bit in row] + [0] for row in _FONT[char].split()]
    cell = np.kron(np.array(rows, np.uint8), np.ones((_SCALE, _SCALE), np.uint8))
    return np.where(cell, np.uint8(_INK), np.uint8(paper))
