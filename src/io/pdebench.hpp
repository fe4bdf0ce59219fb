// The HDF5 layout in which PDEBench publishes 1-D diffusion-sorption: one group a sample, "0000", "0001",
// ..., whose order is that of their numbers, with
//   <sample>/data     float32 [t, x, 1]
//   <sample>/grid/x   float32 [x]        cell centres
//   <sample>/grid/t   float32 [t]
//   <sample>@config   text               how the sample was made (YAML)
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace rankine {

/// What a file states about a sample: an attribute of the file, of the sample's group or of its data.
struct PdebenchAttribute {
  std::string place;            ///< for messages: "/0000@config"
  std::string name;             ///< "config"
  std::string text;             ///< where it is a text
  std::vector<double> numbers;  ///< where it is numeric
};

/// Reads such a file; groups that hold no data are ignored. Names are numbers, with the same text before them
/// in all; samples are ordered by number, however many digits it has ("10000" comes after "9999"), and no
/// number may be missing between the first and the last. Every error is an InputError that names file, sample
/// and what is wrong with it.
class PdebenchFile {
 public:
  /// Opens the file and checks that all samples named in it exist with equal shapes; values are checked when
  /// read. HDF5 may crash on a damaged file: so all this, the reading of the first `to_read` samples and
  /// `check` are done in a child process before (src/io/rehearsal.hpp).
  explicit PdebenchFile(const std::string& path, std::int64_t to_read = 0,
                        const std::function<void(const PdebenchFile&)>& check = {});
  PdebenchFile(PdebenchFile&&) noexcept;
  PdebenchFile& operator=(PdebenchFile&&) noexcept;
  ~PdebenchFile();

  std::int64_t samples() const { return static_cast<std::int64_t>(names_.size()); }
  /// Coordinates of the first sample, increasing.
  const std::vector<double>& t() const { return t_; }
  const std::vector<double>& x() const { return x_; }
  /// Row-major [t, x], all finite. The sample must have the coordinates of the first.
  std::vector<double> read_sample(std::int64_t index) const;
  /// Name of the sample's group.
  const std::string& name(std::int64_t index) const { return names_.at(static_cast<std::size_t>(index)); }
  /// All attributes of one text or of numbers that the file has for this sample. PDEBench's generator writes
  /// the configuration of sample "0000" as the file's attribute "0000/config". HDF5 may crash on damaged
  /// texts: read in `check` first what is read afterwards.
  std::vector<PdebenchAttribute> attributes(std::int64_t index) const;

 private:
  struct Open;
  PdebenchFile() = default;
  void open(const std::string& path);
  void sort_names();
  std::string path_;
  std::unique_ptr<Open> open_;
  std::vector<std::string> names_;
  std::vector<double> t_, x_;
};

/// Writes such a file; it gets its name in finish(). Inert where not `active` (ranks above 0). Names have
/// four digits, or as many as `samples` numbers need, so that their order as texts is that of the numbers.
class PdebenchWriter {
 public:
  PdebenchWriter(const std::string& path, std::span<const double> t, std::span<const double> x,
                 bool active = true, std::int64_t samples = 0);
  PdebenchWriter(PdebenchWriter&&) noexcept;
  PdebenchWriter& operator=(PdebenchWriter&&) noexcept;
  ~PdebenchWriter();

  /// Appends a sample, row-major [t, x], stored as float32 as PDEBench does.
  void append(std::span<const double> values, const std::string& config = {});
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace rankine
