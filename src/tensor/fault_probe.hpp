// Finds where a NaN or an infinity arises: while a probe lives, every op of its thread is looked at, forward
// and backward, and the first value that is not finite is kept. Ops come in the same order on all ranks, so
// the numbers of the ranks' findings tell which is the first of all. Meant for repeating a step that failed;
// without a probe an op costs one test of a pointer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/tensor/tensor.hpp"

namespace rankine {

/// How many elements of a tensor are NaN or infinite, and the first of them in row-major order (-1: none).
/// Types that hold no floating-point numbers are finite.
struct NotFinite {
  std::int64_t count = 0, first = -1;
};
NotFinite not_finite(const Tensor& tensor);

class FaultProbe {
 public:
  FaultProbe();
  ~FaultProbe();
  FaultProbe(const FaultProbe&) = delete;
  FaultProbe& operator=(const FaultProbe&) = delete;

  struct Finding {
    std::int64_t number = 0;  ///< of the check, the same on all ranks
    std::string name;         ///< of the op, or what check() was given
    std::string layer;        ///< of the model; empty outside of it
    /// An output of the op, the gradient arriving there, or the gradient that it gives to an input.
    enum class Kind { output, output_gradient, input_gradient } kind = Kind::output;
    int slot = 0;  ///< number of the output or input
    Tensor value;  ///< all of it, off the tape
    NotFinite elements;
  };
  /// The first one on this rank.
  const std::optional<Finding>& found() const { return found_; }
  /// Checks made so far.
  std::int64_t checks() const { return checks_; }

  /// Looks at a value that no op made.
  void check(const std::string& name, const Tensor& value);

  // What the tape and the models call; nothing happens where no probe lives.
  static FaultProbe* active();
  static void forward(const char* op, const std::vector<Tensor>& outputs);
  static void arriving(const std::string& op, std::int64_t node, const std::vector<Tensor>& cotangents);
  static void backward(const std::string& op, std::int64_t node, const std::vector<Tensor>& cotangents);
  /// Everything since the last call belongs to the layer `name` ("" for what is no layer), whose result is
  /// `value` (may be undefined).
  static void layer_done(const std::string& name, const Tensor& value);

  /// A region whose ops are not looked at: the insides of a vjp, which is looked at as a whole.
  class Pause {
   public:
    Pause();
    ~Pause();
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;

   private:
    FaultProbe* probe_;
  };

 private:
  using Kind = Finding::Kind;
  void look(const std::string& name, const std::string& layer, Kind kind, int slot, const Tensor& value);
  std::string layer_of(std::int64_t node) const;

  FaultProbe* outer_;
  int paused_ = 0;
  std::int64_t checks_ = 0, layer_checks_ = 0;                // made before the current layer
  std::vector<std::pair<std::int64_t, std::string>> layers_;  // number of the first node after it, name
  std::optional<Finding> found_;
};

/// The number of the next node on this thread's tape (src/tensor/tape.cpp).
std::int64_t next_node_number();

}  // namespace rankine
