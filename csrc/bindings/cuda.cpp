// The Python module tcnn_codec._cuda: takes arrays in device memory by DLPack, checks every one
// against the contract in siren/cuda/engine.h, then calls it without the interpreter lock.

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>

#include "bindings/device_array.h"
#include "bindings/integer_types.h"
#include "bindings/siren_types.h"
#include "siren/cuda/engine.h"
#include "siren/cuda/integer.h"

namespace py = pybind11;
using namespace tcnn_codec;

namespace {

using Arrays = std::vector<py::object>;
using Maybe = std::optional<py::object>;

// A cuda::Job with what keeps its arrays alive.
class Job {
 public:
  Job(const SirenShape& shape, int device, const py::object& params, const Arrays& encodings,
      const Arrays& encodings16)
      : shape_(shape), device_(device) {
    job_.params = floats(params, "params", shape.parameter_count());
    check_range("number of encodings", int64_t(encodings.size()), shape.axes, shape.axes);
    check_range("number of encodings16", int64_t(encodings16.size()), shape.axes, shape.axes);
    const int last = shape.features_of(shape.axes - 1);
    const int64_t padded = (std::max(shape.features, last) + 8) / 8 * 8;
    pixels_ = 1;
    for (int axis = 0; axis < 3; ++axis) {
      job_.size[axis] = 1;
      if (axis >= shape.axes) continue;
      const Array& encoding = hold(encodings[size_t(axis)]);
      const int64_t features = shape.features_of(axis), size = encoding.size() / features;
      check_range("axis size", size, 1, (int64_t(1) << 31) / (16 * std::max<int64_t>(padded, 16)));
      job_.size[axis] = size;
      pixels_ *= size;
      check_range("pixels", pixels_, 1, (int64_t(1) << 32) - 64);
      job_.encoding[axis] =
          reinterpret_cast<float*>(encoding.checked("encoding", device, true, 32, size * features));
      job_.encoding16[axis] = reinterpret_cast<uint16_t*>(
          hold(encodings16[size_t(axis)]).checked("encoding16", device, true, 16, size * padded));
    }
  }

  void set_target(const py::object& target, const Maybe& order) {
    const Array& array = hold(target);
    const int64_t size = pixels_ * shape_.out_channels;
    if (array.is(2, 32))
      job_.target32 = reinterpret_cast<float*>(array.checked("target", device_, true, 32, size));
    else
      job_.target8 = reinterpret_cast<uint8_t*>(array.checked("target", device_, false, 8, size));
    job_.order_size = pixels_;
    if (!order) return;
    const Array& indices = hold(*order);
    job_.order_size = indices.size();
    check_range("size of order", job_.order_size, 1, (int64_t(1) << 32) - 1);
    job_.order = reinterpret_cast<uint32_t*>(indices.checked("order", device_, false, 32, -1));
  }

  void set_optimiser(const py::object& mean, const py::object& variance, const Maybe& scales) {
    const int64_t parameters = shape_.parameter_count();
    job_.mean = floats(mean, "mean", parameters);
    job_.variance = floats(variance, "variance", parameters);
    if (scales) job_.scales = floats(*scales, "scales", parameters);
  }

  // steps: five 32-bit words each. Takes the place of those set before.
  void set_steps(const py::object& steps, const py::object& losses) {
    step_arrays_.clear();
    const Array& array = step_arrays_.emplace_back(steps);
    steps_ = array.size() / 5;
    job_.steps = array.checked("steps", device_, false, 32, 5 * steps_);
    job_.losses = reinterpret_cast<float*>(
        step_arrays_.emplace_back(losses).checked("losses", device_, true, 32, steps_));
  }

  void set_gradient(const py::object& gradient) {
    job_.gradient = floats(gradient, "gradient", shape_.parameter_count());
  }

  void set_pixels(const py::object& pixels) {
    const Array& array = hold(pixels);
    const int64_t size = pixels_ * shape_.out_channels;
    if (array.is(2, 32))
      job_.pixels32 = reinterpret_cast<float*>(array.checked("pixels", device_, true, 32, size));
    else
      job_.pixels8 = reinterpret_cast<uint8_t*>(array.checked("pixels", device_, false, 8, size));
  }

  const SirenShape& shape() const { return shape_; }
  int device() const { return device_; }
  int64_t steps() const { return steps_; }
  const cuda::Job& job() const { return job_; }

 private:
  const Array& hold(const py::object& array) { return arrays_.emplace_back(array); }
  float* floats(const py::object& array, const char* name, int64_t size) {
    return reinterpret_cast<float*>(hold(array).checked(name, device_, true, 32, size));
  }

  SirenShape shape_;
  int device_;
  int64_t pixels_ = 0, steps_ = 0;
  cuda::Job job_{};
  std::vector<Array> arrays_, step_arrays_;
};

// Jobs of one call: same device, shape and number of steps.
std::vector<cuda::Job> together(const std::vector<Job*>& jobs) {
  check_range("number of networks", int64_t(jobs.size()), 1, 1 << 16);
  std::vector<cuda::Job> found;
  for (const Job* job : jobs) {
    const SirenShape &a = job->shape(), &b = jobs[0]->shape();
    if (a.axes != b.axes || a.features != b.features || a.hidden_layers != b.hidden_layers ||
        a.width != b.width || a.out_channels != b.out_channels || a.w0 != b.w0 ||
        a.time_features != b.time_features || job->device() != jobs[0]->device() ||
        job->steps() != jobs[0]->steps())
      throw py::value_error(
          "networks of one call differ in shape, device or number of steps; call once for each "
          "kind");
    found.push_back(job->job());
  }
  return found;
}

cuda::Plan make_plan(const cuda::DeviceInfo& info, const std::vector<Job*>& jobs, int64_t count,
                     int group, int block, int warps, int tiles, bool graph) {
  const std::vector<cuda::Job> found = together(jobs);
  check_range("count", count, 0, (int64_t(1) << 31) - 1);
  check_range("group", group, 0, 1 << 16);
  check_range("block", block, 0, 8);
  check_range("warps", warps, 0, 8);
  check_range("tiles", tiles, 0, 2);
  return cuda::make_plan(jobs[0]->device(), info, jobs[0]->shape(), found, count,
                         {group, block, warps, tiles, graph});
}

// least: pixels of a batch that the operation needs a plan for.
char* workspace_of(const py::object& workspace, const cuda::Plan& plan, int64_t least, int device,
                   std::optional<Array>& held) {
  check_range("count of the plan", plan.count, least, (int64_t(1) << 31) - 1);
  held.emplace(workspace);
  char* memory = held->checked("workspace", device, false, 8, -1);
  if (held->size() < int64_t(plan.workspace_bytes))
    throw py::value_error("workspace has " + std::to_string(held->size()) + " bytes; needed are " +
                          std::to_string(plan.workspace_bytes));
  return memory;
}

cuda::Stream stream_of(uintptr_t stream) { return reinterpret_cast<cuda::Stream>(stream); }

void fit_steps(const std::vector<Job*>& jobs, const OptimiserConstants& constants,
               const cuda::Plan& plan, const py::object& workspace, uintptr_t stream) {
  const std::vector<cuda::Job> found = together(jobs);
  std::optional<Array> held;
  const int device = jobs[0]->device();
  char* memory = workspace_of(workspace, plan, 1, device, held);
  const py::gil_scoped_release release;
  cuda::fit_steps(device, jobs[0]->shape(), found, int(jobs[0]->steps()), constants, plan, memory,
                  stream_of(stream));
}

void loss_and_grad(const std::vector<Job*>& jobs, const cuda::Plan& plan,
                   const py::object& workspace, uintptr_t stream) {
  const std::vector<cuda::Job> found = together(jobs);
  std::optional<Array> held;
  char* memory = workspace_of(workspace, plan, 1, jobs[0]->device(), held);
  const py::gil_scoped_release release;
  cuda::loss_and_grad(jobs[0]->device(), jobs[0]->shape(), found, plan, memory, stream_of(stream));
}

void evaluate(const std::vector<Job*>& jobs, const cuda::Plan& plan, const py::object& workspace,
              uintptr_t stream) {
  const std::vector<cuda::Job> found = together(jobs);
  std::optional<Array> held;
  char* memory = workspace_of(workspace, plan, 0, jobs[0]->device(), held);
  const py::gil_scoped_release release;
  cuda::evaluate(jobs[0]->device(), jobs[0]->shape(), found, plan, memory, stream_of(stream));
}

int64_t integer_workspace(const SirenShape& shape, const std::vector<int64_t>& sizes) {
  check_integer_shape(shape);
  check_range("number of sizes", int64_t(sizes.size()), shape.axes, shape.axes);
  int64_t size[3] = {1, 1, 1};
  for (size_t axis = 0; axis < sizes.size(); ++axis) {
    check_range("axis size", sizes[axis], 1, int64_t(1) << 20);
    size[axis] = sizes[axis];
  }
  return int64_t(cuda::integer_workspace(shape, size));
}

void render_integers(int device, const cuda::DeviceInfo& info, const SirenShape& shape,
                     const py::buffer& values, const py::buffer& multipliers,
                     const std::vector<py::buffer>& axes, const py::object& workspace,
                     const py::object& out, uintptr_t stream) {
  const IntegerNetwork network = integer_network(shape, values, multipliers);
  const IntegerGrid grid = integer_grid(shape, axes);
  check_range("pixels", grid.pixels(), 1, (int64_t(1) << 32) - 256);
  const Array held(workspace), samples(out);
  const auto needed = int64_t(cuda::integer_workspace(shape, grid.size));
  char* memory = held.checked("workspace", device, false, 8, -1);
  check_range("bytes of workspace", held.size(), needed, int64_t(1) << 62);
  char* to = samples.checked("out", device, false, 8, grid.pixels() * shape.out_channels);
  const py::gil_scoped_release release;
  cuda::render_integers(device, info, network, grid, memory, reinterpret_cast<uint8_t*>(to),
                        stream_of(stream));
}

}  // namespace

void bind_cuda(py::module_& module) {
  module.doc() = "Fused SIREN kernels for CUDA; see csrc/siren/cuda/engine.h for the contract.";
  py::register_local_exception<cuda::DeviceError>(module, "DeviceError", PyExc_RuntimeError);
  module.def("device_count", &cuda::device_count, "CUDA devices that this process can use.");

  py::class_<cuda::DeviceInfo>(module, "DeviceInfo", py::module_local())
      .def(py::init(&cuda::device_info), py::arg("device"))
      .def_readonly("name", &cuda::DeviceInfo::name)
      .def_readonly("major", &cuda::DeviceInfo::major)
      .def_readonly("minor", &cuda::DeviceInfo::minor);

  bind_types(module);

  py::class_<Job>(module, "Job", py::module_local())
      .def(py::init<const SirenShape&, int, const py::object&, const Arrays&, const Arrays&>(),
           py::arg("shape"), py::arg("device"), py::arg("params"), py::arg("encodings"),
           py::arg("encodings16"))
      .def("set_target", &Job::set_target, py::arg("target"), py::arg("order"))
      .def("set_optimiser", &Job::set_optimiser, py::arg("mean"), py::arg("variance"),
           py::arg("scales"))
      .def("set_steps", &Job::set_steps, py::arg("steps"), py::arg("losses"))
      .def("set_gradient", &Job::set_gradient, py::arg("gradient"))
      .def("set_pixels", &Job::set_pixels, py::arg("pixels"));

  py::class_<cuda::Plan>(module, "Plan", py::module_local())
      .def(py::init(&make_plan), py::arg("info"), py::arg("jobs"), py::arg("count"),
           py::arg("group") = 0, py::arg("block") = 0, py::arg("warps") = 0, py::arg("tiles") = 0,
           py::arg("graph") = false)
      .def_readonly("workspace_bytes", &cuda::Plan::workspace_bytes);

  module.def("fit_steps", &fit_steps, py::arg("jobs"), py::arg("constants"), py::arg("plan"),
             py::arg("workspace"), py::arg("stream"),
             "All steps of every job; losses are sums of squared errors.");
  module.def("loss_and_grad", &loss_and_grad, py::arg("jobs"), py::arg("plan"),
             py::arg("workspace"), py::arg("stream"),
             "The gradient of the mean squared error, and the sum of squared errors, of each job.");
  module.def("evaluate", &evaluate, py::arg("jobs"), py::arg("plan"), py::arg("workspace"),
             py::arg("stream"), "Fills every job's pixels.");

  module.def("integer_workspace", &integer_workspace, py::arg("shape"), py::arg("sizes"),
             "Bytes of workspace to render a grid of these sizes in integers.");
  module.def("render_integers", &render_integers, py::kw_only(), py::arg("device"), py::arg("info"),
             py::arg("shape"), py::arg("values"), py::arg("multipliers"), py::arg("axes"),
             py::arg("workspace"), py::arg("out"), py::arg("stream"),
             "As IntegerSiren.render of the module _cpu, but workspace and out are on the device.");
}

#ifndef TCNN_CODEC_EMULATED
PYBIND11_MODULE(_cuda, module) { bind_cuda(module); }
#endif
