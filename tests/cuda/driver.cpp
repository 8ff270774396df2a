// Runs the CUDA kernels on the CPU over a few small networks, without Python, so that sanitizers
// can watch. Every schedule must give the same bits; without any one barrier some schedule must
// not.
//
// driver check     every case under every schedule, as single phases and as one launch
// driver mutate    the same with each barrier left out in turn; lists what nobody noticed
//
// Prints one line per case or barrier; exit status 1 where something is wrong.

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "siren/cuda/engine.cu"

namespace {

using namespace tcnn_codec;

constexpr int kSteps = 2;

struct Case {
  const char* name;
  SirenShape shape;
  int size[3];
  int count, networks;
  bool scales, shuffled;
  cuda::Choices choices;
  size_t shared_bytes;
};

constexpr size_t kLarge = 227 << 10;
// {axes, features, hidden_layers, width, out_channels, w0, time_features}; {group, block, warps,
// tiles, graph}
const Case kCases[] = {
    {"narrow", {2, 5, 1, 20, 3, 30}, {23, 9, 1}, 150, 1, false, true, {2, 2, 2, 1, false}, kLarge},
    {"two tiles",
     {2, 5, 1, 20, 3, 30},
     {23, 9, 1},
     190,
     2,
     false,
     true,
     {2, 2, 2, 2, false},
     kLarge},
    {"parts", {2, 3, 0, 12, 1, 30}, {23, 9, 1}, 207, 1, true, false, {3, 4, 4, 1, false}, kLarge},
    {"video", {3, 3, 2, 40, 4, 30}, {11, 7, 5}, 99, 1, false, true, {2, 3, 3, 1, false}, kLarge},
    {"more of t",
     {3, 3, 2, 40, 4, 30, 12},
     {11, 7, 5},
     99,
     1,
     false,
     true,
     {2, 3, 3, 1, false},
     kLarge},
    {"wide", {2, 3, 1, 100, 3, 30}, {13, 9, 1}, 70, 1, false, true, {2, 2, 2, 1, false}, kLarge},
    {"unshared",
     {2, 3, 2, 33, 3, 30},
     {13, 9, 1},
     70,
     1,
     false,
     true,
     {2, 2, 2, 1, false},
     10 << 10},
};

// One network's arrays, each exactly as large as it must be.
struct Arrays {
  std::vector<float> params, mean, variance, scales, losses, encodings[3];
  std::vector<uint16_t> encodings16[3];
  std::vector<uint8_t> target;
  std::vector<uint32_t> order;
  std::vector<cuda::Step> steps;

  Arrays(const Case& of, unsigned seed) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> value(-1, 1);
    const SirenShape& shape = of.shape;
    const auto fill = [&](std::vector<float>& array, size_t size, float largest) {
      array.resize(size);
      for (float& x : array) x = largest * value(random);
    };
    const auto parameters = size_t(shape.parameter_count());
    fill(params, parameters, 0.1f);
    mean.assign(parameters, 0);
    variance.assign(parameters, 0);
    if (of.scales) scales.assign(parameters, 0.01f);
    losses.assign(kSteps, 0);
    const int padded = (std::max(shape.features, shape.features_of(shape.axes - 1)) + 8) / 8 * 8;
    size_t pixels = 1;
    for (int axis = 0; axis < 3; ++axis) {
      pixels *= size_t(of.size[axis]);
      if (axis >= shape.axes) continue;
      const int features = shape.features_of(axis);
      fill(encodings[axis], size_t(of.size[axis] * features), 1);
      for (int row = 0; row < of.size[axis]; ++row)
        for (int f = 0; f < padded; ++f)
          encodings16[axis].push_back(
              uint16_t(pack_half2(f < features    ? encodings[axis][size_t(row * features + f)]
                                  : f == features ? 1.0f
                                                  : 0.0f,
                                  0)));
    }
    for (size_t i = 0; i < pixels * size_t(shape.out_channels); ++i)
      target.push_back(uint8_t(random()));
    for (uint32_t i = 0; i < pixels; ++i) order.push_back(i * 7 % uint32_t(pixels));
    for (int i = 0; i < kSteps; ++i) steps.push_back({uint32_t(3 * i), 5, 1e-2f, 1e-2f, 3.0f});
    if (!of.shuffled)
      for (cuda::Step& step : steps) step.start = 0;
  }

  cuda::Job job(const Case& of) {
    cuda::Job job{};
    job.params = params.data();
    job.mean = mean.data();
    job.variance = variance.data();
    job.scales = of.scales ? scales.data() : nullptr;
    for (int axis = 0; axis < 3; ++axis) {
      job.encoding[axis] = encodings[axis].data();
      job.encoding16[axis] = encodings16[axis].data();
      job.size[axis] = of.size[axis];
    }
    job.target8 = target.data();
    if (of.shuffled) job.order = order.data();
    job.order_size = int64_t(order.size());
    job.steps = steps.data();
    job.losses = losses.data();
    return job;
  }
};

// Parameters, moments and losses of all networks after kSteps, then their pixels.
std::vector<float> run(const Case& of, bool graph) {
  cuda::emulated_device().shared_bytes = of.shared_bytes;
  std::vector<Arrays> arrays;
  for (int i = 0; i < of.networks; ++i) arrays.emplace_back(of, unsigned(i + 1));
  std::vector<cuda::Job> jobs;
  for (Arrays& array : arrays) jobs.push_back(array.job(of));
  cuda::Choices choices = of.choices;
  choices.graph = graph;
  OptimiserConstants constants{};
  constants.beta1 = 0.9f;
  constants.beta2 = 0.99f;
  constants.epsilon = 1e-8f;
  constants.momentum = 0.95f;
  constants.rate_weight = 0.03f;
  constants.rate_floor = 0.2f;
  const auto work = [&](int64_t count) {
    const cuda::Plan plan =
        cuda::make_plan(0, cuda::device_info(0), of.shape, jobs, count, choices);
    std::vector<char> workspace(plan.workspace_bytes, char(0xff));
    if (count)
      cuda::fit_steps(0, of.shape, jobs, kSteps, constants, plan, workspace.data(), nullptr);
    else
      cuda::evaluate(0, of.shape, jobs, plan, workspace.data(), nullptr);
  };
  work(of.count);
  std::vector<std::vector<float>> pixels;
  for (size_t i = 0; i < jobs.size(); ++i) pixels.emplace_back(arrays[i].target.size(), 0.0f);
  for (size_t i = 0; i < jobs.size(); ++i) jobs[i].pixels32 = pixels[i].data();
  work(0);
  std::vector<float> found;
  for (size_t i = 0; i < jobs.size(); ++i)
    for (const auto* part :
         {&arrays[i].params, &arrays[i].mean, &arrays[i].variance, &arrays[i].losses, &pixels[i]})
      found.insert(found.end(), part->begin(), part->end());
  return found;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

struct Schedule {
  emulator::Options::Order order;
  unsigned seed;
};
const Schedule kSchedules[] = {{emulator::Options::forward, 0},
                               {emulator::Options::reverse, 0},
                               {emulator::Options::random, 1},
                               {emulator::Options::random, 2}};

void set(const Schedule& schedule) {
  emulator::options().order = schedule.order;
  emulator::options().seed = schedule.seed;
}

int check() {
  int wrong = 0;
  for (const Case& of : kCases) {
    set(kSchedules[0]);
    const std::vector<float> expected = run(of, true);
    bool finite = true, same = true;
    for (const float value : expected) finite &= std::isfinite(value);
    for (const Schedule& schedule : kSchedules)
      for (const bool graph : {true, false}) {
        set(schedule);
        same &= same_bits(run(of, graph), expected);
      }
    std::printf("%s: %zu values, %s, schedules %s\n", of.name, expected.size(),
                finite ? "finite" : "NOT FINITE", same ? "agree" : "DIFFER");
    wrong += !finite || !same;
  }
  return wrong > 0;
}

// Whether some case under some schedule differs from what it should be, or cannot be run.
bool noticed(const std::vector<std::vector<float>>& expected) {
  for (const Schedule& schedule : kSchedules) {
    set(schedule);
    for (size_t i = 0; i < expected.size(); ++i)
      for (const bool graph : {true, false}) {
        try {
          if (!same_bits(run(kCases[i], graph), expected[i])) return true;
        } catch (const std::runtime_error&) {
          return true;
        }
      }
  }
  return false;
}

int mutate() {
  emulator::forget_sites();
  set(kSchedules[0]);
  std::vector<std::vector<float>> expected;
  for (const Case& of : kCases) {
    expected.push_back(run(of, true));
    run(of, false);
  }
  int missed = 0;
  for (const emulator::Site& site : emulator::sites()) {
    emulator::options().skip_file = site.file;
    emulator::options().skip_line = site.line;
    const bool found = noticed(expected);
    const char* slash = std::strrchr(site.file, '/');
    std::printf("without %s:%d: %s\n", slash ? slash + 1 : site.file, site.line,
                found ? "noticed" : "NOT NOTICED");
    missed += !found;
  }
  emulator::options().skip_file = nullptr;
  return missed > 0;
}

}  // namespace

int main(int count, char** arguments) {
  emulator::options().collectives_order_memory = false;  // as on a GPU
  const std::string mode = count > 1 ? arguments[1] : "";
  if (mode == "check") return check();
  if (mode == "mutate") return mutate();
  std::fprintf(stderr, "usage: driver check|mutate\n");
  return 2;
}
