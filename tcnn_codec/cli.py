"""The command line. The only place that parses arguments, prints, and turns errors into status."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from tcnn_codec import __version__
from tcnn_codec.bitstream.header import DEFAULT_MAX_PIXELS
from tcnn_codec.config import PRESETS, EncodeConfig, make_config
from tcnn_codec.errors import CodecError
from tcnn_codec.families import BACKENDS, OPTIONS_HELP, PRECISIONS
from tcnn_codec.families.contract import MAX_BITS, MAX_THREADS, MIN_BITS

EXIT_DONE, EXIT_FAULT, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 0, 1, 2, 130


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit status: 0 done, 2 bad input or usage, 1 our own fault."""
    try:
        options = _parser().parse_args(arguments)
        options.command(options)
        return EXIT_DONE
    except CodecError as error:
        print(f"error: {_one_line(_with_flags(str(error)))}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except MemoryError:
        print(
            "error: memory ran out; a chunk has to fit; encode with a lower --chunk-frames or size",
            file=sys.stderr,
        )
        return EXIT_BAD_INPUT
    except BrokenPipeError:
        return EXIT_FAULT
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return EXIT_INTERRUPTED


class _Parser(argparse.ArgumentParser):
    """Usage errors in the same form as all others; no option may be shortened."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise CodecError(f"{message}", remedy="see `python -m tcnn_codec --help`")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="tcnn_codec",
        description="Image and video codec whose bitstream is a small neural network.",
    )
    parser.add_argument("--version", action="version", version=f"tcnn_codec {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_encode(commands)
    _add_decode(commands)
    _add_info(commands)
    _add_eval(commands)
    _add_doctor(commands)
    return parser


def _add_encode(commands: Any) -> None:
    default = EncodeConfig()
    command = commands.add_parser(
        "encode", help="fit a network to an image, a video or a folder of frames"
    )
    command.set_defaults(command=_encode)
    command.add_argument("input", metavar="INPUT", type=Path)
    command.add_argument("output", metavar="OUTPUT.tcnn", type=Path)
    numbers = (
        *OPTIONS_HELP.items(),
        ("steps", "optimiser steps, instead of the preset's"),
        ("bits", f"bits of a weight before entropy coding, {MIN_BITS} to {MAX_BITS} (default 6)"),
        ("bytes", "size of the file at most, and at least 97 %% of it; sets network and bits"),
        ("chunk_frames", "frames of a video that share one network"),
        ("threads", f"1 to {MAX_THREADS}, 0 for every core; changes no byte"),
        ("seed", "same seed, machine and instruction set: same bytes"),
    )
    for name, text in numbers:
        value = getattr(default, name, None)
        shown = "" if value is None else f" (default {value})"
        command.add_argument(
            _flag(name), type=_integer, metavar="N", default=value, help=text + shown
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
        command.add_argument(_flag(name), type=_number, metavar="X", dest=name, help=text)
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
        help=f"{', '.join(PRECISIONS)}: of the products in fitting (default auto: bfloat16 where "
        "the processor has it)",
    )
    _add_frames(command)
    _add_max_pixels(command)
    _add_json(command)
    command.add_argument("--quiet", action="store_true", help="no progress and no summary")


def _add_decode(commands: Any) -> None:
    command = commands.add_parser("decode", help="write the pixels of a .tcnn file")
    command.set_defaults(command=_decode)
    command.add_argument("input", metavar="FILE.tcnn", type=Path)
    command.add_argument(
        "output",
        metavar="OUTPUT",
        type=Path,
        help=".png .webp .mp4 .mkv .y4m .npy, or a folder for PNGs",
    )
    _add_frames(command)
    command.add_argument(
        "--scale", type=_number, default=1.0, metavar="S", help="factor on the size (default 1)"
    )
    _add_threads(command)
    _add_max_pixels(command)


def _add_info(commands: Any) -> None:
    command = commands.add_parser("info", help="what a .tcnn file says of itself")
    command.set_defaults(command=_info)
    command.add_argument("input", metavar="FILE.tcnn", type=Path)
    _add_max_pixels(command)
    _add_json(command)


def _add_eval(commands: Any) -> None:
    command = commands.add_parser("eval", help="compare a .tcnn file with its original")
    command.set_defaults(command=_eval)
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


def _add_doctor(commands: Any) -> None:
    command = commands.add_parser("doctor", help="what this machine and installation can do")
    command.set_defaults(command=_doctor)
    _add_json(command)


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


def _encode(options: argparse.Namespace) -> None:
    from tcnn_codec.encoding.encoder import encode_file
    from tcnn_codec.progress import ProgressLine

    names = [name for name in EncodeConfig.__dataclass_fields__ if name != "model"]
    config = make_config(**{name: getattr(options, name) for name in (*OPTIONS_HELP, *names)})
    progress = None if options.quiet else ProgressLine(sys.stderr)
    first, stop = options.frames
    try:
        encoded = encode_file(
            options.input,
            options.output,
            config,
            first=first,
            stop=stop,
            max_pixels=options.max_pixels,
            progress=progress,
        )
    finally:
        if progress is not None:
            progress.close()
    if not options.quiet:
        for note in encoded.notes:
            print(f"note: {note}", file=sys.stderr)
    report = encoded.report()
    if options.json:
        _print_json(report)
    elif not options.quiet:
        _print(
            f"{options.output}: {report['bytes']} bytes, {report['bits_per_pixel']:.4f} bpp, "
            f"{_decibels(encoded.psnr_db)}, {_plural(encoded.info.frames, 'frame')} in "
            f"{_plural(encoded.info.chunk_count, 'chunk')}, {encoded.encode_seconds:.2f} s "
            f"on {encoded.backend} ({encoded.device}, {encoded.precision})"
        )


def _decode(options: argparse.Namespace) -> None:
    from tcnn_codec.decoding.decoder import decode_file

    first, stop = options.frames
    decode_file(
        options.input,
        options.output,
        first=first,
        stop=stop,
        scale=options.scale,
        threads=options.threads,
        max_pixels=options.max_pixels,
    )


def _info(options: argparse.Namespace) -> None:
    from tcnn_codec.decoding.info import info_file

    facts = info_file(options.input, max_pixels=options.max_pixels)
    if options.json:
        _print_json(facts)
        return
    for name, value in facts.items():
        if name == "index":
            for chunk in value:
                first, stop = chunk["frames"]
                _print(f"  frames {first}:{stop} at byte {chunk['offset']}, {chunk['bytes']} bytes")
        else:
            _print(
                f"{name.replace('_', ' ')}: {value:.4f}"
                if isinstance(value, float)
                else f"{name.replace('_', ' ')}: {value}"
            )


def _eval(options: argparse.Namespace) -> None:
    from tcnn_codec.decoding.eval import eval_file

    first, stop = options.frames
    found = eval_file(
        options.reference,
        options.input,
        first=first,
        stop=stop,
        plot=options.plot,
        threads=options.threads,
        max_pixels=options.max_pixels,
    )
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    if options.json:
        _print_json(found.report())
        return
    similarity = "not defined below 161 pixels" if found.ms_ssim is None else f"{found.ms_ssim:.4f}"
    if found.notes:
        similarity = "not measured"
    _print(
        f"{options.input}: {_decibels(found.psnr_db)}, MS-SSIM {similarity}, "
        f"{found.bits_per_pixel:.4f} bpp, {found.bytes} bytes"
    )


def _doctor(options: argparse.Namespace) -> None:
    from tcnn_codec.doctor import examine

    facts = examine()
    if options.json:
        _print_json(facts)
        return
    for group, lines in facts.items():
        _print(group)
        for name, text in lines.items():
            _print(f"  {name:<14} {_with_flags(text)}")


def _flag(option: str) -> str:
    """Of an option as Python names it."""
    return "--" + option.rstrip("_").replace("_", "-")


def _with_flags(text: str) -> str:
    """An error's text with options, in backquotes there, named as they are here.

    What stands in quotes is a user's, a file's name for instance, and stays as it is.
    """
    known = _option_names()

    def shown(found: re.Match[str]) -> str:
        return _flag(found[1]) if found[1] in known else found[0]

    return re.sub(r"(?<!\w)'[^']*'(?!\w)|`(\w+)`", shown, text)


@cache
def _option_names() -> frozenset[str]:
    """Of every command, as Python names them."""
    return frozenset(
        option.dest
        for action in _parser()._actions
        if isinstance(action, argparse._SubParsersAction)
        for command in action.choices.values()
        for option in command._actions
    )


def _one_line(text: str) -> str:
    """File names may hold line breaks and terminal codes: shown, not obeyed."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _decibels(value: float) -> str:
    return "exact" if value == float("inf") else f"{value:.2f} dB"


def _print_json(facts: Any) -> None:
    _print(json.dumps(facts, allow_nan=False))


def _print(text: str) -> None:
    """A line on stdout, now. Raises BrokenPipeError, and CodecError where the disk is full."""
    try:
        print(text, flush=True)
    except OSError as error:
        # Else Python tries the rest again when it exits, and complains.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise
        raise CodecError(
            f"cannot write to standard output: {error.strerror}", remedy="send it somewhere else"
        ) from error
