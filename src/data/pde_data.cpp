#include "src/data/pde_data.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/error.hpp"
#include "src/comm/tiles.hpp"
#include "src/core/random.hpp"
#include "src/data/reference.hpp"
#include "src/io/pdebench.hpp"

namespace rankine {
namespace {

/// Initial values of the samples first .. first + count - 1. Each sample has draws of its own, so that
/// another size of a split does not change the samples of the others.
std::vector<double> draw_initial_values(const Pde& pde, long seed, long first, int count, long& redrawn) {
  const RandomStream stream(static_cast<std::uint64_t>(seed), "initial-states");
  std::vector<double> values;
  for (long id = first; id < first + count; ++id) {
    // Uniform in (0, maximum) as PDEBench draws it; values below the minimum, which the paper's rows would
    // divide by, are drawn again.
    for (long attempt = 0;; ++attempt) {
      const double value = pde.initial_maximum() * stream.uniform(0, id, attempt);
      if (value >= pde.initial_minimum()) {
        values.push_back(value);
        break;
      }
      ++redrawn;
    }
  }
  return values;
}

std::vector<double> uniform_times(double duration, int frames) {
  std::vector<double> times(frames);
  for (int j = 0; j < frames; ++j) times[j] = duration * j / (frames - 1);
  return times;
}

/// Which parts of the solutions a split keeps.
enum class Keep { fields, right_wall };

/// Solves all samples, dealt over the ranks, at the union of both lists of times.
void solve_references(const Pde& pde, const Communicator& communicator, int cells,
                      const std::vector<double>& times, const std::vector<double>& own_times, Keep keep,
                      PdeSplit& split) {
  std::vector<double> all(own_times);
  if (keep == Keep::fields) all.insert(all.end(), times.begin(), times.end());
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  const auto pick = [&](const std::vector<double>& solution, const std::vector<double>& wanted,
                        int first_cell, std::vector<double>& out) {
    for (double t : wanted) {
      const auto at = solution.begin() + (std::lower_bound(all.begin(), all.end(), t) - all.begin()) * cells;
      out.insert(out.end(), at + first_cell, at + cells);
    }
  };
  const BlockPartition blocks(split.size(), communicator.size());
  std::vector<double> mine, mine_own;
  communicator.together([&] {
    for (auto s = blocks.begin(communicator.rank()); s < blocks.end(communicator.rank()); ++s) {
      const std::vector<double> solution = pde.reference(split.u0[s], cells, all);
      if (keep == Keep::fields) pick(solution, times, 0, mine);
      pick(solution, own_times, keep == Keep::fields ? 0 : cells - 1, mine_own);
    }
  });
  split.reference = communicator.all_gather_varying(std::span<const double>(mine));
  (keep == Keep::fields ? split.own_reference : split.right_wall) =
      communicator.all_gather_varying(std::span<const double>(mine_own));
}

}  // namespace

void PdeDataOptions::options(OptionVisitor& o) {
  o("source", source,
    {.help = "where samples come from: computed here, or a file in PDEBench's layout",
     .choices = {"generate", "pdebench"}});
  o("path", path, {.help = "the PDEBench file (source: pdebench)"});
  o("train", train, {.help = "training samples", .min = 1});
  o("validation", validation,
    {.help = "samples for choices and for the error shown during training", .min = 1});
  o("test", test, {.help = "samples that the final figures come from, evaluated once", .min = 1});
  o("frames", frames, {.help = "uniform frames of the reference, the initial one included", .min = 2});
  o("seed", seed, {.help = "seed of the initial states; the same for all seeds of a run", .min = 0});
}

void PdeDataOptions::validate(const DeckNode& node) const {
  if (source == "pdebench" && path.empty()) node.error("source: pdebench needs path, the file to read");
  if (source == "generate" && !path.empty())
    node.error_at("path", "path is given, but source: generate reads no file; write source: pdebench");
}

void check_pde_data(const PdeDataOptions& options, const DeckNode& node, const Communicator& communicator,
                    int cells) {
  if (options.source != "pdebench") return;
  communicator.on_root([&] {
    const PdebenchFile file(options.path);
    const long needed = options.train + options.validation + options.test;
    if (file.samples() < needed)
      node.error_at("path", options.path + " holds " + std::to_string(file.samples()) +
                                " samples, but train + validation + test = " + std::to_string(needed) +
                                "; make them smaller");
    if (static_cast<int>(file.x().size()) % cells != 0)
      node.error_at("path", options.path + " has " + std::to_string(file.x().size()) +
                                " cells, which grid.cells = " + std::to_string(cells) +
                                " does not divide; choose a divisor");
  });
}

PdeData make_pde_data(const PdeDataOptions& options, const Pde& pde, const Communicator& communicator,
                      int cells, const std::vector<double>& own_times, bool train_right_wall) {
  PdeData data;
  data.cells = cells;
  PdeSplit* splits[] = {&data.train, &data.validation, &data.test};
  const int sizes[] = {options.train, options.validation, options.test};
  // Ids of a split start at a multiple of a large number, so that no size of one split reaches another.
  constexpr long stride = 1'000'000;
  if (options.source == "pdebench") {
    // Samples are read by the root and sent to all: the order in the file is the split.
    std::vector<double> values;
    communicator.on_root([&] {
      const PdebenchFile file(options.path);
      data.times = file.t();
      for (long s = 0; s < options.train + options.validation + options.test; ++s) {
        const std::vector<double> sample =
            average_cells(file.read_sample(s), static_cast<int>(file.x().size()), cells);
        values.insert(values.end(), sample.begin(), sample.end());
      }
    });
    communicator.broadcast(data.times);
    communicator.broadcast(values);
    const size_t each = data.times.size() * cells;
    long id = 0;
    for (int i = 0; i < 3; ++i)
      for (int s = 0; s < sizes[i]; ++s, ++id) {
        const auto first = values.begin() + static_cast<long>(id * each);
        splits[i]->ids.push_back(id);
        splits[i]->u0.push_back(*first);
        splits[i]->reference.insert(splits[i]->reference.end(), first, first + static_cast<long>(each));
      }
    if (data.times != own_times) return data;
    for (PdeSplit* split : splits) split->own_reference = split->reference;
    for (size_t row = 1; row <= data.train.own_reference.size() / cells; ++row)
      data.train.right_wall.push_back(data.train.own_reference[row * cells - 1]);
    return data;
  }
  data.times = uniform_times(pde.duration(), options.frames);
  for (int i = 0; i < 3; ++i) {
    for (int s = 0; s < sizes[i]; ++s) splits[i]->ids.push_back(i * stride + s);
    splits[i]->u0 = draw_initial_values(pde, options.seed, i * stride, sizes[i], data.redrawn);
    if (i > 0)
      solve_references(pde, communicator, cells, data.times, own_times, Keep::fields, *splits[i]);
    else if (train_right_wall)
      solve_references(pde, communicator, cells, data.times, own_times, Keep::right_wall, data.train);
  }
  return data;
}

std::shared_ptr<const PdeData> shared_pde_data(const std::string& key, const PdeDataOptions& options,
                                               const Pde& pde, const Communicator& communicator, int cells,
                                               const std::vector<double>& own_times, bool train_right_wall) {
  // One entry: variants that differ in their data follow one another in a deck.
  static std::string kept_key;
  static std::shared_ptr<const PdeData> kept;
  std::string full_key = key + "\n" + std::to_string(cells) + (train_right_wall ? " wall" : "");
  for (double t : own_times) full_key += " " + std::to_string(t);
  if (!kept || kept_key != full_key) {
    kept.reset();
    kept = std::make_shared<const PdeData>(
        make_pde_data(options, pde, communicator, cells, own_times, train_right_wall));
    kept_key = full_key;
  }
  return kept;
}

}  // namespace rankine
