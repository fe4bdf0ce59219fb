// Storage of diffusion-sorption: bytecode against the native coefficients, alternating in one run.
//   bench_expressions [points] [repetitions]
#include "src/expressions/expressions.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "kernels/runtime.hpp"
#include "src/core/clock.hpp"
#include "src/pde/diffusion_sorption_coefficients.hpp"

using namespace rankine;

int main(int argc, char** argv) {
  ensure_kokkos();
  const long size = argc > 1 ? std::atol(argv[1]) : 2560;
  const int repetitions = argc > 2 ? std::atoi(argv[2]) : 400;
  const DiffusionSorptionCoefficients c;
  const Expressions expressions({.unknowns = {"u"},
                                 .parameters = {"phi", "rho", "k", "n", "eps"},
                                 .definitions = {{"c", {"(1-phi)/phi*rho*k*n", ""}}}});
  const kernels::Program program = expressions.compile(
      {{"if(u > 0, u + c/n*((u+eps)^n - eps^n), u*(1 + c*eps^(n-1)))", ""}}, {.what = "storage"});
  std::vector<double> u(size);
  for (long i = 0; i < size; ++i) u[i] = 1e-3 + static_cast<double>(i) / static_cast<double>(size);
  const std::vector<double> parameters{c.porosity, c.density, c.freundlich, c.exponent, c.regularisation};
  const kernels::TermPoints points{size, u, {}, {}, parameters, {}};

  for (int order = 0; order <= 2; ++order) {
    kernels::TermValues native, bytecode;
    const auto run_native = [&] {
      native.reset(1, 1, order, size);
      for (long i = 0; i < size; ++i) {
        const auto s = c.storage(u[i]);
        native.value[i] = s.value;
        if (order >= 1) native.gradient[i] = s.slope;
        if (order >= 2) native.hessian[i] = s.curvature;
      }
    };
    const auto run_bytecode = [&] { program.evaluate(points, order, bytecode); };
    std::vector<double> seconds[2];
    for (int r = 0; r < repetitions; ++r) {
      int which = 0;
      for (const std::function<void()>& run :
           {std::function<void()>(run_native), std::function<void()>(run_bytecode)}) {
        const Stopwatch watch;
        run();
        seconds[which++].push_back(watch.seconds());
      }
    }
    double median[2];
    for (int i = 0; i < 2; ++i) {
      std::nth_element(seconds[i].begin(), seconds[i].begin() + repetitions / 2, seconds[i].end());
      median[i] = 1e9 * seconds[i][repetitions / 2] / static_cast<double>(size);
    }
    std::printf(
        "order %d: native %.2f, bytecode %.2f ns a point, ratio %.2f (%d instructions, %d registers)\n",
        order, median[0], median[1], median[1] / median[0], program.size(order).instructions,
        program.size(order).registers);
  }
}
