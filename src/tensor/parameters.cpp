#include "src/tensor/parameters.hpp"

#include <cstring>

namespace rankine {

void ParameterSet::add(ParameterInfo info) {
  if (!index_.try_emplace(info.name, parts_.size()).second)
    throw InputError("parameter '" + info.name + "' is there twice");
  info.offset = count_;
  count_ += info.shape.count();
  parts_.push_back(std::move(info));
  Tensor grown = Tensor::zeros({count_}, dtype_);
  if (flat_.defined()) grown.view(flat_.shape(), {1}).assign(flat_);
  flat_ = grown;
}

const ParameterInfo& ParameterSet::part(const std::string& name) const {
  const auto found = index_.find(name);
  if (found == index_.end()) throw InputError("no parameter '" + name + "'");
  return parts_[found->second];
}

const Tensor& ParameterSet::flat() const {
  if (!flat_.defined()) flat_ = Tensor::zeros({0}, dtype_);
  return flat_;
}

Tensor ParameterSet::view(const std::string& name) const { return view(part(name)); }

ParameterSet ParameterSet::with_values(const Tensor& flat) const {
  RANKINE_ASSERT(flat.dtype() == dtype_ && flat.shape() == Shape{count_} && flat.contiguous(),
                 "values " + flat.shape().text() + " for " + std::to_string(count_) + " parameters");
  ParameterSet other = *this;
  other.flat_ = flat;
  return other;
}

ParameterSet ParameterSet::range(std::size_t first, std::size_t last) const {
  ParameterSet set(dtype_);
  const std::int64_t begin = first < parts_.size() ? parts_[first].offset : count_;
  for (std::size_t i = first; i < last; ++i) {
    set.index_.emplace(parts_[i].name, i - first);
    set.parts_.push_back(parts_[i]);
    set.parts_.back().offset -= begin;
    set.count_ += parts_[i].shape.count();
  }
  set.flat_ = flat().view({set.count_}, {1}, begin);
  return set;
}

void ParameterSet::project() const {
  const CostAccount no_cost;  // every rank does all of it
  for (const ParameterInfo& info : parts_) {
    if (info.mask.defined()) view(info).assign(mul(view(info), info.mask));
    if (info.projection) info.projection(view(info));
  }
}

BoundParameters ParameterSet::bind(const SharedTileSum& tiles) const {
  const Region<"parameters"> region;
  const Tensor leaf = flat().on_tape() || !recording() ? flat() : variable(flat());
  const std::int64_t local = tiles->local_tiles();
  struct Layout {
    Shape shape;
    std::int64_t offset, count;
    bool on_tiles;
  };
  std::vector<Layout> layout;
  std::vector<Tensor> outputs;
  for (const ParameterInfo& info : parts_) {
    layout.push_back({info.shape, info.offset, info.shape.count(), info.on_tiles});
    Shape shape = info.shape, strides = row_major_strides(info.shape);
    if (info.on_tiles) {
      shape.insert(0, local);
      strides.insert(0, 0);
    }
    outputs.push_back(leaf.view(shape, strides, info.offset));
  }
  const auto vjp = [layout, tiles, local, count = count_, type = dtype_](
                       const std::vector<Tensor>& g, const VjpContext& context) -> std::vector<Tensor> {
    const Uncounted scope;
    if (context.create_graph()) {
      Tensor total = Tensor::zeros({count}, type);
      for (std::size_t i = 0; i < layout.size(); ++i) {
        if (!g[i].defined()) continue;
        const Tensor one = layout[i].on_tiles ? sum_over_tiles(g[i], tiles) : g[i];
        total = rankine::add(total, place(reshape(one, {layout[i].count}), 0, count, layout[i].offset));
      }
      return {total};
    }
    // One sum over the tiles takes all parts on tiles.
    std::vector<Tensor> on_tiles;
    std::int64_t width = 0;
    bool alone = true;  // these parts are the whole vector, in its order
    for (std::size_t i = 0; i < layout.size(); ++i) {
      if (!layout[i].on_tiles) continue;
      alone = alone && layout[i].offset == width;
      on_tiles.push_back(g[i].defined() ? g[i] : Tensor::zeros({local, layout[i].count}, type));
      width += layout[i].count;
    }
    const Tensor summed = sum_parts_over_tiles(on_tiles, type, tiles);
    if (alone && width == count) return {summed};
    const Tensor total = Tensor::zeros({count}, type);
    std::int64_t at = 0;
    for (std::size_t i = 0; i < layout.size(); ++i) {
      const Layout& part = layout[i];
      const Tensor target = total.view(part.shape, row_major_strides(part.shape), part.offset);
      if (part.on_tiles) {
        target.assign(summed.view(part.shape, row_major_strides(part.shape), at));
        at += part.count;
      } else if (g[i].defined()) {
        target.assign(g[i]);
      }
    }
    return {total};
  };
  outputs = apply_op("parameters", {leaf}, std::move(outputs), vjp);
  std::map<std::string, Tensor> named, masks;
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    named.emplace(parts_[i].name, outputs[i]);
    if (parts_[i].mask.defined()) masks.emplace(parts_[i].name, parts_[i].mask);
  }
  return BoundParameters(leaf, std::move(named), std::move(masks));
}

const Tensor& BoundParameters::operator[](const std::string& name) const {
  const auto found = parts_.find(name);
  if (found == parts_.end()) throw InputError("no parameter '" + name + "'");
  return found->second;
}

}  // namespace rankine
