#include <cstdio>

#include <gtest/gtest.h>
#include <mpi.h>

#include "kernels/runtime.hpp"

namespace {

/// Takes the place of GoogleTest's printer on ranks above 0: failures only, each with its rank.
class FailurePrinter : public testing::EmptyTestEventListener {
 public:
  explicit FailurePrinter(int rank) : rank_(rank) {}

  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::printf("[rank %d] %s:%d: failure\n%s\n", rank_,
                result.file_name() ? result.file_name() : "unknown file", result.line_number(),
                result.message());
    std::fflush(stdout);
  }

 private:
  int rank_;
};

/// A rank that leaves a test early (ASSERT_*, exception) would leave the others waiting in their next
/// collective call until the time-out. End the job instead; the printer before this listener has given the
/// reason.
class AbortOnFatalFailure : public testing::EmptyTestEventListener {
 public:
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.fatally_failed()) return;
    std::fflush(nullptr);
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
};

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  testing::InitGoogleTest(&argc, argv);
  int rank = 0;
  int ranks = 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);

  auto& listeners = testing::UnitTest::GetInstance()->listeners();
  if (rank > 0) {
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new FailurePrinter(rank));
  }
  if (ranks > 1) listeners.Append(new AbortOnFatalFailure);

  int failed = 0;
  {
    const rankine::KokkosSession kokkos;
    failed = RUN_ALL_TESTS();
  }
  MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
  MPI_Finalize();
  return failed;
}
