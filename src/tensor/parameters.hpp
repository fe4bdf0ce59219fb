// Parameters live apart from modules: a flat tensor with named parts. Copies of a set are other sets
// (averages, soups, interpolations); forward() of a model takes any of them.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "src/tensor/tile_ops.hpp"

namespace rankine {

struct ParameterInfo {
  std::string name;  ///< unique in the set, such as "block0.conv.weight"
  Shape shape;
  std::string group = "default";  ///< optimisers may treat groups differently
  /// Acts on tiles, so its gradient arises on each tile and is summed over them; false: acts on replicated
  /// values.
  bool on_tiles = true;
  bool frozen = false;  ///< not changed by optimisers
  Tensor mask{};        ///< 0/1 of the set's dtype and this shape, or undefined: all ones
  /// Called on the part's values after each step, for example to clip them.
  std::function<void(const Tensor&)> projection{};
  std::int64_t offset = 0;  ///< in the flat tensor; set by add()
};

class BoundParameters;

class ParameterSet {
 public:
  /// f32 or f64.
  explicit ParameterSet(DType type = DType::f64) : dtype_(type) {}
  /// Appends a part of zeros. Throws if the name is taken.
  void add(ParameterInfo info);

  DType dtype() const { return dtype_; }
  std::int64_t count() const { return count_; }
  const std::vector<ParameterInfo>& parts() const { return parts_; }
  std::vector<ParameterInfo>& parts() { return parts_; }
  bool contains(const std::string& name) const { return index_.contains(name); }
  /// Throws InputError if there is no such part.
  const ParameterInfo& part(const std::string& name) const;
  /// All values, [count]. Shared memory: writing to it changes the set.
  const Tensor& flat() const;
  /// A part's values, sharing memory.
  Tensor view(const std::string& name) const;
  Tensor view(const ParameterInfo& part) const {
    return flat().view(part.shape, row_major_strides(part.shape), part.offset);
  }
  /// The same names with other values: `flat` [count].
  ParameterSet with_values(const Tensor& flat) const;
  /// The parts first .. last - 1, sharing memory: a step of the one is a step of the other.
  ParameterSet range(std::size_t first, std::size_t last) const;
  /// A deep copy.
  ParameterSet clone() const { return with_values(flat().clone()); }
  /// Multiplies by the masks and calls the projections; optimisers do so after each step.
  void project() const;

  /// Puts the set on the tape for one pass, as a leaf (or, if flat() is on the tape already, as what it is
  /// there).
  BoundParameters bind(const SharedTileSum& tiles) const;

 private:
  DType dtype_;
  std::int64_t count_ = 0;
  std::vector<ParameterInfo> parts_;
  std::map<std::string, std::size_t> index_;
  mutable Tensor flat_;
};

/// A set's parts on the tape: [L, shape] with stride 0 for parts on tiles, [shape] for others. However many
/// parts, their gradients are summed over the tiles in one message.
class BoundParameters {
 public:
  BoundParameters(Tensor flat, std::map<std::string, Tensor> parts, std::map<std::string, Tensor> masks = {})
      : flat_(std::move(flat)), parts_(std::move(parts)), masks_(std::move(masks)) {}
  /// The tensor [count] to ask gradients for.
  const Tensor& flat() const { return flat_; }
  /// Throws InputError if there is no such part.
  const Tensor& operator[](const std::string& name) const;
  /// The part's mask [shape]; undefined: all ones.
  Tensor mask(const std::string& name) const {
    const auto found = masks_.find(name);
    return found == masks_.end() ? Tensor() : found->second;
  }
  /// Replaces a part by an expression of parts (masked, quantised, tied).
  void replace(const std::string& name, const Tensor& value) { parts_[name] = value; }

 private:
  Tensor flat_;
  std::map<std::string, Tensor> parts_, masks_;
};

}  // namespace rankine
