#include "src/data/observations.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/core/random.hpp"
#include "src/core/strings.hpp"
#include "src/data/interpolation.hpp"
#include "src/io/hdf5.hpp"
#include "src/io/rehearsal.hpp"
#include "src/io/safe_file.hpp"

namespace rankine {
namespace {

const char* layout_hint =
    "observations are datasets 't', 'x' and 'value' of one length, or 'value' [t, x] of a whole field, with "
    "optional 'sigma' and 'unknown'";

/// The cell centres, continued beyond both ends if the domain is periodic.
LagrangeRow cell_row(double x, double dx, int cells, bool periodic) {
  std::vector<double> centres;
  if (!periodic) {
    for (int i = 0; i < cells; ++i) centres.push_back((i + 0.5) * dx);
    return lagrange_row(centres, x);
  }
  const int left = static_cast<int>(std::floor(x / dx - 0.5)) - 1;
  for (int a = 0; a < 4; ++a) centres.push_back((left + a + 0.5) * dx);
  LagrangeRow row = lagrange_row(centres, x);
  row.first = (left + cells) % cells;
  return row;
}

double root_mean_square(std::span<const double> a) {
  return std::sqrt(std::inner_product(a.begin(), a.end(), a.begin(), 0.0) /
                   static_cast<double>(std::max<size_t>(a.size(), 1)));
}

}  // namespace

void ObservationOptions::options(OptionVisitor& o) {
  o("source", source,
    {.help = "none; generate: points of a reference solution with noise; file: HDF5 datasets t, x, value and "
             "optional sigma, unknown",
     .choices = {"none", "generate", "file"}});
  o("path", path, {.help = "the file to read (source: file)", .file = FileUse::input});
  o("points", points, {.help = "points drawn uniformly in (t, x) (source: generate)", .min = 1});
  o("noise", noise,
    {.help = "standard deviation of the noise over the root mean square of the field: of drawn points, and "
             "of a file without sigma",
     .min = 0,
     .exclusive_min = true});
  o("seed", seed, {.help = "seed of points and noise (source: generate); -1: that of the run", .min = -1});
  o("sample", sample, {.help = "training sample that was observed; its initial state is known", .min = 0});
  o("write", write,
    {.help = "file for the drawn points, in the layout that source: file reads",
     .file = FileUse::observations_output});
}

void ObservationOptions::validate(const DeckNode& node) const {
  if (source == "file" && path.empty())
    node.error("source: file needs path; give the HDF5 file with the observations");
  if (source != "file" && !path.empty())
    node.error_at("path", "path is given, but source: " + source + " reads no file; write source: file");
  if (source != "generate" && !write.empty())
    node.error_at("write", "write applies to drawn points only; give source: generate, or remove it");
}

namespace {

/// Moves a coordinate that the rounding of float32 has put outside of [0, size] back to the end.
double within_rounding(double value, double size) {
  const double slack = 2 * std::numeric_limits<float>::epsilon() * size;
  if (value < 0 && value >= -slack) return 0;
  if (value > size && value <= size + slack) return size;
  return value;
}

/// Throws InputError if file and deck give different units for a coordinate.
void check_unit(const hdf5::Group& root, const std::string& name, const std::string& unit,
                const std::string& path) {
  const hdf5::Dataset coordinate = root.open_dataset(name);
  if (!coordinate.has_attribute("units") || !coordinate.attribute_is_text("units")) return;
  const std::string given = coordinate.text_attribute("units");
  if (given.empty() || given == "1" || unit == "1" || given == unit) return;
  throw InputError(fmt::format("{}: '{}' is in {}, but the deck's equation has the unit {}; convert the file",
                               path, name, printable(given), unit));
}

Observations read_layout(const std::string& path, const Pde& pde, double noise) {
  const hdf5::File file = hdf5::File::open(path);
  const hdf5::Group& root = file.root();
  for (const char* name : {"t", "x", "value"})
    if (!root.has_dataset(name))
      throw InputError(fmt::format("{}: dataset '{}' is missing; {}", path, name, layout_hint));
  const hdf5::Shape shape = root.info("value").shape;
  std::vector<double> t = root.read<double>("t", {hdf5::Group::any}),
                      x = root.read<double>("x", {hdf5::Group::any});
  Observations out;
  out.value = root.read<double>("value");
  const size_t count = out.value.size();
  const bool field = shape.size() == 2;
  const bool fits = field ? shape[0] == t.size() && shape[1] == x.size()
                          : shape.size() == 1 && t.size() == count && x.size() == count;
  if (!fits || count == 0)
    throw InputError(fmt::format("{}: 'value' has shape {}, 't' {} and 'x' {} entries; {}", path,
                                 hdf5::shape_text(shape), t.size(), x.size(), layout_hint));
  check_unit(root, "t", pde.time_unit(), path);
  check_unit(root, "x", pde.length_unit(), path);
  for (size_t i = 0; i < count; ++i) {
    out.t.push_back(within_rounding(t[field ? i / x.size() : i], pde.duration()));
    out.x.push_back(within_rounding(x[field ? i % x.size() : i], pde.length(0)));
  }
  for (size_t i = 0; i < count; ++i)
    if (!std::isfinite(out.value[i]))
      throw InputError(
          fmt::format("{}: 'value' is {} at entry {}; leave such points out", path, out.value[i], i));
  if (!root.has_dataset("sigma"))
    out.sigma.assign(count, noise * root_mean_square(out.value));
  else if (root.info("sigma").shape.empty())
    out.sigma.assign(count, root.read_scalar<double>("sigma"));
  else
    out.sigma = root.read<double>("sigma", shape, true);
  out.unknown.assign(count, 0);
  if (root.has_dataset("unknown")) {
    const std::vector<std::int64_t> read = root.read<std::int64_t>("unknown", shape, true);
    for (size_t i = 0; i < count; ++i) {
      if (read[i] < 0 || read[i] >= pde.unknowns())
        throw InputError(fmt::format("{}: 'unknown' is {} at entry {}; the PDE has unknowns 0 to {}", path,
                                     read[i], i, pde.unknowns() - 1));
      out.unknown[i] = static_cast<int>(read[i]);
    }
  }
  for (size_t i = 0; i < count; ++i) {
    if (!(out.t[i] >= 0 && out.t[i] <= pde.duration()) || !(out.x[i] >= 0 && out.x[i] <= pde.length(0)))
      throw InputError(
          fmt::format("{}: entry {} lies at t = {}, x = {}, outside the domain [0, {}] x [0, {}]; leave it "
                      "out, or change the domain in pde",
                      path, i, out.t[i], out.x[i], pde.duration(), pde.length(0)));
    if (!(out.sigma[i] > 0) || !std::isfinite(out.sigma[i]))
      throw InputError(fmt::format(
          "{}: sigma is {} at entry {}; it is a standard deviation and must be positive{}", path,
          out.sigma[i], i,
          root.has_dataset("sigma") ? "; without the dataset data.observations.noise gives it" : ""));
  }
  return out;
}

}  // namespace

Observations read_observations(const std::string& path, const Pde& pde, double noise) {
  rehearse(path, [&] { read_layout(path, pde, noise); });
  return read_layout(path, pde, noise);
}

void write_observations(const std::string& path, const Observations& observations, const Pde& pde) {
  SafeFile safe(path, FileContent::observations);
  hdf5::File file = hdf5::File::create(safe.temporary(), path);
  hdf5::Group& root = file.root();
  root.attribute("format", "rankine-observations");
  const hdf5::Shape shape{static_cast<std::uint64_t>(observations.size())};
  root.write("t", shape, observations.t).attribute("units", pde.time_unit());
  root.write("x", shape, observations.x).attribute("units", pde.length_unit());
  root.write("value", shape, observations.value);
  root.write("sigma", shape, observations.sigma);
  root.write("unknown", shape,
             std::vector<std::int32_t>(observations.unknown.begin(), observations.unknown.end()));
  file.close();
  safe.commit();
}

Observations draw_observations(const Pde& pde, int points, double noise, std::uint64_t seed, int cells,
                               const ReferenceField& field) {
  const RandomStream places(seed, "observation-points"), errors(seed, "observation-noise");
  const int m = pde.unknowns();
  Observations out;
  for (int i = 0; i < points; ++i) {
    out.t.push_back(places.uniform(0, pde.duration(), 0, i, 0));
    out.x.push_back(places.uniform(0, pde.length(0), 0, i, 1));
    out.unknown.push_back(static_cast<int>(places.integer(m, 0, i, 2)));
  }
  std::vector<double> times(out.t);
  std::sort(times.begin(), times.end());
  times.erase(std::unique(times.begin(), times.end()), times.end());
  const std::vector<double> u = field(times);
  const size_t width = static_cast<size_t>(cells) * m;
  std::vector<double> size(m, 0.0);
  for (size_t p = 0; p < u.size(); ++p) size[p % m] += u[p] * u[p];
  for (double& s : size) s = std::sqrt(s / (static_cast<double>(u.size()) / m));
  for (int i = 0; i < points; ++i) {
    const size_t frame = std::lower_bound(times.begin(), times.end(), out.t[i]) - times.begin();
    const LagrangeRow row = cell_row(out.x[i], pde.length(0) / cells, cells, pde.periodic(0));
    double value = 0;
    for (size_t a = 0; a < row.weights.size(); ++a)
      value += row.weights[a] * u[frame * width + (row.first + a) % cells * m + out.unknown[i]];
    const double sigma = noise * size[out.unknown[i]];
    if (!(sigma > 0))
      throw InputError("data.observations: the reference of unknown " + pde.symbol(out.unknown[i]) +
                       " is 0 everywhere, so its noise level would be 0; observe another sample");
    out.sigma.push_back(sigma);
    out.value.push_back(value + sigma * errors.normal(0, i, 0));
  }
  return out;
}

ObservationOperator::ObservationOperator(const Pde& pde, std::vector<double> times, int cells,
                                         std::span<const double> t, std::span<const double> x,
                                         std::span<const int> unknown) {
  const bool periodic = pde.periodic(0);
  const int m = pde.unknowns();
  const double dx = pde.length(0) / cells;
  std::vector<double> nodes(times);
  if (!periodic)
    for (double& s : nodes) s = std::sqrt(s);
  for (size_t i = 0; i < t.size(); ++i) {
    const LagrangeRow in_time = lagrange_row(nodes, periodic ? t[i] : std::sqrt(t[i]));
    const LagrangeRow in_space = cell_row(x[i], dx, cells, periodic);
    for (size_t a = 0; a < in_time.weights.size(); ++a)
      for (size_t b = 0; b < in_space.weights.size(); ++b)
        entries_.push_back({((in_time.first + static_cast<long>(a)) * cells +
                             (in_space.first + static_cast<long>(b)) % cells) *
                                    m +
                                unknown[i],
                            in_time.weights[a] * in_space.weights[b]});
    first_.push_back(entries_.size());
    cells_.push_back(std::clamp(static_cast<int>(x[i] / dx), 0, cells - 1));
    const auto after = std::lower_bound(times.begin(), times.end(), t[i]) - times.begin();
    steps_.push_back(std::clamp(static_cast<int>(after) - 1, 0, static_cast<int>(times.size()) - 2));
  }
}

std::vector<double> ObservationOperator::apply(std::span<const double> u) const {
  std::vector<double> out(rows());
  for (int i = 0; i < rows(); ++i)
    for (const Entry& e : row(i)) out[i] += e.weight * u[e.index];
  return out;
}

void ObservationOperator::add_transpose(std::span<const double> r, std::span<double> u) const {
  for (int i = 0; i < rows(); ++i)
    for (const Entry& e : row(i)) u[e.index] += e.weight * r[i];
}

ObservationRows::ObservationRows(ObservationOperator h, const Observations& observations, int width)
    : h_(std::move(h)), value_(observations.value), sigma_(observations.sigma), width_(width) {}

std::vector<double> ObservationRows::misfit(std::span<const double> u) const {
  std::vector<double> out = h_.apply(u);
  for (int i = 0; i < size(); ++i) out[i] = (out[i] - value_[i]) / sigma_[i];
  return out;
}

std::vector<double> ObservationRows::along(std::span<const double> v, int columns) const {
  std::vector<double> out(static_cast<size_t>(size()) * columns);
  for (int i = 0; i < size(); ++i)
    for (const ObservationOperator::Entry& e : h_.row(i)) {
      if (e.index < width_) continue;
      const double* from = &v[(e.index - width_) * columns];
      for (int c = 0; c < columns; ++c) out[i * columns + c] += e.weight / sigma_[i] * from[c];
    }
  return out;
}

void ObservationRows::add_transpose(std::span<const double> r, std::span<double> out) const {
  for (int i = 0; i < size(); ++i)
    for (const ObservationOperator::Entry& e : h_.row(i))
      if (e.index >= width_) out[e.index - width_] += e.weight / sigma_[i] * r[i];
}

double ObservationRows::root_mean_square(std::span<const double> u, std::span<double> u_bar) const {
  std::vector<double> r = misfit(u);
  const double rms = rankine::root_mean_square(r);
  if (u_bar.empty()) return rms;
  std::fill(u_bar.begin(), u_bar.end(), 0.0);
  for (double& x : r) x = rms > 0 ? x / (rms * size()) : 0;
  add_transpose(r, u_bar);
  return rms;
}

}  // namespace rankine
