#include "src/data/pde_data.hpp"

#include <algorithm>
#include <cmath>
#include <optional>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/comm/tiles.hpp"
#include "src/core/random.hpp"
#include "src/io/files.hpp"
#include "src/io/pdebench.hpp"
#include "src/pde/method_of_lines.hpp"

namespace rankine {
namespace {

/// Ids of a split start at a multiple of a large number, so that no size of one split reaches another.
constexpr long split_stride = 1'000'000;

/// Initial states and parameters of `count` samples from id `first` on. Each sample has draws of its own, so
/// that another size of a split does not change the samples of the others.
void draw_samples(const Pde& pde, long seed, long first, int count, int cells, PdeSplit& split, long& redrawn,
                  std::vector<std::vector<double>>& numbers) {
  const RandomStream states(static_cast<std::uint64_t>(seed), "initial-states");
  const RandomStream values(static_cast<std::uint64_t>(seed), "pde-parameters");
  for (long id = first; id < first + count; ++id) {
    std::vector<double> parameters;
    long index = 0;
    for (const PdeParameter& p : pde.parameters()) {
      double value = p.value;
      if (p.sampled) {
        const double at = values.uniform(0, id, index);
        value = p.logarithmic ? p.minimum * std::pow(p.maximum / p.minimum, at)
                              : p.minimum + (p.maximum - p.minimum) * at;
      }
      parameters.push_back(value);
      ++index;
    }
    numbers.push_back(pde.draw_initial(states, id, redrawn));
    const std::vector<double> initial = initial_cells(pde, numbers.back(), parameters, cells);
    split.ids.push_back(id);
    split.initial.insert(split.initial.end(), initial.begin(), initial.end());
    split.parameters.insert(split.parameters.end(), parameters.begin(), parameters.end());
  }
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
                      const std::vector<std::vector<double>>& numbers, const std::function<void()>& between,
                      PdeSplit& split) {
  std::vector<double> all(own_times);
  if (keep == Keep::fields) all.insert(all.end(), times.begin(), times.end());
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  const long width = static_cast<long>(cells) * pde.unknowns();
  const auto pick = [&](const std::vector<double>& solution, const std::vector<double>& wanted, long from,
                        std::vector<double>& out) {
    for (double t : wanted) {
      const auto at = solution.begin() + (std::lower_bound(all.begin(), all.end(), t) - all.begin()) * width;
      out.insert(out.end(), at + from, at + width);
    }
  };
  const BlockPartition blocks(split.size(), communicator.size());
  std::vector<double> mine, mine_own;
  // The first rank has most.
  for (long turn = 0; turn < blocks.size(0); ++turn) {
    if (between) between();
    communicator.together([&] {
      if (turn >= blocks.size(communicator.rank())) return;
      const auto s = blocks.begin(communicator.rank()) + turn;
      const size_t count = split.parameters.size() / split.size();
      const std::span<const double> parameters = std::span(split.parameters).subspan(s * count, count);
      const std::vector<double> initial = initial_cells(pde, numbers[s], parameters, pde.data_cells());
      const std::vector<double> solution = pde.reference(initial, parameters, cells, all);
      if (keep == Keep::fields) pick(solution, times, 0, mine);
      pick(solution, own_times, keep == Keep::fields ? 0 : width - 1, mine_own);
    });
  }
  split.reference = communicator.all_gather_varying(std::span<const double>(mine));
  (keep == Keep::fields ? split.own_reference : split.right_wall) =
      communicator.all_gather_varying(std::span<const double>(mine_own));
}

/// Solves all samples of the splits in turn and writes them at the resolution of their references.
void write_samples(const PdeDataOptions& options, const Pde& pde, const Communicator& communicator,
                   const std::vector<double>& times, const std::function<void()>& between) {
  PdeSplit all;
  std::vector<std::vector<double>> numbers;
  long redrawn = 0;
  for (int i = 0; i < 3; ++i)
    draw_samples(pde, options.seed, i * split_stride, options.size(i), 1, all, redrawn, numbers);
  const int cells = pde.data_cells();
  std::vector<double> x(cells);
  for (int i = 0; i < cells; ++i) x[i] = pde.length() * (i + 0.5) / cells;
  std::optional<PdebenchWriter> writer;
  communicator.on_root([&] { writer.emplace(options.write, times, x); });
  const size_t count = pde.parameters().size();
  for (long first = 0; first < all.size(); first += communicator.size()) {
    if (between) between();
    std::vector<double> mine;
    communicator.together([&] {
      const long s = first + communicator.rank();
      if (s >= all.size()) return;
      const std::span<const double> parameters = std::span(all.parameters).subspan(s * count, count);
      mine = pde.reference(initial_cells(pde, numbers[s], parameters, cells), parameters, cells, times);
    });
    const std::vector<double> values = communicator.all_gather_varying(std::span<const double>(mine));
    const size_t each = times.size() * cells;
    communicator.on_root([&] {
      for (size_t at = 0; at < values.size(); at += each) {
        const long s = first + static_cast<long>(at / each);
        std::string config = fmt::format("seed: {}\nsample: {}\n", options.seed, all.ids[s]);
        for (size_t p = 0; p < count; ++p)
          config += fmt::format("{}: {}\n", pde.parameters()[p].name, all.parameters[s * count + p]);
        writer->append(std::span(values).subspan(at, each), config);
      }
    });
  }
  communicator.on_root([&] { writer->finish(); });
}

}  // namespace

int PdeDataOptions::size(int split) const { return split == 0 ? train : split == 1 ? validation : test; }

void PdeDataOptions::options(OptionVisitor& o) {
  o("source", source,
    {.help = "where samples come from: computed here, or a file in PDEBench's layout",
     .choices = {"generate", "pdebench"}});
  o("path", path, {.help = "the PDEBench file (source: pdebench)", .file = FileUse::input});
  o("train", train, {.help = "training samples", .min = 1});
  o("validation", validation,
    {.help = "samples for choices and for the error shown during training", .min = 1});
  o("test", test, {.help = "samples that the final figures come from, evaluated once", .min = 1});
  o("frames", frames, {.help = "uniform frames of the reference, the initial one included", .min = 2});
  o("seed", seed, {.help = "seed of the initial states; the same for all seeds of a run", .min = 0});
  o("write", write,
    {.help = "file for the computed samples in PDEBench's layout, for source: pdebench (training, validation "
             "and test samples in this order; float32)",
     .file = FileUse::samples_output});
  o.group("observations", observations, "measured values of a training sample");
}

void PdeDataOptions::validate(const DeckNode& node) const {
  if (source == "pdebench" && path.empty()) node.error("source: pdebench needs path, the file to read");
  if (source == "generate" && !path.empty())
    node.error_at("path", "path is given, but source: generate reads no file; write source: pdebench");
  if (source != "generate" && !write.empty())
    node.error_at("write", "write is for computed samples; give source: generate, or leave it out");
  observations.validate(node.section("observations"));
  if (observations.source == "generate" && source != "generate")
    node.section("observations")
        .error_at("source",
                  "source: generate draws points of a computed reference, which data.source: " + source +
                      " does not have; use data.source: generate, or observations from a file");
  if (!observations.none() && observations.sample >= train)
    node.section("observations")
        .error_at("sample", "sample: " + std::to_string(observations.sample) + " is none of the " +
                                std::to_string(train) + " training samples; choose a smaller number");
}

void check_pde_data(const PdeDataOptions& options, const Pde& pde, const DeckNode& node,
                    const Communicator& communicator, int cells) {
  if (options.source != "pdebench") {
    if (pde.data_cells() % cells != 0)
      node.error("references are computed on pde.data_cells = " + std::to_string(pde.data_cells()) +
                 " cells, which grid.cells = " + std::to_string(cells) +
                 " does not divide; choose a divisor");
    if (options.write.empty()) return;
    if (!pde.collocated())
      node.error_at("write",
                    "write makes files of the diffusion-sorption problem, as source: pdebench reads them; "
                    "leave it out");
    communicator.on_root([&] {
      std::uint64_t samples = 0;
      for (int split = 0; split < 3; ++split) samples += options.size(split);
      try {
        const OutputFile file{"data.write", options.write, FileContent::samples,
                              samples * options.frames * pde.data_cells() * sizeof(float)};
        check_outputs({&file, 1}, {});
      } catch (const InputError& error) {
        node.error_at("write", error.what());
      }
    });
    return;
  }
  if (!pde.collocated())
    node.error_at("source",
                  "source: pdebench reads the diffusion-sorption problem only; use source: generate");
  communicator.on_root([&] {
    std::optional<PdebenchFile> opened;
    try {
      opened.emplace(options.path);
    } catch (const InputError& error) {
      node.error_at("path", error.what());
    }
    const PdebenchFile& file = *opened;
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
                      int cells, const std::vector<double>& own_times, bool train_right_wall,
                      const std::function<void()>& between) {
  PdeData data;
  data.cells = cells;
  PdeSplit* splits[] = {&data.train, &data.validation, &data.test};
  if (options.source == "pdebench") {
    // Samples are read by the root and sent to all: the order in the file is the split.
    std::vector<double> values;
    communicator.on_root([&] {
      const long needed = options.train + options.validation + options.test;
      const PdebenchFile file(options.path, needed);
      data.times = file.t();
      for (long s = 0; s < needed; ++s) {
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
      for (int s = 0; s < options.size(i); ++s, ++id) {
        const auto first = values.begin() + static_cast<long>(id * each);
        splits[i]->ids.push_back(id);
        splits[i]->initial.insert(splits[i]->initial.end(), first, first + cells);
        for (const PdeParameter& p : pde.parameters()) splits[i]->parameters.push_back(p.value);
        splits[i]->reference.insert(splits[i]->reference.end(), first, first + static_cast<long>(each));
      }
    if (data.times != own_times) return data;
    for (PdeSplit* split : splits) split->own_reference = split->reference;
    for (size_t row = 1; row <= data.train.own_reference.size() / cells; ++row)
      data.train.right_wall.push_back(data.train.own_reference[row * cells - 1]);
    return data;
  }
  data.times = uniform_times(pde.duration(), options.frames);
  if (!options.write.empty()) write_samples(options, pde, communicator, data.times, between);
  for (int i = 0; i < 3; ++i) {
    std::vector<std::vector<double>> numbers;
    draw_samples(pde, options.seed, i * split_stride, options.size(i), cells, *splits[i], data.redrawn,
                 numbers);
    if (i > 0)
      solve_references(pde, communicator, cells, data.times, own_times, Keep::fields, numbers, between,
                       *splits[i]);
    else if (train_right_wall)
      solve_references(pde, communicator, cells, data.times, own_times, Keep::right_wall, numbers, between,
                       data.train);
  }
  return data;
}

std::vector<double> training_reference(const PdeDataOptions& options, const Pde& pde, int sample,
                                       std::span<const double> times) {
  PdeSplit split;
  long redrawn = 0;
  std::vector<std::vector<double>> numbers;
  draw_samples(pde, options.seed, sample, 1, pde.data_cells(), split, redrawn, numbers);
  std::vector<double> from_start(times.begin(), times.end());
  const bool starts_later = from_start.empty() || from_start.front() > 0;
  if (starts_later) from_start.insert(from_start.begin(), 0.0);
  std::vector<double> u = pde.reference(split.initial, split.parameters, pde.data_cells(), from_start);
  if (starts_later) u.erase(u.begin(), u.begin() + static_cast<long>(split.initial.size()));
  return u;
}

std::shared_ptr<const PdeData> shared_pde_data(const std::string& key, const PdeDataOptions& options,
                                               const Pde& pde, const Communicator& communicator, int cells,
                                               const std::vector<double>& own_times, bool train_right_wall,
                                               const std::function<void()>& between) {
  // One entry: variants that differ in their data follow one another in a deck.
  static std::string kept_key;
  static std::shared_ptr<const PdeData> kept;
  std::string full_key = key + "\n" + std::to_string(cells) + (train_right_wall ? " wall" : "");
  for (double t : own_times) full_key += " " + std::to_string(t);
  if (!kept || kept_key != full_key) {
    kept.reset();
    kept = std::make_shared<const PdeData>(
        make_pde_data(options, pde, communicator, cells, own_times, train_right_wall, between));
    kept_key = full_key;
  }
  return kept;
}

}  // namespace rankine
