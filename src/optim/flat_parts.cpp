#include "src/optim/flat_parts.hpp"

#include <algorithm>
#include <utility>

#include "src/tensor/storage.hpp"

namespace rankine {

FlatParts::FlatParts(std::vector<Part> parts) : parts_(std::move(parts)) {
  using kernels::kPiece, kernels::kPieceGroup;
  std::vector<std::int64_t> begin, end, first, group;
  std::vector<double> rate, decay;
  for (const Part& part : parts_) {
    group.push_back(static_cast<std::int64_t>(first.size()));
    for (std::int64_t at = part.begin, k = 0; at < part.end; at += kPiece, ++k) {
      if (k % kPieceGroup == 0) first.push_back(static_cast<std::int64_t>(begin.size()));
      begin.push_back(at);
      end.push_back(std::min(at + kPiece, part.end));
      pieces_.elements += end.back() - at;
      rate.push_back(part.rate);
      decay.push_back(part.decay);
    }
  }
  group.push_back(static_cast<std::int64_t>(first.size()));
  pieces_.parts = static_cast<std::int64_t>(parts_.size());
  pieces_.groups = static_cast<std::int64_t>(first.size());
  pieces_.pieces = static_cast<std::int64_t>(begin.size());
  first.push_back(pieces_.pieces);

  const Uncounted scope;
  std::vector<std::int64_t> all;
  for (const auto* values : {&begin, &end, &first, &group})
    all.insert(all.end(), values->begin(), values->end());
  table_ = Tensor::from(all, {static_cast<std::int64_t>(all.size())});
  DevicePtr<const std::int64_t> at = table_.data<std::int64_t>();
  const auto take = [&](const std::vector<std::int64_t>& values) {
    return std::exchange(at, at + static_cast<std::int64_t>(values.size()));
  };
  pieces_.begin = take(begin);
  pieces_.end = take(end);
  pieces_.first = take(first);
  pieces_.group = take(group);
  rate.insert(rate.end(), decay.begin(), decay.end());
  factors_ = Tensor::from(rate, {2, pieces_.pieces});
  pieces_.rate = factors_.data<double>();
  pieces_.decay = pieces_.rate + pieces_.pieces;
  work_ = Tensor::empty({kernels::sum_workspace(pieces_)}, DType::f64);
}

void FlatParts::sum_of_squares(const Tensor& flat, DevicePtr<double> out) const {
  dispatch_real(flat.dtype(), "sum_of_squares", [&](auto zero) {
    using T = decltype(zero);
    kernels::sum_of_squares<T>(pieces_, flat.data<T>(), work_.data<double>(), out);
  });
}

std::vector<double> FlatParts::sums_of_squares(const Tensor& flat) const {
  const Uncounted scope;
  const Tensor out = Tensor::empty({pieces_.parts}, DType::f64);
  dispatch_real(flat.dtype(), "sums_of_squares", [&](auto zero) {
    using T = decltype(zero);
    kernels::sums_of_squares<T>(pieces_, flat.data<T>(), work_.data<double>(), out.data<double>());
  });
  std::vector<double> sums(parts_.size());
  copy_to_host(sums.data(), out.data<double>(), out.count());
  return sums;
}

void FlatParts::count_not_finite(const Tensor& flat, DevicePtr<double> out) const {
  dispatch_real(flat.dtype(), "count_not_finite", [&](auto zero) {
    using T = decltype(zero);
    kernels::count_not_finite<T>(pieces_, flat.data<T>(), work_.data<double>(), out);
  });
}

}  // namespace rankine
