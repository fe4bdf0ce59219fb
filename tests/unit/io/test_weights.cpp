// Weights in three formats: the same arrays come back, and damaged files are refused.
#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "src/io/safe_file.hpp"
#include "src/io/weights.hpp"
#include "tests/unit/io/sample_results.hpp"
#include "tests/unit/io/scratch.hpp"

namespace rankine {
namespace {

using ::testing::HasSubstr;
using testing::Scratch;

template <class T>
WeightArray array(const std::string& name, hdf5::Type type, std::vector<std::uint64_t> shape,
                  std::vector<T> values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return {name, type, std::move(shape), bytes};
}

WeightArrays examples() {
  return {array<float>("a.weight", hdf5::Type::f32, {2, 3}, {1, 2, 3, 4, 5, 6}),
          array<double>("a.bias", hdf5::Type::f64, {1}, {0.1}),
          array<double>("scalar", hdf5::Type::f64, {}, {7}),
          array<float>("empty", hdf5::Type::f32, {0, 3}, {}),
          array<std::int64_t>("count", hdf5::Type::i64, {2}, {-1, 1}),
          array<std::int8_t>("mask", hdf5::Type::boolean, {3}, {1, 0, 1})};
}

class Formats : public ::testing::TestWithParam<const char*> {};

TEST_P(Formats, BringBackWhatWasWritten) {
  const Scratch scratch;
  const std::string path = scratch / (std::string("w") + GetParam());
  write_weights(path, examples());
  EXPECT_TRUE(read_weights(path) == examples());
}

TEST_P(Formats, RefuseTruncatedFilesWhereverTheyEnd) {
  const Scratch scratch;
  const std::string path = scratch / (std::string("w") + GetParam()),
                    cut = scratch / (std::string("cut") + GetParam());
  write_weights(path, examples());
  const std::string whole = read_file(path);
  for (std::size_t size = 0; size + 1 < whole.size(); size += 1 + whole.size() / 50) {
    write_file(cut, whole.substr(0, size));
    EXPECT_THROW(read_weights(cut), InputError) << size << " of " << whole.size();
  }
}

std::string name_of(const ::testing::TestParamInfo<const char*>& format) { return format.param + 1; }
INSTANTIATE_TEST_SUITE_P(All, Formats, ::testing::Values(".npz", ".safetensors", ".h5"), name_of);

TEST(Weights, AFlippedBitInAnNpzIsFound) {
  const Scratch scratch;
  write_weights(scratch / "w.npz", examples());
  std::string bytes = read_file(scratch / "w.npz");
  bytes[180] ^= 1;  // in the values of the first array
  write_file(scratch / "w.npz", bytes);
  EXPECT_THROW(read_weights(scratch / "w.npz"), InputError);
}

TEST(Weights, OfSeveralRunsOneMustBeNamed) {
  const Scratch scratch;
  testing::write_sample_results(scratch / "r.h5");
  try {
    read_weights(scratch / "r.h5");
    FAIL() << "no error";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("9 runs; name one of them: pi-sc/seed_1, pi-sc/seed_2"));
  }
  EXPECT_EQ(read_weights(scratch / "r.h5", "pi-hc/seed_3").size(), 2u);
  EXPECT_THROW(read_weights(scratch / "r.h5", "pi-hc/seed_4"), InputError);
}

TEST(Weights, AnUnknownEndingIsRefusedBeforeReading) {
  try {
    convert_weights("does not matter.h5", "weights.pt");
    FAIL() << "no error";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("known are .npz, .safetensors, .h5"));
  }
}

}  // namespace
}  // namespace rankine
