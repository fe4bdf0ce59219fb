#include "src/experts/fourier_problem.hpp"

#include <algorithm>
#include <numeric>

namespace rankine {

std::vector<std::vector<int>> alike(const PdeBatch& batch) {
  const size_t parameters = batch.parameters.size() / batch.size(),
               fields = batch.fields.size() / batch.size();
  const auto same = [&](const std::vector<double>& all, size_t each, int a, int b) {
    return std::equal(all.begin() + a * each, all.begin() + (a + 1) * each, all.begin() + b * each);
  };
  std::vector<std::vector<int>> groups;
  for (int s = 0; s < batch.size(); ++s) {
    const auto found = std::find_if(groups.begin(), groups.end(), [&](const std::vector<int>& group) {
      return same(batch.parameters, parameters, group.front(), s) &&
             same(batch.fields, fields, group.front(), s);
    });
    if (found == groups.end())
      groups.push_back({s});
    else
      found->push_back(s);
  }
  return groups;
}

std::vector<double> positions_at(const StorageModel& model, std::span<const int> cells,
                                 std::span<const double> fields) {
  const Grid& grid = model.grid();
  const std::vector<double> centres = grid.centres();
  std::vector<double> out;
  for (int axis = 0; axis < grid.axes(); ++axis)
    for (const int cell : cells) out.push_back(centres[static_cast<size_t>(axis) * grid.cells() + cell]);
  for (size_t field = 0; field < fields.size(); field += grid.cells())
    for (const int cell : cells) out.push_back(fields[field + cell]);
  return out;
}

namespace {

std::vector<int> all_cells(const Grid& grid) {
  std::vector<int> cells(grid.cells());
  std::iota(cells.begin(), cells.end(), 0);
  return cells;
}

}  // namespace

std::unique_ptr<DiscreteProblem> discrete_problem(const StorageModel& model, const PdeBatch& batch, int s) {
  const auto of_sample = [&](const std::vector<double>& all) {
    const size_t each = all.size() / batch.size();
    return std::vector<double>(all.begin() + s * each, all.begin() + (s + 1) * each);
  };
  std::vector<double> initial = of_sample(batch.initial), parameters = of_sample(batch.parameters),
                      fields = of_sample(batch.fields);
  if (model.pde().discretisation() == Discretisation::fourier)
    return std::make_unique<FourierProblem>(model, std::move(initial), std::move(parameters), fields);
  return std::make_unique<StorageProblem>(
      model.sample(std::move(initial), {std::move(parameters), {}, std::move(fields)}));
}

FourierProblem::FourierProblem(const StorageModel& model, std::vector<double> initial,
                               std::vector<double> parameters, std::span<const double> fields)
    : model_(model),
      initial_(std::move(initial)),
      scheme_(model.pde(), model.grid(), std::move(parameters),
              positions_at(model, all_cells(model.grid()), fields)) {}

std::vector<double> FourierProblem::residual(std::span<const double> u) const {
  const std::vector<double>& times = model_.times();
  const int frames = model_.frames(), substeps = model_.march_options().substeps;
  const size_t frame = u.size() / (frames + 1), members = frame / width();
  std::vector<double> r;
  for (int j = 0; j < frames; ++j) {
    const std::vector<double> at(members, times[j]);
    const std::vector<double> next =
        scheme_.advance(u.subspan(j * frame, frame), at, times[j + 1] - times[j], substeps);
    for (size_t i = 0; i < frame; ++i) r.push_back(u[(j + 1) * frame + i] - next[i]);
  }
  return r;
}

std::vector<double> FourierProblem::error(std::span<const double> u, std::span<const double> r) const {
  const int frames = model_.frames();
  const size_t frame = u.size() / (frames + 1);
  std::vector<double> arguments;
  for (int j = 0; j <= frames; ++j) {
    const std::vector<double> of_frame = scheme_.arguments(u.subspan(j * frame, frame));
    arguments.insert(arguments.end(), of_frame.begin(), of_frame.end());
  }
  return scheme_.correct({model_.times(), model_.march_options().substeps, arguments, {}}, r);
}

std::vector<double> FourierProblem::solve_frames(int frames) const {
  const std::vector<double>& times = model_.times();
  std::vector<double> u(initial_), now(initial_);
  const size_t members = initial_.size() / width();
  for (int j = 0; j < frames; ++j) {
    const std::vector<double> at(members, times[j]);
    now = scheme_.advance(now, at, times[j + 1] - times[j], model_.march_options().substeps);
    u.insert(u.end(), now.begin(), now.end());
  }
  return u;
}

std::string FourierProblem::unstable() const {
  const std::vector<double>& times = model_.times();
  double longest = 0;
  for (size_t j = 1; j < times.size(); ++j) longest = std::max(longest, times[j] - times[j - 1]);
  const std::vector<double> at(initial_.size() / width(), times[0]);
  return scheme_.unstable(initial_, at, longest, model_.march_options().substeps);
}

}  // namespace rankine
