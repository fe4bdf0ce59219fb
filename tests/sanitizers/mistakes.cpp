// One mistake of each kind, which the sanitizers and valgrind must report in spite of the tests'
// suppressions.
#include <cstdio>
#include <limits>
#include <memory>
#include <string_view>
#include <vector>

#include <mpi.h>

namespace {

/// A number that the compiler does not know.
volatile int one = 1;

void lose_memory() { std::make_unique<std::vector<double>>(100 * one).release(); }

void write_behind_the_end() {
  const auto few = std::make_unique<double[]>(10);
  double* const first = few.get();
  first[9 + one] = 1;
}

void read_what_is_gone() {
  auto number = std::make_unique<int>(one);
  const int* const address = number.get();
  number.reset();
  one = *address;
}

void decide_by_chance() {
  const std::unique_ptr<int[]> unset(new int[10]);
  if (unset[one] == 3) std::puts("three");
}

void overflow() { one = std::numeric_limits<int>::max() - 1 + one + one; }

void read_behind_the_size() {
  std::vector<int> few(10);
  few.resize(3);
  one = few[2 + one];
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view mistake = argc > 1 ? argv[1] : "none";
  MPI_Init(&argc, &argv);
  if (mistake == "leak") lose_memory();
  if (mistake == "heap") write_behind_the_end();
  if (mistake == "freed") read_what_is_gone();
  if (mistake == "unset") decide_by_chance();
  if (mistake == "overflow") overflow();
  if (mistake == "size") read_behind_the_size();
  MPI_Finalize();
  std::puts("went through");
  return 0;
}
