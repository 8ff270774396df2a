// Decoding: the network at every pixel of the grid, as it is or as 8-bit pixels.
#pragma once

#include "siren/cuda/forward.cuh"

namespace tcnn_codec {
namespace cuda {

template <int kPadded, int kTiles>
DEVICE void evaluate(const Shape& shape, const Network& network, const Group& group) {
  const Lane self = this_lane();
  const uint32_t pixels =
      uint32_t(network.size[0]) * uint32_t(network.size[1]) * uint32_t(network.size[2]);
  const uint32_t of_warp = kRows * kTiles;
  const uint32_t tiles = (pixels + of_warp - 1) / of_warp;
  for (uint32_t tile = uint32_t(group.index * block_warps() + self.warp); tile < tiles;
       tile += uint32_t(group.size * block_warps())) {
    const auto pixel_of = [&](int row) {
      const uint32_t pixel = tile * of_warp + uint32_t(row);
      return pixel < pixels ? pixel : kNoPixel;
    };
    const Places<kTiles> places(network, pixel_of(Places<kTiles>::row()));
    using Values = Block<kTiles>;
    Pairs<kPadded, kTiles> sines, next;
    input_phases<kPadded>(shape, network, places, [&](int block, const Values& phases) {
      activate<false>(block, phases, {}, 0, sines);
    });
    for (int layer = 0; layer < shape.hidden_layers; ++layer) {
      const float* bias = network.bias + layer * kPadded;
      multiply(sines, network.forward + layer * operand_words(kPadded),
               [&](int block, const Values& sums) {
                 Values phases;
                 add_bias<kTiles>(block, sums, bias, phases);
                 activate<false>(block, phases, {}, 0, next);
               });
      sines = next;
    }
    Values values;
    output(network, sines, values);
#pragma unroll
    for (int i = 0; i < kTiles; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const uint32_t pixel = pixel_of(kRows * i + 8 * (j / 2) + self.group);
        const int channel = 2 * self.member + j % 2;
        if (pixel == kNoPixel || channel >= shape.out_channels) continue;
        const int64_t at = int64_t(pixel) * shape.out_channels + channel;
        if (network.pixels8)
          network.pixels8[at] =
              uint8_t(rintf(fminf(fmaxf((values[i][j] + 1) * 127.5f, 0.0f), 255.0f)));
        else
          network.pixels32[at] = values[i][j];
      }
  }
}

}  // namespace cuda
}  // namespace tcnn_codec
