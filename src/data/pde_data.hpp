// Initial states and reference solutions of an experiment, in three splits without common samples.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "src/comm/communicator.hpp"
#include "src/data/observations.hpp"
#include "src/data/reference_check.hpp"
#include "src/deck/node.hpp"
#include "src/deck/options.hpp"
#include "src/pde/pde.hpp"

namespace rankine {

struct PdeDataOptions {
  std::string source = "generate";
  std::string path;
  int train = 64;
  int validation = 16;
  int test = 52;
  int frames = 101;
  long seed = 20240507;
  std::string write;
  ObservationOptions observations;
  ReferenceCheckOptions reference_check;
  void options(OptionVisitor& o);
  void validate(const DeckNode& node) const;
  /// The number of samples of split 0 (training), 1 (validation) or 2 (test).
  int size(int split) const;
};

/// One split. Validation and test splits have references. The training split has values at the right wall, if
/// they were requested.
struct PdeSplit {
  std::vector<long> ids;              ///< global sample ids, disjoint between splits
  std::vector<double> initial;        ///< [sample][cell][unknown]
  std::vector<double> parameters;     ///< [sample][parameter of the PDE]
  std::vector<double> fields;         ///< [sample][coefficient field][cell]
  std::vector<double> reference;      ///< [sample][frame][cell][unknown] at PdeData::times
  std::vector<double> own_reference;  ///< the same at the method's own times; empty if not known
  /// [sample][frame] in the last cell, at the method's own times; empty if not requested.
  std::vector<double> right_wall;
  int size() const { return static_cast<int>(ids.size()); }
};

struct PdeData {
  std::vector<double> times;  ///< frames of the reference
  std::vector<int> cells;     ///< of the methods' grid, by axis
  PdeSplit train, validation, test;
  long redrawn = 0;       ///< number of random initial states that the PDE rejected and drew again
  double lost_share = 0;  ///< of an initial state's variation, in waves that the Fourier discretisation cuts
  ReferenceCheck check;   ///< of generated references
  double check_seconds = 0;  ///< that the check took
};

/// Checks what can be checked before work: that a file exists, has the layout of PDEBench, enough samples,
/// solutions of this equation (src/data/pde_file.hpp) on cells that average to `cells`, and frames at
/// `wall_times` if these are not empty; that `grid` divides that of generated references; and that
/// there is room for a file to be written. Throws InputError or IoError on all ranks.
void check_pde_data(const PdeDataOptions& options, const Pde& pde, const DeckNode& node,
                    const Communicator& communicator, const Grid& grid,
                    const std::vector<double>& wall_times);

/// Generates or reads the data. The ranks share the work, and each of them ends with all data. `own_times`
/// are the times of the methods' frames, including the initial time. `between` is called on all ranks between
/// samples; it may throw, on all ranks alike. Generated references are checked first
/// (src/data/reference_check.hpp): in each split the most demanding sample, and in the training split the
/// observed one if observations are generated. With options.write, the samples are written to a file before,
/// training samples first, then validation and test, so that `source: pdebench` reads the same splits from
/// it. Collective.
PdeData make_pde_data(const PdeDataOptions& options, const Pde& pde, const Communicator& communicator,
                      const Grid& grid, const std::vector<double>& own_times, bool train_right_wall,
                      const std::function<void()>& between = {});

/// The scale of each unknown within a run: a power of ten near its size, which follows from initial states,
/// walls, and the references of the validation and test splits.
std::vector<double> unknown_scales(const Pde& pde, const PdeData& data);
/// The data with all unknowns divided by `scales`.
PdeData scaled(PdeData data, const std::vector<double>& scales);

/// The reference of generated training sample `sample` on pde.data_grid() at rising `times`:
/// [time][cell][unknown].
std::vector<double> training_reference(const PdeDataOptions& options, const Pde& pde, int sample,
                                       std::span<const double> times);

/// The same as make_pde_data(), with a cache: variants and seeds of a deck whose data agree share one copy.
/// `key` is a text of all that the data depend on beside the other arguments.
std::shared_ptr<const PdeData> shared_pde_data(const std::string& key, const PdeDataOptions& options,
                                               const Pde& pde, const Communicator& communicator,
                                               const Grid& grid, const std::vector<double>& own_times,
                                               bool train_right_wall,
                                               const std::function<void()>& between = {});

}  // namespace rankine
