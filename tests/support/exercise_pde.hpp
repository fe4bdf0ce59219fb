// An equation without physics that has everything the discretisation must carry: two coupled unknowns,
// nonlinear storage, flux and source, a parameter in all of them and in the walls, on a ring with u_xx in the
// flux or between walls without. With several axes its fluxes read derivatives along other axes, too, and its
// walls vary along their faces, and a coefficient field multiplies the flux of u; `periodic` then closes the second axis to a ring.
#pragma once

#include <cmath>

#include "src/pde/pde.hpp"

namespace rankine {

class ExercisePde final : public Pde {
 public:
  explicit ExercisePde(bool periodic, int axes = 1, Convection convection = Convection::central)
      : periodic_(periodic), axes_(axes), convection_(convection) {}
  int axes() const override { return axes_; }
  double length(int axis) const override { return 1.3 - 0.2 * axis; }
  double duration() const override { return 0.4; }
  int unknowns() const override { return 2; }
  std::string field_name(int a) const override { return a == 0 ? "u" : "v"; }
  std::string symbol(int a) const override { return field_name(a); }
  std::vector<PdeParameter> parameters() const override { return {{.name = "k", .value = 0.7}}; }
  int flux_derivatives() const override { return periodic_ && axes_ == 1 ? 2 : 1; }
  Convection convection() const override { return convection_; }
  bool mixed_derivatives() const override { return axes_ > 1; }
  bool periodic(int axis) const override { return periodic_ && axis == (axes_ > 1 ? 1 : 0); }
  bool walls_vary() const override { return axes_ > 1; }
  bool has_source() const override { return true; }
  bool autonomous() const override { return false; }
  double typical_storage_slope() const override { return 1.2; }
  double typical_state(int a) const override { return 0.3 + 0.1 * a; }
  int data_cells(int) const override { return 64; }
  double reference_rtol() const override { return 1e-8; }

  // Each term is a sum of monomials c k^p prod q_i^e_i, whose derivatives are formed from the exponents.
  struct Monomial {
    double c;
    int k;
    std::vector<int> e;
  };
  void storage(const kernels::TermPoints& at, int order, kernels::TermValues& out) const override {
    evaluate({{{1, 0, {1, 0}}, {0.1, 1, {2, 0}}, {0.05, 0, {0, 1}}}, {{1, 0, {0, 1}}, {0.2, 0, {0, 2}}}}, 2,
             at, order, out);
  }
  void flux(int axis, const kernels::TermPoints& at, int order, kernels::TermValues& out) const override {
    if (axes_ > 1) return flux_of_several(axis, at, order, out);
    // Arguments u, v, u_x, v_x, u_xx, v_xx.
    std::vector<Monomial> f1{
        {0.5, 0, {2, 1, 0, 0, 0, 0}}, {-0.1, 1, {0, 0, 1, 0, 0, 0}}, {-0.03, 2, {1, 0, 1, 0, 0, 0}}},
        f2{{0.3, 1, {1, 1, 0, 0, 0, 0}}, {-0.2, 0, {0, 0, 0, 1, 0, 0}}, {-0.02, 0, {1, 0, 0, 1, 0, 0}}};
    if (periodic_) {
      f1.push_back({0.001, 1, {0, 1, 0, 0, 1, 0}});
      f2.push_back({0.002, 0, {0, 0, 0, 0, 0, 1}});
    }
    evaluate({f1, f2}, 6, at, order, out);
  }
  void source(const kernels::TermPoints& at, int order, kernels::TermValues& out) const override {
    evaluate({{{0.4, 1, {1, 1}}, {-0.2, 0, {3, 0}}}, {{-0.4, 2, {1, 1}}, {0.1, 0, {0, 2}}}}, 2, at, order,
             out);
  }
  WallCondition wall(const Face& face, int unknown, const Place& at, double t, std::span<const double> p,
                     std::span<const int> learned) const override {
    WallCondition c;
    const double along = axes_ > 1 ? 0.05 * std::cos(at[(face.axis + 1) % axes_]) : 0;
    if (face.side == Side::left)
      c = {1, 0, 0.4 + 0.1 * std::sin(t) + 0.05 * p[0] + along, 0.01, {}, {}, {}};
    else
      c = {1 + 0.1 * unknown, 0.3 * p[0], 0.2, 0, {}, {}, {}};
    if (!learned.empty()) {
      c.value_factor_by = {0};
      c.slope_factor_by = {face.side == Side::left ? 0.0 : 0.3};
      c.target_by = {face.side == Side::left ? 0.05 : 0.0};
    }
    return c;
  }
  std::vector<std::string> fields() const override {
    return axes_ > 1 ? std::vector<std::string>{"k"} : std::vector<std::string>();
  }
  void field_values(std::span<const double>, std::span<const double>, std::span<const double> x,
                    std::span<double> out) const override {
    for (size_t i = 0; i < out.size(); ++i)
      out[i] = 1 + 0.4 * std::sin(5 * x[i]) * std::cos(4 * x[out.size() + i]);
  }
  std::vector<double> draw_initial(const RandomStream& stream, long id, long&) const override {
    return {stream.uniform(0, id, 0)};
  }
  void initial_state(std::span<const double> numbers, std::span<const double>, std::span<const double> x,
                     std::span<double> out) const override {
    for (size_t i = 0; i < x.size() / axes_; ++i) {
      out[2 * i] = 0.5 + 0.2 * numbers[0] * std::cos(2 * M_PI * x[i] / length(0));
      out[2 * i + 1] = 0.4 + 0.2 * std::sin(2 * M_PI * x[i] / length(0));
      for (int axis = 1; axis < axes_; ++axis)
        out[2 * i] += 0.1 * std::cos(2 * M_PI * x[axis * (x.size() / axes_) + i] / length(axis));
    }
  }

 private:
  void flux_of_several(int axis, const kernels::TermPoints& at, int order, kernels::TermValues& out) const {
    // Arguments u, v, u_x, v_x, u_y, v_y, ...
    const int count = kernels::flux_arguments(axes_, 2), own = 2 + 2 * axis,
              other = 2 + 2 * ((axis + 1) % axes_);
    const auto term = [&](double c, int k, std::initializer_list<int> factors) {
      Monomial m{c, k, std::vector<int>(count, 0)};
      for (const int factor : factors) ++m.e[factor];
      return m;
    };
    evaluate({{term(0.5 - 0.1 * axis, 0, {0, 0, 1}), term(-0.1, 1, {own}), term(-0.03, 2, {0, own}),
               term(0.02, 1, {1, other})},
              {term(0.3, 1, {0, 1}), term(-0.2, 0, {own + 1}), term(-0.02, 0, {0, own + 1}),
               term(0.015, 0, {0, other + 1})}},
             count, at, order, out);
    for (long p = 0; p < at.size; ++p) {
      const double field = at.x[axes_ * at.size + p];
      for (std::vector<double>* values : {&out.value, &out.gradient, &out.hessian})
        for (size_t row = 0; row < values->size() / 2 / at.size; ++row) (*values)[row * at.size + p] *= field;
    }
  }

  static void evaluate(const std::vector<std::vector<Monomial>>& terms, int arguments,
                       const kernels::TermPoints& at, int order, kernels::TermValues& out) {
    const int all = arguments + static_cast<int>(at.learned.size());
    out.reset(static_cast<int>(terms.size()), all, order, at.size);
    const auto power = [](double x, int e, int d) {  // the d-th derivative of x^e
      double factor = 1;
      for (int i = 0; i < d; ++i) factor *= e - i;
      return e < d ? 0.0 : factor * std::pow(x, e - d);
    };
    for (size_t a = 0; a < terms.size(); ++a)
      for (const Monomial& m : terms[a])
        for (long p = 0; p < at.size; ++p) {
          const auto value = [&](int i, int j) {  // differentiated by arguments i and j (-1: not)
            double product = m.c;
            for (int q = 0; q < all; ++q) {
              const bool parameter = q >= arguments;
              product *= power(parameter ? at.parameters[0] : at.arguments[q * at.size + p],
                               parameter ? m.k : m.e[q], (i == q) + (j == q));
            }
            if (all == arguments) product *= std::pow(at.parameters[0], m.k);
            return product;
          };
          const int r = static_cast<int>(a);
          out.at(r)[p] += value(-1, -1);
          for (int i = 0; order >= 1 && i < all; ++i) out.by(r, i)[p] += value(i, -1);
          for (int i = 0; order >= 2 && i < all; ++i)
            for (int j = 0; j < all; ++j) out.by(r, i, j)[p] += value(i, j);
        }
  }

  bool periodic_;
  int axes_;
  Convection convection_;
};

}  // namespace rankine
