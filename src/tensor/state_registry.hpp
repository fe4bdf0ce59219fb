// Everything that a run must remember, in one list: parameters, optimiser moments, batch-norm statistics,
// masks, samplers, stores of samples. Each owner registers its state once; checkpoints and restarts go
// through the list and know no owner. Registered objects must outlive the registry or be removed from it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "src/tensor/dtype.hpp"
#include "src/tensor/tensor.hpp"

namespace rankine {

/// How a piece of state lies on the ranks, and so how it is written and read on another number of them.
enum class StateKind {
  replicated,  ///< the same bits on every rank
  per_tile,    ///< the first dimension counts this rank's tiles; the global order is that of tile numbers
  per_sample,  ///< the first dimension counts this rank's samples, in contiguous blocks
};

/// A copy of one piece of state: an array in row-major order.
struct StateValue {
  DType type = DType::f64;
  std::vector<std::int64_t> shape;
  std::vector<std::byte> bytes;

  bool operator==(const StateValue&) const = default;
};

/// One piece of state where it lies, for those who only read it before it changes.
struct StateView {
  DType type = DType::f64;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
  std::shared_ptr<const StateValue> copy = nullptr;  ///< holds the bytes where they do not lie in one piece
};

/// State by name.
using StateSnapshot = std::map<std::string, StateValue>;

class StateRegistry {
 public:
  struct Entry {
    StateKind kind;
    DType type;
    std::optional<std::vector<std::int64_t>> shape;  ///< none: restoring may change it
    std::function<StateValue()> get;
    std::function<void(const StateValue&)> set;
    std::function<std::optional<StateView>()> look = nullptr;  ///< none: only get() tells the value
    bool lasts = false;                                        ///< it can be asked when its owner is gone

    /// The value without a copy where that is possible.
    StateView view() const;
  };

  /// The general form. `name` is a path such as "optimizer/first_moment/lift.weight"; a name that is taken is
  /// a defect.
  void add(const std::string& name, Entry entry);
  /// A tensor, restored in place: other handles of the same memory see the restored values.
  void add(const std::string& name, StateKind kind, const Tensor& tensor);
  /// A vector whose length belongs to the state.
  template <class T>
  void add(const std::string& name, StateKind kind, std::vector<T>& values) {
    static_assert(size_of(dtype_of<T>) == sizeof(T), "not a type that a tensor could hold");
    add(name, {kind, dtype_of<T>, std::nullopt,
               [&values] {
                 return value_of(dtype_of<T>, {static_cast<std::int64_t>(values.size())},
                                 std::as_bytes(std::span<const T>(values)));
               },
               [&values](const StateValue& saved) {
                 values.resize(saved.bytes.size() / sizeof(T));
                 if (!values.empty()) std::memcpy(values.data(), saved.bytes.data(), saved.bytes.size());
               },
               [&values] {
                 return StateView{dtype_of<T>,
                                  {static_cast<std::int64_t>(values.size())},
                                  std::as_bytes(std::span<const T>(values))};
               }});
  }
  /// A number: a step count, a learning rate.
  template <class T>
  requires std::is_arithmetic_v<T>
  void add(const std::string& name, StateKind kind, T& value) {
    static_assert(size_of(dtype_of<T>) == sizeof(T), "not a type that a tensor could hold");
    add(name, {kind, dtype_of<T>, std::vector<std::int64_t>{},
               [&value] { return value_of(dtype_of<T>, {}, std::as_bytes(std::span<const T>(&value, 1))); },
               [&value](const StateValue& saved) { std::memcpy(&value, saved.bytes.data(), sizeof(T)); }});
  }

  /// Forgets the entry of this name and those below it ("optimizer" and "optimizer/...").
  void remove(const std::string& name);

  /// In the order of the names, which is the same on every rank.
  const std::map<std::string, Entry>& entries() const { return entries_; }
  bool contains(const std::string& name) const { return entries_.contains(name); }

  StateSnapshot save() const;
  /// Restores all entries, or none: throws InputError if the snapshot lacks an entry, has one that nobody
  /// registered, or one of another type or shape.
  void restore(const StateSnapshot& snapshot) const;

 private:
  static StateValue value_of(DType type, std::vector<std::int64_t> shape, std::span<const std::byte> bytes) {
    return {type, std::move(shape), {bytes.begin(), bytes.end()}};
  }

  std::map<std::string, Entry> entries_;
};

}  // namespace rankine
