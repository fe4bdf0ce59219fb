#include "src/tensor/implicit.hpp"

#include <algorithm>
#include <cmath>

namespace rankine {
namespace {

using List = std::vector<Tensor>;
using Vector = std::vector<double>;

double inner_product(const double* a, const double* b, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

// GMRES without restarts, for systems side by side: one application of the operator serves all, and
// everything else is each one's own.
class SideBySideGmres {
 public:
  SideBySideGmres(std::int64_t systems, std::int64_t n, const ImplicitOptions& options)
      : systems_(systems),
        n_(n),
        limit_(std::min<std::int64_t>(n, options.iterations)),
        tolerance_(options.tolerance) {}

  template <class Apply>
  Vector solve(const Vector& rhs, const Apply& apply) {
    std::vector<System> all(static_cast<std::size_t>(systems_));
    for (std::int64_t s = 0; s < systems_; ++s) start(all[static_cast<std::size_t>(s)], rhs.data() + s * n_);
    Vector directions(rhs.size());
    for (std::int64_t k = 0; k < limit_; ++k) {
      bool open = false;
      for (std::int64_t s = 0; s < systems_; ++s) {
        const System& system = all[static_cast<std::size_t>(s)];
        const double* from = system.done ? nullptr : system.basis.data() + k * n_;
        for (std::int64_t i = 0; i < n_; ++i)
          directions[static_cast<std::size_t>(s * n_ + i)] = from ? from[i] : 0;
        open = open || !system.done;
      }
      if (!open) break;
      const Vector images = apply(directions);
      for (std::int64_t s = 0; s < systems_; ++s)
        if (System& system = all[static_cast<std::size_t>(s)]; !system.done)
          step(system, images.data() + s * n_);
    }
    Vector x(rhs.size(), 0);
    for (std::int64_t s = 0; s < systems_; ++s) finish(all[static_cast<std::size_t>(s)], x.data() + s * n_);
    return x;
  }

 private:
  struct System {
    Vector basis;                  // columns of length n, one after the other
    std::vector<Vector> triangle;  // columns of the rotated Hessenberg matrix
    Vector cosines, sines, rhs;
    double scale = 0;
    bool done = false;
  };

  void start(System& system, const double* rhs) const {
    system.scale = std::sqrt(inner_product(rhs, rhs, n_));
    system.done = system.scale == 0;
    if (system.done) return;
    for (std::int64_t i = 0; i < n_; ++i) system.basis.push_back(rhs[i] / system.scale);
    system.rhs.push_back(system.scale);
  }

  void step(System& system, const double* image) const {
    const std::size_t k = system.triangle.size();
    Vector w(image, image + n_), h(k + 2, 0);
    for (int pass = 0; pass < 2; ++pass)  // twice, so that the basis stays orthogonal
      for (std::size_t j = 0; j <= k; ++j) {
        const double* q = system.basis.data() + static_cast<std::int64_t>(j) * n_;
        const double along = inner_product(q, w.data(), n_);
        h[j] += along;
        for (std::int64_t i = 0; i < n_; ++i) w[static_cast<std::size_t>(i)] -= along * q[i];
      }
    h[k + 1] = std::sqrt(inner_product(w.data(), w.data(), n_));
    const double rest = h[k + 1];
    for (std::size_t j = 0; j < k; ++j) {
      const double a = h[j], b = h[j + 1];
      h[j] = system.cosines[j] * a + system.sines[j] * b;
      h[j + 1] = system.cosines[j] * b - system.sines[j] * a;
    }
    const double length = std::hypot(h[k], h[k + 1]);
    if (length == 0) throw NumericalError("implicit: the equations' Jacobian is singular at the solution");
    system.cosines.push_back(h[k] / length);
    system.sines.push_back(h[k + 1] / length);
    h[k] = length;
    system.rhs.push_back(-system.sines[k] * system.rhs[k]);
    system.rhs[k] *= system.cosines[k];
    h.resize(k + 1);
    system.triangle.push_back(std::move(h));
    // The last residual of n steps is rounding alone.
    system.done =
        std::abs(system.rhs[k + 1]) <= tolerance_ * system.scale || static_cast<std::int64_t>(k) + 1 == n_;
    if (!system.done)
      for (const double value : w) system.basis.push_back(value / rest);
  }

  void finish(const System& system, double* x) const {
    if (system.scale == 0) return;
    if (!system.done)
      throw NumericalError("implicit: the adjoint equations did not converge: a relative residual of " +
                           std::to_string(std::abs(system.rhs.back()) / system.scale) + " after " +
                           std::to_string(limit_) + " iterations");
    const std::size_t k = system.triangle.size();
    Vector y(k);
    for (std::size_t i = k; i-- > 0;) {
      double value = system.rhs[i];
      for (std::size_t j = i + 1; j < k; ++j) value -= system.triangle[j][i] * y[j];
      y[i] = value / system.triangle[i][i];
    }
    for (std::size_t j = 0; j < k; ++j)
      for (std::int64_t i = 0; i < n_; ++i)
        x[i] += y[j] * system.basis[j * static_cast<std::size_t>(n_) + static_cast<std::size_t>(i)];
  }

  std::int64_t systems_, n_, limit_;
  double tolerance_;
};

List detached(const List& list) {
  List out;
  for (const Tensor& x : list) out.push_back(x.detach());
  return out;
}

// lambda with (dr/dx)^T lambda = g; off the tape.
Tensor adjoint_solve(const ImplicitResidual& residual, const Tensor& x, const List& inputs, const Tensor& g,
                     const ImplicitOptions& options) {
  std::int64_t systems = 1;
  for (int i = 0; i < options.independent_axes; ++i) systems *= x.extent(i);
  if (x.count() == 0) return g.detach();
  const Tensor at = variable(x.detach());
  Tensor r;
  {
    const WithTape on;
    r = residual(at, detached(inputs));
  }
  RANKINE_ASSERT(r.shape() == x.shape(),
                 "implicit: residual " + r.shape().text() + " for unknowns " + x.shape().text());
  const auto tensor_of = [&](const Vector& values) {
    return cast(Tensor::from(values, x.shape()), x.dtype());
  };
  SideBySideGmres gmres(systems, x.count() / systems, options);
  return tensor_of(gmres.solve(g.to_vector(), [&](const Vector& v) {
    return grad({r}, {tensor_of(v)}, {at}, {.retain = true})[0].to_vector();
  }));
}

}  // namespace

Tensor implicit(const ImplicitSolve& solve, const ImplicitResidual& residual, const List& inputs,
                const ImplicitOptions& options) {
  const Region<"implicit"> region;
  Tensor x;
  {
    const NoGrad off;
    x = solve(detached(inputs)).detach();
  }
  RANKINE_ASSERT(is_real_floating(x.dtype()) && options.independent_axes <= x.rank(),
                 "implicit: real unknowns");
  const auto vjp = [residual, inputs, options](const List& g, const VjpContext& context) -> List {
    const Tensor solution = context.output(0);
    Tensor lambda;
    if (context.create_graph()) {
      // The adjoint equations are equations like the first: (dr/dx)^T lambda - g = 0.
      List all{g[0], solution};
      all.insert(all.end(), inputs.begin(), inputs.end());
      const auto rest = [](const List& in) { return List(in.begin() + 2, in.end()); };
      lambda =
          implicit([=](const List& in) { return adjoint_solve(residual, in[1], rest(in), in[0], options); },
                   [=](const Tensor& l, const List& in) {
                     const WithTape on;
                     const Tensor at = in[1].on_tape() ? identity(in[1]) : variable(in[1]);
                     return sub(grad({residual(at, rest(in))}, {l}, {at}, {.create_graph = true})[0], in[0]);
                   },
                   all, options);
    } else {
      lambda = adjoint_solve(residual, solution, inputs, g[0], options);
    }
    // Fresh identities: the solution stays fixed, and paths between the inputs are not counted here.
    const WithTape on;
    List copies, wanted;
    std::vector<std::size_t> place;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const Tensor& input = inputs[i];
      copies.push_back(!input.on_tape()         ? input
                       : context.create_graph() ? identity(input)
                                                : variable(input.detach()));
      if (!context.needs(i)) continue;
      wanted.push_back(copies.back());
      place.push_back(i);
    }
    const Tensor r = residual(solution, copies);
    const List found = grad({r}, {neg(lambda)}, wanted, {.create_graph = context.create_graph()});
    List back(inputs.size());
    for (std::size_t i = 0; i < found.size(); ++i) back[place[i]] = found[i];
    return back;
  };
  return apply_op("implicit", inputs, x, vjp, {.save_outputs = true});
}

}  // namespace rankine
