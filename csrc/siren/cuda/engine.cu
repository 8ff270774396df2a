// Plans launches and makes them: tile and group sizes, where everything lies in the workspace.

#include <algorithm>
#include <initializer_list>

#include "siren/cuda/engine.h"
#include "siren/cuda/kernels.cuh"
#include "siren/cuda/pieces.h"

namespace tcnn_codec {
namespace cuda {
namespace {

Shape padded_shape(const SirenShape& from) {
  Shape shape{from, 0};
  for (const int padded : {128, 96, 64, 48, 32})
    if (from.width <= padded) shape.padded = padded;
  return shape;
}

using Kernel = void (*)(Launch);

// Of one padded width and tile.
struct Kernels {
  Kernel train, train_unshared, fit, evaluate;
};

template <int kPadded, int kTiles>
Kernels kernels_of() {
  Kernels found;
  found.train = train_kernel<kPadded, kTiles, true>;
  found.train_unshared = train_kernel<kPadded, 1, false>;
  found.fit = fit_kernel<kPadded, kTiles>;
  found.evaluate = evaluate_kernel<kPadded, kTiles>;
  return found;
}

// Of wider networks, what two tiles keep leaves room for too few warps.
constexpr int kWidestOfTwoTiles = 32;

Kernels kernels_for(const Shape& shape, int tiles) {
  switch (shape.padded) {
    case 32:
      return tiles == 2 ? kernels_of<32, 2>() : kernels_of<32, 1>();
    case 48:
      return kernels_of<48, 1>();
    case 64:
      return kernels_of<64, 1>();
    case 96:
      return kernels_of<96, 1>();
    default:
      return kernels_of<128, 1>();
  }
}

Division divide(const Shape& shape, const Plan& plan) {
  return Division::of(shape, plan.block, plan.warps, plan.tiles, uint32_t(plan.count), plan.group);
}

// What one network needs, after what all share.
Network place(const Shape& shape, const Job& job, const Plan& plan, Pieces& pieces) {
  Network network{};
  network.params = job.params;
  network.mean = job.mean;
  network.variance = job.variance;
  network.scales = job.scales;
  network.target8 = job.target8;
  network.target32 = job.target32;
  network.order = job.order;
  network.order_size = uint32_t(job.order_size);
  if (job.order_size) network.order_reciprocal = ~uint64_t(0) / uint64_t(job.order_size);
  network.steps = static_cast<const Step*>(job.steps);
  network.losses = job.losses;
  network.pixels32 = job.pixels32;
  network.pixels8 = job.pixels8;
  network.gradient = job.gradient;
  for (int axis = 0; axis < 3; ++axis) {
    network.encoding[axis] = job.encoding[axis];
    network.encoding16[axis] = reinterpret_cast<const uint4*>(job.encoding16[axis]);
    network.size[axis] = int(job.size[axis]);
    network.table[axis] = pieces.take<float>(axis < shape.axes ? job.size[axis] * shape.padded : 0);
  }
  const int64_t hidden = shape.hidden_layers, padded = shape.padded;
  network.forward = pieces.take<uint4>(hidden * operand_words(shape.padded));
  network.backward = pieces.take<uint4>(hidden * operand_words(shape.padded));
  network.bias = pieces.take<float>(hidden * padded);
  network.output_forward = pieces.take<uint2>(padded / 16 * kWarp);
  network.output_backward = pieces.take<uint32_t>(padded / 8 * kWarp);
  network.output_bias = pieces.take<float>(kOut);
  if (!plan.count) return network;
  const Division division = divide(shape, plan);
  network.partial =
      pieces.take<float4>(int64_t(division.partials()) * Partial::vectors(shape) * kWarp);
  if (!network.gradient) network.gradient = pieces.take<float>(shape.parameter_count());
  if (!plan.muon_shared) network.muon = pieces.take<char>(plan.group * muon_bytes(shape));
  if (!plan.kept_shared)
    network.pixels = pieces.take<char>(int64_t(plan.group) * division.tile * shape.pixel_bytes());
  network.barrier = pieces.take<unsigned>(1);
  return network;
}

// Places every job, copies what the kernels read of them to the front of the workspace.
Launch prepare(const Shape& shape, const std::vector<Job>& jobs, const Plan& plan, char* workspace,
               Stream stream) {
  Pieces pieces(workspace);
  Network* on_device = pieces.take<Network>(int64_t(jobs.size()));
  Launch launch{};
  launch.step = pieces.take<int>(1);
  std::vector<Network> networks;
  for (const Job& job : jobs) networks.push_back(place(shape, job, plan, pieces));
  copy_to_device(on_device, networks.data(), networks.size() * sizeof(Network), stream);
  fill(launch.step, 0xff, sizeof(int), stream);  // -1: pack_kernel counts before it begins
  for (const Network& network : networks)
    if (network.barrier) fill(network.barrier, 0, sizeof(unsigned), stream);
  launch.shape = shape;
  launch.networks = on_device;
  launch.group = plan.group;
  launch.division = divide(shape, plan);
  launch.muon_shared = plan.muon_shared;
  return launch;
}

void allow_shared(std::initializer_list<Kernel> phases, const Plan& plan) {
  for (const Kernel phase : phases) allow_shared(phase, plan.shared_limit);
}

Kernel train_phase_of(const Kernels& kernels, const Plan& plan) {
  return plan.kept_shared ? kernels.train : kernels.train_unshared;
}

// Launches phases one after another.
void run(std::initializer_list<Kernel> phases, int blocks, const Plan& plan, const Launch& launch,
         Stream stream) {
  for (const Kernel phase : phases)
    tcnn_codec::cuda::launch(phase, blocks, plan.block * kWarp, plan.shared_bytes, false, stream,
                             launch);
}

// Calls run(blocks) for as many networks at a time as the plan says.
template <class Run>
void in_waves(Launch& launch, const Plan& plan, size_t networks, const Run& run) {
  const Network* all = launch.networks;
  for (size_t first = 0; first < networks; first += size_t(plan.networks_at_once)) {
    launch.networks = all + first;
    run(int(std::min(networks - first, size_t(plan.networks_at_once))) * plan.group);
  }
}

// Shared memory in front of what a phase wants counts in.
size_t kept_bytes(const Shape& shape, int warps, int tiles) {
  return kSharedFront + size_t(warps * tiles * kRows) * size_t(shape.pixel_bytes());
}

int64_t tiles_of(int64_t pixels, int warps, int tiles) {
  const int64_t tile = int64_t(warps) * tiles * kRows;
  return (pixels + tile - 1) / tile;
}

// The plan's block, warps, tiles and kept_shared. pixels: of one network.
void choose_tiles(const Shape& shape, const DeviceInfo& info, int64_t pixels, int networks,
                  const Choices& choices, Plan& plan) {
  const bool training = plan.count > 0;
  const auto fits = [&](int warps, int tiles) {
    return kept_bytes(shape, warps, tiles) <= info.shared_bytes;
  };
  const int most = choices.block ? choices.block : kMostWarps;
  // Two tiles share their loads of the weights; with one, small batches reach more multiprocessors.
  // A second tile saves less than warps that find no room cost.
  plan.tiles = choices.tiles;
  if (!plan.tiles) {
    const bool large = pixels * networks >= 512LL * info.multiprocessors;
    plan.tiles = large && (!training || fits(most, 2)) ? 2 : 1;
  }
  if (shape.padded > kWidestOfTwoTiles) plan.tiles = 1;
  plan.block = plan.warps = most;
  plan.kept_shared = true;
  if (!training) return;
  // Where the pieces of weight gradients need no more warps, two blocks share a multiprocessor: one
  // adds these up while the other is at its sines.
  const int half = kMostWarps / 2;
  if (!choices.block && !choices.warps && Piece::count(shape) <= half &&
      2 * kept_bytes(shape, half, plan.tiles) <= info.shared_bytes &&
      tiles_of(pixels, half, plan.tiles) * networks >= 2 * info.multiprocessors)
    plan.block = half;
  plan.warps = choices.warps ? std::min(choices.warps, plan.block) : plan.block;
  if (!choices.warps) {
    while (plan.warps > 1 && !fits(plan.warps, plan.tiles)) --plan.warps;
    // Batches too small for every multiprocessor are cut finer.
    while (plan.warps > 1 &&
           tiles_of(pixels, plan.warps / 2, plan.tiles) * networks <= info.multiprocessors)
      plan.warps /= 2;
  }
  if (fits(plan.warps, plan.tiles)) return;
  plan.kept_shared = false;
  plan.tiles = 1;
  if (!choices.warps) plan.warps = plan.block;
}

}  // namespace

Plan make_plan(int device, const DeviceInfo& info, const SirenShape& from,
               const std::vector<Job>& jobs, int64_t count, const Choices& choices) {
  const UseDevice use(device);
  const Shape shape = padded_shape(from);
  const bool training = count > 0;
  const int networks = int(jobs.size());
  int64_t pixels = count;
  for (const Job& job : jobs)
    if (!training) pixels = std::max(pixels, job.size[0] * job.size[1] * job.size[2]);

  Plan plan{};
  plan.count = count;
  plan.shared_limit = info.shared_bytes;
  choose_tiles(shape, info, pixels, networks, choices, plan);
  const int threads = plan.block * kWarp;
  const size_t optimise_bytes = kSharedFront + size_t(muon_bytes(shape));
  plan.muon_shared = optimise_bytes <= info.shared_bytes;
  plan.shared_bytes = kSharedFront + sizeof(float) * size_t(pack_floats(shape));
  const auto want = [&](size_t bytes) { plan.shared_bytes = std::max(plan.shared_bytes, bytes); };
  if (training) want(kSharedFront + sizeof(float4) * size_t(threads));
  if (training && plan.kept_shared) want(kept_bytes(shape, plan.warps, plan.tiles));
  if (training && plan.muon_shared) want(optimise_bytes);
  if (plan.shared_bytes > info.shared_bytes)
    throw DeviceError("shared memory of a block: " + std::to_string(plan.shared_bytes) +
                      " bytes are needed, this device has " + std::to_string(info.shared_bytes));

  const Kernels kernels = kernels_for(shape, plan.tiles);
  const Kernel longest = training ? kernels.fit : kernels.evaluate;
  tcnn_codec::cuda::allow_shared(longest, plan.shared_limit);
  const int at_once = info.multiprocessors *
                      std::max(1, blocks_per_multiprocessor(longest, threads, plan.shared_bytes));
  plan.group = choices.group;
  if (!plan.group) {
    const int64_t tiles = tiles_of(pixels, plan.warps, plan.tiles);
    const int64_t useful = std::max<int64_t>(tiles, shape.layers());
    plan.group = int(std::max<int64_t>(1, std::min<int64_t>(useful, at_once / networks)));
  }
  plan.cooperative =
      training && info.cooperative && !choices.graph && plan.kept_shared && plan.group <= at_once;
  plan.networks_at_once = plan.cooperative ? std::max(1, at_once / plan.group) : networks;
  Pieces pieces(nullptr);
  pieces.take<Network>(networks);
  pieces.take<int>(1);
  for (const Job& job : jobs) place(shape, job, plan, pieces);
  plan.workspace_bytes = pieces.used();
  return plan;
}

void fit_steps(int device, const SirenShape& from, const std::vector<Job>& jobs, int steps,
               const OptimiserConstants& constants, const Plan& plan, char* workspace,
               Stream stream) {
  const UseDevice use(device);
  const Shape shape = padded_shape(from);
  const Kernels kernels = kernels_for(shape, plan.tiles);
  Launch launch = prepare(shape, jobs, plan, workspace, stream);
  launch.constants = constants;
  launch.move = true;
  launch.steps = steps;
  const size_t shared = plan.shared_bytes;
  if (plan.cooperative) {
    launch.step = nullptr;
    allow_shared(kernels.fit, plan.shared_limit);
    in_waves(launch, plan, jobs.size(), [&](int blocks) {
      tcnn_codec::cuda::launch(kernels.fit, blocks, plan.block * kWarp, shared, true, stream,
                               launch);
    });
    return;
  }
  const int blocks = int(jobs.size()) * plan.group;
  const std::initializer_list<Kernel> phases = {pack_kernel, train_phase_of(kernels, plan),
                                                reduce_kernel, optimise_kernel};
  allow_shared(phases, plan);
  replay(stream, steps, [&](Stream capture) { run(phases, blocks, plan, launch, capture); });
}

void loss_and_grad(int device, const SirenShape& from, const std::vector<Job>& jobs,
                   const Plan& plan, char* workspace, Stream stream) {
  const UseDevice use(device);
  const Shape shape = padded_shape(from);
  const Kernels kernels = kernels_for(shape, plan.tiles);
  const Launch launch = prepare(shape, jobs, plan, workspace, stream);
  const int blocks = int(jobs.size()) * plan.group;
  const std::initializer_list<Kernel> phases = {pack_kernel, train_phase_of(kernels, plan),
                                                reduce_kernel};
  allow_shared(phases, plan);
  run(phases, blocks, plan, launch, stream);
}

void evaluate(int device, const SirenShape& from, const std::vector<Job>& jobs, const Plan& plan,
              char* workspace, Stream stream) {
  const UseDevice use(device);
  const Shape shape = padded_shape(from);
  const Launch launch = prepare(shape, jobs, plan, workspace, stream);
  const int blocks = int(jobs.size()) * plan.group;
  const std::initializer_list<Kernel> phases = {pack_kernel,
                                                kernels_for(shape, plan.tiles).evaluate};
  allow_shared(phases, plan);
  run(phases, blocks, plan, launch, stream);
}

}  // namespace cuda
}  // namespace tcnn_codec
