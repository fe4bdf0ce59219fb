// Spins that are coupled by vectors, such as those of associative memories.
#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "src/chain/target.hpp"

namespace rankine {

/// sum_i matrix[i][v] x_i for each column v of a matrix [spins][columns].
inline std::vector<double> column_sums(const std::vector<double>& matrix, std::span<const double> x) {
  const std::size_t columns = matrix.size() / x.size();
  std::vector<double> out(columns, 0.0);
  for (std::size_t i = 0; i < x.size(); ++i)
    for (std::size_t v = 0; v < columns; ++v) out[v] += matrix[i * columns + v] * x[i];
  return out;
}

/// A problem whose energy is a multiple of pairs(), and whose fields are multiples of field(), for vectors
/// [spins][count]. It keeps the sums over the spins, so that a changed spin costs as many operations as there
/// are vectors.
class VectorSpins : public ChainProblem {
 public:
  void begin(std::span<const double> x) override { sums_ = column_sums(vectors_, x); }
  void changed(std::span<const double> x, std::size_t i, double before) override {
    for (std::size_t v = 0; v < sums_.size(); ++v)
      sums_[v] += vectors_[i * sums_.size() + v] * (x[i] - before);
  }

 protected:
  void couple(std::vector<double> vectors, std::size_t spins) {
    vectors_ = std::move(vectors);
    own_.assign(spins, 0.0);
    for (std::size_t at = 0; at < vectors_.size(); ++at)
      own_[at / (vectors_.size() / spins)] += vectors_[at] * vectors_[at];
  }
  /// sum_v ((sum_i v_i x_i)^2 - sum_i v_i^2 x_i^2)
  double pairs(std::span<const double> x) const {
    double sum = 0;
    for (const double m : column_sums(vectors_, x)) sum += m * m;
    for (std::size_t i = 0; i < x.size(); ++i) sum -= own_[i] * x[i] * x[i];
    return sum;
  }
  /// sum_v v_i sum_{j != i} v_j x_j
  double field(std::span<const double> x, std::size_t i) const {
    double out = -own_[i] * x[i];
    for (std::size_t v = 0; v < sums_.size(); ++v) out += vectors_[i * sums_.size() + v] * sums_[v];
    return out;
  }

 private:
  std::vector<double> vectors_, own_, sums_;
};

}  // namespace rankine
