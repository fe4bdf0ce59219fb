// A kernel whose blocks run at once and write one place, or a place each.
//   planted_race one_place | own_places
#include <cstdio>
#include <string_view>
#include <vector>

#include "kernels/launch.hpp"

namespace {

struct Count {
  rankine::kernels::View<double> x;
  std::int64_t step;
  void operator()(std::int64_t block) const { x[block * step] += 1; }
};

}  // namespace

int main(int argc, char** argv) {
  const bool one_place = argc > 1 && std::string_view(argv[1]) == "one_place";
  const rankine::KokkosSession kokkos;
  const std::int64_t n = 1000;
  const auto x = rankine::device_allocate(n * sizeof(double)).as<double>();
  rankine::copy_to_device(x, std::vector<double>(n, 0.0).data(), n);
  rankine::kernels::units("count", n, Count{x, one_place ? 0 : 1});
  std::vector<double> back(n);
  rankine::copy_to_host(back.data(), x, n);
  rankine::device_free(x.as<std::byte>());
  if (back[n - 1] == 1) std::puts("went through");
  return 0;
}
