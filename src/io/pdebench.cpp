#include "src/io/pdebench.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/io/hdf5.hpp"
#include "src/io/rehearsal.hpp"
#include "src/io/safe_file.hpp"

namespace rankine {
namespace {

const char* layout_hint =
    "a PDEBench diffusion-sorption file has groups '0000', '0001', ... with 'data' [t, x, 1], 'grid/x' and "
    "'grid/t'";

std::vector<double> read_coordinate(const hdf5::Group& sample, const std::string& name, std::uint64_t size,
                                    const std::string& path) {
  auto values = sample.read<double>("grid/" + name, {size});
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i]) || (i > 0 && values[i] <= values[i - 1])) {
      throw InputError(fmt::format("{}: '{}/grid/{}' must increase; value {} is {}", path, sample.path(),
                                   name, i, values[i]));
    }
  }
  return values;
}

}  // namespace

struct PdebenchFile::Open {
  hdf5::File file;
};

PdebenchFile::PdebenchFile(PdebenchFile&&) noexcept = default;
PdebenchFile& PdebenchFile::operator=(PdebenchFile&&) noexcept = default;
PdebenchFile::~PdebenchFile() = default;

PdebenchFile::PdebenchFile(const std::string& path, std::int64_t to_read) {
  rehearse(path, [&] {
    PdebenchFile file;
    file.open(path);
    for (std::int64_t i = 0; i < std::min(to_read, file.samples()); ++i) {
      static_cast<void>(file.read_sample(i));
      static_cast<void>(file.config(i));
    }
  });
  open(path);
}

void PdebenchFile::open(const std::string& path) {
  path_ = path;
  open_ = std::make_unique<Open>(Open{hdf5::File::open(path)});
  const hdf5::Group& root = open_->file.root();
  for (const auto& name : root.names()) {
    if (root.has_group(name) && (root.has(name + "/data") || root.has(name + "/grid")))
      names_.push_back(name);
  }
  if (names_.empty()) throw InputError(fmt::format("{}: holds no samples; {}", path, layout_hint));
  std::sort(names_.begin(), names_.end());
  hdf5::Shape shape;
  for (const auto& name : names_) {
    const hdf5::DatasetInfo found = root.info(name + "/data");
    if (found.shape.size() != 3 || found.shape[2] != 1 || found.shape[0] < 2 || found.shape[1] < 2) {
      throw InputError(
          fmt::format("{}: '/{}/data' has shape {}; needed is [t, x, 1] with at least two of each", path,
                      name, hdf5::shape_text(found.shape)));
    }
    if (shape.empty()) shape = found.shape;
    if (found.shape != shape) {
      throw InputError(
          fmt::format("{}: '/{}/data' has shape {}, but '/{}/data' has {}; all samples must be alike", path,
                      name, hdf5::shape_text(found.shape), names_.front(), hdf5::shape_text(shape)));
    }
  }
  const hdf5::Group first = root.open_group(names_.front());
  t_ = read_coordinate(first, "t", shape[0], path);
  x_ = read_coordinate(first, "x", shape[1], path);
}

std::vector<double> PdebenchFile::read_sample(std::int64_t index) const {
  if (index < 0 || index >= samples()) {
    throw InputError(
        fmt::format("{}: sample {} is asked for, but the file holds {}", path_, index, samples()));
  }
  const std::string& name = names_[static_cast<std::size_t>(index)];
  const hdf5::Group sample = open_->file.root().open_group(name);
  auto values = sample.read<double>("data", {t_.size(), x_.size(), 1});
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      throw InputError(fmt::format("{}: '/{}/data' holds {} at [t {}, x {}, 0]; every value must be finite",
                                   path_, name, values[i], i / x_.size(), i % x_.size()));
    }
  }
  if (index > 0 && (read_coordinate(sample, "t", t_.size(), path_) != t_ ||
                    read_coordinate(sample, "x", x_.size(), path_) != x_)) {
    throw InputError(
        fmt::format("{}: '/{}/grid' differs from '/{}/grid'; all samples must lie on the same grid", path_,
                    name, names_.front()));
  }
  return values;
}

std::string PdebenchFile::config(std::int64_t index) const {
  const hdf5::Group sample = open_->file.root().open_group(names_.at(static_cast<std::size_t>(index)));
  return sample.has_attribute("config") ? sample.text_attribute("config") : "";
}

struct PdebenchWriter::State {
  SafeFile safe;
  hdf5::File file;
  std::vector<float> t, x;
  std::int64_t samples = 0;
};

PdebenchWriter::PdebenchWriter(PdebenchWriter&&) noexcept = default;
PdebenchWriter& PdebenchWriter::operator=(PdebenchWriter&&) noexcept = default;
PdebenchWriter::~PdebenchWriter() = default;

PdebenchWriter::PdebenchWriter(const std::string& path, std::span<const double> t, std::span<const double> x,
                               bool active) {
  if (!active) return;
  SafeFile safe(path, FileContent::samples);
  hdf5::File file = hdf5::File::create(safe.temporary(), path);
  file.root().attribute("format", "rankine-samples");
  state_ = std::make_unique<State>(
      State{std::move(safe), std::move(file), {t.begin(), t.end()}, {x.begin(), x.end()}});
}

void PdebenchWriter::append(std::span<const double> values, const std::string& config) {
  if (!state_) return;
  hdf5::Group sample = state_->file.root().require_group(fmt::format("{:04}", state_->samples++));
  sample.write("data", {state_->t.size(), state_->x.size(), 1},
               std::vector<float>(values.begin(), values.end()));
  hdf5::Group grid = sample.require_group("grid");
  grid.write("x", {state_->x.size()}, state_->x);
  grid.write("t", {state_->t.size()}, state_->t);
  sample.attribute("config", config);
}

void PdebenchWriter::finish() {
  if (!state_) return;
  const auto state = std::move(state_);
  state->file.close();
  state->safe.commit();
}

}  // namespace rankine
