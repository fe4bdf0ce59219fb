#include "src/io/pdebench.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string_view>
#include <system_error>

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
      throw InputError(fmt::format("{}: '{}/grid/{}' must increase; value {} is {}{}", path, sample.path(),
                                   name, i, values[i],
                                   i > 0 ? fmt::format(" after {}", values[i - 1]) : std::string()));
    }
  }
  return values;
}

/// The digits at the end of a name, without leading zeros: so that the longer one is the greater number.
std::string_view number_of(std::string_view name) {
  const std::size_t end = name.find_last_not_of("0123456789");
  std::string_view digits = end == std::string_view::npos ? name : name.substr(end + 1);
  while (digits.size() > 1 && digits.front() == '0') digits.remove_prefix(1);
  return digits;
}

}  // namespace

struct PdebenchFile::Open {
  hdf5::File file;
};

PdebenchFile::PdebenchFile(PdebenchFile&&) noexcept = default;
PdebenchFile& PdebenchFile::operator=(PdebenchFile&&) noexcept = default;
PdebenchFile::~PdebenchFile() = default;

PdebenchFile::PdebenchFile(const std::string& path, std::int64_t to_read,
                           const std::function<void(const PdebenchFile&)>& check) {
  // Thousands of small samples take HDF5 longer than as many bytes in one piece.
  std::error_code missing;
  const auto size = std::filesystem::file_size(path, missing);
  const RehearsalLimits limits{.seconds = 20 + static_cast<int>(missing ? 0 : size >> 21U)};
  const auto work = [&] {
    PdebenchFile file;
    file.open(path);
    for (std::int64_t i = 0; i < std::min(to_read, file.samples()); ++i)
      static_cast<void>(file.read_sample(i));
    if (check) check(file);
  };
  rehearse(path, work, limits);
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
  sort_names();
  hdf5::Shape shape;
  for (const auto& name : names_) {
    const hdf5::DatasetInfo found = root.info(name + "/data");
    if (found.shape.size() != 3 || found.shape[2] != 1 || found.shape[0] < 2 || found.shape[1] < 2) {
      throw InputError(
          fmt::format("{}: '/{}/data' has shape {}; needed is [t, x, 1] with at least two of each", path,
                      name, hdf5::shape_text(found.shape)));
    }
    if (found.type != hdf5::Type::f32 && found.type != hdf5::Type::f64) {
      throw InputError(fmt::format("{}: '/{}/data' is {}; needed is float32 or float64", path, name,
                                   hdf5::type_name(found.type)));
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

void PdebenchFile::sort_names() {
  const auto prefix = [](const std::string& name) {
    return name.substr(0, name.find_last_not_of("0123456789") + 1);
  };
  const std::string common = prefix(names_.front());
  for (const auto& name : names_) {
    if (number_of(name).empty() || prefix(name) != common) {
      throw InputError(
          fmt::format("{}: the group '{}' holds data, but its name is no number like that of '{}', so that "
                      "the order of the samples is not known; rename or remove it ({})",
                      path_, name, name == names_.front() ? names_.back() : names_.front(), layout_hint));
    }
  }
  const auto less = [](const std::string& a, const std::string& b) {
    const std::string_view m = number_of(a), n = number_of(b);
    return m.size() != n.size() ? m.size() < n.size() : m < n;
  };
  std::sort(names_.begin(), names_.end());
  std::stable_sort(names_.begin(), names_.end(), less);
  for (std::size_t i = 1; i < names_.size(); ++i) {
    const std::string &before = names_[i - 1], &name = names_[i];
    if (!less(before, name)) {
      throw InputError(
          fmt::format("{}: the groups '{}' and '{}' have the same number; rename or remove one of them",
                      path_, before, name));
    }
    // Compared as text: a number may be too long for an integer.
    std::string next(number_of(before));
    std::size_t digit = next.size();
    while (digit > 0 && next[digit - 1] == '9') next[--digit] = '0';
    if (digit > 0)
      ++next[digit - 1];
    else
      next.insert(next.begin(), '1');
    if (number_of(name) != next) {
      throw InputError(fmt::format(
          "{}: between the samples '{}' and '{}' number {} is missing; complete the file, or number "
          "the samples without gaps if it is meant so",
          path_, before, name, next));
    }
  }
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
      const std::size_t frame = i / x_.size(), cell = i % x_.size();
      throw InputError(fmt::format(
          "{}: '/{}/data' holds {} at [t {}, x {}, 0] (t = {}, x = {}); every value must be finite", path_,
          name, values[i], frame, cell, t_[frame], x_[cell]));
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

std::vector<PdebenchAttribute> PdebenchFile::attributes(std::int64_t index) const {
  const std::string& own = name(index);
  std::vector<PdebenchAttribute> out;
  const auto take = [&](const hdf5::Object& object, const std::string& attribute, const std::string& called) {
    PdebenchAttribute found{.place = fmt::format("{}@{}", object.path(), attribute), .name = called};
    try {
      if (object.attribute_is_text(attribute))
        found.text = object.text_attribute(attribute);
      else
        found.numbers = object.number_attribute(attribute);
    } catch (const InputError&) {
      return;  // references and the like, which state no parameter
    }
    out.push_back(std::move(found));
  };
  const auto all_of = [&](const hdf5::Object& object) {
    for (const auto& attribute : object.attribute_names()) take(object, attribute, attribute);
  };
  const hdf5::Group& root = open_->file.root();
  for (const auto& attribute : root.attribute_names()) {
    const std::size_t slash = attribute.find('/');
    if (slash == std::string::npos)
      take(root, attribute, attribute);
    else if (attribute.substr(0, slash) == own)
      take(root, attribute, attribute.substr(slash + 1));
  }
  const hdf5::Group sample = root.open_group(own);
  all_of(sample);
  all_of(sample.open_dataset("data"));
  return out;
}

struct PdebenchWriter::State {
  SafeFile safe;
  hdf5::File file;
  std::vector<float> t, x;
  std::size_t digits = 4;
  std::int64_t samples = 0;
};

PdebenchWriter::PdebenchWriter(PdebenchWriter&&) noexcept = default;
PdebenchWriter& PdebenchWriter::operator=(PdebenchWriter&&) noexcept = default;
PdebenchWriter::~PdebenchWriter() = default;

PdebenchWriter::PdebenchWriter(const std::string& path, std::span<const double> t, std::span<const double> x,
                               bool active, std::int64_t samples) {
  if (!active) return;
  SafeFile safe(path, FileContent::samples);
  hdf5::File file = hdf5::File::create(safe.temporary(), path);
  file.root().attribute("format", "rankine-samples");
  state_ =
      std::make_unique<State>(State{.safe = std::move(safe),
                                    .file = std::move(file),
                                    .t = {t.begin(), t.end()},
                                    .x = {x.begin(), x.end()},
                                    .digits = std::max<std::size_t>(4, std::to_string(samples - 1).size())});
}

void PdebenchWriter::append(std::span<const double> values, const std::string& config) {
  if (!state_) return;
  hdf5::Group sample =
      state_->file.root().require_group(fmt::format("{:0{}}", state_->samples++, state_->digits));
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
