"""Libraries that speak to the user by themselves, kept quiet: what matters is an exception too."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

# Without a handler of its own, Python would print what Pillow logs of damaged files.
logging.getLogger("PIL").addHandler(logging.NullHandler())


@contextmanager
def quietly() -> Iterator[None]:
    """Pillow without its warnings, and without its limit on pixels.

    Not to be held across a `yield` of frames: what it sets, and sets back, is the process's.
    """
    pillow_limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None  # `check_size` holds the limit instead
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = pillow_limit


@contextmanager
def silent_library() -> Iterator[None]:
    """For native libraries that write to the process's stderr, as libtiff does of damage.

    As `quietly`, not to be held across a `yield` of frames.
    """
    try:
        kept = os.dup(2)
    except OSError:  # the process has no stderr
        yield
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
