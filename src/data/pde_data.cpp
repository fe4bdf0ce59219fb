#include "src/data/pde_data.hpp"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/comm/tiles.hpp"
#include "src/core/clock.hpp"
#include "src/core/random.hpp"
#include "src/data/pde_file.hpp"
#include "src/io/files.hpp"
#include "src/io/pdebench.hpp"
#include "src/pde/method_of_lines.hpp"

namespace rankine {
namespace {

/// The first id of each split is a multiple of a large number, so that the ids of splits never overlap.
constexpr long split_stride = 1'000'000;
constexpr const char* split_names[3] = {"training", "validation", "test"};

/// Initial states and parameters of `count` samples from id `first` on. Each sample has draws of its own, so
/// that another size of a split does not change the samples of the others. `lost`: the largest share of an
/// initial state in waves that are cut (initial_cells()).
void draw_samples(const Pde& pde, long seed, long first, int count, const Grid& grid, PdeSplit& split,
                  long& redrawn, std::vector<std::vector<double>>& numbers, double* lost = nullptr) {
  const RandomStream states(static_cast<std::uint64_t>(seed), "initial-states");
  const RandomStream values(static_cast<std::uint64_t>(seed), "pde-parameters");
  for (long id = first; id < first + count; ++id) {
    std::vector<double> parameters;
    long index = 0;
    for (const PdeParameter& p : pde.parameters()) parameters.push_back(p.at(values.uniform(0, id, index++)));
    numbers.push_back(pde.draw_initial(states, id, redrawn));
    double lost_here = 0;
    const std::vector<double> initial = initial_cells(pde, numbers.back(), parameters, grid, &lost_here);
    if (lost != nullptr) *lost = std::max(*lost, lost_here);
    split.ids.push_back(id);
    split.initial.insert(split.initial.end(), initial.begin(), initial.end());
    split.parameters.insert(split.parameters.end(), parameters.begin(), parameters.end());
    const std::vector<double> fields = field_cells(pde, numbers.back(), parameters, grid);
    split.fields.insert(split.fields.end(), fields.begin(), fields.end());
    if (fields.empty()) continue;
    const std::string sample =
        fmt::format("{} sample {}: ", split_names[id / split_stride], id % split_stride);
    for (size_t p = 0; p < fields.size(); ++p)
      if (!std::isfinite(fields[p]))
        throw NumericalError(sample + "the field '" + pde.fields()[p / grid.cells()] + "' is not finite at " +
                             grid.place(grid.centre(static_cast<int>(p % grid.cells()))) +
                             "; write pde.fields so that it is finite everywhere");
    const std::string fault = anti_diffusion(pde, grid, {parameters, {}, fields}, 0, initial);
    if (!fault.empty()) throw NumericalError(sample + fault);
  }
}

/// The parameters of sample `s` of all [sample][count], and its fields on data_grid().
SchemeParameters sample_parameters(const Pde& pde, std::span<const double> numbers,
                                   const std::vector<double>& all, long s, size_t count) {
  SchemeParameters out;
  out.values.assign(all.begin() + s * static_cast<long>(count),
                    all.begin() + (s + 1) * static_cast<long>(count));
  out.fields = field_cells(pde, numbers, out.values, pde.data_grid());
  return out;
}

/// How much convection outweighs diffusion on a cell of the reference, at the initial state of a sample
/// [cell][unknown] on `grid`: the largest |dF/du| dx / |dF/du_x| along any axis; 0 without convection.
double cell_peclet(const Pde& pde, const double* u, const Grid& grid, std::span<const double> parameters,
                   std::span<const double> fields) {
  const int m = pde.unknowns(), axes = grid.axes(), rows = pde.term_fields();
  const long cells = grid.cells();
  std::vector<double> arguments(kernels::flux_arguments(axes, rows) * cells, 0.0), x = grid.centres(),
                                                                                   t(cells, 0.0);
  x.insert(x.end(), fields.begin(), fields.end());
  for (long i = 0; i < cells; ++i)
    for (int a = 0; a < m; ++a) arguments[a * cells + i] = u[i * m + a];
  double largest = 0;
  for (int axis = 0; axis < axes; ++axis) {
    kernels::TermValues flux;
    pde.flux(axis, {cells, arguments, x, t, parameters, {}}, 1, flux);
    for (long i = 0; i < cells; ++i)
      for (int a = 0; a < m; ++a)
        for (int b = 0; b < m; ++b) {
          const double speed = std::abs(flux.by(a, b)[i]) * pde.length(axis) / pde.data_cells(axis);
          if (speed > 0)
            largest =
                std::max(largest, speed / (std::abs(flux.by(a, (1 + axis) * rows + a)[i]) + 1e-9 * speed));
        }
  }
  return largest;
}

/// The sample that is hardest for a reference: of the largest value and variation of the initial state, times
/// the largest cell Peclet number.
long most_demanding(const Pde& pde, const Grid& grid, const PdeSplit& split) {
  const size_t each = split.initial.size() / split.size(), count = split.parameters.size() / split.size(),
               each_fields = split.fields.size() / split.size();
  double most = -1;
  long which = 0;
  for (int s = 0; s < split.size(); ++s) {
    const double* u = &split.initial[s * each];
    double demand = 0, variation = 0;
    for (size_t i = 0; i < each; ++i) {
      demand = std::max(demand, std::abs(u[i]));
      if (i > 0) variation += std::abs(u[i] - u[i - 1]);
    }
    const double peclet = cell_peclet(pde, u, grid, std::span(split.parameters).subspan(s * count, count),
                                      std::span(split.fields).subspan(s * each_fields, each_fields));
    // A steady problem has no initial state: what differs from sample to sample are the fields.
    for (size_t k = 0; k * grid.cells() < each_fields; ++k) {
      const auto field = split.fields.begin() + static_cast<long>(s * each_fields + k * grid.cells());
      const auto [least, greatest] = std::minmax_element(field, field + grid.cells());
      const double size = std::max(std::abs(*least), std::abs(*greatest));
      if (size > 0) demand += (*greatest - *least) / size - std::log(std::max(std::abs(*least) / size, 1e-6));
    }
    demand = (demand + variation) * (1 + (std::isfinite(peclet) ? peclet : 0));
    if (demand > most) {
      most = demand;
      which = s;
    }
  }
  return which;
}

/// The result of `solve`; the message of a failure names the sample.
template <class Solve>
auto of_sample(int split, long sample, const Solve& solve) {
  try {
    return solve();
  } catch (const NumericalError& error) {
    throw NumericalError(fmt::format("{} sample {}: {}", split_names[split], sample, error.what()));
  }
}

/// The parts of the solutions that a split keeps.
enum class Keep { fields, right_wall };

/// Both lists of times, merged in ascending order.
std::vector<double> merged(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> all(a);
  all.insert(all.end(), b.begin(), b.end());
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

/// A reference that is known already, on pde.data_grid().
struct Known {
  long sample = -1;
  std::span<const double> solution;
};

/// Solves all samples of a split (`which`) but the known one, dealt over the ranks, at the union of both
/// lists of times.
void solve_references(const Pde& pde, const Communicator& communicator, const Grid& grid,
                      const std::vector<double>& times, const std::vector<double>& own_times, Keep keep,
                      const std::vector<std::vector<double>>& numbers, const Known& known,
                      const std::function<void()>& between, int which, PdeSplit& split) {
  const std::vector<double> all = keep == Keep::fields ? merged(own_times, times) : own_times;
  const long width = static_cast<long>(grid.cells()) * pde.unknowns();
  const auto pick = [&](const std::vector<double>& solution, const std::vector<double>& wanted, long from,
                        std::vector<double>& out) {
    for (double t : wanted) {
      const auto at = solution.begin() + (std::lower_bound(all.begin(), all.end(), t) - all.begin()) * width;
      out.insert(out.end(), at + from, at + width);
    }
  };
  const BlockPartition blocks(split.size(), communicator.size());
  std::vector<double> mine, mine_own;
  // No rank has more samples than the first one.
  for (long turn = 0; turn < blocks.size(0); ++turn) {
    if (between) between();
    communicator.together([&] {
      if (turn >= blocks.size(communicator.rank())) return;
      const auto s = blocks.begin(communicator.rank()) + turn;
      const size_t count = split.parameters.size() / split.size();
      const SchemeParameters parameters = sample_parameters(pde, numbers[s], split.parameters, s, count);
      const std::vector<double> initial = initial_cells(pde, numbers[s], parameters.values, pde.data_grid());
      const std::vector<double> solution =
          s == known.sample
              ? on_coarser(pde, known.solution, pde.data_grid(), grid)
              : of_sample(which, s, [&] { return pde.reference(initial, parameters, grid, all); });
      if (keep == Keep::fields) pick(solution, times, 0, mine);
      pick(solution, own_times, keep == Keep::fields ? 0 : width - 1, mine_own);
    });
  }
  split.reference = communicator.all_gather_varying(std::span<const double>(mine));
  (keep == Keep::fields ? split.own_reference : split.right_wall) =
      communicator.all_gather_varying(std::span<const double>(mine_own));
}

/// Solves all samples of all splits, one split after the other, and writes them at the resolution of the
/// references.
void write_samples(const PdeDataOptions& options, const Pde& pde, const Communicator& communicator,
                   const std::vector<double>& times, const std::function<void()>& between) {
  PdeSplit all;
  std::vector<std::vector<double>> numbers;
  long redrawn = 0;
  for (int i = 0; i < 3; ++i)
    draw_samples(pde, options.seed, i * split_stride, options.size(i), pde.grid({1}), all, redrawn, numbers);
  const int cells = pde.data_cells(0);
  std::vector<double> x(cells);
  for (int i = 0; i < cells; ++i) x[i] = pde.length(0) * (i + 0.5) / cells;
  std::optional<PdebenchWriter> writer;
  communicator.on_root([&] { writer.emplace(options.write, times, x, true, all.size()); });
  const std::vector<PdeParameter> parameters = pde.parameters();
  const size_t count = parameters.size();
  std::string constants = "pde: diffusion_sorption\n";
  for (const PdeConstant& c : pde.constants())
    if (!c.key.empty() && std::none_of(parameters.begin(), parameters.end(),
                                       [&](const PdeParameter& p) { return p.name == c.key; }))
      constants += fmt::format("{}: {}\n", c.key, c.value);
  for (long first = 0; first < all.size(); first += communicator.size()) {
    if (between) between();
    std::vector<double> mine;
    communicator.together([&] {
      const long s = first + communicator.rank();
      if (s >= all.size()) return;
      const SchemeParameters own = sample_parameters(pde, numbers[s], all.parameters, s, count);
      mine = pde.reference(initial_cells(pde, numbers[s], own.values, pde.data_grid()), own, pde.data_grid(),
                           times);
    });
    const std::vector<double> values = communicator.all_gather_varying(std::span<const double>(mine));
    const size_t each = times.size() * cells;
    communicator.on_root([&] {
      for (size_t at = 0; at < values.size(); at += each) {
        const long s = first + static_cast<long>(at / each);
        std::string config = fmt::format("seed: {}\nsample: {}\n", options.seed, all.ids[s]);
        for (size_t p = 0; p < count; ++p)
          config += fmt::format("{}: {}\n", parameters[p].name, all.parameters[s * count + p]);
        config += constants;
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
  o.group("reference_check", reference_check,
          "how far repetitions of a sample's reference may differ before a run is refused");
}

void PdeDataOptions::validate(const DeckNode& node) const {
  if (source == "pdebench" && path.empty()) node.error("source: pdebench needs path; give the file to read");
  if (source == "generate" && !path.empty())
    node.error_at("path", "path is given, but source: generate reads no file; write source: pdebench");
  if (source != "generate" && !write.empty())
    node.error_at("write", "write applies to computed samples only; give source: generate, or remove it");
  observations.validate(node.section("observations"));
  if (observations.source == "generate" && source != "generate")
    node.section("observations")
        .error_at("source",
                  "source: generate draws points of a computed reference, which data.source: " + source +
                      " does not have; use data.source: generate, or observations from a file");
  if (!observations.none() && observations.sample >= train)
    node.section("observations")
        .error_at("sample", "sample: " + std::to_string(observations.sample) + " is not one of the " +
                                std::to_string(train) + " training samples; choose a smaller number");
}

void check_pde_data(const PdeDataOptions& options, const Pde& pde, const DeckNode& node,
                    const Communicator& communicator, const Grid& grid,
                    const std::vector<double>& wall_times) {
  const int cells = grid.cells();
  if (options.source != "pdebench") {
    for (int axis = 0; axis < grid.axes(); ++axis)
      if (pde.data_cells(axis) % grid.cells(axis) != 0)
        node.error("references are computed on pde.data_cells = " + std::to_string(pde.data_cells(axis)) +
                   " cells" + (grid.axes() > 1 ? std::string(" along ") + space_name(axis) : "") +
                   ", which grid.cells = " + std::to_string(grid.cells(axis)) +
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
                              samples * options.frames * pde.data_cells(0) * sizeof(float)};
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
    const long needed = options.train + options.validation + options.test;
    const std::optional<int> frames = node.has("frames") ? std::optional(options.frames) : std::nullopt;
    // Variants of a deck that use the file in the same way read it once.
    static std::string checked;
    std::string use = fmt::format("{} {} {} {} {} {}", options.path, needed, frames.value_or(0),
                                  pde.length(0), pde.duration(), file_stamp(options.path));
    for (const PdeConstant& c : pde.constants()) use += fmt::format(" {}", c.value);
    const auto open = [&] {
      try {
        return PdebenchFile(options.path, 0, [&](const PdebenchFile& opened) {
          if (use != checked) check_pde_file(opened, pde, needed, frames);
        });
      } catch (const InputError& error) {
        const std::string what = error.what();
        node.error_at("path", what.starts_with(options.path) ? what : options.path + ": " + what);
      }
    };
    const PdebenchFile file = open();
    checked = use;
    if (file.samples() < needed)
      node.error_at("path", options.path + " holds " + std::to_string(file.samples()) +
                                " samples, but train + validation + test = " + std::to_string(needed) +
                                "; make them smaller");
    if (static_cast<int>(file.x().size()) % cells != 0)
      node.error_at("path", options.path + " has " + std::to_string(file.x().size()) +
                                " cells, which grid.cells = " + std::to_string(cells) +
                                " does not divide; choose a divisor");
    if (!wall_times.empty() && !same_times(file_times(file, pde), wall_times))
      node.error_at(
          "source",
          "right_bc_loss: reference reads training references on the method's own frames, which a file "
          "gives only if it has grid.frames + 1 uniform frames; " +
              options.path + " has others; use right_bc_loss: residual");
  });
}

PdeData make_pde_data(const PdeDataOptions& options, const Pde& pde, const Communicator& communicator,
                      const Grid& grid, const std::vector<double>& own_times, bool train_right_wall,
                      const std::function<void()>& between) {
  PdeData data;
  data.cells = grid.cells_by_axis();
  const int cells = grid.cells();
  PdeSplit* splits[] = {&data.train, &data.validation, &data.test};
  if (options.source == "pdebench") {
    // The root reads the samples and sends them to all ranks. Their order in the file decides the split.
    std::vector<double> values;
    communicator.on_root([&] {
      const long needed = options.train + options.validation + options.test;
      const PdebenchFile file(options.path, needed);
      data.times = file_times(file, pde);
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
    if (!same_times(data.times, own_times)) return data;
    for (PdeSplit* split : splits) split->own_reference = split->reference;
    for (size_t row = 1; row <= data.train.own_reference.size() / cells; ++row)
      data.train.right_wall.push_back(data.train.own_reference[row * cells - 1]);
    return data;
  }
  data.times = uniform_times(pde.duration(), options.frames);
  if (pde.steady())
    data.times = {pde.duration()};  // the state before the only step is no part of the solution
  std::vector<std::vector<double>> numbers[3];
  for (int i = 0; i < 3; ++i)
    draw_samples(pde, options.seed, i * split_stride, options.size(i), grid, *splits[i], data.redrawn,
                 numbers[i], &data.lost_share);
  const Stopwatch watch;
  std::vector<CheckedSample> checked;
  Known known[3];
  for (int i = 0; i < 3; ++i) {
    const bool observed = i == 0 && options.observations.source == "generate";
    known[i].sample = observed ? options.observations.sample : most_demanding(pde, grid, *splits[i]);
    const auto count = static_cast<long>(pde.parameters().size());
    const auto first = splits[i]->parameters.begin() + known[i].sample * count;
    checked.push_back({.name = fmt::format("{} sample {}", split_names[i], known[i].sample),
                       .numbers = numbers[i][known[i].sample],
                       .parameters = {first, first + count},
                       .times = i == 0 || pde.steady() ? data.times : merged(own_times, data.times)});
  }
  data.check = check_references(pde, options.reference_check, checked, communicator, between);
  data.check_seconds = communicator.max(watch.seconds());
  for (int i = 1; i < 3; ++i) {
    known[i].solution = data.check.references[i];
    if (pde.steady()) known[i].sample = -1;  // checked without the frame before the solution
  }
  if (!options.write.empty()) write_samples(options, pde, communicator, data.times, between);
  for (int i = 1; i < 3; ++i)
    solve_references(pde, communicator, grid, data.times, own_times, Keep::fields, numbers[i], known[i],
                     between, i, *splits[i]);
  if (train_right_wall)
    solve_references(pde, communicator, grid, data.times, own_times, Keep::right_wall, numbers[0], {},
                     between, 0, data.train);
  data.check.references.clear();
  return data;
}

std::vector<double> unknown_scales(const Pde& pde, const PdeData& data) {
  const int m = pde.unknowns();
  std::vector<double> scales;
  for (int a = 0; a < m; ++a) {
    double sum = 0;
    long count = 0;
    for (const PdeSplit* split : {&data.validation, &data.test})
      for (size_t p = a; p < split->reference.size(); p += m, ++count)
        sum += split->reference[p] * split->reference[p];
    const double size = count > 0 ? std::sqrt(sum / static_cast<double>(count)) : 0;
    scales.push_back(decade_of(std::max(pde.size(a), size)));
  }
  return scales;
}

PdeData scaled(PdeData data, const std::vector<double>& scales) {
  const size_t m = scales.size();
  for (PdeSplit* split : {&data.train, &data.validation, &data.test}) {
    for (std::vector<double>* values : {&split->initial, &split->reference, &split->own_reference})
      for (size_t p = 0; p < values->size(); ++p) (*values)[p] /= scales[p % m];
    for (double& value : split->right_wall) value /= scales.back();
  }
  return data;
}

std::vector<double> training_reference(const PdeDataOptions& options, const Pde& pde, int sample,
                                       std::span<const double> times) {
  PdeSplit split;
  long redrawn = 0;
  std::vector<std::vector<double>> numbers;
  draw_samples(pde, options.seed, sample, 1, pde.data_grid(), split, redrawn, numbers);
  std::vector<double> from_start(times.begin(), times.end());
  const bool starts_later = from_start.empty() || from_start.front() > 0;
  if (starts_later) from_start.insert(from_start.begin(), 0.0);
  std::vector<double> u = of_sample(0, sample, [&] {
    return pde.reference(split.initial, {split.parameters, {}, split.fields}, pde.data_grid(), from_start);
  });
  if (starts_later) u.erase(u.begin(), u.begin() + static_cast<long>(split.initial.size()));
  return u;
}

std::shared_ptr<const PdeData> shared_pde_data(const std::string& key, const PdeDataOptions& options,
                                               const Pde& pde, const Communicator& communicator,
                                               const Grid& grid, const std::vector<double>& own_times,
                                               bool train_right_wall, const std::function<void()>& between) {
  // One entry: variants that differ in their data follow one another in a deck.
  static std::string kept_key;
  static std::shared_ptr<const PdeData> kept;
  std::string full_key = key + "\n" + grid.describe() + (train_right_wall ? " wall" : "");
  for (double t : own_times) full_key += " " + std::to_string(t);
  if (!kept || kept_key != full_key) {
    kept.reset();
    kept = std::make_shared<const PdeData>(
        make_pde_data(options, pde, communicator, grid, own_times, train_right_wall, between));
    kept_key = full_key;
  }
  return kept;
}

}  // namespace rankine
