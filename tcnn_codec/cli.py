"""The command line: runs a command, prints, and turns errors into status."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from tcnn_codec.arguments import option_names, parse
from tcnn_codec.config import EncodeConfig, make_config
from tcnn_codec.console import (
    decibels,
    input_pipe,
    one_line,
    output_pipe,
    plural,
    print_json,
    print_line,
    with_flags,
)
from tcnn_codec.errors import CodecError
from tcnn_codec.families import OPTIONS_HELP

if TYPE_CHECKING:
    from tcnn_codec.encoding.encoder import Encoded
    from tcnn_codec.io import Place

EXIT_DONE, EXIT_FAULT, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 0, 1, 2, 130


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit status: 0 done, 2 bad input or usage, 1 our own fault."""
    try:
        options = parse(arguments)
        _COMMANDS[options.command](options)
        return EXIT_DONE
    except CodecError as error:
        print(f"error: {one_line(with_flags(str(error), option_names()))}", file=sys.stderr)
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
        print("interrupted; no file was written", file=sys.stderr)
        return EXIT_INTERRUPTED


def _encode(options: argparse.Namespace) -> None:
    from tcnn_codec.encoding.encoder import encode_file
    from tcnn_codec.progress import ProgressLine

    names = [name for name in EncodeConfig.__dataclass_fields__ if name != "model"]
    config = make_config(**{name: getattr(options, name) for name in (*OPTIONS_HELP, *names)})
    output: Place = options.output or output_pipe()
    source: Place = options.input or input_pipe()
    progress = None if options.quiet else ProgressLine(sys.stderr)
    first, stop = options.frames
    try:
        encoded = encode_file(
            source,
            output,
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
    out = sys.stdout if options.output else sys.stderr
    if options.json:
        print_json(report, out)
    elif not options.quiet:
        print_line(
            f"{output}: {report['bytes']} bytes, {report['bits_per_pixel']:.4f} bpp, "
            f"{decibels(encoded.psnr_db)}, {plural(encoded.info.frames, 'frame')} in "
            f"{_chunks(encoded)}, {encoded.encode_seconds:.2f} s "
            f"on {encoded.backend} ({encoded.device}, {encoded.precision})",
            out,
        )


def _chunks(encoded: Encoded) -> str:
    count = plural(encoded.info.chunk_count, "chunk")
    if encoded.info.kind == "image" or encoded.cuts is None:
        return count
    where = f" at {', '.join(map(str, encoded.cuts))}" if 0 < len(encoded.cuts) < 10 else ""
    return f"{count} ({plural(len(encoded.cuts), 'cut')}{where})"


def _decode(options: argparse.Namespace) -> None:
    from tcnn_codec.decoding.decoder import decode_file

    first, stop = options.frames
    decode_file(
        options.input or input_pipe(),
        options.output or output_pipe(),
        first=first,
        stop=stop,
        scale=options.scale,
        threads=options.threads,
        max_pixels=options.max_pixels,
    )


def _info(options: argparse.Namespace) -> None:
    from tcnn_codec.decoding.info import info_file

    facts = info_file(
        options.input or input_pipe(), strict=options.strict, max_pixels=options.max_pixels
    )
    if options.json:
        print_json(facts)
        return
    for name, value in facts.items():
        if name == "index":
            for chunk in value:
                first, stop = chunk["frames"]
                kind = ", a difference" if chunk["kind"] == "difference" else ""
                print_line(
                    f"  frames {first}:{stop} at byte {chunk['offset']}, {chunk['bytes']} bytes"
                    + kind
                )
        else:
            text = "yes" if value is True else value
            text = f"{value:.4f}" if isinstance(value, float) else text
            print_line(f"{name.replace('_', ' ')}: {text}")


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
        print_json(found.report())
        return
    similarity = "not defined below 161 pixels" if found.ms_ssim is None else f"{found.ms_ssim:.4f}"
    if found.notes:
        similarity = "not measured"
    print_line(
        f"{options.input}: {decibels(found.psnr_db)}, MS-SSIM {similarity}, "
        f"{found.bits_per_pixel:.4f} bpp, {found.bytes} bytes"
    )


def _view(options: argparse.Namespace) -> None:
    from tcnn_codec.view import view_file

    server = view_file(options.input, port=options.port, browser=not options.no_browser)
    # An interrupt is how it ends, and is nothing to complain about.
    with server, suppress(KeyboardInterrupt):
        print_line(f"{server.address} shows '{options.input}' until this is interrupted")
        server.serve_forever()


def _doctor(options: argparse.Namespace) -> None:
    from tcnn_codec.doctor import examine

    facts = examine()
    if options.json:
        print_json(facts)
        return
    for group, lines in facts.items():
        print_line(group)
        for name, text in lines.items():
            print_line(f"  {name:<14} {with_flags(text, option_names())}")


_COMMANDS = {
    "encode": _encode,
    "decode": _decode,
    "info": _info,
    "eval": _eval,
    "view": _view,
    "doctor": _doctor,
}
