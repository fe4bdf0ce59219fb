// Weights in three formats: the same arrays come back, and damaged files are refused.
#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "src/io/checkpoint.hpp"
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
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
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
    testing::put_file(cut, whole.substr(0, size));
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
  testing::put_file(scratch / "w.npz", bytes);
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

std::string safetensors(const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + header + data;
}

TEST(Weights, HostileSafetensorsAreRefusedWithTheirFault) {
  const Scratch scratch;
  const std::string eight(8, '\1'), path = scratch / "w.safetensors";
  const std::pair<std::string, const char*> files[] = {
      {safetensors(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", ""), "do not fit"},
      {safetensors(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", eight), "do not fit"},
      {safetensors(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", eight + "x"),
       "belong to no array"},
      {safetensors(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                   R"("b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
                   eight),
       "hole or an overlap"},
      {safetensors(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", eight), "hole or an overlap"},
      {safetensors(R"({"a":{"dtype":"BF16","shape":[4],"data_offsets":[0,8]}})", eight), "has type BF16"},
      {safetensors(R"({"a":{"dtype":"F64","shape":[4611686018427387904,4],"data_offsets":[0,8]}})", eight),
       "impossible size"},
      {safetensors(R"({"a":{"dtype":"F64","shape":[-1],"data_offsets":[0,8]}})", eight), "'a'"},
      {safetensors(R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},)"
                   R"("a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})",
                   eight),
       "holds 'a' twice"},
      {safetensors(R"({"__metadata__":{"n":1},"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})", eight),
       "__metadata__"},
      {safetensors(R"({"a":[]})", eight), "malformed"},
      {safetensors("[]", eight), "no JSON object"},
      {safetensors(std::string(200000, '['), ""), "no JSON object"},
      {std::string("\xff\xff\xff\xff\xff\xff\xff\xff", 8), "too long"},
  };
  for (const auto& [bytes, fault] : files) {
    testing::put_file(path, bytes);
    try {
      read_weights(path);
      ADD_FAILURE() << "no error: " << fault;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr(fault));
      EXPECT_THAT(error.what(), HasSubstr(path));
    }
  }
}

TEST(Weights, AnyChangeOfBytesIsReadOrRefusedButNeverMore) {
  const Scratch scratch;
  std::uint64_t state = 12345;
  const auto next = [&] {
    return state = state * 6364136223846793005ULL + 1442695040888963407ULL, state >> 33;
  };
  for (const char* ending : {".npz", ".safetensors"}) {
    const std::string path = scratch / (std::string("w") + ending);
    write_weights(path, examples());
    const std::string whole = read_file(path);
    int refused = 0;
    for (int i = 0; i < 2000; ++i) {
      std::string bytes = whole;
      for (std::uint64_t changes = 1 + next() % 4; changes > 0; --changes)
        bytes[next() % bytes.size()] = static_cast<char>(next());
      testing::put_file(path, bytes);
      try {
        const WeightArrays arrays = read_weights(path);
        for (const WeightArray& array : arrays) EXPECT_LE(array.bytes.size(), whole.size());
      } catch (const InputError&) {
        ++refused;
      }
    }
    EXPECT_GT(refused, 500) << ending;
  }
}

TEST(Weights, ComeOutOfCheckpoints) {
  const Scratch scratch;
  CheckpointContent content;
  const WeightArrays arrays = examples();
  for (const WeightArray& array : {arrays[0], arrays[1]}) {
    StateValue value{array.type == hdf5::Type::f32 ? DType::f32 : DType::f64,
                     {array.shape.begin(), array.shape.end()},
                     std::vector<std::byte>(array.bytes.size())};
    std::memcpy(value.bytes.data(), array.bytes.data(), array.bytes.size());
    content.state["state/weights/" + array.name] = value;
  }
  content.state["state/optimizer/steps"] = {DType::i64, {}, std::vector<std::byte>(8)};
  const std::string path = scratch / "checkpoint-00000001.h5";
  write_checkpoint(path, content);
  EXPECT_TRUE(read_weights(path) == (WeightArrays{arrays[1], arrays[0]}));  // in the order of the names
  convert_weights(path, scratch / "w.npz");
  EXPECT_TRUE(read_weights(scratch / "w.npz") == (WeightArrays{arrays[1], arrays[0]}));
  std::string bytes = read_file(path);
  bytes[bytes.size() / 2] ^= 1;
  testing::put_file(path, bytes);
  EXPECT_THROW(read_weights(path), InputError);
}

}  // namespace
}  // namespace rankine
