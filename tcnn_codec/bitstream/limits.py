"""What the format allows, all of it in one place. docs/format.md is normative.

A change of any of these changes which files are valid. What a user may ask of the encoder is in
`config.py` and may be less.
"""

from __future__ import annotations

#: Pixels a side.
MAX_SIDE = 2**16
#: 12 hours at 24 frames per second; bounds what a small header can make a reader allocate.
MAX_FRAMES = 2**20
MAX_CHUNK_FRAMES = 4096
MAX_CHUNKS = 2**16
#: Sizes of network that a file may have.
MAX_NETWORKS = 256
#: Of the numerator and the denominator of a time base or a frame rate.
MAX_RATIONAL = 2**31 - 1
#: Magnitude of a timestamp, in ticks.
MAX_PTS = 2**62 - 1
MAX_WIDTH = 128
MAX_HIDDEN_LAYERS = 32
MAX_FREQUENCIES = 32
#: Learned codes of a frame, and the magnitude of one; the native code has the same.
MAX_TIME_CODES, MAX_CODE = 64, 31
#: Magnitude of a quantised value; csrc/coders/binary_coder.h has the same.
MAX_LEVEL = 2047
#: Indices of quantisation steps; coders/quantised.py says which steps they are. The first of a
#: payload is coded as the difference to FIRST_STEP.
MIN_STEP, MAX_STEP, FIRST_STEP = 1, 175, 80
#: No frequency of an encoding, in units of 2**-30 half-turns, may reach this.
MAX_FREQUENCY = 2**46
#: Of the magnitudes in a row of the output's weights; and of the row with their multipliers.
MAX_ROW, MAX_ROW_VALUE = 2**17 - 1, 2**38 - 1
