"""What a user may choose about a SIREN; None leaves it to the encoder."""

from __future__ import annotations

from dataclasses import dataclass, field

from tcnn_codec.bitstream.limits import (
    MAX_FREQUENCIES,
    MAX_HIDDEN_LAYERS,
    MAX_TIME_CODES,
    MAX_WIDTH,
)
from tcnn_codec.checks import whole_number


@dataclass(frozen=True)
class SirenOptions:
    """Options of encode, in the command line's words. Raises CodecError for a value out of range.

    width: neurons of a hidden layer, 1 to 128; None takes 32. hidden_layers: 0 to 32; None takes
    the paper's 3, or under a target 5, and 2 for widths below 6. frequencies: encoding octaves
    of x and y, 0 to 32; None takes 16, or 12 where no side is above 256 pixels. time_codes: numbers
    of every frame of a video that are learned with the network, 0 to 64; None takes 8, of which
    those that do not pay stay 0. Each field's metadata has a line of help.
    """

    width: int | None = field(
        default=None,
        metadata={
            "help": f"neurons of a hidden layer, 1 to {MAX_WIDTH} (default 32); sets the size of "
            "the file"
        },
    )
    hidden_layers: int | None = field(
        default=None,
        metadata={
            "help": f"sine layers after the input layer, 0 to {MAX_HIDDEN_LAYERS} (default 3; by "
            "target)"
        },
    )
    frequencies: int | None = field(
        default=None,
        metadata={"help": f"encoding octaves per axis, 0 to {MAX_FREQUENCIES} (default: by size)"},
    )
    time_codes: int | None = field(
        default=None,
        metadata={
            "help": f"learned numbers of each frame of a video, 0 to {MAX_TIME_CODES} (default 8 "
            "on the CPU)"
        },
    )

    def __post_init__(self) -> None:
        for name, least, most, remedy in (
            ("width", 1, MAX_WIDTH, "32 suits small files, 64 better quality"),
            ("hidden_layers", 0, MAX_HIDDEN_LAYERS, "3 is usual"),
            ("frequencies", 0, MAX_FREQUENCIES, "leave it out for the usual 16"),
            ("time_codes", 0, MAX_TIME_CODES, "8 is usual, 0 is none"),
        ):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(
                    self, name, whole_number(f"`{name}`", value, least, most, remedy)
                )

    @property
    def size_options(self) -> tuple[str, ...]:
        return ("width",) if self.width is not None else ()
