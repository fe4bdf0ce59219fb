#include "src/comm/tile_tree.hpp"

#include <algorithm>
#include <bit>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "kernels/elementwise.hpp"
#include "kernels/error.hpp"

namespace rankine {

namespace {

/// The number at which the tree divides [lo, hi), hi - lo >= 2.
std::int64_t middle(std::int64_t lo, std::int64_t hi) {
  return lo + static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(hi - lo - 1)));
}

/// The height of the sub-tree over `length` numbers. Both children have smaller heights.
int height(std::int64_t length) {
  return static_cast<int>(std::bit_width(static_cast<std::uint64_t>(length - 1)));
}

template <class T>
void add(const T* left, const T* right, T* into, std::size_t m) {
  for (std::size_t i = 0; i < m; ++i) into[i] = left[i] + right[i];
}

// Values are summed in strips that stay in the first-level cache together with the partial sums.
constexpr std::size_t strip = 512;
constexpr int max_height = 63;

/// Sums the first `m` (<= strip) values of `count` buffers that lie `stride` values apart.
template <class T>
void sum_strip(const T* values, std::size_t stride, std::int64_t count, T* into, std::size_t m,
               T (*scratch)[strip]) {
  if (count == 1) {
    std::copy_n(values, m, into);
  } else if (count == 2) {
    add(values, values + stride, into, m);
  } else {
    const std::int64_t mid = middle(0, count);
    sum_strip(values, stride, mid, into, m, scratch);
    sum_strip(values + static_cast<std::size_t>(mid) * stride, stride, count - mid, scratch[0], m,
              scratch + 1);
    add(into, scratch[0], into, m);
  }
}

}  // namespace

template <class T>
void tree_sum_local(std::span<const T> values, std::int64_t count, std::span<T> sum) {
  const std::size_t m = sum.size();
  RANKINE_ASSERT(count >= 0 && values.size() == static_cast<std::size_t>(count) * m,
                 "tree_sum_local got " + std::to_string(values.size()) + " values for " +
                     std::to_string(count) + " buffers of " + std::to_string(m));
  if (count == 0) {
    std::fill(sum.begin(), sum.end(), T(0));
    return;
  }
  // One strip of partial sums for each height above that of pairs.
  T scratch[max_height][strip];
  for (std::size_t first = 0; first < m; first += strip) {
    sum_strip(values.data() + first, m, count, sum.data() + first, std::min(strip, m - first), scratch);
  }
}

template void tree_sum_local<float>(std::span<const float>, std::int64_t, std::span<float>);
template void tree_sum_local<double>(std::span<const double>, std::int64_t, std::span<double>);

template <class T>
void tree_sum_parts(std::span<const std::span<const T>> parts, std::int64_t count, std::int64_t begin,
                    std::int64_t end, std::span<T> sum) {
  if (count == 0) {
    std::fill(sum.begin(), sum.end(), T(0));
    return;
  }
  std::size_t at = 0;
  for (const std::span<const T>& part : parts) {
    const std::size_t m = part.size() / static_cast<std::size_t>(count);
    RANKINE_ASSERT(m * static_cast<std::size_t>(count) == part.size() && at + m <= sum.size(),
                   "tree_sum_parts got a part of " + std::to_string(part.size()) + " values for " +
                       std::to_string(count) + " buffers, " + std::to_string(sum.size() - at) +
                       " sums being left");
    tree_sum_local(
        part.subspan(static_cast<std::size_t>(begin) * m, static_cast<std::size_t>(end - begin) * m),
        end - begin, sum.subspan(at, m));
    at += m;
  }
  RANKINE_ASSERT(at == sum.size(), "tree_sum_parts got parts of " + std::to_string(at) + " values for " +
                                       std::to_string(sum.size()) + " sums");
}

template void tree_sum_parts<float>(std::span<const std::span<const float>>, std::int64_t, std::int64_t,
                                    std::int64_t, std::span<float>);
template void tree_sum_parts<double>(std::span<const std::span<const double>>, std::int64_t, std::int64_t,
                                     std::int64_t, std::span<double>);

TileTree::TileTree(const Communicator& communicator, const BlockPartition& blocks)
    : communicator_(communicator),
      count_(blocks.count()),
      begin_(blocks.begin(communicator.rank())),
      end_(blocks.end(communicator.rank())) {
  RANKINE_ASSERT(blocks.parts() == communicator.size(), "a tree for " + std::to_string(blocks.parts()) +
                                                            " ranks on a communicator of " +
                                                            std::to_string(communicator.size()));
  if (count_ > 0) plan(blocks);
}

void TileTree::plan(const BlockPartition& blocks) {
  using Range = std::pair<std::int64_t, std::int64_t>;
  struct Node {
    int height;
    std::int64_t lo, hi;
  };
  const int rank = communicator_.rank();

  // The nodes above the leaves that this rank takes part in: at most two of each height.
  std::map<Range, int> slot_of;
  std::vector<Node> shared;
  const std::function<void(std::int64_t, std::int64_t)> descend = [&](std::int64_t lo, std::int64_t hi) {
    if (std::max(lo, begin_) >= std::min(hi, end_)) return;
    if (begin_ <= lo && hi <= end_) {
      slot_of[{lo, hi}] = slots_;
      leaves_.push_back({lo, hi, slots_++});
      return;
    }
    shared.push_back({height(hi - lo), lo, hi});
    descend(lo, middle(lo, hi));
    descend(middle(lo, hi), hi);
  };
  descend(0, count_);
  std::sort(shared.begin(), shared.end(), [](const Node& a, const Node& b) {
    return a.height != b.height ? a.height < b.height : a.lo < b.lo;
  });

  // Rounds are ordered by height, then by step. All ranks follow this order and post the messages of both
  // nodes of a height at once, so that ranks do not wait for each other in a chain.
  std::map<std::pair<int, int>, Round> rounds;
  std::vector<int> free_slots;
  const auto take_slot = [&] {
    if (free_slots.empty()) return slots_++;
    const int slot = free_slots.back();
    free_slots.pop_back();
    return slot;
  };

  // The first `have` ranks of the list hold the value. Each step sends it to as many others, which doubles
  // `have`.
  const auto relay = [&](const std::vector<int>& ranks, std::size_t have, int at_height, int step, int slot) {
    for (; have < ranks.size(); have *= 2, ++step) {
      for (std::size_t i = have; i < std::min(2 * have, ranks.size()); ++i) {
        const int from = ranks[i - have], to = ranks[i];
        if (rank == from) rounds[{at_height, step}].sends.push_back({to, slot, at_height});
        if (rank == to) rounds[{at_height, step}].receives.push_back({from, slot, at_height});
      }
    }
  };

  for (std::size_t first = 0; first < shared.size();) {
    std::vector<int> released;  // released after this height, because its two nodes use the same rounds
    std::size_t next = first;
    for (; next < shared.size() && shared[next].height == shared[first].height; ++next) {
      const auto [level, lo, hi] = shared[next];
      const std::int64_t mid = middle(lo, hi);
      const auto ranks_of = [&](std::int64_t from, std::int64_t to) {
        std::vector<int> ranks;
        for (int r = blocks.owner(from); r <= blocks.owner(to - 1); ++r) {
          if (blocks.size(r) > 0) ranks.push_back(r);
        }
        return ranks;
      };
      std::vector<int> left = ranks_of(lo, mid), right = ranks_of(mid, hi), order;
      if (left.back() == right.front()) {  // this rank has both halves
        order.push_back(left.back());
        left.pop_back();
        right.erase(right.begin());
      }
      const std::size_t pairs = std::min(left.size(), right.size());
      Round& round = rounds[{level, 0}];

      const auto left_slot = slot_of.find({lo, mid}), right_slot = slot_of.find({mid, hi});
      int total_slot = left_slot != slot_of.end() ? left_slot->second : right_slot->second;
      if (left_slot != slot_of.end() && right_slot != slot_of.end()) {
        round.adds.push_back({left_slot->second, right_slot->second, total_slot});
        released.push_back(right_slot->second);
      }
      for (std::size_t i = 0; i < pairs; ++i) {
        order.push_back(left[i]);
        order.push_back(right[i]);
        if (rank != left[i] && rank != right[i]) continue;
        const bool is_left = rank == left[i];
        const int partner = is_left ? right[i] : left[i];
        const int arrived = take_slot();
        round.sends.push_back({partner, total_slot, level});
        round.receives.push_back({partner, arrived, level});
        round.adds.push_back(is_left ? Addition{total_slot, arrived, total_slot}
                                     : Addition{arrived, total_slot, total_slot});
        released.push_back(arrived);
      }
      const std::size_t have = order.size();
      order.insert(order.end(), left.begin() + static_cast<std::ptrdiff_t>(pairs), left.end());
      order.insert(order.end(), right.begin() + static_cast<std::ptrdiff_t>(pairs), right.end());
      relay(order, have, level, 1, total_slot);
      slot_of[{lo, hi}] = total_slot;
    }
    free_slots.insert(free_slots.end(), released.begin(), released.end());
    first = next;
  }

  // Ranks without numbers receive the result from ranks that have some.
  std::vector<int> order;
  std::size_t active = 0;
  for (const bool with_numbers : {true, false}) {
    for (int r = 0; r < blocks.parts(); ++r) {
      if ((blocks.size(r) > 0) == with_numbers) order.push_back(r);
    }
    if (with_numbers) active = order.size();
  }
  result_slot_ = local_count() > 0 ? slot_of.at({0, count_}) : take_slot();
  relay(order, active, max_height + 1, 0, result_slot_);

  for (auto& [when, round] : rounds) {
    if (!round.sends.empty() || !round.receives.empty() || !round.adds.empty())
      rounds_.push_back(std::move(round));
  }
}

template <class T>
void TileTree::sum_parts(std::span<const std::span<const T>> parts, std::span<T> sum) const {
  const std::size_t m = sum.size();
  std::size_t values = 0;
  for (const std::span<const T>& part : parts) values += part.size();
  RANKINE_ASSERT(values == static_cast<std::size_t>(local_count()) * m,
                 "TileTree::sum got " + std::to_string(values) + " values for " +
                     std::to_string(local_count()) + " local tiles of " + std::to_string(m));
  if (count_ == 0) return std::fill(sum.begin(), sum.end(), T(0));
  const auto partial = std::make_unique_for_overwrite<T[]>(static_cast<std::size_t>(partial_sums()) * m);
  combine(
      static_cast<std::int64_t>(m), sum.data(), partial.get(),
      [&](const Leaf& leaf, T* into) {
        tree_sum_parts(parts, local_count(), leaf.begin - begin_, leaf.end - begin_, std::span<T>(into, m));
      },
      [&](const T* left, const T* right, T* into) { add(left, right, into, m); });
}

template <class T>
void TileTree::sum_parts(const std::vector<kernels::Part<T>>& parts, DevicePtr<T> sum,
                         DevicePtr<T> partial) const {
  if (count_ == 0) return kernels::sum_parts(parts, 0, 0, sum);
  std::int64_t m = 0;
  for (const kernels::Part<T>& part : parts) m += part.width;
  combine(
      m, sum, partial,
      [&](const Leaf& leaf, DevicePtr<T> into) {
        kernels::sum_parts(parts, leaf.begin - begin_, leaf.end - begin_, into);
      },
      [&](DevicePtr<const T> left, DevicePtr<const T> right, DevicePtr<T> into) {
        kernels::binary(kernels::Binary::add, kernels::Strided<3>::flat(m), left, right, into);
      });
}

namespace {
template <class T>
void send(Exchange& exchange, const T* values, std::int64_t m, int to, int tag) {
  exchange.send(std::span<const T>(values, static_cast<std::size_t>(m)), to, tag);
}
template <class T>
void send(Exchange& exchange, DevicePtr<T> values, std::int64_t m, int to, int tag) {
  exchange.send(DevicePtr<const T>(values), m, to, tag);
}
template <class T>
void receive(Exchange& exchange, T* values, std::int64_t m, int from, int tag) {
  exchange.receive(std::span<T>(values, static_cast<std::size_t>(m)), from, tag);
}
template <class T>
void receive(Exchange& exchange, DevicePtr<T> values, std::int64_t m, int from, int tag) {
  exchange.receive(values, m, from, tag);
}
}  // namespace

template <class Pointer, class LeafSum, class Add>
void TileTree::combine(std::int64_t m, Pointer sum, Pointer partial, const LeafSum& leaf_sum,
                       const Add& add) const {
  if (m == 0) return;
  // The root's partial sum is computed in `sum` itself, and all others in `partial`.
  const auto slot = [&](int index) {
    return index == result_slot_ ? sum : partial + (index < result_slot_ ? index : index - 1) * m;
  };
  for (const Leaf& leaf : leaves_) leaf_sum(leaf, slot(leaf.slot));
  for (const Round& round : rounds_) {
    Exchange exchange(communicator_);
    for (const Message& message : round.receives)
      receive(exchange, slot(message.slot), m, message.partner, message.tag);
    for (const Message& message : round.sends)
      send(exchange, slot(message.slot), m, message.partner, message.tag);
    exchange.wait();
    for (const Addition& sum_of : round.adds) add(slot(sum_of.left), slot(sum_of.right), slot(sum_of.into));
  }
}

#define RANKINE_INSTANTIATE(T)                                                                           \
  template void TileTree::sum_parts<T>(std::span<const std::span<const T>>, std::span<T>) const;         \
  template void TileTree::sum_parts<T>(const std::vector<kernels::Part<T>>&, DevicePtr<T>, DevicePtr<T>) \
      const;
RANKINE_INSTANTIATE(float)
RANKINE_INSTANTIATE(double)
#undef RANKINE_INSTANTIATE

}  // namespace rankine
