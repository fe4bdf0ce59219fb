#include "src/pde/pdebench_diffusion_sorption.hpp"

#include "kernels/error.hpp"

namespace rankine {
namespace {

/// Ghost values as affine functions of the cells next to the walls.
struct Ghosts {
  double left = 0;  // u_{-1}
  double right = 0, right_inner = 0,
         right_outer = 0;  // u_n = right + right_inner u_{n-2} + right_outer u_{n-1}
};

// f_i = D / R(u_i) (u_{i-1} - 2 u_i + u_{i+1}) / dx^2
void diffuse(const DiffusionSorptionCoefficients& c, double dx, const Ghosts& ghosts,
             std::span<const double> u, std::span<double> f) {
  const int n = static_cast<int>(u.size());
  const double scale = c.diffusion / (dx * dx);
  const double right_ghost = ghosts.right + ghosts.right_inner * u[n - 2] + ghosts.right_outer * u[n - 1];
  const std::vector<double> power = shifted_powers(c, c.exponent - 1, u);
  for (int i = 0; i < n; ++i) {
    const double left = i > 0 ? u[i - 1] : ghosts.left;
    const double right = i + 1 < n ? u[i + 1] : right_ghost;
    f[i] = scale * (left - 2 * u[i] + right) / c.retardation(u[i], power[i]).value;
  }
}

void diffuse_jacobian(const DiffusionSorptionCoefficients& c, double dx, const Ghosts& ghosts,
                      std::span<const double> u, kernels::StencilFrames& out) {
  const int n = static_cast<int>(u.size());
  const double scale = c.diffusion / (dx * dx);
  const double right_ghost = ghosts.right + ghosts.right_inner * u[n - 2] + ghosts.right_outer * u[n - 1];
  const std::vector<double> power = shifted_powers(c, c.exponent - 1, u);
  for (int i = 0; i < n; ++i) {
    const double left = i > 0 ? u[i - 1] : ghosts.left;
    const double right = i + 1 < n ? u[i + 1] : right_ghost;
    const auto r = c.retardation(u[i], power[i]);
    const double k = scale / r.value;
    double* row = out.at(0, i, 0);
    if (i > 0) row[-1] = k;
    row[0] = -k * (2 + (left - 2 * u[i] + right) * r.slope / r.value);
    if (i + 1 < n) {
      row[1] = k;
    } else {
      row[-1] += k * ghosts.right_inner;
      row[0] += k * ghosts.right_outer;
    }
  }
}

}  // namespace

OdeSystem pdebench_diffusion_sorption(const DiffusionSorptionCoefficients& coefficients, int n,
                                      double length) {
  RANKINE_ASSERT(n >= 2, "the right ghost reads two cells");
  const double dx = length / n;
  const Ghosts ghosts{1, 0, coefficients.diffusion / dx, -coefficients.diffusion / dx};
  OdeSystem system;
  system.cells = n;
  system.autonomous = true;
  system.rhs = [=](double, std::span<const double> u, std::span<double> f) {
    diffuse(coefficients, dx, ghosts, u, f);
  };
  system.jacobian = [=](double, std::span<const double> u, kernels::StencilFrames& out) {
    diffuse_jacobian(coefficients, dx, ghosts, u, out);
  };
  return system;
}

OdeSystem manufactured_diffusion_sorption(const DiffusionSorptionCoefficients& coefficients, int n,
                                          double length, ManufacturedField solution, GhostClosure closure) {
  RANKINE_ASSERT(n >= 2, "the right ghost reads two cells");
  const double dx = length / n;
  const double outside = closure == GhostClosure::exact ? dx / 2 : 0;
  const auto ghosts = [=](double t) {
    return Ghosts{solution(-outside, t).value, solution(length + outside, t).value, 0, 0};
  };
  OdeSystem system;
  system.cells = n;
  system.rhs = [=](double t, std::span<const double> u, std::span<double> f) {
    diffuse(coefficients, dx, ghosts(t), u, f);
    for (int i = 0; i < n; ++i) {
      const auto s = solution((i + 0.5) * dx, t);
      f[i] += s.t - coefficients.diffusion / coefficients.retardation(s.value).value * s.xx;
    }
  };
  system.jacobian = [=](double t, std::span<const double> u, kernels::StencilFrames& out) {
    diffuse_jacobian(coefficients, dx, ghosts(t), u, out);
  };
  return system;
}

}  // namespace rankine
