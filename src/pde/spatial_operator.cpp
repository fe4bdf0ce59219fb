#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"
#include "src/pde/conservative_scheme.hpp"

namespace rankine {

using kernels::StencilFrames;
using kernels::TermPoints;
using kernels::TermValues;

namespace {

/// Values of the points at which terms are evaluated, kept together with their views.
struct Points {
  std::vector<double> arguments, x, t;
  TermPoints view;
};

}  // namespace

SpatialOperator::SpatialOperator(const Pde& pde, Grid grid, SchemeParameters parameters)
    : pde_(pde),
      grid_(std::move(grid)),
      convective_(pde, grid_),
      unknowns_(pde.unknowns()),
      parameters_(std::move(parameters)),
      places_(grid_.centres()) {
  const int axes = grid_.axes();
  RANKINE_ASSERT(axes == pde.axes(), "a grid of the PDE's axes");
  RANKINE_ASSERT(pde.flux_derivatives() < 2 || (axes == 1 && pde.periodic(0)),
                 "a flux with u_xx needs one axis, and that periodic");
  RANKINE_ASSERT(parameters_.values.size() == pde.parameters().size(),
                 "a value for each parameter of the PDE");
  RANKINE_ASSERT(parameters_.fields.size() == pde.fields().size() * cells(),
                 "the coefficient fields of the PDE on all cells");
  places_.insert(places_.end(), parameters_.fields.begin(), parameters_.fields.end());
  if (axes > 1) {
    std::vector<bool> periodic;
    for (int axis = 0; axis < axes; ++axis) periodic.push_back(ring(axis));
    layout_ = std::make_shared<const kernels::StencilLayout>(grid_.cells_by_axis(), periodic,
                                                             pde.mixed_derivatives(), reach());
  }
  for (int axis = 0; axis < axes; ++axis)
    for (int side = 0; side < 2 && !ring(axis); ++side) {
      first_slot_[axis][side] = ghost_slots_;
      ghost_slots_ += cells() / grid_.cells(axis);
    }
  for (int axis = 0; axis < axes; ++axis) faces_.push_back(make_faces(axis, false));
  for (int axis = 0; axis < axes && convective_.cells() > 0; ++axis) faces_.push_back(make_faces(axis, true));
}

std::vector<SpatialOperator::FaceRead> SpatialOperator::make_reads(int axis) const {
  const double dx = grid_.spacing(axis);
  if (grid_.axes() == 1) {
    const double k = 0.5 / (dx * dx);
    if (pde_.flux_derivatives() == 2)
      return {{{-2}, {0, 0, k}}, {{-1}, {0.5, -1 / dx, -k}}, {{0}, {0.5, 1 / dx, -k}}, {{1}, {0, 0, k}}};
    return {{{-1}, {0.5, -1 / dx}}, {{0}, {0.5, 1 / dx}}};
  }
  std::vector<FaceRead> reads;
  for (int upper = 0; upper < 2; ++upper) {
    FaceRead read{{}, {0.5}};
    read.offset[axis] = upper - 1;
    read.weight[1 + axis] = (upper ? 1 : -1) / dx;
    reads.push_back(read);
    for (int other = 0; other < grid_.axes() && pde_.mixed_derivatives(); ++other)
      for (int step = -1; step <= 1 && other != axis; step += 2) {
        FaceRead beside{read.offset, {}};
        beside.offset[other] = step;
        beside.weight[1 + other] = 0.25 * step / grid_.spacing(other);
        reads.push_back(beside);
      }
  }
  return reads;
}

std::vector<SpatialOperator::FaceRead> SpatialOperator::make_convective_reads(int axis) const {
  std::vector<FaceRead> reads(convective_.cells());
  for (int k = 0; k < convective_.cells(); ++k) {
    reads[k].offset[axis] = k - convective_.cells() / 2;
    reads[k].weight[k] = 1;
  }
  return reads;
}

int SpatialOperator::ghost_slot(int axis, Side side, int cell) const {
  const int stride = grid_.stride(axis);
  return first_slot_[axis][side == Side::left ? 0 : 1] + cell / (stride * grid_.cells(axis)) * stride +
         cell % stride;
}

SpatialOperator::AxisFaces SpatialOperator::make_faces(int axis, bool convective) const {
  const int axes = grid_.axes(), n = grid_.cells(axis), stride = grid_.stride(axis);
  const bool ring = this->ring(axis);
  AxisFaces out;
  const int derivatives = pde_.flux_derivatives();
  out.axis = axis;
  out.blocks = convective ? convective_.cells() : 1 + (axes == 1 ? derivatives : derivatives > 0 ? axes : 0);
  out.gentle = convective ? out.blocks : 1;
  out.learned = convective ? out.blocks * unknowns_ : flux_arguments();
  out.reads = convective ? make_convective_reads(axis) : make_reads(axis);
  out.count = cells() / n * (ring ? n : n + 1);
  std::vector<Place> places;
  for (int outer = 0; outer < cells() / (n * stride); ++outer)
    for (int k = 0; k < (ring ? n : n + 1); ++k)
      for (int inner = 0; inner < stride; ++inner) {
        const auto along = [&](int i) { return (outer * n + i) * stride + inner; };
        out.lower.push_back(k > 0 ? along(k - 1) : ring ? along(n - 1) : -1);
        out.upper.push_back(k < n ? along(k) : -1);
        Place at = grid_.centre(along(std::min(k, n - 1)));
        at[axis] = grid_.face(axis, k);
        places.push_back(at);
        for (const FaceRead& read : out.reads) {
          // Where the read goes, as offsets from the upper cell, cut to the box; what is cut off is a ghost.
          FaceCell from{};
          kernels::StencilLayout::Offset offset = read.offset;
          int cell = 0, cut = 0;
          std::array<Side, max_space_axes> beyond{};
          std::array<bool, max_space_axes> outside{};
          for (int other = 0; other < axes; ++other) {
            const int m = grid_.cells(other),
                      here = other == axis ? k : grid_.index(along(std::min(k, n - 1)), other);
            int to = here + offset[other];
            if (this->ring(other)) {
              to = (to % m + m) % m;
            } else if (to < 0 || to >= m) {
              outside[other] = true;
              beyond[other] = to < 0 ? Side::left : Side::right;
              to = std::clamp(to, 0, m - 1);
              offset[other] = to - here;
            }
            cell += to * grid_.stride(other);
          }
          for (int other = 0; other < axes; ++other)  // along the face first, then across it
            if (outside[other] && other != axis) from.ghosts[cut++] = ghost_slot(other, beyond[other], cell);
          if (outside[axis]) from.ghosts[cut++] = ghost_slot(axis, beyond[axis], cell);
          from.cell = cell;
          from.in_upper = from.in_lower = 0;
          const auto point = [&] { return layout_ ? layout_->point(offset) : offset[0]; };
          if (out.upper.back() >= 0) from.in_upper = point();
          offset[axis] += 1;
          if (out.lower.back() >= 0) from.in_lower = point();
          out.cells.push_back(from);
        }
      }
  for (int other = 0; other < axes; ++other)
    for (const Place& at : places) out.x.push_back(at[other]);
  for (size_t first = 0; first < parameters_.fields.size(); first += cells())
    for (int f = 0; f < out.count; ++f) {
      const double* field = &parameters_.fields[first];
      const int below = out.lower[f] >= 0 ? out.lower[f] : out.upper[f],
                above = out.upper[f] >= 0 ? out.upper[f] : out.lower[f];
      out.x.push_back(0.5 * (field[below] + field[above]));
    }
  return out;
}

Place SpatialOperator::face_centre(int axis, int face) const {
  Place at{};
  for (int other = 0; other < grid_.axes(); ++other)
    at[other] = faces_[axis].x[static_cast<size_t>(other) * faces_[axis].count + face];
  return at;
}

int SpatialOperator::next_point(int axis) const {
  if (!layout_) return 1;
  kernels::StencilLayout::Offset offset{};
  offset[axis] = 1;
  return layout_->point(offset);
}

double SpatialOperator::beside(const Ghosts& ghosts, std::span<const double> u, int cell, int axis, int steps,
                               int unknown) const {
  const int n = grid_.cells(axis), index = grid_.index(cell, axis), to = index + steps;
  if (to >= 0 && to < n) return u[(cell + steps * grid_.stride(axis)) * unknowns_ + unknown];
  if (ring(axis)) return u[(cell + ((to + n) % n - index) * grid_.stride(axis)) * unknowns_ + unknown];
  const Ghost& g = ghosts[ghost_slot(axis, steps < 0 ? Side::left : Side::right, cell) * unknowns_ + unknown];
  return g.slope * u[cell * unknowns_ + unknown] + g.offset;
}

StencilFrames SpatialOperator::stencil(int frames) const {
  if (layout_) return {frames, layout_, unknowns_};
  return {frames, cells(), unknowns_, reach(), ring(0)};
}

SpatialOperator::Ghosts SpatialOperator::ghosts(std::span<const double> times) const {
  Ghosts all;
  all.reserve(times.size() * ghost_slots_ * unknowns_);
  for (const double t : times)
    for (int axis = 0; axis < grid_.axes(); ++axis)
      for (const Side side : {Side::left, Side::right}) {
        if (ring(axis)) continue;
        const Face face{axis, side};
        const int slots = cells() / grid_.cells(axis), stride = grid_.stride(axis);
        if (grid_.cut(axis, side == Side::right)) {
          // What lies beyond is not known, and no row that counts reads it: the cell's own value stands for it.
          for (int k = 0; k < slots * unknowns_; ++k)
            all.push_back({.slope = 1,
                           .offset = 0,
                           .holds_value = false,
                           .slope_by = std::vector<double>(learned()),
                           .offset_by = std::vector<double>(learned())});
          continue;
        }
        for (int slot = 0; slot < slots; ++slot) {
          if (slot > 0 && !pde_.walls_vary()) {
            for (int a = 0; a < unknowns_; ++a) all.push_back(all[all.size() - unknowns_]);
            continue;
          }
          const int inside = side == Side::left ? 0 : grid_.cells(axis) - 1;
          Place at = grid_.centre((slot / stride * grid_.cells(axis) + inside) * stride + slot % stride);
          at[axis] = side == Side::left ? 0 : grid_.length(axis);
          for (int a = 0; a < unknowns_; ++a) all.push_back(ghost(face, a, at, t));
        }
      }
  return all;
}

SpatialOperator::Ghost SpatialOperator::ghost(const Face& face, int a, const Place& at, double t) const {
  // The wall value w and the outermost cell u have the slope q = s (w - u) / h between them, h apart
  // (s = -1 on the lower side): w = (g + s b u / h) / (a + s b / h), and the ghost is u + (w - u) dx / h.
  const WallCondition c = pde_.wall(face, a, at, t, parameters_.values, parameters_.learned);
  const double dx = grid_.spacing(face.axis), sign = face.side == Side::left ? -1 : 1, h = dx / 2 + c.outside,
               k = sign * c.slope_factor / h, denominator = c.value_factor + k, stretch = dx / h;
  if (!std::isfinite(c.value_factor) || !std::isfinite(c.slope_factor) || !std::isfinite(c.target))
    throw NumericalError("the condition of " + pde_.field_name(a) + " at the " + face_name(face) +
                         " wall is not finite at t = " + shortest(t) + ": " + shortest(c.value_factor) +
                         " u + " + shortest(c.slope_factor) + " u_" + space_name(face.axis) + " = " +
                         shortest(c.target) + "; write pde.walls so that it is finite from 0 to " +
                         shortest(pde_.duration()));
  Ghost g{.slope = 1 + (k / denominator - 1) * stretch,
          .offset = c.target / denominator * stretch,
          .holds_value = c.slope_factor == 0};
  for (int l = 0; l < learned(); ++l) {
    const double k_by = sign * c.slope_factor_by[l] / h, denominator_by = c.value_factor_by[l] + k_by;
    g.slope_by.push_back((k_by - k / denominator * denominator_by) / denominator * stretch);
    g.offset_by.push_back((c.target_by[l] - c.target / denominator * denominator_by) / denominator * stretch);
  }
  return g;
}

double SpatialOperator::read(const Ghost* ghosts, const double* u, const FaceCell& from, int unknown) const {
  double value = u[from.cell * unknowns_ + unknown];
  for (const int slot : from.ghosts)
    if (slot >= 0) {
      const Ghost& g = ghosts[slot * unknowns_ + unknown];
      value = g.slope * value + g.offset;
    }
  return value;
}

void SpatialOperator::report_not_finite(const char* term, const TermValues& values,
                                        const TermPoints& points) const {
  const auto place = [&](long p) {
    Place at{};
    for (int axis = 0; axis < grid_.axes(); ++axis) at[axis] = points.x[axis * points.size + p];
    return " at " + grid_.place(at) + ", t = " + shortest(points.t[p]);
  };
  for (int a = 0; a < values.results; ++a)
    for (long p = 0; p < values.size; ++p)
      if (!std::isfinite(values.at(a)[p])) {
        std::string why = pde_.explain(term, points, p);
        throw NumericalError(std::string(term) + " of " + pde_.field_name(a) + place(p) + " is " +
                             shortest(values.at(a)[p] * pde_.scale(a)) + " for u = " +
                             shortest(points.arguments[p] * pde_.scale(0)) + (why.empty() ? "" : ": " + why));
      }
  for (long k = 0; k < static_cast<long>(values.gradient.size()); ++k)
    if (!std::isfinite(values.gradient[k])) {
      const long p = k % values.size;
      throw NumericalError("a derivative of the " + std::string(term) + " of " +
                           pde_.field_name(static_cast<int>(k / values.size / values.arguments)) + place(p) +
                           " is not finite for u = " + shortest(points.arguments[p] * pde_.scale(0)) +
                           "; write the term so that it stays differentiable there");
    }
  throw NumericalError(std::string("the ") + term + " is not finite");
}

void SpatialOperator::check_finite(const char* term, const TermValues& values,
                                   const TermPoints& points) const {
  double sum = 0;  // NaN and infinities survive a sum of zeros times them
  for (double v : values.value) sum += 0 * v;
  for (double v : values.gradient) sum += 0 * v;
  if (!(sum == 0)) report_not_finite(term, values, points);
}

namespace {

/// `x` of one frame [row][point] for all frames, and the times, [frame][point].
void repeat_places(std::span<const double> x, size_t n, std::span<const double> times, Points& points) {
  const size_t rows = x.size() / n, frames = times.size();
  points.x.resize(x.size() * frames);
  points.t.resize(n * frames);
  for (size_t j = 0; j < frames; ++j) {
    for (size_t row = 0; row < rows; ++row) std::copy_n(&x[row * n], n, &points.x[(row * frames + j) * n]);
    std::fill_n(&points.t[j * n], n, times[j]);
  }
}

}  // namespace

std::vector<FaceKind> SpatialOperator::face_kinds(const AxisFaces& faces, long frames,
                                                  const Ghosts& ghosts) const {
  std::vector<FaceKind> out;
  const size_t reads = faces.reads.size();
  for (long j = 0; j < frames; ++j)
    for (int f = 0; f < faces.count; ++f) {
      const bool below = faces.lower[f] < 0, above = faces.upper[f] < 0;
      // The ghost beside the face.
      const int slot = faces.cells[f * reads + reads / 2 - (below ? 1 : 0)].ghosts[0];
      const auto holds = [&](const Ghost& g) { return g.holds_value; };
      const Ghost* first =
          below || above ? frame_ghosts(ghosts, static_cast<int>(j)) + slot * unknowns_ : nullptr;
      out.push_back(!below && !above                                ? FaceKind::inside
                    : !std::all_of(first, first + unknowns_, holds) ? FaceKind::central
                    : below                                         ? FaceKind::lower_wall
                                                                    : FaceKind::upper_wall);
    }
  return out;
}

SpatialOperator::Terms SpatialOperator::terms(std::span<const double> times, const Ghosts& ghosts,
                                              std::span<const double> u, int order) const {
  Terms out;
  out.order = order;
  const int m = unknowns_;
  const long frames = static_cast<long>(times.size());
  out.flux.resize(faces_.size());
  for (size_t k = 0; k < faces_.size(); ++k) {
    const AxisFaces& faces = faces_[k];
    const size_t reads = faces.reads.size();
    const long size = frames * faces.count;
    Points points;
    points.arguments.assign(faces.learned * size, 0.0);
    repeat_places(faces.x, faces.count, times, points);
    for (long j = 0; j < frames; ++j) {
      const Ghost* outside = frame_ghosts(ghosts, static_cast<int>(j));
      for (int f = 0; f < faces.count; ++f)
        for (int a = 0; a < m; ++a) {
          double sums[4] = {0, 0, 0, 0};
          for (size_t r = 0; r < reads; ++r) {
            const double value = read(outside, &u[j * width()], faces.cells[f * reads + r], a);
            for (int d = 0; d < faces.blocks; ++d) sums[d] += faces.reads[r].weight[d] * value;
          }
          for (int d = 0; d < faces.blocks; ++d)
            points.arguments[(d * m + a) * size + j * faces.count + f] = sums[d];
        }
    }
    points.view = {size, points.arguments, points.x, points.t, parameters_.values, parameters_.learned};
    if (k >= static_cast<size_t>(grid_.axes())) {
      out.flux[k] = convective_.difference(faces.axis, points.view, face_kinds(faces, frames, ghosts), order);
      continue;
    }
    pde_.flux(faces.axis, points.view, order, out.flux[k]);
    check_finite("flux", out.flux[k], points.view);
  }
  if (!pde_.has_source()) return out;
  const long n = cells(), size = frames * n;
  Points points;
  points.arguments.resize(m * size);
  repeat_places(places_, cells(), times, points);
  for (long p = 0; p < size; ++p)
    for (int a = 0; a < m; ++a) points.arguments[a * size + p] = u[p * m + a];
  points.view = {size, points.arguments, points.x, points.t, parameters_.values, parameters_.learned};
  pde_.source(points.view, order, out.source);
  check_finite("source", out.source, points.view);
  return out;
}

TermValues SpatialOperator::storage(std::span<const double> times, std::span<const double> u,
                                    int order) const {
  const int m = unknowns_;
  const long size = static_cast<long>(times.size()) * cells();
  Points points;
  repeat_places(places_, cells(), times, points);
  if (m > 1) {
    points.arguments.resize(m * size);
    for (long p = 0; p < size; ++p)
      for (int a = 0; a < m; ++a) points.arguments[a * size + p] = u[p * m + a];
  }
  points.view = {size,
                 m > 1 ? std::span<const double>(points.arguments) : u,
                 points.x,
                 points.t,
                 parameters_.values,
                 parameters_.learned};
  TermValues out;
  pde_.storage(points.view, order, out);
  check_finite("storage", out, points.view);
  return out;
}

void SpatialOperator::value(const Terms& terms, int frame, std::span<double> out) const {
  const int m = unknowns_;
  for (int a = 0; a < m; ++a) {
    const double* s = pde_.has_source() ? terms.source.at(a) + static_cast<long>(frame) * cells() : nullptr;
    for (int axis = 0; axis < grid_.axes(); ++axis) {
      const int n = grid_.cells(axis), stride = grid_.stride(axis), count = faces_[axis].count;
      const int across = count / (cells() / n);  // faces in a row along the axis
      const double* f = terms.flux[axis].at(a) + static_cast<long>(frame) * count;
      const double inverse = 1 / grid_.spacing(axis);
      for (int i = 0; i < cells(); ++i) {
        const int outer = i / (stride * n), k = i / stride % n, inner = i % stride;
        const auto face = [&](int at) { return (outer * across + at) * stride + inner; };
        const double divergence = (f[face(k + 1 == across ? 0 : k + 1)] - f[face(k)]) * inverse;
        if (axis == 0)
          out[i * m + a] = -divergence + (s ? s[i] : 0);
        else
          out[i * m + a] -= divergence;
      }
    }
  }
  for (size_t k = grid_.axes(); k < faces_.size(); ++k) {
    const AxisFaces& faces = faces_[k];
    const double inverse = 1 / grid_.spacing(faces.axis);
    for (int a = 0; a < m; ++a) {
      const double* f = terms.flux[k].at(a) + static_cast<long>(frame) * faces.count;
      for (int face = 0; face < faces.count; ++face) {
        if (faces.lower[face] >= 0) out[faces.lower[face] * m + a] -= f[face] * inverse;
        if (faces.upper[face] >= 0) out[faces.upper[face] * m + a] += f[face] * inverse;
      }
    }
  }
}

void SpatialOperator::add_jacobian(const Terms& terms, const Ghosts& ghosts, int frame, double factor,
                                   StencilFrames& out, int to, Part part) const {
  const int m = unknowns_;
  const Ghost* outside = frame_ghosts(ghosts, frame);
  for (size_t k = 0; k < faces_.size(); ++k) {
    const AxisFaces& faces = faces_[k];
    const TermValues& flux = terms.flux[k];
    const double dx = grid_.spacing(faces.axis);
    const size_t reads = faces.reads.size();
    const int first = part == Part::stiff ? faces.gentle : 0,
              last = part == Part::gentle ? faces.gentle : faces.blocks;
    for (int f = 0; f < faces.count; ++f) {
      const long point = static_cast<long>(frame) * faces.count + f;
      for (size_t r = 0; r < reads; ++r) {
        const FaceCell& from = faces.cells[f * reads + r];
        for (int a = 0; a < m; ++a)
          for (int b = 0; b < m; ++b) {
            double by_cell = 0;
            for (int d = first; d < last; ++d)
              by_cell += flux.by(a, d * m + b)[point] * faces.reads[r].weight[d];
            for (const int slot : from.ghosts)
              if (slot >= 0) by_cell *= outside[slot * m + b].slope;
            const double value = factor * by_cell / dx;
            if (faces.lower[f] >= 0) out.at(to, faces.lower[f], from.in_lower)[a * m + b] -= value;
            if (faces.upper[f] >= 0) out.at(to, faces.upper[f], from.in_upper)[a * m + b] += value;
          }
      }
    }
  }
  if (!pde_.has_source() || part == Part::stiff) return;
  for (int i = 0; i < cells(); ++i)
    for (int a = 0; a < m; ++a)
      for (int b = 0; b < m; ++b)
        out.at(to, i, 0)[a * m + b] += factor * terms.source.by(a, b)[static_cast<long>(frame) * cells() + i];
}

SpatialOperator::Ghost SpatialOperator::composed(const Ghost* ghosts, const FaceCell& from,
                                                 int unknown) const {
  Ghost out{1, 0, false, std::vector<double>(learned(), 0.0), std::vector<double>(learned(), 0.0)};
  for (const int slot : from.ghosts) {
    if (slot < 0) continue;
    const Ghost& g = ghosts[slot * unknowns_ + unknown];
    for (int l = 0; l < learned(); ++l) {
      out.offset_by[l] = g.slope_by[l] * out.offset + g.slope * out.offset_by[l] + g.offset_by[l];
      out.slope_by[l] = g.slope_by[l] * out.slope + g.slope * out.slope_by[l];
    }
    out.offset = g.slope * out.offset + g.offset;
    out.slope *= g.slope;
  }
  return out;
}

void SpatialOperator::add_parameter_gradient(const Terms& terms, const Ghosts& ghosts, int frame,
                                             std::span<const double> u, double factor, std::span<double> out,
                                             size_t stride) const {
  if (learned() == 0) return;
  const int m = unknowns_;
  const Ghost* outside = frame_ghosts(ghosts, frame);
  for (size_t k = 0; k < faces_.size(); ++k) {
    const AxisFaces& faces = faces_[k];
    const TermValues& flux = terms.flux[k];
    const double dx = grid_.spacing(faces.axis);
    const size_t reads = faces.reads.size();
    for (int l = 0; l < learned(); ++l)
      for (int a = 0; a < m; ++a) {
        double* to = &out[l * stride];
        for (int f = 0; f < faces.count; ++f) {
          const long point = static_cast<long>(frame) * faces.count + f;
          double by = flux.by(a, faces.learned + l)[point];
          for (size_t r = 0; r < reads; ++r) {
            const FaceCell& from = faces.cells[f * reads + r];
            if (!from.leaves()) continue;
            for (int b = 0; b < m; ++b) {
              const Ghost g = composed(outside, from, b);
              const double inner = u[from.cell * m + b];
              for (int d = 0; d < faces.blocks; ++d)
                by += flux.by(a, d * m + b)[point] * faces.reads[r].weight[d] *
                      (g.slope_by[l] * inner + g.offset_by[l]);
            }
          }
          if (faces.lower[f] >= 0) to[faces.lower[f] * m + a] -= factor * by / dx;
          if (faces.upper[f] >= 0) to[faces.upper[f] * m + a] += factor * by / dx;
        }
      }
  }
  if (!pde_.has_source()) return;
  for (int l = 0; l < learned(); ++l)
    for (int a = 0; a < m; ++a)
      for (int i = 0; i < cells(); ++i)
        out[l * stride + i * m + a] +=
            factor * terms.source.by(a, m + l)[static_cast<long>(frame) * cells() + i];
}

void SpatialOperator::add_second(const Terms& terms, const Ghosts& ghosts, int frame,
                                 std::span<const double> u, std::span<const double> v,
                                 std::span<const double> q, std::span<double> g,
                                 std::span<double> g_parameters) const {
  const int m = unknowns_;
  const Ghost* outside = frame_ghosts(ghosts, frame);
  std::vector<double> direction, h, weight(m);
  for (size_t k = 0; k < faces_.size(); ++k) {
    const AxisFaces& faces = faces_[k];
    const TermValues& flux = terms.flux[k];
    const double dx = grid_.spacing(faces.axis);
    const size_t reads = faces.reads.size();
    const int arguments = faces.blocks * m, all = faces.learned;
    for (int f = 0; f < faces.count; ++f) {
      const long point = static_cast<long>(frame) * faces.count + f;
      const FaceCell* from = &faces.cells[f * reads];
      direction.assign(all, 0.0);
      for (size_t r = 0; r < reads; ++r)
        for (int b = 0; b < m; ++b) {
          double value = v[from[r].cell * m + b];
          for (const int slot : from[r].ghosts)
            if (slot >= 0) value *= outside[slot * m + b].slope;
          for (int d = 0; d < faces.blocks; ++d) direction[d * m + b] += faces.reads[r].weight[d] * value;
        }
      // In <q, G> the flux of a face has the weight (q above it - q below it) / dx.
      h.assign(all + learned(), 0.0);
      for (int a = 0; a < m; ++a) {
        const double below = faces.lower[f] >= 0 ? q[faces.lower[f] * m + a] : 0.0;
        const double above = faces.upper[f] >= 0 ? q[faces.upper[f] * m + a] : 0.0;
        weight[a] = (above - below) / dx;
        for (int i = 0; i < arguments; ++i) {
          const double scaled = weight[a] * direction[i];
          if (scaled == 0) continue;
          for (int j = 0; j < arguments; ++j) h[j] += scaled * flux.by(a, i, j)[point];
          for (int l = 0; l < learned(); ++l) h[all + l] += scaled * flux.by(a, i, all + l)[point];
        }
      }
      for (size_t r = 0; r < reads; ++r)
        for (int b = 0; b < m; ++b) {
          double value = 0;
          for (int d = 0; d < faces.blocks; ++d) value += faces.reads[r].weight[d] * h[d * m + b];
          const long inner = static_cast<long>(from[r].cell) * m + b;
          if (!from[r].leaves()) {
            g[inner] += value;
            continue;
          }
          const Ghost ghost = composed(outside, from[r], b);
          g[inner] += ghost.slope * value;
          for (int l = 0; l < learned(); ++l) {
            // The ghost itself moves with the parameter, and so does its slope.
            g_parameters[l] += value * (ghost.slope_by[l] * u[inner] + ghost.offset_by[l]);
            for (int a = 0; a < m; ++a)
              for (int d = 0; d < faces.blocks; ++d)
                g_parameters[l] += weight[a] * flux.by(a, d * m + b)[point] * faces.reads[r].weight[d] *
                                   ghost.slope_by[l] * v[inner];
          }
        }
      for (int l = 0; l < learned(); ++l) g_parameters[l] += h[all + l];
    }
  }
  if (!pde_.has_source()) return;
  for (int i = 0; i < cells(); ++i) {
    const long point = static_cast<long>(frame) * cells() + i;
    for (int a = 0; a < m; ++a)
      for (int b = 0; b < m; ++b) {
        const double scaled = q[i * m + a] * v[i * m + b];
        for (int c = 0; c < m; ++c) g[i * m + c] += scaled * terms.source.by(a, b, c)[point];
        for (int l = 0; l < learned(); ++l) g_parameters[l] += scaled * terms.source.by(a, b, m + l)[point];
      }
  }
}

}  // namespace rankine
