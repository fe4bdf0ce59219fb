// Measured values of a sample's field at points (t, x): read from HDF5 or drawn from a reference solution
// with noise, and the sparse linear map H from a field on frames and cells to its values at those points.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "src/deck/node.hpp"
#include "src/deck/options.hpp"
#include "src/pde/pde.hpp"

namespace rankine {

struct ObservationOptions {
  std::string source = "none";
  std::string path;
  int points = 200;
  double noise = 0.01;
  long seed = -1;
  int sample = 0;
  std::string write;
  void options(OptionVisitor& o);
  void validate(const DeckNode& node) const;
  bool none() const { return source == "none"; }
};

/// One entry an observation; `sigma` is the standard deviation of its error, in the units of the value.
struct Observations {
  std::vector<double> t, x, value, sigma;
  std::vector<int> unknown;
  int size() const { return static_cast<int>(t.size()); }
};

/// Datasets `t`, `x`, `value` of one length, or `value` [t][x] of a whole field; optional `sigma` of value's
/// shape or a scalar (else `noise` times the values' root mean square) and `unknown` (index, else 0). Throws
/// InputError for anything that is missing, not finite, outside the PDE's domain, or a sigma <= 0.
Observations read_observations(const std::string& path, const Pde& pde, double noise);
/// The same layout, one entry an observation. InputError or IoError where it cannot be written.
void write_observations(const std::string& path, const Observations& observations, const Pde& pde);

/// Draws points uniformly in (t, x), and the unknown if there are several; `field(times)` gives the reference
/// [time][cell][unknown] on `cells` cells at rising times. Noise is Gaussian, its standard deviation `noise`
/// times the root mean square of the unknown's field at the observed times.
using ReferenceField = std::function<std::vector<double>(std::span<const double> times)>;
Observations draw_observations(const Pde& pde, int points, double noise, std::uint64_t seed, int cells,
                               const ReferenceField& field);

/// H: u [frames + 1][cell][unknown] to its values at points, by cubic Lagrange interpolation in x (one-sided
/// at walls, wrapped where periodic) and in sqrt(t) (t where periodic). Rows have at most 16 entries.
class ObservationOperator {
 public:
  struct Entry {
    long index;
    double weight;
  };

  ObservationOperator(const Pde& pde, std::vector<double> times, int cells, std::span<const double> t,
                      std::span<const double> x, std::span<const int> unknown);

  int rows() const { return static_cast<int>(first_.size()) - 1; }
  std::span<const Entry> row(int i) const {
    return std::span(entries_).subspan(first_[i], first_[i + 1] - first_[i]);
  }
  /// Cell and time step (0: the first) that point i lies in.
  int cell(int i) const { return cells_[i]; }
  int step(int i) const { return steps_[i]; }
  /// H u.
  std::vector<double> apply(std::span<const double> u) const;
  /// u += H^T r.
  void add_transpose(std::span<const double> r, std::span<double> u) const;

 private:
  std::vector<Entry> entries_;
  std::vector<size_t> first_{0};
  std::vector<int> cells_, steps_;
};

/// The observations of one sample on a grid: rows (H u - d) / sigma.
class ObservationRows {
 public:
  ObservationRows(ObservationOperator h, const Observations& observations, int width);

  int size() const { return h_.rows(); }
  const ObservationOperator& h() const { return h_; }
  /// (H u - d) / sigma, u [frames + 1][width].
  std::vector<double> misfit(std::span<const double> u) const;
  /// H v / sigma for `columns` fields that vanish initially, v [frames][width][columns]: [row][column].
  std::vector<double> along(std::span<const double> v, int columns = 1) const;
  /// out [frames][width] += H^T (r / sigma), without the initial frame.
  void add_transpose(std::span<const double> r, std::span<double> out) const;
  /// sqrt(mean(misfit^2)), about 1 where u explains the data to within their noise. `u_bar` [frames][width],
  /// where not empty, is overwritten with the gradient.
  double root_mean_square(std::span<const double> u, std::span<double> u_bar) const;

 private:
  ObservationOperator h_;
  std::vector<double> value_, sigma_;
  long width_;
};

}  // namespace rankine
