// The fused step: a block takes tiles of the batch, runs them forward and backward in registers,
// and adds up weight gradients. What one pixel's backward pass and the weight gradients need of the
// forward pass stays on the chip.
#pragma once

#include <cstring>

#include "siren/cuda/forward.cuh"
#include "siren/cuda/gradients.cuh"

namespace tcnn_codec {
namespace cuda {

// Sums over the lanes of a warp, and of a block, in a fixed order. shared: one float per warp;
// between two calls of block_sum there must be a barrier.
DEVICE float warp_sum(float value) {
  for (int mask = kWarp / 2; mask; mask /= 2) value += shuffle_xor(value, mask);
  return value;
}

DEVICE float sum_of_warps(const float* shared) {
  float sum = 0;
  for (int warp = 0; warp < block_warps(); ++warp) sum += shared[warp];
  return sum;
}

DEVICE float block_sum(float value, float* shared) {
  const Lane self = this_lane();
  value = warp_sum(value);
  if (self.lane == 0) shared[self.warp] = value;
  block_barrier();
  return sum_of_warps(shared);
}

// The pixels of a warp in a batch.
struct Pixels {
  const Network& network;
  const Step& step;
  uint32_t count, first;  // first: entry of the warp's first pixel

  DEVICE bool has(int row) const { return first + uint32_t(row) < count; }
  DEVICE uint32_t at(int row) const {
    if (!has(row)) return kNoPixel;
    const uint32_t entry = first + uint32_t(row);
    if (!network.order) return step.start + entry;
    // Modulo order_size: the quotient is at most one too small.
    const uint64_t at = step.start + uint64_t(step.stride) * entry;
    const uint64_t size = network.order_size;
    uint64_t rest = at - multiply_high(at, network.order_reciprocal) * size;
    if (rest >= size) rest -= size;
    return network.order[rest];
  }
};

// What the lane's outputs should be as the target has it, a byte or the bits of a float: turned
// into a number only when it is needed, it is not waited for before.
template <int kTiles>
using RawBlock = uint32_t[kTiles][4];

DEVICE float target_of(const Network& network, uint32_t raw) {
  if (network.target8) return float(raw) * (2.0f / 255) - 1;
  float value;
  memcpy(&value, &raw, sizeof value);
  return value;
}

// load(index), or 0 where there is no such channel or pixel. pixel: of the lane's Places::row().
template <int kTiles, class Load>
DEVICE void each_target(const Shape& shape, uint32_t pixel, const Load& load,
                        RawBlock<kTiles>& targets) {
  const int channel = 2 * this_lane().member;
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint32_t of = from_row(pixel, tile, half);
      const int64_t at = int64_t(of) * shape.out_channels + channel;
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const bool inside = of != kNoPixel && channel + j < shape.out_channels;
        targets[tile][2 * half + j] = inside ? load(at + j) : 0;
      }
    }
}

template <int kTiles>
DEVICE void targets_of(const Shape& shape, const Network& network, uint32_t pixel,
                       RawBlock<kTiles>& targets) {
  if (const uint8_t* bytes = network.target8)
    each_target<kTiles>(shape, pixel, [=](int64_t at) { return uint32_t(bytes[at]); }, targets);
  else
    each_target<kTiles>(
        shape, pixel,
        [&](int64_t at) {
          const float value = network.target32[at];
          uint32_t raw;
          memcpy(&raw, &value, sizeof raw);
          return raw;
        },
        targets);
}

// Rows of encoded coordinates of a warp's pixels, first of them `first`; in shared memory they are
// there once copies_arrive().
template <int kPadded, int kTiles, bool kShared>
DEVICE void keep_encoded(const Shape& shape, const Network& network, const Kept<kPadded>& kept,
                         int first, const Places<kTiles>& places) {
  constexpr int kPixels = Places<kTiles>::kPixels, kLanesOfRow = kWarp / kPixels;
  const int words = shape.axis_features() / 8, all = shape.encoded() / 8;
  const int mine = this_lane().lane / kPixels;
  uint4* row = reinterpret_cast<uint4*>(kept.encoded() +
                                        2 * (first + Places<kTiles>::row()) * kept.encoded_stride);
#pragma unroll
  for (int axis = 0; axis < 3; ++axis) {
    if (axis >= shape.axes) break;
    const uint4* encoding = network.encoding16[axis] + places.at[axis] * words;
#pragma unroll 4
    for (int word = mine; word < words; word += kLanesOfRow) {
      uint4* to = row + axis * words + word;
      if (kShared)
        copy_async(to, encoding + word);
      else
        *to = encoding[word];
    }
  }
#pragma unroll 1
  for (int word = shape.axes * words + mine; word < all; word += kLanesOfRow)
    row[word] = make_uint4(0, 0, 0, 0);
}

// The output's error times kLossScale, as a left operand; adds to the warp's squared error, which
// is in shared memory to spare a register.
template <int kPadded, int kTiles>
DEVICE void errors_of(const Shape& shape, const Pixels& pixels, const Block<kTiles>& values,
                      const RawBlock<kTiles>& targets, const Kept<kPadded>& kept, int first,
                      uint32_t (&errors)[kTiles][2], float& squared_error) {
  const Lane self = this_lane();
  float squares = 0;
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = kRows * tile + 8 * half + self.group;
      float error[2];
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const bool inside = pixels.has(row) && 2 * self.member + j < shape.out_channels;
        const float target = target_of(pixels.network, targets[tile][2 * half + j]);
        error[j] = inside ? values[tile][2 * half + j] - target : 0;
        squares += error[j] * error[j];
      }
      const uint32_t pair = pack_half2(kLossScale * error[0], kLossScale * error[1]);
      errors[tile][half] = pair;
      pair_at(kept.errors(), kOut, first + row, 2 * self.member) = pair;
    }
  squares = warp_sum(squares);
  if (self.lane == 0) squared_error += squares;
}

// A block of a layer's deltas: slopes of the loss by its sines times the cosines kept, in whose
// place they go.
template <int kPadded, int kTiles>
DEVICE void deltas_of(int block, const Block<kTiles>& slopes, char* memory, int first,
                      Pairs<kPadded, kTiles>& deltas) {
  const Lane self = this_lane();
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int pixel = first + kRows * tile + 8 * half + self.group;
      uint32_t& place = pair_at(memory, row_stride(kPadded), pixel, 8 * block + 2 * self.member);
      const float2 cosine = unpack_half2(place);
      const float* slope = slopes[tile] + 2 * half;
      place = deltas.values[tile][block][half] =
          pack_half2(slope[0] * cosine.x, slope[1] * cosine.y);
    }
}

// Forward and backward of one warp's pixels; everything the weight gradients need goes to `kept`.
// pixel: of the lane's Places::row().
template <int kPadded, int kTiles, bool kShared>
DEVICE void warp_pixels(const Shape& shape, const Network& network, const Kept<kPadded>& kept,
                        int first, const Pixels& pixels, uint32_t pixel, float& squared_error) {
  using Values = Block<kTiles>;
  const Lane self = this_lane();
  const int hidden = shape.hidden_layers;
  // Early loads of targets pass while the network is computed; wide ones leave no registers for it.
  constexpr bool kEarlyTargets = kPadded <= 64;
  Pairs<kPadded, kTiles> pairs, next;
  RawBlock<kTiles> targets;
  {
    const Places<kTiles> places(network, pixel);
    if (kEarlyTargets) targets_of<kTiles>(shape, network, pixel, targets);
    keep_encoded<kPadded, kTiles, kShared>(shape, network, kept, first, places);
    const Keep keep{kept.sines(0), kept.deltas(0)};
    input_phases<kPadded>(shape, network, places, [&](int block, const Values& phases) {
      activate<true>(block, phases, keep, first, pairs);
    });
  }
  for (int layer = 1; layer <= hidden; ++layer) {
    const Keep keep{kept.sines(layer), kept.deltas(layer)};
    const float* bias = network.bias + (layer - 1) * kPadded;
    multiply(pairs, network.forward + (layer - 1) * operand_words(kPadded),
             [&](int block, const Values& sums) {
               Values phases;
               add_bias<kTiles>(block, sums, bias, phases);
               activate<true>(block, phases, keep, first, next);
             });
    pairs = next;
  }
  Values outputs;
  uint32_t errors[kTiles][2];
  output(network, pairs, outputs);
  if (!kEarlyTargets) targets_of<kTiles>(shape, network, pixels.at(Places<kTiles>::row()), targets);
  errors_of<kPadded, kTiles>(shape, pixels, outputs, targets, kept, first, errors, squared_error);
#pragma unroll
  for (int block = 0; block < kPadded / 8; ++block) {
    const uint32_t b = network.output_backward[block * kWarp + self.lane];
    Values slopes = {};
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile)
      mma_1688(slopes[tile], errors[tile][0], errors[tile][1], b);
    deltas_of(block, slopes, kept.deltas(hidden), first, pairs);
  }
  for (int layer = hidden; layer > 0; --layer) {
    multiply(pairs, network.backward + (layer - 1) * operand_words(kPadded),
             [&](int block, const Values& slopes) {
               deltas_of(block, slopes, kept.deltas(layer - 1), first, next);
             });
    pairs = next;
  }
}

// How blocks share out a batch; the same for every block of a launch.
struct Division {
  uint32_t count;  // pixels of the batch
  int warps;       // of a block, that take pixels; all of them add up weight gradients
  int tile;        // pixels of a tile
  int tiles;       // of the batch
  int blocks;      // that have tiles
  int part_bits;   // a tile's pixels come in 2^part_bits parts, each with sums of its own,
  int part;        // of so many pixels
  int units;       // parts of pieces of the weight gradients

  // block: warps of a block, `warps` of which take warp_tiles of kRows pixels each. group: blocks
  // that there are.
  DEVICE_HOST static Division of(const Shape& shape, int block, int warps, int warp_tiles,
                                 uint32_t count, int group) {
    Division made{};
    made.count = count;
    made.warps = warps;
    made.tile = warps * kRows * warp_tiles;
    made.tiles = int((count + uint32_t(made.tile) - 1) / uint32_t(made.tile));
    made.blocks = made.tiles < group ? made.tiles : group;
    const int pieces = Piece::count(shape);
    while (2 * pieces << made.part_bits <= block) ++made.part_bits;
    made.units = pieces << made.part_bits;
    made.part = round_up(made.tile >> made.part_bits, kRows);
    return made;
  }

  // Gradients that blocks leave behind.
  DEVICE_HOST int partials() const { return blocks << part_bits; }
  // The part that is the last index of a unit; its pixels; where its vectors are.
  DEVICE int part_of(int index) const { return index & ((1 << part_bits) - 1); }
  DEVICE int first(int part_index) const { return part_index * part; }
  DEVICE int last(int part_index) const {
    const int end = (part_index + 1) * part;
    return end < tile ? end : tile;
  }
  DEVICE int place(const Shape& shape, int part_index, int vector) const {
    return part_index * Partial::vectors(shape) + vector;
  }
};

// A piece of the weight gradients over a part of a tile's pixels, [first, last).
struct Unit {
  Piece piece;
  int first, last, at;  // at: its first vector in what the block leaves behind

  DEVICE Unit(const Shape& shape, const Division& division, int index) {
    const int part = division.part_of(index);
    index >>= division.part_bits;
    piece = Piece::at(shape, index);
    first = division.first(part);
    last = division.last(part);
    at = division.place(shape, part, index * kPieceVectors);
  }
};

// What a block leaves behind: Partial::vectors for each part.
DEVICE float4* partial_gradient(const Shape& shape, const Network& network,
                                const Division& division, const Group& group) {
  const int64_t vectors = int64_t(Partial::vectors(shape)) << division.part_bits;
  return network.partial + group.index * vectors * kWarp;
}

// One block's tiles of a batch. kShared: `memory` is shared memory.
template <int kPadded, int kTiles, bool kShared>
DEVICE void train(const Shape& shape, const Network& network, const Step& step,
                  const Division& division, const Group& group, char* memory,
                  float* sums_of_warps) {
  const Lane self = this_lane();
  const int warps = block_warps();
  if (group.index >= division.blocks) return;
  const Kept<kPadded> kept(shape, memory, division.tile);
  const auto vectors = [&](int at) {
    return partial_gradient(shape, network, division, group) + at * kWarp + self.lane;
  };
  // The sums of a warp's first piece stay in registers from tile to tile, where there are so many.
  constexpr bool kHolds = kShared && kPadded <= 64;
  float& squared_error = sums_of_warps[self.warp];
  if (self.lane == 0) squared_error = 0;
  PieceSums<kPadded> held = {};
  const Unit mine(shape, division, self.warp);
  const auto pixels_of = [&](int tile, int first_pixel) {
    const uint32_t first = uint32_t(tile) * uint32_t(division.tile) + uint32_t(first_pixel);
    return Pixels{network, step, division.count, first};
  };
  uint32_t pixel_ahead = kNoPixel;
  for (int tile = group.index; tile < division.tiles; tile += group.size) {
    const bool first_tile = tile == group.index, last_tile = tile + group.size >= division.tiles;
    const int warp = kPadded > 64 ? opaque(self.warp) : self.warp;  // registers are short
    const int first_pixel = warp * kRows * kTiles;
    const bool takes = self.warp < division.warps;
    if (takes) {
      const Pixels pixels = pixels_of(tile, first_pixel);
      const bool fetched = kHolds && !first_tile;
      warp_pixels<kPadded, kTiles, kShared>(
          shape, network, kept, first_pixel, pixels,
          fetched ? pixel_ahead : pixels.at(Places<kTiles>::row()), squared_error);
    }
    if (kShared) copies_arrive();
    block_barrier();
    // The next tile's pixels come from afar, while gradients are added up.
    if (kHolds && takes && !last_tile)
      pixel_ahead = pixels_of(tile + group.size, first_pixel).at(Places<kTiles>::row());
    if (kHolds && self.warp < division.units) {
      add_piece<kPadded, kShared>(kept, mine.piece, mine.first, mine.last, held);
      if (last_tile) store_piece(mine.piece, held, vectors(mine.at));
    }
    // Deep or wide networks have more pieces than there are warps.
    for (int i = warp + (kHolds ? warps : 0); i < division.units; i += warps) {
      const Unit unit(shape, division, i);
      PieceSums<kPadded> sums = {};
      if (!first_tile) load_piece(unit.piece, sums, vectors(unit.at));
      add_piece<kPadded, kShared>(kept, unit.piece, unit.first, unit.last, sums);
      store_piece(unit.piece, sums, vectors(unit.at));
    }
    // The last warps first: the pieces that the first ones hold, of the input layer, are larger.
    for (int i = kHolds ? warps - 1 - warp : warp; i < (kPadded / kRows + 1) << division.part_bits;
         i += warps) {
      const int block = i >> division.part_bits, part = division.part_of(i);
      float4& place = *vectors(division.place(shape, part, Partial::output(shape) + block));
      float sum[4] = {};
      if (!first_tile) load(sum, place);
      add_output<kPadded, kShared>(kept, shape.hidden_layers, block, division.first(part),
                                   division.last(part), sum);
      store(place, sum);
    }
    block_barrier();
  }
  if (threadIdx.x == 0) vectors(Partial::error(shape))->x = sum_of_warps(sums_of_warps);
}

}  // namespace cuda
}  // namespace tcnn_codec
