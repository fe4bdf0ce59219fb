// The HDF5 layer: round trips and what it says about bad files.
#include <filesystem>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "src/io/hdf5.hpp"
#include "src/io/safe_file.hpp"
#include "tests/unit/io/scratch.hpp"

namespace rankine {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Scratch;

template <class Error, class Call>
std::string message(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  } catch (const std::exception& error) {
    return std::string("another kind of error: ") + error.what();
  }
  return "no error";
}

TEST(Hdf5, EveryTypeComesBackAsItWent) {
  const Scratch scratch;
  const std::vector<std::int8_t> bytes{-128, 0, 127};
  const std::vector<std::int32_t> words{std::numeric_limits<std::int32_t>::min(), 7};
  const std::vector<std::int64_t> longs{std::numeric_limits<std::int64_t>::max(), -1};
  const std::vector<float> floats{1.5f, -0.0f, std::numeric_limits<float>::infinity()};
  const std::vector<double> doubles{1.0 / 3, 1e-310, 2, 3, 4, 5};
  const bool bools[] = {true, false};
  {
    hdf5::File file = hdf5::File::create(scratch / "a.h5");
    hdf5::Group group = file.root().require_group("deep/down");
    group.write("i8", {3}, bytes);
    group.write("i32", {2}, words);
    group.write("i64", {2}, longs);
    group.write("f32", {3}, floats);
    group.write("f64", {2, 3}, doubles);
    group.write("bool", {2}, std::span<const bool>(bools));
    group.write("empty", {0, 4}, std::vector<double>{});
    group.write("scalar", 2.5);
    group.write_text("text", "größer\nzweite Zeile");
    group.write_texts("texts", {"", "b"});
    group.attribute("unit", "m/s");
    group.attribute("edges", std::vector<double>{0, 0.5});
    group.attribute("count", 3);
    file.close();
  }
  const hdf5::File file = hdf5::File::open(scratch / "a.h5");
  const hdf5::Group group = file.root().open_group("deep/down");
  EXPECT_EQ(group.read<std::int8_t>("i8"), bytes);
  EXPECT_EQ(group.read<std::int32_t>("i32"), words);
  EXPECT_EQ(group.read<std::int64_t>("i64"), longs);
  EXPECT_EQ(group.read<float>("f32"), floats);
  EXPECT_EQ(group.read<double>("f64", {2, hdf5::Group::any}), doubles);
  EXPECT_THAT(group.read<std::int8_t>("bool"), ElementsAre(1, 0));
  EXPECT_THAT(group.read<double>("bool"), ElementsAre(1.0, 0.0));
  EXPECT_EQ(group.info("empty").shape, (hdf5::Shape{0, 4}));
  EXPECT_TRUE(group.read<double>("empty").empty());
  EXPECT_EQ(group.read_scalar<double>("scalar"), 2.5);
  EXPECT_EQ(group.read_text("text"), "größer\nzweite Zeile");
  EXPECT_THAT(group.read_texts("texts"), ElementsAre("", "b"));
  EXPECT_EQ(group.text_attribute("unit"), "m/s");
  EXPECT_THAT(group.number_attribute("edges"), ElementsAre(0, 0.5));
  EXPECT_THAT(group.number_attribute("count"), ElementsAre(3));
  EXPECT_THAT(group.names(),
              ElementsAre("i8", "i32", "i64", "f32", "f64", "bool", "empty", "scalar", "text", "texts"))
      << "order of creation";
}

TEST(Hdf5, AMessageNamesFileDatasetAndBothShapes) {
  const Scratch scratch;
  const std::string path = scratch / "a.h5";
  {
    hdf5::File written = hdf5::File::create(path);
    written.root().require_group("g").write("u", {2, 3}, std::vector<double>(6));
    written.close();
  }
  const hdf5::File file = hdf5::File::open(path);
  const auto& root = file.root();

  EXPECT_EQ(message<InputError>([&] {
              root.read<double>("g/u", {2, 4});
            }),
            path + ": the dataset '/g/u' has shape (2, 3), needed is (2, 4)");
  EXPECT_EQ(message<InputError>([&] { root.read<std::int64_t>("g/u"); }),
            path + ": the dataset '/g/u' holds float64, needed is int64");
  EXPECT_EQ(message<InputError>([&] { root.read<double>("g/v"); }), path + ": the dataset '/g/v' is missing");
  EXPECT_EQ(message<InputError>([&] { root.read<double>("nowhere/v"); }),
            path + ": the dataset '/nowhere/v' is missing");
  EXPECT_EQ(message<InputError>([&] { root.open_group("g/u"); }), path + ": '/g/u' must be a group");
  EXPECT_EQ(message<InputError>([&] { root.text_attribute("format"); }),
            path + ":/: the attribute 'format' is missing");
}

TEST(Hdf5, BadFilesAreInputErrors) {
  const Scratch scratch;
  EXPECT_THAT(message<InputError>([&] { hdf5::File::open(scratch / "none.h5"); }),
              AllOf(HasSubstr("none.h5"), HasSubstr("No such file")));
  EXPECT_THAT(message<InputError>([&] { hdf5::File::open(scratch.path().string()); }),
              HasSubstr("is a folder"));
  testing::put_file(scratch / "text.h5", "not at all HDF5");
  EXPECT_THAT(message<InputError>([&] { hdf5::File::open(scratch / "text.h5"); }),
              HasSubstr("is not an HDF5 file"));
  testing::put_file(scratch / "empty.h5", "");
  EXPECT_THAT(message<InputError>([&] { hdf5::File::open(scratch / "empty.h5"); }),
              HasSubstr("is not an HDF5 file"));
}

TEST(Hdf5, ATruncatedFileIsRefusedWhereverItEnds) {
  const Scratch scratch;
  {
    hdf5::File file = hdf5::File::create(scratch / "a.h5");
    file.root().require_group("g").write("u", {1000}, std::vector<double>(1000, 1.0));
    file.close();
  }
  const std::string whole = read_file(scratch / "a.h5");
  for (std::size_t size = 1; size < whole.size(); size += whole.size() / 40) {
    testing::put_file(scratch / "cut.h5", whole.substr(0, size));
    EXPECT_THAT(message<InputError>([&] { hdf5::File::open(scratch / "cut.h5").root().read<double>("g/u"); }),
                HasSubstr("cut.h5"))
        << "cut at " << size << " of " << whole.size();
  }
}

}  // namespace
}  // namespace rankine
