"""Readers and writers: images, videos and folders of frames, as 8-bit arrays.

Importing this loads neither torch nor a video library: those wait until a video is opened.
"""

from __future__ import annotations

from tcnn_codec.io.arrays import array_source
from tcnn_codec.io.frames import Frame, Source
from tcnn_codec.io.paths import atomic_path, check_output
from tcnn_codec.io.pipes import Pipe, Place, as_file, input_place, output_place
from tcnn_codec.io.readers import open_source
from tcnn_codec.io.writers import Sink, check_sink, open_sink

__all__ = [
    "Frame",
    "Pipe",
    "Place",
    "Sink",
    "Source",
    "array_source",
    "as_file",
    "atomic_path",
    "check_output",
    "check_sink",
    "input_place",
    "open_sink",
    "open_source",
    "output_place",
]
