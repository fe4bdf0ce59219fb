#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "src/io/hdf5.hpp"
#include "tests/unit/nn/fno_support.hpp"

namespace rankine {
namespace {

// Every golden file beside the tests and those of RANKINE_GOLDEN (separated by colons).
std::vector<std::string> golden_files() {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(RANKINE_SOURCE_DIR "/tests/golden"))
    if (entry.path().extension() == ".h5") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  if (const char* more = std::getenv("RANKINE_GOLDEN")) {
    std::istringstream list(more);
    for (std::string file; std::getline(list, file, ':');)
      if (!file.empty()) files.push_back(file);
  }
  return files;
}

class Golden {
 public:
  explicit Golden(const std::string& name) : file_(hdf5::File::open(name)) {}
  std::vector<double> values(const std::string& path) const { return file_.root().read<double>(path); }
  hdf5::Shape shape(const std::string& path) const { return file_.root().info(path).shape; }
  bool has(const std::string& path) const { return file_.root().has(path); }

 private:
  hdf5::File file_;
};

// The network of `method`, with the file's weights, on its inputs: [sample, basis, t, x].
std::vector<double> bases_of(const Golden& golden, const std::string& method, std::int64_t x_tiles) {
  const std::string weights = method + "/weights/";
  const auto t = golden.values("inputs/t"), x = golden.values("inputs/x"), u0 = golden.values("inputs/u0");
  const auto nt = std::int64_t(t.size()), nx = std::int64_t(x.size()), batch = std::int64_t(u0.size());
  Fno2dOptions options;
  options.precision = "double";
  options.widths = {int(golden.shape(weights + "fc0/bias")[0])};
  std::size_t blocks = 0;
  for (; golden.has(weights + "block" + std::to_string(blocks)); ++blocks)
    options.widths.push_back(int(golden.shape(weights + "block" + std::to_string(blocks) + "/conv_bias")[0]));
  const auto modes = golden.shape(weights + "block0/spectral_low_real");
  options.modes_t = int(modes[2]);
  options.modes_x = int(modes[3]);
  options.projection = int(golden.shape(weights + "fc1/bias")[0]);
  const auto outputs = std::int64_t(golden.shape(weights + "fc2/bias")[0]);

  const TileGrid grid(nt, nx, 1, x_tiles);
  const Fno2d model(options, testing::serial_context(grid, 3, outputs, method != "sc"));
  const ParameterSet parameters = model.initial_parameters(0);
  const auto set = [&](const std::string& name, const std::vector<double>& values) {
    const Tensor target = parameters.view(name);
    target.assign(Tensor::from(values, target.shape()));
  };
  for (const char* layer : {"fc0", "fc1", "fc2"}) {
    set(std::string(layer) + ".weight", golden.values(weights + layer + "/weight"));
    set(std::string(layer) + ".bias", golden.values(weights + layer + "/bias"));
  }
  for (std::size_t i = 0; i < blocks; ++i) {
    const std::string block = "block" + std::to_string(i);
    set(block + ".conv.weight", golden.values(weights + block + "/conv_weight"));
    set(block + ".conv.bias", golden.values(weights + block + "/conv_bias"));
    const Shape part{options.widths[i], options.widths[i + 1], 1, options.modes_t, options.modes_x};
    const auto read = [&](const char* name) { return Tensor::from(golden.values(weights + block + "/spectral_" + name), part); };
    const Tensor real = concat({read("low_real"), read("high_real")}, 3), imag = concat({read("low_imag"), read("high_imag")}, 3);
    set(block + ".spectral", concat({real, imag}, 2).to_vector());
  }

  std::vector<double> input;
  for (std::int64_t b = 0; b < batch; ++b)
    for (int channel = 0; channel < 3; ++channel)
      for (std::int64_t i = 0; i < nt; ++i)
        for (std::int64_t j = 0; j < nx; ++j)
          input.push_back(channel == 0 ? t[std::size_t(i)] / t.back() : channel == 1 ? x[std::size_t(j)] / x.back() : u0[std::size_t(b)]);
  const NoGrad off;
  const Tensor in = testing::cut_tiles(Tensor::from(input, {batch, 3, nt, nx}), TilePartition(grid, 1, 0));
  return testing::join_tiles(model.forward(parameters.bind(local_tile_sum(grid.tiles())), in), grid).to_vector();
}

TEST(Fno2dGolden, WeightsGiveTheBases) {
  ASSERT_FALSE(golden_files().empty());
  for (const std::string& file : golden_files()) {
    const Golden golden(file);
    for (const std::string method : {"sc", "hc", "moe"})
      for (const std::int64_t tiles : {1, 4}) {
        const auto found = bases_of(golden, method, tiles), expected = golden.values(method + "/bases");
        ASSERT_EQ(found.size(), expected.size());
        double worst = 0;
        for (std::size_t i = 0; i < found.size(); ++i) worst = std::max(worst, std::abs(found[i] - expected[i]));
        EXPECT_LT(worst, 1e-13) << file << ' ' << method << ", " << tiles << " tiles";
      }
  }
}

}  // namespace
}  // namespace rankine
