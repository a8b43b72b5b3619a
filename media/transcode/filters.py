"""A chain of FFmpeg's filters over pictures.

A filter takes its pictures from a pool and gives them back there. Allocated one by one they cost
a twentieth of a worker in page faults, or holes between everything else on the heap.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, cast

from av.filter import Graph

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

LIFE = 1000
"""Pictures after which a chain is opened anew: its pool keeps as many as were ever on their way."""

_UNSPECIFIED = 2
_UNTAGGED = ("setparams", "colorspace=unknown:color_primaries=unknown:color_trc=unknown")

Shape = tuple[int, int, str, int, int]
"""Size, pixel format, matrix and range of a picture."""


def shape_of(frame: VideoFrame) -> Shape:
    """Return what a chain depends on."""
    matrix, colour_range = int(frame.colorspace), int(frame.color_range)
    return frame.width, frame.height, frame.format.name, matrix, colour_range


class PictureChain:
    """Filters one after the other, as (name, arguments), for pictures of any shape.

    Used by one thread; a change of shape opens the chain anew. `untagged`: filters see no matrix,
    primaries and transfer, some of which they refuse; pictures have them again afterwards.
    """

    def __init__(self, *filters: tuple[str, str], untagged: bool = False) -> None:
        self._filters = (_UNTAGGED, *filters) if untagged else filters
        self._untagged = untagged
        self._graph: Graph | None = None
        self._shape: Shape | None = None
        self._left = 0

    def convert(self, frame: VideoFrame) -> VideoFrame:
        """Return the filtered picture, times kept. Raises `av.FFmpegError` or `ValueError`."""
        shape = shape_of(frame)
        if self._graph is None or shape != self._shape or not self._left:
            self._graph, self._shape, self._left = self._open(shape), shape, LIFE
        self._left -= 1
        self._graph.push(frame)
        made = cast("VideoFrame", self._graph.pull())
        made.pts, made.time_base = frame.pts, frame.time_base
        if self._untagged:
            made.colorspace = frame.colorspace
            made.color_primaries, made.color_trc = frame.color_primaries, frame.color_trc
        return made

    def _open(self, shape: Shape) -> Graph:
        width, height, pixels, matrix, colour_range = shape
        if self._untagged:
            matrix = _UNSPECIFIED
        source = (
            f"video_size={width}x{height}:pix_fmt={pixels}:time_base=1/90000"
            f":colorspace={matrix}:range={colour_range}"
        )
        graph = Graph()
        graph.threads = 1
        nodes = [
            graph.add("buffer", source),
            *(graph.add(name, arguments) for name, arguments in self._filters),
            graph.add("buffersink"),
        ]
        for upper, lower in pairwise(nodes):
            upper.link_to(lower)
        graph.configure()
        return graph
