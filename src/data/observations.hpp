// Observations: measured values of a sample's field at points (t, x), which are read from HDF5 or drawn from
// a reference solution with noise. The sparse linear map H takes a field on frames and cells to its values at
// these points.
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

/// Each vector has one entry for each observation. `sigma` is the standard deviation of its error, in the
/// units of the value.
struct Observations {
  std::vector<double> t, x, value, sigma;
  std::vector<int> unknown;
  int size() const { return static_cast<int>(t.size()); }
};

/// Reads observations. The file has datasets `t`, `x` and `value` of the same length, or `value` [t][x] of a
/// whole field. Optional datasets are `sigma`, of the shape of `value` or a scalar (by default `noise` times
/// the root mean square of the values), and `unknown`, the index of the unknown (by default 0). Throws
/// InputError if a dataset is missing, if a value is not finite or a point outside of the PDE's domain, or if
/// a sigma is not positive.
Observations read_observations(const std::string& path, const Pde& pde, double noise);
/// Writes observations in that layout, with one entry for each. InputError or IoError if the file cannot be
/// written.
void write_observations(const std::string& path, const Observations& observations, const Pde& pde);

/// Draws observations of a reference solution: points are uniform in (t, x), and the unknown is drawn if
/// there are several. `field(times)` gives the reference [time][cell][unknown] on `cells` cells at ascending
/// times. The noise is normal; its standard deviation is `noise` times the root mean square of the unknown's
/// field at the observed times.
using ReferenceField = std::function<std::vector<double>(std::span<const double> times)>;
Observations draw_observations(const Pde& pde, int points, double noise, std::uint64_t seed, int cells,
                               const ReferenceField& field);

/// The map H from a field u [frames + 1][cell][unknown] to its values at points, by cubic Lagrange
/// interpolation in x and in sqrt(t). In x it is one-sided at walls, and periodic on a periodic domain, where
/// it takes t instead of sqrt(t). A row has at most 16 entries.
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
  /// The cell and the time step, from 0, that contain point i.
  int cell(int i) const { return cells_[i]; }
  int step(int i) const { return steps_[i]; }
  /// Computes H u.
  std::vector<double> apply(std::span<const double> u) const;
  /// Computes u += H^T r.
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
  /// The residuals (H u - d) / sigma, for u [frames + 1][width].
  std::vector<double> misfit(std::span<const double> u) const;
  /// H v / sigma [row][column] for `columns` fields v [frames][width][columns] that are 0 initially.
  std::vector<double> along(std::span<const double> v, int columns = 1) const;
  /// Computes out [frames][width] += H^T (r / sigma), without the initial frame.
  void add_transpose(std::span<const double> r, std::span<double> out) const;
  /// sqrt(mean(misfit^2)), which is about 1 if u explains the data to within their noise. If `u_bar`
  /// [frames][width] is not empty, it is overwritten by the gradient.
  double root_mean_square(std::span<const double> u, std::span<double> u_bar) const;

 private:
  ObservationOperator h_;
  std::vector<double> value_, sigma_;
  long width_;
};

}  // namespace rankine
