#include "src/pde/pde.hpp"

#include <cmath>

#include "kernels/error.hpp"
#include "src/pde/fourier_reference.hpp"
#include "src/pde/method_of_lines.hpp"
#include "src/pde/wall_checks.hpp"

namespace rankine {

std::string face_name(const Face& face) {
  constexpr const char* names[max_space_axes][2] = {{"left", "right"}, {"bottom", "top"}, {"back", "front"}};
  return names[face.axis][face.side == Side::left ? 0 : 1];
}

double PdeParameter::at(double share) const {
  if (!sampled) return value;
  return logarithmic ? minimum * std::pow(maximum / minimum, share) : minimum + (maximum - minimum) * share;
}

std::vector<double> with_fields(const Pde& pde, std::span<const double> numbers,
                                std::span<const double> parameters, std::vector<double> x) {
  const size_t count = pde.fields().size(), points = x.size() / pde.axes();
  if (count == 0) return x;
  std::vector<double> values(points * count);
  pde.field_values(numbers, parameters, x, values);
  for (size_t k = 0; k < count; ++k)
    for (size_t p = 0; p < points; ++p) x.push_back(values[p * count + k]);
  return x;
}

std::vector<Place> wall_places(const Pde& pde, const Face& face) {
  constexpr int along = 9;
  Place first{};
  first[face.axis] = face.side == Side::left ? 0 : pde.length(face.axis);
  std::vector<Place> places{first};
  if (!pde.walls_vary()) return places;
  for (int axis = 0; axis < pde.axes(); ++axis) {
    if (axis == face.axis) continue;
    std::vector<Place> more;
    for (Place at : places)
      for (int i = 0; i < along; ++i) {
        at[axis] = pde.length(axis) * i / (along - 1);
        more.push_back(at);
      }
    places = std::move(more);
  }
  return places;
}

bool Pde::has_walls() const {
  for (int axis = 0; axis < axes(); ++axis)
    if (!periodic(axis)) return true;
  return false;
}

Grid Pde::grid(std::vector<int> cells) const {
  std::vector<double> lengths;
  for (int axis = 0; axis < axes(); ++axis) lengths.push_back(length(axis));
  return {std::move(cells), std::move(lengths)};
}

Grid Pde::data_grid() const {
  std::vector<int> cells;
  for (int axis = 0; axis < axes(); ++axis) cells.push_back(data_cells(axis));
  return grid(std::move(cells));
}

void Pde::source(const kernels::TermPoints&, int, kernels::TermValues&) const {
  RANKINE_ASSERT(!has_source(), "a PDE with a source must say it");
}

void Pde::device_storage(std::int64_t, DevicePtr<const double>, DevicePtr<double>, DevicePtr<double>,
                         DevicePtr<double>) const {
  RANKINE_ASSERT(!has_device_storage(), "a PDE whose storage the device computes must say how");
}

void Pde::field_values(std::span<const double>, std::span<const double>, std::span<const double>,
                       std::span<double>) const {
  RANKINE_ASSERT(fields().empty(), "a PDE with coefficient fields must say their values");
}

void Pde::exact(double, std::span<const double>, std::span<const double>, std::span<double>) const {
  RANKINE_ASSERT(false, "the exact solution of a PDE that has none");
}

std::vector<double> Pde::reference_to(double rtol, std::span<const double> initial,
                                      const SchemeParameters& parameters, const Grid& grid,
                                      std::span<const double> times) const {
  if (discretisation() == Discretisation::fourier)
    return fourier_reference(*this, rtol, initial, parameters, data_grid(), grid, times);
  std::vector<double> solution =
      method_of_lines(*this, initial, parameters, data_grid(), grid, times, {.rtol = rtol});
  check_outflow(*this, parameters.values, solution, grid, times);
  return solution;
}

}  // namespace rankine
