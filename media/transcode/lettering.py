"""Text as a mask of coverage: wrapped, centred, in any script that a font at hand has."""

from __future__ import annotations

import sys
import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

BUILT_IN = Path(__file__).parent / "fonts" / "DejaVuSans-Bold.subset.ttf"
"""Latin, Greek, Cyrillic, Arabic, Hebrew, Armenian, Georgian."""
SYSTEM_FONTS = Path("/usr/share/fonts")
SYSTEM_NAMES = ("NotoSans*-Bold.*", "NotoSans*-Regular.*", "wqy-*", "Droid*Fallback*", "unifont*")
MAX_SYSTEM_FONTS = 300
MAX_CHARACTERS = 300
LINES_OF_TEXT = 12
"""The short side of the picture holds this many lines: 30 pixels each at 360."""
SMALLEST = 8
WIDTH_SHARE = 0.86
HEIGHT_SHARE = 0.8
_NO_CHARACTER = "\U0010ffff"
_JOINERS = "\u200c\u200d"
"""Shown nowhere, but Persian and the scripts of India are not written without them."""


def warm() -> None:
    """Import the rasteriser ahead of time: 60 ms that nobody need wait for later."""
    _font(BUILT_IN, SMALLEST)


def text_mask(
    text: str, width: int, height: int, *, font: Path | None = None
) -> npt.NDArray[np.uint8] | None:
    """Return coverage 0..255, shape (height, width), for square pixels; None for no text.

    Text beyond 300 characters is cut; what does not fit is made smaller.
    """
    text = _clean(text)
    if not text:
        return None
    _need_shaping(text)
    path = _best(text, font)
    size = max(SMALLEST, min(width, height) // LINES_OF_TEXT)
    room = int(width * WIDTH_SHARE), int(height * HEIGHT_SHARE)
    while True:
        face = _font(path, size)
        lines = [part for line in text.split("\n") for part in _wrapped(line, face, room[0])]
        step = round(size * 1.3)
        fits = step * len(lines) <= room[1] and all(face.getlength(x) <= room[0] for x in lines)
        if fits or size <= SMALLEST:
            break
        size = max(SMALLEST, size * 7 // 8)
    picture = Image.new("L", (width, height))
    draw = ImageDraw.Draw(picture)
    top = (height - step * len(lines)) / 2 + step / 2
    for number, line in enumerate(lines):
        draw.text((width / 2, top + number * step), line, font=face, fill=255, anchor="mm")
    return np.asarray(picture)


def _clean(text: str) -> str:
    """Return the text with single spaces, without control characters."""
    lines = text[:MAX_CHARACTERS].splitlines()
    kept = ("".join(c for c in line if _is_kept(c)) for line in lines)
    return "\n".join(" ".join(line.split()) for line in kept).strip()


@lru_cache(maxsize=16)
def _need_shaping(text: str) -> None:
    """Say so where letters cannot be joined and ordered: Pillow loads FriBidi if it is there."""
    leftwards = any(unicodedata.bidirectional(c) in {"R", "AL"} for c in text)
    if leftwards and not features.check_feature("raqm"):
        sys.stderr.write(
            "The slate's text runs from right to left, which needs FriBidi: install libfribidi0\n"
        )


def _is_kept(character: str) -> bool:
    return character.isprintable() or character.isspace() or character in _JOINERS


def squeezed(mask: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.uint8]:
    """Bring a mask to the width of pixels that are not square."""
    if mask.shape[1] == width:
        return mask
    return np.asarray(Image.fromarray(mask).resize((width, mask.shape[0])))


def _wrapped(line: str, face: ImageFont.FreeTypeFont, room: int) -> Iterator[str]:
    """Break at spaces; a word wider than the line (or a script without spaces) anywhere."""
    current = ""
    for word in line.split(" "):
        joined = f"{current} {word}" if current else word
        if face.getlength(joined) <= room:
            current = joined
            continue
        if current:
            yield current
        current = ""
        for character in word:
            if current and face.getlength(current + character) > room:
                yield current
                current = ""
            current += character
    yield current


def _font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(path), size)


@lru_cache(maxsize=16)
def _best(text: str, wanted: Path | None) -> Path:
    """Return the first font with all characters of `text`, else the one that lacks fewest."""
    best, fewest = BUILT_IN, len(text) + 1
    for path in _candidates(wanted):
        try:
            lacking = _lacking(text, path)
        except (OSError, ValueError) as err:
            if path == wanted:
                sys.stderr.write(f"slate.font cannot be read: {err}\n")
            continue
        if lacking < fewest:
            best, fewest = path, lacking
        if lacking == 0:
            return best
    sys.stderr.write("No font has all characters of the slate's text: set slate.font\n")
    return best


def _candidates(wanted: Path | None) -> Iterator[Path]:
    if wanted is not None:
        yield wanted
    yield BUILT_IN
    found = 0
    for pattern in SYSTEM_NAMES:
        for path in sorted(SYSTEM_FONTS.rglob(pattern)):
            found += 1
            if found > MAX_SYSTEM_FONTS:
                return
            yield path


def _lacking(text: str, path: Path) -> int:
    face = _font(path, 16)
    none = _drawn(face, _NO_CHARACTER)
    shown = (c for c in set(text) if not c.isspace() and c not in _JOINERS)
    return sum(_drawn(face, c) == none for c in shown)


def _drawn(face: ImageFont.FreeTypeFont, character: str) -> tuple[tuple[int, int], bytes]:
    mask = face.getmask(character)
    return mask.size, bytes(mask)
