#include "src/tensor/fault_probe.hpp"

#include "kernels/reductions.hpp"

namespace rankine {
namespace {

thread_local FaultProbe* active_probe = nullptr;

}  // namespace

NotFinite not_finite(const Tensor& tensor) {
  if (!tensor.defined() || !is_differentiable(tensor.dtype())) return {};
  const Tensor x = tensor.contiguous() ? tensor : tensor.clone();
  using kernels::NotFiniteFlag;
  constexpr auto words = static_cast<std::int64_t>(sizeof(NotFiniteFlag) / sizeof(std::int64_t));
  const Tensor flag = Tensor::empty({words}, DType::i64);
  const Tensor work = Tensor::empty({words * kernels::count_not_finite_workspace(x.count())}, DType::i64);
  const bool single = x.dtype() == DType::f32 || x.dtype() == DType::c64;
  dispatch_real(single ? DType::f32 : DType::f64, "not_finite", [&](auto zero) {
    using T = decltype(zero);
    kernels::count_not_finite<T>(x.count(), is_complex(x.dtype()) ? 2 : 1, x.address().as<const T>(),
                                 flag.address().as<NotFiniteFlag>(), work.address().as<NotFiniteFlag>());
  });
  NotFiniteFlag found;
  copy_to_host(&found, flag.address().as<NotFiniteFlag>(), 1);
  return {found.count, found.count > 0 ? found.first : -1};
}

FaultProbe::FaultProbe() : outer_(active_probe) { active_probe = this; }
FaultProbe::~FaultProbe() { active_probe = outer_; }
FaultProbe* FaultProbe::active() { return active_probe; }

FaultProbe::Pause::Pause() : probe_(active_probe) {
  if (probe_ != nullptr) ++probe_->paused_;
}
FaultProbe::Pause::~Pause() {
  if (probe_ != nullptr) --probe_->paused_;
}

void FaultProbe::look(const std::string& name, const std::string& layer, Kind kind, int slot,
                      const Tensor& value) {
  const std::int64_t number = checks_++;
  if (found_) return;
  const NotFinite elements = not_finite(value);
  if (elements.count == 0) return;
  found_ = Finding{number, name, layer, kind, slot, value.detach().clone(), elements};
}

void FaultProbe::check(const std::string& name, const Tensor& value) {
  look(name, "", Kind::output, 0, value);
}

void FaultProbe::forward(const char* op, const std::vector<Tensor>& outputs) {
  FaultProbe* probe = active_probe;
  if (probe == nullptr || probe->paused_ > 0) return;
  for (std::size_t i = 0; i < outputs.size(); ++i)
    probe->look(op, "", Kind::output, static_cast<int>(i), outputs[i]);
}

void FaultProbe::arriving(const std::string& op, std::int64_t node, const std::vector<Tensor>& cotangents) {
  FaultProbe* probe = active_probe;
  if (probe == nullptr) return;
  for (std::size_t i = 0; i < cotangents.size(); ++i)
    probe->look(op, probe->layer_of(node), Kind::output_gradient, static_cast<int>(i), cotangents[i]);
}

void FaultProbe::backward(const std::string& op, std::int64_t node, const std::vector<Tensor>& cotangents) {
  FaultProbe* probe = active_probe;
  if (probe == nullptr) return;
  for (std::size_t i = 0; i < cotangents.size(); ++i)
    probe->look(op, probe->layer_of(node), Kind::input_gradient, static_cast<int>(i), cotangents[i]);
}

void FaultProbe::layer_done(const std::string& name, const Tensor& value) {
  FaultProbe* probe = active_probe;
  if (probe == nullptr || probe->paused_ > 0) return;
  if (value.defined()) probe->look("activation", "", Kind::output, 0, value);
  std::optional<Finding>& found = probe->found_;
  if (found && found->number >= probe->layer_checks_) found->layer = name;
  probe->layer_checks_ = probe->checks_;
  probe->layers_.emplace_back(next_node_number(), name);
}

std::string FaultProbe::layer_of(std::int64_t node) const {
  for (const auto& [end, name] : layers_)
    if (node < end) return name;
  return "";
}

}  // namespace rankine
