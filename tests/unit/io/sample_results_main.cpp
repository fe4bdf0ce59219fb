// What the Python tests need of the C++ side: sample results, XDMF, converted weights, PDEBench files.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

#include "src/io/info.hpp"
#include "src/io/pdebench.hpp"
#include "src/io/weights.hpp"
#include "src/io/xdmf.hpp"
#include "tests/unit/io/sample_results.hpp"

int main(int argc, char** argv) {
  try {
    const std::string command = argc > 1 ? argv[1] : "";
    if (command == "results" && argc == 3) {
      rankine::testing::write_sample_results(argv[2]);
      rankine::write_xdmf(argv[2]);
    } else if (command == "box" && argc > 3) {
      std::vector<int> cells;
      for (int i = 3; i < argc; ++i) cells.push_back(std::atoi(argv[i]));
      rankine::testing::write_box_results(argv[2], cells);
      rankine::write_xdmf(argv[2]);
    } else if (command == "convert" && (argc == 4 || argc == 5)) {
      rankine::convert_weights(argv[2], argv[3], argc == 5 ? argv[4] : "");
    } else if (command == "json" && argc == 3) {
      std::fputs(rankine::info_json(argv[2]).c_str(), stdout);
    } else if (command == "pdebench" && argc == 3) {
      rankine::PdebenchWriter writer(argv[2], std::vector<double>{0, 5, 10}, std::vector<double>{0.25, 0.75});
      writer.append(std::vector<double>{1, 2, 3, 4, 5, 6}, "seed: 1\n");
      writer.finish();
    } else {
      std::fputs(
          "usage: results FILE | box FILE CELLS CELLS [CELLS] | convert FROM TO [RUN] | json FILE | pdebench FILE\n",
          stderr);
      return 1;
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
