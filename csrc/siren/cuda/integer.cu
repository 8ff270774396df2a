// Repacks a network in integers for the kernels, and launches them.

#include <algorithm>
#include <cstring>
#include <vector>

#include "siren/cuda/integer.cuh"
#include "siren/cuda/integer.h"
#include "siren/cuda/pieces.h"

namespace tcnn_codec {
namespace cuda {
namespace {

IntegerLaunch launch_of(const SirenShape& shape, const int64_t (&size)[3]) {
  IntegerLaunch launch{};
  launch.shape = shape;
  launch.rows = round_up(shape.width, kIntegerRows);
  for (int axis = 0; axis < 3; ++axis) launch.size[axis] = int(size[axis]);
  return launch;
}

// What is made on the host and sent as a whole.
struct Sent {
  int *input[3], *hidden, *output;
  uint32_t *bias, *multipliers;
  int16_t* encoding[3];

  Sent(const IntegerLaunch& launch, Pieces& pieces) {
    const SirenShape& shape = launch.shape;
    const int64_t rows = launch.rows, columns = 2 * launch.pairs();
    for (int axis = 0; axis < shape.axes; ++axis) {
      const int features = shape.features_of(axis);
      input[axis] = pieces.take<int>(features * rows);
      encoding[axis] = pieces.take<int16_t>(int64_t(launch.size[axis]) * features);
    }
    hidden = pieces.take<int>(shape.hidden_layers * columns * rows);
    output = pieces.take<int>(columns * kIntegerOut);
    bias = pieces.take<uint32_t>((shape.hidden_layers + 1) * rows);
    multipliers = pieces.take<uint32_t>(shape.hidden_layers + 1);
  }
};

// to [columns, stride] = columns of a layer's weights [rows, ...], from first_column on.
void transpose(const IntegerNetwork& network, int layer, int first_column, int columns, int stride,
               int* to) {
  const SirenShape& shape = network.shape;
  const int32_t* from = network.values + shape.weight(layer) + first_column;
  for (int r = 0; r < shape.rows(layer); ++r, from += shape.columns(layer))
    for (int c = 0; c < columns; ++c) to[int64_t(c) * stride + r] = from[c];
}

// to: of zeros.
void fill_in(const IntegerNetwork& network, const IntegerGrid& grid, const IntegerLaunch& launch,
             const Sent& to) {
  const SirenShape& shape = launch.shape;
  const int rows = launch.rows, hidden = shape.hidden_layers;
  for (int axis = 0; axis < shape.axes; ++axis) {
    const int features = shape.features_of(axis);
    transpose(network, 0, shape.first_input(axis), features, rows, to.input[axis]);
    std::copy_n(grid.values[axis], grid.size[axis] * features, to.encoding[axis]);
  }
  for (int layer = 0; layer < hidden; ++layer)
    transpose(network, layer + 1, 0, shape.width, rows,
              to.hidden + int64_t(layer) * 2 * launch.pairs() * rows);
  transpose(network, hidden + 1, 0, shape.width, kIntegerOut, to.output);
  for (int layer = 0; layer <= hidden; ++layer) {
    to.multipliers[layer] = uint32_t(network.multipliers[2 * layer]);
    const auto by = uint32_t(network.multipliers[2 * layer + 1]);
    for (int r = 0; r < shape.width; ++r)
      to.bias[layer * rows + r] = by * uint32_t(network.values[shape.bias(layer) + r]) << 14;
  }
}

void take_tables(IntegerLaunch& launch, Pieces& pieces) {
  for (int axis = 0; axis < launch.shape.axes; ++axis)
    launch.table[axis] = pieces.take<uint32_t>(int64_t(launch.size[axis]) * launch.rows);
}

void point_to(const Sent& on_device, IntegerLaunch& launch) {
  for (int axis = 0; axis < launch.shape.axes; ++axis) {
    launch.input[axis] = on_device.input[axis];
    launch.encoding[axis] = on_device.encoding[axis];
  }
  launch.hidden = on_device.hidden;
  launch.output = on_device.output;
  launch.bias = on_device.bias;
  launch.multipliers = on_device.multipliers;
}

}  // namespace

size_t integer_workspace(const SirenShape& shape, const int64_t (&size)[3]) {
  IntegerLaunch launch = launch_of(shape, size);
  Pieces pieces(nullptr);
  Sent(launch, pieces);
  take_tables(launch, pieces);
  return pieces.used();
}

void render_integers(int device, const DeviceInfo& info, const IntegerNetwork& network,
                     const IntegerGrid& grid, char* workspace, uint8_t* out, Stream stream) {
  check_integers(network);
  const UseDevice use(device);
  IntegerLaunch launch = launch_of(network.shape, grid.size);
  Pieces pieces(workspace), sizes(nullptr);
  Sent(launch, sizes);
  std::vector<char> memory(sizes.used(), 0);
  Pieces on_host(memory.data());
  fill_in(network, grid, launch, Sent(launch, on_host));
  point_to(Sent(launch, pieces), launch);
  take_tables(launch, pieces);
  launch.out = out;
  const int last = network.shape.layers() - 1;
  launch.output_multiplier = network.multipliers[2 * last];
  for (int c = 0; c < network.shape.out_channels; ++c)
    launch.output_start[c] = int64_t(network.multipliers[2 * last + 1]) *
                                 network.values[network.shape.bias(last) + c] * (1 << 14) +
                             (int64_t(1) << 33);
  copy_to_device(workspace, memory.data(), memory.size(), stream);

  const auto shared_of = [&](int threads) {
    return size_t(threads * kIntegerPixels) * size_t(launch.pixel_bytes());
  };
  int threads = kIntegerThreads;
  while (threads > kWarp && shared_of(threads) > info.shared_bytes) threads /= 2;
  const size_t shared = shared_of(threads);
  allow_shared(integer_render_kernel, info.shared_bytes);
  const int at_once =
      info.multiprocessors *
      std::max(1, blocks_per_multiprocessor(integer_render_kernel, threads, shared));
  const auto blocks_for = [&](int64_t items, int64_t each) {
    return int(std::min<int64_t>((items + each - 1) / each, at_once));
  };
  const int64_t longest = std::max({grid.size[0], grid.size[1], grid.size[2]});
  tcnn_codec::cuda::launch(integer_table_kernel,
                           blocks_for(longest * launch.rows / kIntegerRows, threads), threads, 0,
                           false, stream, launch);
  tcnn_codec::cuda::launch(integer_render_kernel,
                           blocks_for(grid.pixels(), threads * kIntegerPixels), threads, shared,
                           false, stream, launch);
}

}  // namespace cuda
}  // namespace tcnn_codec
