// results.h5: what a run leaves behind. Layout (format_version 1):
//
//   /                                    attributes format = "rankine-results", format_version, title,
//                                        Conventions; of a run that failed, with what was done by then,
//                                        complete = 0 and missing, which names the runs that it lacks
//   /runs/<variant>/seed_<s>/steps/      step, loss, ...: one value a training step
//   /runs/<variant>/seed_<s>/evaluations/ step, ...: one value an evaluation
//   /runs/<variant>/seed_<s>/<table>/    a named table: step, the table's dimension (0, 1, ...), and one
//   array
//                                        [step, dimension] for each metric, such as experts/iterations
//                                        [step, expert]; attribute names = labels of the dimension. A table
//                                        without a dimension has arrays [step]. Every other group with an
//                                        array `step` is one
//   /runs/<variant>/seed_<s>/summary/    scalars with units: what `expect:` reads
//   /runs/<variant>/seed_<s>/per_sample/ sample_id, ...: one value a test sample
//   /runs/<variant>/seed_<s>/fields/     u, u_reference, ... [sample_id, t, x], with several space axes
//                                        [sample_id, t, x, y] or [sample_id, t, x, y, z], the last fastest, with
//                                        their coordinates; x, y, z are centres of cells. Attributes
//                                        tile_edges_x, expert_edges_x, tile_edges_y, ...: positions of the edges
//                                        between tiles and between experts along each axis, both ends included
//   /runs/<variant>/seed_<s>/weights/    parameters by name
//   /expectations/                       expression, verdict (1: the values are as it says), value_left,
//                                        value_right, standard_error, outcome (pass, fail, undecided, void)
//   /timing/<variant>/seed_<s>/          everything that depends on the machine
//   /provenance/                         who, where, when, with what
//
// Equal inputs give equal bytes outside /provenance and /timing, which are therefore written last.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace rankine {

namespace hdf5 {
class Group;
}

/// Named values of one step, in the order in which they shall stand in the file.
using Metrics = std::vector<std::pair<std::string, double>>;

/// A coordinate of a field: one value for each index of its dimension.
struct Coordinate {
  std::string name;  ///< "sample_id", "t", "x", "y", "z"
  std::vector<double> values;
  std::string unit, long_name;
};

/// Unit and description of a dataset, stored as the attributes `units` and `long_name` (CF conventions).
struct Label {
  std::string unit = "1", long_name = {};
};

/// What the rows of a table lie along, beside steps: "expert", "block", ...; "": nothing, a row is one
/// number.
struct TableAxis {
  std::string dimension = {};
  std::vector<std::string> labels = {};  ///< of its entries, in order; no blanks. Empty: numbers alone
};

/// One line of a deck's `expect:` and what came of it. Left and right are NaN for compound expressions.
struct ExpectationResult {
  std::string expression;
  bool verdict = false;  ///< of the values, whatever their standard error
  double left = 0, right = 0;
  double standard_error = 0;  ///< of left - right; NaN where there is none
  std::string outcome = {};   ///< pass, fail, undecided or void; empty: pass or fail by `verdict`
};

struct CheckpointContent;

namespace io_detail {
class ResultsState;
}

/// A named table of a run. A cheap handle, inert where the RunWriter is.
class TableWriter {
 public:
  /// The metric's values at `step`, one for each entry of the dimension, whose number is the same in all rows
  /// of a table. Several metrics may be given for one step; what a step lacks is NaN.
  void row(std::int64_t step, const std::string& metric, std::span<const double> values);
  void row(std::int64_t step, const std::string& metric, double value) { row(step, metric, {&value, 1}); }

 private:
  friend class RunWriter;
  std::shared_ptr<io_detail::ResultsState> state_;
  std::size_t run_ = 0;
  std::string name_;
};

/// Collects the results of one variant and seed. A cheap handle; the ResultsWriter keeps the data.
/// Every method may be called on every rank; on ranks without the file it does nothing.
class RunWriter {
 public:
  RunWriter() = default;  ///< inert

  /// Appends one training step. A metric that appears late or is left out is NaN in the other steps.
  void append_step(std::int64_t step, const Metrics& metrics);
  /// Appends one evaluation on the validation or test set, taken after `step` steps.
  void append_evaluation(std::int64_t step, const Metrics& metrics);
  /// Step and value of the evaluations so far that have this metric; empty on ranks without the file.
  std::vector<std::pair<std::int64_t, double>> evaluations(const std::string& metric) const;
  /// The table of that name, which is made at the first call with `axis`; later calls must give the same.
  TableWriter table(const std::string& name, const TableAxis& axis = {}) const;

  /// A scalar by which runs are compared; `expect:` reads it as metric[variant].
  void summary(const std::string& metric, double value, const Label& label = {});
  /// One value for each test sample, in the order of the sample ids.
  void per_sample(const std::string& name, std::span<const double> values, const Label& label = {});

  /// A field, row-major, one coordinate for each dimension. Fields of one run share coordinates of the same
  /// name, which must then be equal. Written to the file at once.
  void fields(const std::string& name, std::span<const double> values,
              const std::vector<Coordinate>& coordinates, const Label& label = {});
  void fields(const std::string& name, std::span<const float> values,
              const std::vector<Coordinate>& coordinates, const Label& label = {});
  /// Positions along an axis of the edges between tiles or between experts, for plots: the attribute `name`
  /// of the group of fields, such as `tile_edges_y`.
  void field_edges(const std::string& name, std::span<const double> edges);

  /// A parameter of the trained model. Written to the file at once. `name` may hold '.', not '/'.
  void weights(const std::string& name, std::span<const double> values,
               const std::vector<std::uint64_t>& shape);
  void weights(const std::string& name, std::span<const float> values,
               const std::vector<std::uint64_t>& shape);

  /// What depends on the machine: seconds, bytes.
  void timing(const std::string& name, double value, const Label& label = {.unit = "s"});
  void timing(const std::string& name, std::span<const double> values, const Label& label = {.unit = "s"});

  /// Takes back all steps, evaluations and rows of tables: a run that goes back to a
  /// checkpoint gives them again.
  void clear_tables();

  /// Takes back the evaluation after `step` steps, if there is one: a longer run would not have made it.
  void drop_evaluation(std::int64_t step);

  /// Adds everything collected so far to a checkpoint, below "results".
  void save(CheckpointContent& content) const;
  /// The opposite, on a run to which nothing was given yet; then the file is as if its calls had been
  /// repeated. `tables_only`: steps, evaluations and tables, but nothing that a run gives at its end.
  void load(const CheckpointContent& content, bool tables_only);

 private:
  friend class ResultsWriter;
  friend class io_detail::ResultsState;
  RunWriter(std::shared_ptr<io_detail::ResultsState> state, std::size_t run)
      : state_(std::move(state)), run_(run) {}
  std::shared_ptr<io_detail::ResultsState> state_;
  std::size_t run_ = 0;
};

/// Writes results.h5 on one rank (`active`, rank 0); on the others it is inert, so that callers need no
/// branches. The file is created under a temporary name at once and gets its name in finish(); without
/// finish() it vanishes. An error is thrown on the active rank only: the caller passes it on (Communicator).
class ResultsWriter {
 public:
  ResultsWriter();  ///< inert
  /// InputError where `path` cannot be written; IoError where fewer than `bytes_needed` are free.
  ResultsWriter(const std::string& path, const std::string& title, bool active = true,
                std::uint64_t bytes_needed = 0);
  /// Without a file: for results that reach their file through RunWriter::save() and load().
  static ResultsWriter in_memory(bool active);
  ResultsWriter(ResultsWriter&&) noexcept;
  ResultsWriter& operator=(ResultsWriter&&) noexcept;
  ~ResultsWriter();

  bool active() const { return state_ != nullptr; }
  /// From now on fields and weights, which go to the file at once, are kept in memory too, for
  /// RunWriter::save(); forget() drops those of one run.
  void keep_for_checkpoints();
  void forget(const std::string& variant, std::int64_t seed);

  /// The run of one variant and seed, which is created at the first call.
  RunWriter run(const std::string& variant, std::int64_t seed);
  /// The verdicts on the deck's expectations.
  void expectations(const std::vector<ExpectationResult>& results);
  /// A text of /provenance, for example ("deck", text). A later value replaces an earlier one. A name may
  /// hold '/'.
  void provenance(const std::string& name, const std::string& text);
  void provenance(const std::vector<std::pair<std::string, std::string>>& texts);
  void provenance_numbers(const std::string& name, std::span<const double> values);

  /// Notes that the file lacks runs, such as "pi-hc seed 1": root attributes complete = 0 and missing. A file
  /// that has them all has neither.
  void mark_incomplete(const std::vector<std::string>& missing);
  /// Whether incomplete results may be written to `path`: nothing stands there, or incomplete results.
  static bool may_be_incomplete(const std::string& path);

  /// Copies a run with its timing, or all of the provenance below `to`, from another results file.
  void copy_run(const std::string& variant, std::int64_t seed, const hdf5::Group& from);
  void copy_provenance(const std::string& to, const hdf5::Group& from);

  /// Writes what is collected, flushes, closes, syncs, and renames the file to its name. IoError where one of
  /// them fails: then nothing is left of it, and an older file of that name is untouched.
  void finish();

 private:
  std::shared_ptr<io_detail::ResultsState> state_;
};

}  // namespace rankine
