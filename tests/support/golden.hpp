// Reader of the golden files (tests/golden/README.md).
#pragma once

#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "src/comm/transpose.hpp"
#include "src/experts/collocated_problem.hpp"
#include "src/io/hdf5.hpp"
#include "tests/unit/nn/fno_support.hpp"

namespace rankine::testing {

struct GoldenCase {
  std::string file, method, name;
};

/// Every method of every tests/golden/*.h5 and of every file in RANKINE_GOLDEN. Files of one name in several
/// folders are numbered, because GoogleTest refuses two tests of one name.
inline std::vector<GoldenCase> golden_cases() {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(RANKINE_SOURCE_DIR "/tests/golden"))
    if (entry.path().extension() == ".h5") files.push_back(entry.path());
  if (const char* more = std::getenv("RANKINE_GOLDEN")) {
    std::string list(more);
    for (size_t at = 0; at <= list.size();) {
      const size_t end = std::min(list.find(':', at), list.size());
      if (end > at) files.push_back(list.substr(at, end - at));
      at = end + 1;
    }
  }
  std::vector<GoldenCase> cases;
  std::map<std::string, int> used;
  for (const std::string& file : files) {
    std::string name = std::filesystem::path(file).stem().string();
    for (char& c : name)
      if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
    if (const int times = ++used[name]; times > 1) name += "_" + std::to_string(times);
    for (const char* method : {"sc", "hc", "moe"}) cases.push_back({file, method, name + "_" + method});
  }
  return cases;
}

inline std::string golden_case_name(const ::testing::TestParamInfo<GoldenCase>& info) {
  return info.param.name;
}

struct GoldenData {
  std::string method;
  int batch = 0, basis = 0, modes = 0;
  int tiles = 1;    ///< in x, for every method: one for each expert of the mixture
  int experts = 1;  ///< of this method
  std::vector<int> widths;
  int projection = 0;
  std::vector<double> t, x, u0, reference;
  std::vector<double> bases, u_t, u_x, u_xx, solution;
  std::vector<double> omega, objective;
  SampledPoints points;
  double loss = 0, pde_loss = 0, ic_loss = 0, left_bc_loss = 0, right_bc_loss = 0;
  std::map<std::string, std::vector<double>> weights, loss_gradient;

  int nt() const { return static_cast<int>(t.size()); }
  int nx() const { return static_cast<int>(x.size()); }
  /// [sample][x]
  std::vector<double> initial() const {
    std::vector<double> out;
    for (double value : u0) out.insert(out.end(), x.size(), value);
    return out;
  }

  void load(const GoldenCase& which);
};

/// All datasets below `group`, by path.
inline void read_all(const hdf5::Group& group, const std::string& prefix,
                     std::map<std::string, std::vector<double>>& out) {
  for (const std::string& name : group.names()) {
    if (group.has_group(name)) {
      read_all(group.open_group(name), prefix + name + ".", out);
    } else {
      out[prefix + name] = group.read<double>(name);
    }
  }
}

inline void GoldenData::load(const GoldenCase& which) {
  method = which.method;
  const hdf5::File file = hdf5::File::open(which.file);
  const hdf5::Group& root = file.root();
  const auto all = [&](const std::string& path) { return root.read<double>(path); };
  const auto of_method = [&](const std::string& name) { return all(method + "/" + name); };
  t = all("inputs/t");
  x = all("inputs/x");
  u0 = all("inputs/u0");
  reference = all("inputs/u_reference");
  batch = static_cast<int>(u0.size());
  modes = static_cast<int>(root.number_attribute("modes")[0]);
  projection = static_cast<int>(root.number_attribute("fc_dim")[0]);
  for (double width : root.number_attribute("widths")) widths.push_back(static_cast<int>(width));
  tiles = static_cast<int>(root.number_attribute("experts_x")[0]);
  experts = method == "moe" ? tiles : 1;
  basis = method == "sc" ? 1 : static_cast<int>(root.number_attribute("n_basis")[0]);
  bases = of_method("bases");
  u_t = of_method("terms/u_t");
  u_x = of_method("terms/u_x");
  u_xx = of_method("terms/u_xx");
  solution = of_method("solution");
  loss = of_method("loss")[0];
  pde_loss = of_method("pde_loss")[0];
  ic_loss = of_method("ic_loss")[0];
  left_bc_loss = of_method("left_bc_loss")[0];
  right_bc_loss = of_method("right_bc_loss")[0];
  read_all(root.open_group(method + "/weights"), "", weights);
  read_all(root.open_group(method + "/loss_gradient"), "", loss_gradient);
  points.assign(batch, std::vector<std::vector<long>>(experts));
  if (method == "sc") return;
  omega = of_method("omega");
  objective = of_method("objective");
  const std::vector<double> drawn = of_method("sample_points");
  const size_t each = drawn.size() / (static_cast<size_t>(batch) * experts);
  for (int s = 0; s < batch; ++s)
    for (int k = 0; k < experts; ++k)
      for (size_t p = 0; p < each; ++p)
        points[s][k].push_back(static_cast<long>(drawn[(static_cast<size_t>(s) * experts + k) * each + p]));
}

/// The golden file's network on tiles that are all here, with its parameters and its input channels.
struct GoldenNetwork {
  TileGrid grid;
  Fno2d model;
  ParameterSet parameters;
  Tensor input;

  GoldenNetwork(const GoldenData& g, std::int64_t x_tiles)
      : grid(g.nt(), g.nx(), 1, x_tiles),
        model(options_of(g), serial_context(grid, 3, g.basis, g.method != "sc")),
        parameters(model.initial_parameters(0)) {
    for (const ParameterInfo& part : parameters.parts()) {
      const Tensor target = parameters.view(part);
      target.assign(Tensor::from(flattened(g.weights, part.name, g, target.shape()), target.shape()));
    }
    std::vector<double> channels;
    for (int b = 0; b < g.batch; ++b)
      for (int channel = 0; channel < 3; ++channel)
        for (double t : g.t)
          for (double x : g.x)
            channels.push_back(channel == 0 ? t / g.t.back() : channel == 1 ? x / g.x.back() : g.u0[b]);
    input = cut_tiles(Tensor::from(channels, {g.batch, 3, g.nt(), g.nx()}), TilePartition(grid, 1, 0));
  }

  static Fno2dOptions options_of(const GoldenData& g) {
    Fno2dOptions options;
    options.precision = "double";
    options.widths = g.widths;
    options.modes_t = options.modes_x = g.modes;
    options.projection = g.projection;
    return options;
  }

  /// The file's arrays (weights or their gradients) in the layout of the model's parameter `name`.
  static std::vector<double> flattened(const std::map<std::string, std::vector<double>>& arrays,
                                       const std::string& name, const GoldenData& g,
                                       const rankine::Shape& shape) {
    const auto dot = name.find('.');
    const std::string layer = name.substr(0, dot), rest = name.substr(dot + 1);
    if (rest == "spectral") {
      const auto part = [&](const char* which) {
        return Tensor::from(arrays.at(layer + ".spectral_" + which),
                            {shape[0], shape[1], 1, g.modes, g.modes});
      };
      return concat({concat({part("low_real"), part("high_real")}, 3),
                     concat({part("low_imag"), part("high_imag")}, 3)},
                    2)
          .to_vector();
    }
    if (rest == "conv.weight") return arrays.at(layer + ".conv_weight");
    if (rest == "conv.bias") return arrays.at(layer + ".conv_bias");
    return arrays.at(name);
  }
};

}  // namespace rankine::testing
