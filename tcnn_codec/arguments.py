"""The arguments of the command line: what there is, and what each may be."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from tcnn_codec import __version__
from tcnn_codec.bitstream.header import DEFAULT_MAX_PIXELS
from tcnn_codec.checks import pixel_limit
from tcnn_codec.config import AUTO, PRESETS, EncodeConfig
from tcnn_codec.console import DASH, flag
from tcnn_codec.errors import CodecError
from tcnn_codec.families import BACKENDS, OPTIONS_HELP, PRECISIONS
from tcnn_codec.families.contract import MAX_BITS, MAX_THREADS, MIN_BITS


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of one command, whose name is in `command`. Raises CodecError."""
    options = make_parser().parse_args(arguments)
    if hasattr(options, "max_pixels"):
        pixel_limit(options.max_pixels)
    return options


class _Parser(argparse.ArgumentParser):
    """Usage errors in the same form as all others; no option may be shortened."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)
        # As Python 3.14 has it: -1:2 and -1e5 are values, which are out of range, and no options.
        self._negative_number_matcher = re.compile(r"-\.?\d")

    def error(self, message: str) -> NoReturn:
        raise CodecError(f"{message}", remedy="see `python -m tcnn_codec --help`")


def make_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="tcnn_codec",
        description="Image and video codec whose bitstream is a small neural network.",
    )
    parser.add_argument("--version", action="version", version=f"tcnn_codec {__version__}")
    commands = parser.add_subparsers(required=True, dest="command", metavar="COMMAND")
    _add_encode(commands)
    _add_decode(commands)
    _add_info(commands)
    _add_eval(commands)
    _add_view(commands)
    _add_doctor(commands)
    return parser


def _add_encode(commands: Any) -> None:
    default = EncodeConfig()
    command = commands.add_parser(
        "encode", help="fit a network to an image, a video or a folder of frames"
    )
    command.add_argument(
        "input",
        metavar="INPUT",
        type=_place,
        help="an image, a video, a folder of frames; - for standard input",
    )
    command.add_argument("output", metavar="OUTPUT.tcnn", type=_place, help="- for standard output")
    numbers = (
        *OPTIONS_HELP.items(),
        ("steps", "optimiser steps, instead of the preset's"),
        ("bits", f"bits of a weight before entropy coding, {MIN_BITS} to {MAX_BITS} (default 6)"),
        ("bytes", "size of the file at most, and at least 97 %% of it; sets network and bits"),
        ("key_interval", "every so many chunks one is decoded by itself (default: by length)"),
        ("threads", f"1 to {MAX_THREADS}, 0 for every core; changes no byte"),
        ("seed", "same seed, machine and instruction set: same bytes"),
    )
    for name, text in numbers:
        value = getattr(default, name, None)
        shown = "" if value is None else f" (default {value})"
        command.add_argument(
            flag(name), type=_integer, metavar="N", default=value, help=text + shown
        )
    command.add_argument(
        "--chunk-frames",
        type=_chunk_frames,
        metavar="N",
        default=default.chunk_frames,
        help="frames of a video that share one network (default auto: those of a scene)",
    )
    fractions = (
        ("bpp", "bits per pixel at most, and at least 97 %% of it; sets network and bits"),
        ("psnr", "PSNR in dB at least, and at most 0.1 dB more; sets network and bits"),
        (
            "lambda_",
            "instead of --bits: step sizes for least squared error + lambda x bits per pixel",
        ),
    )
    for name, text in fractions:
        command.add_argument(flag(name), type=_number, metavar="X", dest=name, help=text)
    command.add_argument(
        "--preset",
        default=default.preset,
        help=f"{', '.join(PRESETS)}: how long to fit (default {default.preset})",
    )
    command.add_argument(
        "--backend", default=default.backend, help=f"{', '.join(BACKENDS)} (default auto)"
    )
    command.add_argument(
        "--precision",
        default=default.precision,
        help=f"{', '.join(PRECISIONS)}: of the products in fitting (default auto: whichever is "
        "faster here, which doctor tells)",
    )
    _add_frames(command)
    _add_max_pixels(command)
    _add_json(command)
    command.add_argument("--quiet", action="store_true", help="no progress and no summary")


def _add_decode(commands: Any) -> None:
    command = commands.add_parser("decode", help="write the pixels of a .tcnn file")
    _add_stream(command)
    command.add_argument(
        "output",
        metavar="OUTPUT",
        type=_place,
        help=".png .webp .mp4 .mkv .y4m .npy, or a folder for PNGs; - for standard output, where "
        "an image is written as PNG and a video as Y4M",
    )
    _add_frames(command)
    command.add_argument(
        "--scale", type=_number, default=1.0, metavar="S", help="factor on the size (default 1)"
    )
    _add_threads(command)
    _add_max_pixels(command)


def _add_info(commands: Any) -> None:
    command = commands.add_parser("info", help="what a .tcnn file says of itself")
    _add_stream(command)
    command.add_argument(
        "--strict",
        action="store_true",
        help="refuse a file whose header or payloads are not as they would be encoded again",
    )
    _add_max_pixels(command)
    _add_json(command)


def _add_eval(commands: Any) -> None:
    command = commands.add_parser("eval", help="compare a .tcnn file with its original")
    command.add_argument("reference", metavar="REFERENCE", type=Path)
    command.add_argument("input", metavar="FILE.tcnn", type=Path)
    command.add_argument(
        "--plot",
        type=Path,
        metavar="OUT.png",
        help="write original | decoded | error x8 of the middle frame",
    )
    _add_frames(command)
    _add_threads(command)
    _add_max_pixels(command)
    _add_json(command)


def _add_view(commands: Any) -> None:
    command = commands.add_parser("view", help="show a .tcnn file in a browser")
    command.add_argument("input", metavar="FILE.tcnn", type=Path)
    command.add_argument(
        "--port", type=_integer, default=0, metavar="N", help="of the server (default any)"
    )
    command.add_argument(
        "--no-browser", action="store_true", help="print the address and open no browser"
    )


def _add_doctor(commands: Any) -> None:
    command = commands.add_parser("doctor", help="what this machine and installation can do")
    _add_json(command)


def _add_stream(command: argparse.ArgumentParser) -> None:
    command.add_argument("input", metavar="FILE.tcnn", type=_place, help="- for standard input")


def _add_frames(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--frames",
        type=_frame_range,
        default=(0, None),
        metavar="A:B",
        help="only frames A to B-1; either may be left out",
    )


def _add_threads(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--threads", type=_integer, default=0, metavar="N", help="0 for every core (default)"
    )


def _add_max_pixels(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--max-pixels",
        type=_integer,
        default=DEFAULT_MAX_PIXELS,
        metavar="N",
        help=f"refuse chunks of more pixels (default {DEFAULT_MAX_PIXELS})",
    )


def _add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print one JSON object")


def _place(text: str) -> Path | None:
    """None for a standard stream; a file of that name is ./-."""
    return None if text == DASH else Path(text)


def _chunk_frames(text: str) -> int | str:
    return text if text == AUTO else _integer(text)


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a whole number; give one such as 32"
        ) from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number; give one such as 2") from None


def _frame_range(text: str) -> tuple[int, int | None]:
    first, colon, stop = text.partition(":")
    try:
        found = int(first or 0), int(stop) if stop else None
    except ValueError:
        colon = ""
    if not colon or found[0] < 0 or (found[1] is not None and found[1] <= found[0]):
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a range A:B with 0 <= A < B; give one such as 0:25"
        )
    return found


@cache
def option_names() -> frozenset[str]:
    """Of every command, as Python names them."""
    return frozenset(
        option.dest
        for action in make_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
        for command in action.choices.values()
        for option in command._actions
    )
