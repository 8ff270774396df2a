// The fused step: a block takes tiles of the batch, runs them forward and backward in registers,
// and adds up weight gradients. What one pixel's backward pass and the weight gradients need of the
// forward pass stays on the chip.
#pragma once

#include "forward.cuh"
#include "gradients.cuh"

namespace tcnn_codec {
namespace cuda {

// The pixels of a batch; kNoPixel beyond its end.
struct Pixels {
  const Network& network;
  const Step& step;
  uint32_t count, first;  // first: entry of the warp's first pixel

  DEVICE uint32_t at(int tile, int half) const {
    const uint32_t entry = first + uint32_t(kRows * tile + 8 * half + this_lane().group);
    if (entry >= count) return kNoPixel;
    if (!network.order) return step.start + entry;
    // Modulo order_size: the quotient is at most one too small.
    const uint64_t at = step.start + uint64_t(step.stride) * entry;
    const uint64_t size = network.order_size;
    uint64_t rest = at - multiply_high(at, network.order_reciprocal) * size;
    if (rest >= size) rest -= size;
    return network.order[rest];
  }
};

DEVICE float target_of(const Shape& shape, const Network& network, uint32_t pixel, int channel) {
  const int64_t at = int64_t(pixel) * shape.out_channels + channel;
  return network.target8 ? float(network.target8[at]) * (2.0f / 255) - 1 : network.target32[at];
}

// Rows of encoded coordinates of a warp's pixels, first of them `first`.
template <int kTiles>
DEVICE void keep_encoded(const Shape& shape, const Network& network, const Kept& kept, int first,
                         const Place (&places)[kTiles][2]) {
  const Lane self = this_lane();
  const int words = shape.axis_features() / 8, all = shape.encoded() / 8;
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int pixel = first + kRows * tile + 8 * half + self.group;
      uint4* row = reinterpret_cast<uint4*>(kept.encoded() + 2 * pixel * kept.encoded_stride);
#pragma unroll
      for (int axis = 0; axis < 3; ++axis) {
        if (axis >= shape.axes) break;
        const uint4* encoding =
            network.encoding16[axis] + int64_t(places[tile][half].at[axis]) * words;
#pragma unroll 1
        for (int word = self.member; word < words; word += 4)
          row[axis * words + word] = encoding[word];
      }
      for (int word = shape.axes * words + self.member; word < all; word += 4)
        row[word] = make_uint4(0, 0, 0, 0);
    }
}

// The output's error times kLossScale, as a left operand; adds to the lane's squared error.
template <int kTiles>
DEVICE void errors_of(const Shape& shape, const Network& network, const Pixels& pixels,
                      const float (&values)[kTiles][4], const Kept& kept, int first,
                      uint32_t (&errors)[kTiles][2], float& squared_error) {
  const Lane self = this_lane();
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint32_t pixel = pixels.at(tile, half);
      float error[2];
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const int channel = 2 * self.member + j;
        error[j] = 0;
        if (pixel != kNoPixel && channel < shape.out_channels)
          error[j] = values[tile][2 * half + j] - target_of(shape, network, pixel, channel);
        squared_error += error[j] * error[j];
      }
      const uint32_t pair = pack_half2(kLossScale * error[0], kLossScale * error[1]);
      errors[tile][half] = pair;
      const int row = first + kRows * tile + 8 * half + self.group;
      Keep::at(kept.errors(), kOut, row, 2 * self.member) = pair;
    }
}

// A block of a layer's deltas: slopes of the loss by its sines times the cosines kept, in whose
// place they go.
template <int kPadded, int kTiles>
DEVICE void deltas_of(int block, const Block<kTiles>& slopes, char* memory, int stride, int first,
                      Pairs<kPadded, kTiles>& deltas) {
  const Lane self = this_lane();
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int pixel = first + kRows * tile + 8 * half + self.group;
      uint32_t& place = Keep::at(memory, stride, pixel, 8 * block + 2 * self.member);
      const float2 cosine = unpack_half2(place);
      const float* slope = slopes[tile] + 2 * half;
      place = deltas.values[tile][block][half] =
          pack_half2(slope[0] * cosine.x, slope[1] * cosine.y);
    }
}

// Forward and backward of one warp's pixels; everything the weight gradients need goes to `kept`.
template <int kPadded, int kTiles>
DEVICE void warp_pixels(const Shape& shape, const Network& network, const Kept& kept, int first,
                        const Pixels& pixels, float& squared_error) {
  using Values = Block<kTiles>;
  const Lane self = this_lane();
  const int hidden = shape.hidden_layers;
  Pairs<kPadded, kTiles> pairs, next;
  {
    Place places[kTiles][2];
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        places[tile][half] = Place::of(network, pixels.at(tile, half));
    keep_encoded<kTiles>(shape, network, kept, first, places);
    const Keep keep{kept.sines(0), kept.deltas(0), kept.stride};
    input_phases<kPadded>(shape, network, places, [&](int block, const Values& phases) {
      activate<true>(block, phases, nullptr, keep, first, pairs);
    });
  }
  for (int layer = 1; layer <= hidden; ++layer) {
    const Keep keep{kept.sines(layer), kept.deltas(layer), kept.stride};
    const float* bias = network.bias + (layer - 1) * kPadded;
    multiply(pairs, network.forward + (layer - 1) * shape.operand_words(),
             [&](int block, const Values& phases) {
               activate<true>(block, phases, bias, keep, first, next);
             });
    pairs = next;
  }
  Values outputs;
  uint32_t errors[kTiles][2];
  output(network, pairs, outputs);
  errors_of<kTiles>(shape, network, pixels, outputs, kept, first, errors, squared_error);
#pragma unroll
  for (int block = 0; block < kPadded / 8; ++block) {
    const uint32_t b = network.output_backward[block * kWarp + self.lane];
    Values slopes = {};
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile)
      mma_1688(slopes[tile], errors[tile][0], errors[tile][1], b);
    deltas_of(block, slopes, kept.deltas(hidden), kept.stride, first, pairs);
  }
  for (int layer = hidden; layer > 0; --layer) {
    multiply(pairs, network.backward + (layer - 1) * shape.operand_words(),
             [&](int block, const Values& slopes) {
               deltas_of(block, slopes, kept.deltas(layer - 1), kept.stride, first, next);
             });
    pairs = next;
  }
}

// Sum over a block's lanes, in a fixed order; shared holds one float per warp. Between two calls
// there must be a barrier.
DEVICE float block_sum(float value, float* shared) {
  const Lane self = this_lane();
  for (int mask = kWarp / 2; mask; mask /= 2) value += shuffle_xor(value, mask);
  if (self.lane == 0) shared[self.warp] = value;
  block_barrier();
  float sum = 0;
  for (int warp = 0; warp < kWarps; ++warp) sum += shared[warp];
  return sum;
}

// How blocks share out a batch; the same for every block of a launch.
struct Division {
  uint32_t count;  // pixels of the batch
  int warps;       // of a block, that take pixels; all of them add up weight gradients
  int tile;        // pixels of a tile
  int tiles;       // of the batch
  int blocks;      // that have tiles
  int units;       // pieces of the weight gradients, times `parts`
  int parts;       // of a tile's pixels, each with sums of its own
  int part;        // pixels of a part

  // warps: kTiles of kRows pixels each. group: blocks that there are.
  DEVICE_HOST static Division of(const Shape& shape, int warps, int warp_tiles, uint32_t count,
                                 int group) {
    Division made{};
    made.count = count;
    made.warps = warps;
    made.tile = warps * kRows * warp_tiles;
    made.tiles = int((count + uint32_t(made.tile) - 1) / uint32_t(made.tile));
    made.blocks = made.tiles < group ? made.tiles : group;
    const int pieces = Piece::count(shape);
    made.parts = 1;
    while (2 * made.parts * pieces <= kWarps) made.parts *= 2;
    made.units = pieces * made.parts;
    made.part = round_up(made.tile / made.parts, kRows);
    return made;
  }
  // Gradients that blocks leave behind.
  DEVICE_HOST int partials() const { return blocks * parts; }
};

// What one block's sums over a part of its tiles' pixels leave behind: Partial::vectors.
DEVICE float4* partial_gradient(const Shape& shape, const Network& network,
                                const Division& division, const Group& group, int part) {
  const int64_t vectors = Partial::vectors(shape);
  return network.partial + (group.index * division.parts + part) * vectors * kWarp;
}

// One block's tiles of a batch. kShared: `memory` is shared memory.
template <int kPadded, int kTiles, bool kShared>
DEVICE void train(const Shape& shape, const Network& network, const Step& step,
                  const Division& division, const Group& group, char* memory,
                  float* sums_of_warps) {
  const Lane self = this_lane();
  if (group.index >= division.blocks) return;
  const Kept kept(shape, memory, division.tile);
  const auto vectors = [&](int part, int vector) {
    return partial_gradient(shape, network, division, group, part) + vector * kWarp + self.lane;
  };
  // The sums of a warp's first piece stay in registers from tile to tile, where there are so many.
  constexpr bool kHolds = kShared && kPadded < 128;
  float squared_error = 0;
  PieceSums<kPadded> held;
  for (int tile = group.index; tile < division.tiles; tile += group.size) {
    const bool first_tile = tile == group.index, last_tile = tile + group.size >= division.tiles;
    const int first_pixel = self.warp * kRows * kTiles;
    const Pixels pixels{network, step, division.count,
                        uint32_t(tile * division.tile + first_pixel)};
    if (self.warp < division.warps)
      warp_pixels<kPadded, kTiles>(shape, network, kept, first_pixel, pixels, squared_error);
    block_barrier();
    const auto add_unit = [&](int unit, PieceSums<kPadded>& sums, bool fresh, bool store,
                              bool more) {
      const int index = unit / division.parts, part = unit % division.parts;
      const Piece piece = Piece::at(shape, index);
      const int first = part * division.part;
      const int last =
          first + division.part < division.tile ? first + division.part : division.tile;
      if (fresh) sums = PieceSums<kPadded>{};
      add_piece<kPadded, kShared>(kept, piece, first, last, sums);
      if (store) store_piece<kPadded>(piece, sums, more, vectors(part, index * kPieceVectors));
    };
    if (kHolds && self.warp < division.units)
      add_unit(self.warp, held, first_tile, last_tile, false);
    // Deep or wide networks have more pieces than there are warps.
    for (int unit = self.warp + (kHolds ? kWarps : 0); unit < division.units; unit += kWarps) {
      PieceSums<kPadded> sums;
      add_unit(unit, sums, true, true, !first_tile);
    }
    add_output<kPadded, kShared>(kept, shape.hidden_layers, !first_tile,
                                 vectors(0, Partial::output(shape)));
    block_barrier();
  }
  squared_error = block_sum(squared_error, sums_of_warps);
  if (threadIdx.x == 0) vectors(0, Partial::error(shape))->x = squared_error;
}

}  // namespace cuda
}  // namespace tcnn_codec
