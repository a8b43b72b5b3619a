"""HDR pictures for viewers without an HDR display: PQ and HLG to BT.709. Used by one thread.

PyAV's wheels have neither zscale nor libplacebo, and libswscale works five seconds on a table
of its own before the first picture: it gets ours. It costs about 14 ms for a picture of
1280x720, nearly as much as encoding it, and is done once, at the size of the top rung.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from tempfile import NamedTemporaryFile

import av
from av.filter import Graph
from av.video.frame import VideoFrame

from media.colour import HLG, PQ
from media.transcode.filters import LIFE
from media.transcode.tonecurve import cube

_UNSPECIFIED, _BT2020_NCL = 2, 9
_IS_BT709 = "color_primaries=bt709:color_trc=bt709:colorspace=gbr:range=pc"

_Shape = tuple[int, int, str, int, int, int]


class ToneMapFailed(Exception):
    """The pictures could not be mapped; the text is the cause's."""


def is_hdr(frame: VideoFrame) -> bool:
    """Whether a picture says that it is PQ or HLG."""
    return int(frame.color_trc) in (PQ, HLG)


class ToneMapper:
    """Scales HDR pictures to one size in 8-bit 4:2:0, BT.709."""

    def __init__(self, width: int, height: int) -> None:
        self._width = width
        self._height = height
        self._graph: Graph | None = None
        self._shape: _Shape | None = None
        self._left = 0

    def convert(self, frame: VideoFrame) -> VideoFrame:
        """Return the picture for SDR, times kept. Raises `ToneMapFailed`."""
        shape = (
            frame.width,
            frame.height,
            frame.format.name,
            int(frame.colorspace),
            int(frame.color_range),
            int(frame.color_trc),
        )
        try:
            if self._graph is None or shape != self._shape:
                self._graph, self._shape, self._left = self._open(shape), shape, LIFE
            elif not self._left:
                self._left = LIFE
                # On a full disk, say, the one before serves on.
                with suppress(av.FFmpegError, ValueError, OSError):
                    self._graph = self._open(shape)
            self._left -= 1
            self._graph.push(frame)
            mapped = self._graph.pull()
        except (av.FFmpegError, ValueError, OSError) as err:
            self._graph = None
            raise ToneMapFailed(str(err)) from err
        if not isinstance(mapped, VideoFrame):
            raise ToneMapFailed("the filter gave no picture")
        mapped.pts, mapped.time_base = frame.pts, frame.time_base
        return mapped

    def _open(self, shape: _Shape) -> Graph:
        # FFmpeg takes tables from files only; it has read this one once the graph is configured.
        table = NamedTemporaryFile("w", suffix=".cube", delete=False)  # noqa: SIM115
        try:
            with table:
                table.write(cube(shape[-1]))
            try:
                return self._connect(shape, table.name)
            except (av.FFmpegError, ValueError):
                # swscale knows no constant luminance, no ICtCp and what is reserved.
                return self._connect(shape, table.name, matrix_known=False)
        finally:
            Path(table.name).unlink()

    def _connect(self, shape: _Shape, table: str, *, matrix_known: bool = True) -> Graph:
        width, height, pixels, matrix, colour_range, _ = shape
        if not matrix_known:
            matrix = _UNSPECIFIED
        elif matrix == _UNSPECIFIED:
            matrix = _BT2020_NCL
        size = f"{self._width}:{self._height}"
        graph = Graph()
        graph.threads = 1
        nodes = [
            graph.add(
                "buffer",
                f"video_size={width}x{height}:pix_fmt={pixels}:time_base=1/90000"
                f":colorspace={matrix}:range={colour_range}",
            ),
            # Down first: the table costs by the pixel. At 10 bits it would cost twice.
            graph.add("scale", f"{size}:flags=bicubic"),
            graph.add("format", "gbrp16le"),
            graph.add("lut3d", file=table),
            graph.add("setparams", _IS_BT709),
            graph.add("scale", f"{size}:out_color_matrix=bt709:out_range=tv"),
            graph.add("format", "yuv420p"),
            graph.add("buffersink"),
        ]
        if not matrix_known:
            nodes.insert(1, graph.add("setparams", "colorspace=bt2020nc"))
        for upper, lower in pairwise(nodes):
            upper.link_to(lower)
        graph.configure()
        return graph
