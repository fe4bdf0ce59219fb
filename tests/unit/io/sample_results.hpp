// A small file of results with everything in it: three methods, three seeds, a front that moves into a
// column.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "src/io/results.hpp"

namespace rankine::testing {

/// A number in [-1, 1) that depends on its arguments only.
inline double noise(std::uint64_t a, std::uint64_t b) {
  std::uint64_t z = a * 0x9E3779B97F4A7C15ull + b * 0xBF58476D1CE4E5B9ull + 1;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-52 - 1.0;
}

/// `start_utc` and `step_seconds` go where comparisons do not look; `nudge` changes one reported error.
inline void write_sample_results(const std::string& path,
                                 const std::string& start_utc = "2026-01-01T00:00:00Z",
                                 double step_seconds = 0.05, double nudge = 0) {
  constexpr int steps = 200, samples = 4, nt = 41, nx = 64, experts = 4;
  ResultsWriter writer(path, "Diffusion-sorption, made up for tests");
  Coordinate sample_id{"sample_id", {}, "1", "test sample"}, t{"t", {}, "s", "time"},
      x{"x", {}, "m", "position"};
  for (int i = 0; i < samples; ++i) sample_id.values.push_back(i);
  for (int i = 0; i < nt; ++i) t.values.push_back(500.0 * std::pow(i / (nt - 1.0), 2));
  for (int i = 0; i < nx; ++i) x.values.push_back((i + 0.5) / nx);
  std::vector<double> reference;
  for (int s = 0; s < samples; ++s) {
    for (const double time : t.values) {
      for (const double position : x.values) {
        const double u0 = 0.04 * (s + 1),
                     front = std::erfc(position / (0.02 + 0.9 * std::sqrt(time / 500.0)));
        reference.push_back(u0 + (1 - u0) * front);
      }
    }
  }

  struct Method {
    const char* name;
    double error, seconds;
    int experts;
  };
  for (const Method& method :
       {Method{"pi-sc", 0.006, 0.6, 0}, {"pi-hc", 0.003, 1.0, 1}, {"pi-hc-moe", 0.002, 0.8, experts}}) {
    for (int seed = 1; seed <= 3; ++seed) {
      RunWriter run = writer.run(method.name, seed);
      const auto key =
          static_cast<std::uint64_t>(seed) * 1000 + static_cast<std::uint64_t>(1e4 * method.error);
      const double final_error = method.error * (1 + 0.15 * noise(key, 1));
      std::vector<double> seconds;
      for (int step = 0; step < steps; ++step) {
        const double decay = std::exp(-6.0 * step / steps), wobble = 1 + 0.2 * noise(key, 10 + step);
        run.append_step(step, {{"loss", final_error * (1 + 300 * decay) * wobble},
                               {"gradient_norm", (0.01 + decay) * wobble},
                               {"learning_rate", 4e-3 * (1 - step / double(steps))}});
        seconds.push_back(step_seconds * method.seconds * (1 + 0.05 * noise(key, 300 + step)));
        if (step % 20 == 0 || step == steps - 1) {
          run.append_evaluation(step, {{"rel_l2_validation", final_error * (1 + 40 * decay)}});
        }
        if (method.experts > 0) {
          std::vector<double> iterations, converged, gradient;
          for (int e = 0; e < method.experts; ++e) {
            iterations.push_back(std::round(8 + 6 * decay + 2 * noise(key, 1000 + 10 * step + e)));
            converged.push_back(iterations.back() < 13 ? 6 : 5);
            gradient.push_back(1e-9 * (1 + 0.5 * noise(key, 5000 + 10 * step + e)));
          }
          std::vector<double> limit;
          for (const double count : converged) limit.push_back(6 - count);
          TableWriter table = run.table("experts", {"expert"});
          table.row(step, "iterations", iterations);
          table.row(step, "status_converged", converged);
          table.row(step, "status_step_limit", limit);
          table.row(step, "gradient_norm", gradient);
        }
      }
      std::vector<double> u(reference), errors;
      for (std::size_t i = 0; i < u.size(); ++i) {
        const double position = x.values[i % nx];
        const double jump = method.experts > 1 ? (int(position * method.experts) % 2 ? 1 : -1) : 1;
        u[i] += final_error * (jump * std::sin(9 * position) + 0.3 * noise(key, 9000 + i));
      }
      for (int s = 0; s < samples; ++s) errors.push_back(final_error * (1 + 0.3 * noise(key, 77 + s)));
      run.fields("u", u, {sample_id, t, x}, {"1", "concentration"});
      run.fields("u_reference", reference, {sample_id, t, x}, {"1", "concentration, reference solver"});
      run.field_edges("tile_edges_x", std::vector<double>{0, 0.25, 0.5, 0.75, 1});
      run.per_sample("rel_l2", errors, {"1", "relative L2 error"});
      run.summary("rel_l2", final_error + nudge, {"1", "relative L2 error, mean over the test samples"});
      run.summary("rel_l2_step_0", 40 * final_error, {"1", "the same before training"});
      run.summary("pde_residual", 5 * final_error, {"1", "root mean square of the PDE residual"});
      std::vector<float> weights;
      for (int i = 0; i < 24; ++i) weights.push_back(static_cast<float>(noise(key, 40000 + i)));
      run.weights("lift.weight", weights, {2, 3, 4});
      run.weights("lift.bias", std::vector<double>{0.5, -0.25}, {2});
      run.timing("step_seconds", seconds);
      run.timing("seconds_per_step", step_seconds * method.seconds);
      run.timing("peak_memory", 2.5e8, {"B", "largest resident memory of a rank"});
    }
  }
  writer.expectations({{"mean(rel_l2[pi-hc-moe]) <= 0.003", true, 0.002, 0.003},
                       {"mean(rel_l2[pi-hc]) <= 0.1 * mean(rel_l2[pi-sc])", false, 0.003, 0.0006}});
  writer.provenance("deck", "title: made up\n");
  writer.provenance("versions/hdf5", "1.10");
  writer.provenance("start_utc", start_utc);
  writer.finish();
}

/// Fields of two or three space axes, u = 100 sample + 10 t + x + 3 y + 9 z, as floats and with a reference of
/// doubles, of two runs on one grid of `cells` in a box of lengths 1, 2 and 0.5.
inline void write_box_results(const std::string& path, const std::vector<int>& cells) {
  const std::vector<double> lengths{1, 2, 0.5};
  std::vector<Coordinate> coordinates{{"sample_id", {7, 9}, "1", "test sample"},
                                      {"t", {0, 0.1, 0.4}, "s", "time"}};
  for (std::size_t axis = 0; axis < cells.size(); ++axis) {
    coordinates.push_back({std::string(1, "xyz"[axis]), {}, "m", "cell centre"});
    for (int i = 0; i < cells[axis]; ++i)
      coordinates.back().values.push_back(lengths[axis] * (i + 0.5) / cells[axis]);
  }
  std::vector<double> u{0, 100};
  const double slopes[] = {10, 1, 3, 9};
  for (std::size_t axis = 1; axis < coordinates.size(); ++axis) {
    std::vector<double> finer;
    for (const double value : u)
      for (const double at : coordinates[axis].values) finer.push_back(value + slopes[axis - 1] * at);
    u = finer;
  }
  ResultsWriter writer(path, "a box");
  for (const int seed : {1, 2}) {
    RunWriter run = writer.run("v", seed);
    run.fields("u", std::vector<float>(u.begin(), u.end()), coordinates, {"1", "concentration"});
    run.fields("u_reference", u, coordinates, {"1", "concentration, reference"});
    for (std::size_t axis = 0; axis < cells.size(); ++axis)
      run.field_edges(
          std::string("tile_edges_") + "xyz" [axis],
          std::vector<double> { 0, lengths[axis] / 2, lengths[axis] });
  }
  writer.finish();
}

}  // namespace rankine::testing
