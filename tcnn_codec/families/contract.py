"""What a family of models offers: a kind of network, how it is fitted, and its part of the format.

A family has two halves. `Family` is what decoding needs: the fields of a network in the header, its
tensors as bytes, and its pixels. `Fitter` is what encoding needs besides: the sizes there are, and
how a network is fitted and rounded. No family imports another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol

from tcnn_codec.coders.quantised import QuantisedTensor
from tcnn_codec.dtypes import F32, U8
from tcnn_codec.grid import Grid
from tcnn_codec.layout import S, S_in
from tcnn_codec.picture import PictureFormat

if TYPE_CHECKING:
    from tcnn_codec.training.job import Job
    from tcnn_codec.training.loop import StepReport

#: Of a weight before entropy coding, on average; what a user may ask for, and what is usual.
MIN_BITS, MAX_BITS, USUAL_BITS = 4, 12, 6
MAX_THREADS = 1024

#: A network in integers, in the order of its spec's tensors.
Tensors = tuple[QuantisedTensor, ...]


class Renderer(Protocol[S_in]):
    """What turns networks into pixels; keeps threads and memory from call to call."""

    def render(self, spec: S_in, tensors: Sequence[QuantisedTensor], grid: Grid) -> U8:
        """uint8 [frames, height, width, channels] of the grid."""


class Family(Protocol[S]):
    """What decoding needs of a kind of network. Importing it loads nothing that fits."""

    @property
    def name(self) -> str: ...

    @property
    def number(self) -> int:
        """By which the format names it."""

    def header_fields(self, spec: S) -> tuple[int, ...]:
        """What the header says of a network beside its axes and channels, each below 2**63."""

    def read_spec(self, take: Callable[[str], int], axes: int, channels: int) -> S:
        """The inverse: take(name) gives the next field. Raises CodecError for what is no network.

        axes: 2 for an image, 3 for a video.
        """

    def describe(self, spec: S) -> dict[str, int | float]:
        """A network's size as reports name it; no key is one of a picture's."""

    def encode(
        self,
        spec: S,
        tensors: Sequence[QuantisedTensor],
        before: Sequence[QuantisedTensor] | None = None,
    ) -> bytes:
        """The payload of a chunk; lossless. before: the network of the chunk before, to which this
        one is coded as a difference; None for a key chunk."""

    def decode(self, spec: S, payload: bytes, before: Tensors | None = None) -> Tensors:
        """The inverse. Raises BitstreamError for a malformed payload."""

    def least_payload(self, spec: S) -> int:
        """Bytes that no payload of such a network is below."""

    def renderer(self, threads: int) -> Renderer[S]:
        """threads: 0 takes every core. Raises CodecError where there are not so many."""


@dataclass(frozen=True)
class RateLaw:
    """How size and quality go with the networks of a family, measured; rate control starts by it.

    least_bits, usual_bits, most_bits: what a search may choose, in bits of a weight before entropy
    coding. coded_bits: of a weight in the file at usual_bits; overhead: bytes of a file besides.
    growth: how many times as large a file is as with its networks rounded at once, at least and at
    most.
    db_per_doubling: PSNR in dB by twice the parameters; db_per_bit: by one bit more.
    pilot_gain: dB that all steps bring over a pilot's, usually. most_growth, most_surprise: and at
    the very most, so many times what every doubling of the steps brought from a pilot to one twice
    as long, and so many dB. most_loss, least_gain: networks do badly where rounding takes more dB
    off them than the one, or where they are no more dB above a single colour than the other.
    """

    least_bits: float
    usual_bits: float
    most_bits: float
    coded_bits: float
    overhead: int
    growth: tuple[float, float]
    db_per_doubling: float
    db_per_bit: float
    pilot_gain: float
    most_growth: float
    most_surprise: float
    most_loss: float
    least_gain: float


@dataclass(frozen=True)
class Ladder(Generic[S]):
    """A family's network sizes for one picture: what rate control climbs.

    spec: of size 1 to count, with ever more parameters. first: the size where a search for a
    quality begins. other: networks of another build, for pictures that these do badly.
    by_hand: the options that choose a size and its rate without a target; smallest: those of size
    1; both for error messages, as errors.CodecError names options.
    """

    spec: Callable[[int], S]
    count: int
    first: int
    law: RateLaw
    by_hand: str
    smallest: str
    other: Ladder[S] | None = None


class ModelOptions(Protocol):
    """What a user may choose about a family's networks: a frozen dataclass, checked when made."""

    @property
    def size_options(self) -> tuple[str, ...]:
        """Names of the options by which the user has chosen a size; a target excludes them."""


@dataclass(frozen=True)
class Rounding:
    """How a network is rounded.

    bits: of a weight before entropy coding, on average; not necessarily whole. lambda_: None, or
    steps of quantisation that minimise D + lambda R instead, as EncodeConfig has it.
    steps: of training while rounding; 0 rounds at once.
    """

    bits: float
    lambda_: float | None
    steps: int


class Fitter(Protocol[S]):
    """What encoding needs of a family; made from a user's options and what is to compute it."""

    @property
    def family(self) -> Family[S]: ...

    @property
    def backend(self) -> str:
        """What computes the fit: the value of the option `backend`."""

    @property
    def device(self) -> str:
        """Instruction set or GPU in use, for reports."""

    @property
    def precision(self) -> str:
        """Of the products in training: float32, bfloat16 or float16."""

    @property
    def differs(self) -> bool:
        """Whether networks can be coded as differences."""

    def renderer(self) -> Renderer[S]:
        """A decoder's, which shares the fitter's threads where they are of the same kind."""

    def spec(self, picture: PictureFormat) -> S:
        """The network of the user's size, or of the usual one, for every chunk of a picture."""

    def ladder(self, picture: PictureFormat) -> Ladder[S]:
        """The sizes that a target may choose."""

    def effort(self, spec: S, grid: Grid) -> float:
        """How many times a preset's steps the network wants, 1 or more."""

    def start(self, spec: S, seed: int) -> F32:
        """Random parameters to begin a fit with, float32 [parameter_count]."""

    def fit(self, job: Job[S], start: F32, steps: int, report: StepReport | None) -> F32:
        """Parameters before quantisation. Raises CodecError where the fit diverges."""

    def constant(self, spec: S, colour: U8) -> tuple[F32, Tensors]:
        """The network of one colour, uint8 [channels], exactly, before quantisation and after."""

    def render(self, spec: S, params: F32, grid: Grid) -> U8:
        """Pixels of a network before quantisation, as a decoder would show them."""

    def round_at_once(self, spec: S, params: F32, grid: Grid, rounding: Rounding) -> Tensors:
        """The network quantised without training, to foretell the file's size."""

    def round(
        self, job: Job[S], params: F32, rounding: Rounding, report: StepReport | None
    ) -> list[Tensors]:
        """The network quantised in one way or several, of which the best is to be chosen."""

    def differ(
        self, job: Job[S], before: Tensors, steps: int, rounding: int, report: StepReport | None
    ) -> Tensors | None:
        """A network that costs little as a difference to that of the chunk before.

        steps, rounding: of training, before and while it is rounded. None where one by itself is to
        be preferred. Raises CodecError where the fit diverges.
        """
