#include "src/tensor/composed.hpp"

#include "src/tensor/ops.hpp"

namespace rankine {

std::vector<Tensor> composed_vjp(const Function& fn, const std::vector<Tensor>& inputs,
                                 const std::vector<Tensor>& cotangents, const VjpContext& context) {
  // Fresh identities, so that paths between the inputs themselves are not counted here.
  std::vector<Tensor> copies, live, seeds, targets;
  std::vector<std::size_t> place;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    copies.push_back(inputs[i].on_tape() ? identity(inputs[i]) : inputs[i]);
    if (!context.needs(i)) continue;
    targets.push_back(copies[i]);
    place.push_back(i);
  }
  const std::vector<Tensor> outputs = fn(copies);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (!cotangents[i].defined()) continue;
    live.push_back(outputs[i]);
    seeds.push_back(cotangents[i]);
  }
  const std::vector<Tensor> found = grad(live, seeds, targets, {.create_graph = true});
  std::vector<Tensor> back(inputs.size());
  for (std::size_t i = 0; i < found.size(); ++i) back[place[i]] = found[i];
  return back;
}

}  // namespace rankine
