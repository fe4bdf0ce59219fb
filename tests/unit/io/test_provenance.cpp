// What /provenance says about build, machine and environment.
#include <cstdlib>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/io/provenance.hpp"

namespace rankine {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

TEST(Provenance, HoldsBuildRunAndEnvironmentButNoCredential) {
  ::setenv("OMP_TEST_VARIABLE", "7", 1);
  ::setenv("SLURM_JOB_ID", "42", 1);
  ::setenv("SLURM_JWT", "secret", 1);
  ::setenv("HOME_OF_NOBODY", "private", 1);
  const auto list = collect_provenance({.arguments = {"rankine", "run", "deck.yaml"},
                                        .deck_path = "deck.yaml",
                                        .deck_text = "a: 1\n",
                                        .resolved_deck = "a: 1\nb: 2\n",
                                        .ranks = 2,
                                        .hosts = {"n1", "n2"},
                                        .mpi_library = "Some MPI",
                                        .start_utc = "2026-01-01T00:00:00Z"});
  ::unsetenv("SLURM_JWT");
  std::map<std::string, std::string> got(list.begin(), list.end());

  EXPECT_EQ(got.size(), list.size()) << "a name stands twice";
  EXPECT_THAT(got["environment"], AllOf(HasSubstr("OMP_TEST_VARIABLE=7"), HasSubstr("SLURM_JOB_ID=42"),
                                        Not(HasSubstr("secret")), Not(HasSubstr("private"))));
  EXPECT_EQ(got["arguments"], "rankine\nrun\ndeck.yaml");
  EXPECT_EQ(got["ranks"], "2");
  EXPECT_EQ(got["hosts"], "n1\nn2");
  EXPECT_THAT(got["git_revision"], MatchesRegex("unknown|[0-9a-f]{40}"));
  EXPECT_THAT(got["versions/hdf5"], MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+"));
  EXPECT_THAT(got["versions/kokkos"], Not(""));
  EXPECT_THAT(got["versions/petsc"], Not(""));
  EXPECT_THAT(got["versions/fft"], MatchesRegex("(FFTW|cuFFT) [0-9].*|Rankine's own"));
  EXPECT_THAT(got["compiler"], Not(""));
  EXPECT_THAT(got["stop_utc"], MatchesRegex("20[0-9-]+T[0-9:]+Z"));
}

}  // namespace
}  // namespace rankine
