// PDEBench files: round trip, and every way in which one can be wrong.
#include <cmath>
#include <filesystem>
#include <functional>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "src/io/hdf5.hpp"
#include "src/io/pdebench.hpp"
#include "src/io/safe_file.hpp"
#include "tests/unit/io/scratch.hpp"

namespace rankine {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::Scratch;

const std::vector<double> t{0, 2.5, 5}, x{0.125, 0.375, 0.625, 0.875};

std::vector<double> sample(double offset) {
  std::vector<double> values(t.size() * x.size());
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = offset + 0.25 * static_cast<double>(i);
  return values;
}

TEST(Pdebench, WhatIsWrittenIsRead) {
  const Scratch scratch;
  PdebenchWriter writer(scratch / "d.h5", t, x);
  for (int i = 0; i < 3; ++i) writer.append(sample(i), "seed: " + std::to_string(i) + "\n");
  EXPECT_FALSE(std::filesystem::exists(scratch / "d.h5")) << "not before it is complete";
  writer.finish();

  const PdebenchFile file(scratch / "d.h5");
  EXPECT_EQ(file.samples(), 3);
  EXPECT_EQ(file.t(), t);
  EXPECT_EQ(file.x(), x);
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(file.read_sample(i), sample(i)) << "exact in float32 for these numbers";
  std::map<std::string, std::string> stated;
  for (const PdebenchAttribute& attribute : file.attributes(2)) stated[attribute.place] = attribute.text;
  EXPECT_EQ(stated, (std::map<std::string, std::string>{{"/0002@config", "seed: 2\n"},
                                                        {"/@format", "rankine-samples"}}));
  EXPECT_THROW(file.read_sample(3), InputError);
}

/// Writes two samples, of which `spoil` may change the second, and returns what reading all says.
std::string error_of(const std::string& path, const std::function<void(hdf5::Group&)>& spoil) {
  {
    hdf5::File file = hdf5::File::create(path);
    for (const char* name : {"0000", "0001"}) {
      hdf5::Group group = file.root().require_group(name);
      if (std::string(name) == "0001" && spoil) {
        spoil(group);
        continue;
      }
      group.write("data", {3, 4, 1}, sample(0));
      group.require_group("grid").write("x", {4}, x);
      group.require_group("grid").write("t", {3}, t);
    }
    file.close();
  }
  try {
    const PdebenchFile file(path);
    for (int i = 0; i < file.samples(); ++i) file.read_sample(i);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Pdebench, AnErrorNamesFileSampleAndPlace) {
  const Scratch scratch;
  const std::string path = scratch / "d.h5";
  const auto grid = [](hdf5::Group& group, std::vector<double> xs) {
    group.require_group("grid").write("x", {xs.size()}, xs);
    group.require_group("grid").write("t", {3}, t);
  };

  EXPECT_EQ(error_of(path, nullptr), "no error");
  EXPECT_EQ(error_of(path, [&](hdf5::Group& group) { grid(group, x); }),
            path + ": the dataset '/0001/data' is missing");
  EXPECT_THAT(error_of(path,
                       [&](hdf5::Group& group) {
                         group.write("data", {3, 4}, sample(0));
                         grid(group, x);
                       }),
              AllOf(HasSubstr("/0001/data' has shape (3, 4)"), HasSubstr("[t, x, 1]")));
  EXPECT_THAT(error_of(path,
                       [&](hdf5::Group& group) {
                         group.write("data", {4, 3, 1}, sample(0));
                         grid(group, x);
                       }),
              AllOf(HasSubstr("(4, 3, 1)"), HasSubstr("'/0000/data' has (3, 4, 1)")));
  EXPECT_THAT(error_of(path,
                       [&](hdf5::Group& group) {
                         auto values = sample(0);
                         values[6] = std::nan("");
                         group.write("data", {3, 4, 1}, values);
                         grid(group, x);
                       }),
              HasSubstr("'/0001/data' holds nan at [t 1, x 2, 0]"));
  EXPECT_THAT(error_of(path,
                       [&](hdf5::Group& group) {
                         group.write("data", {3, 4, 1}, sample(0));
                         grid(group, {0.1, 0.2, 0.3, 0.4});
                       }),
              HasSubstr("'/0001/grid' differs from '/0000/grid'"));
  EXPECT_THAT(error_of(path,
                       [&](hdf5::Group& group) {
                         group.write("data", {3, 4, 1}, sample(0));
                         grid(group, {0.1, 0.3, 0.2, 0.4});
                       }),
              HasSubstr("'/0001/grid/x' must increase; value 2 is 0.2"));
  EXPECT_THAT(error_of(path, [&](hdf5::Group& group) { group.write_text("data", "no numbers"); }),
              HasSubstr("/0001/data"));
}

/// A file whose samples have these names, in this order of writing; the value of each is its place in
/// `names`.
void write_named(const std::string& path, const std::vector<std::string>& names) {
  hdf5::File file = hdf5::File::create(path);
  for (std::size_t i = 0; i < names.size(); ++i) {
    hdf5::Group group = file.root().require_group(names[i]);
    group.write("data", {3, 4, 1}, std::vector<double>(12, static_cast<double>(i)));
    group.require_group("grid").write("x", {4}, x);
    group.require_group("grid").write("t", {3}, t);
  }
  file.close();
}

TEST(Pdebench, SamplesAreOrderedByNumber) {
  const Scratch scratch;
  const std::string path = scratch / "d.h5";
  for (const std::vector<std::string>& names :
       {std::vector<std::string>{"9998", "9999", "10000", "10001"},
        {"09", "10", "0011"},
        {"s_1.8", "s_1.9", "s_1.10"},
        {"99999999999999999999998", "99999999999999999999999", "100000000000000000000000"}}) {
    write_named(path, names);
    const PdebenchFile file(path);
    ASSERT_EQ(file.samples(), static_cast<std::int64_t>(names.size()));
    for (std::size_t i = 0; i < names.size(); ++i) {
      EXPECT_EQ(file.name(static_cast<std::int64_t>(i)), names[i]);
      EXPECT_EQ(file.read_sample(static_cast<std::int64_t>(i)).front(), static_cast<double>(i));
    }
  }
  const auto refusal = [&](const std::vector<std::string>& names) {
    write_named(path, names);
    try {
      const PdebenchFile file(path);
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_THAT(refusal({"0000", "0001", "0003"}),
              HasSubstr("between the samples '0001' and '0003' number 2 is missing"));
  EXPECT_THAT(refusal({"9999", "10001"}), HasSubstr("number 10000 is missing"));
  EXPECT_THAT(refusal({"0001", "001"}), HasSubstr("'0001' and '001' have the same number"));
  EXPECT_THAT(refusal({"0000", "a0001"}),
              HasSubstr("'a0001' holds data, but its name is no number like that of '0000'"));
  EXPECT_THAT(refusal({"a", "b"}), HasSubstr("the group 'a' holds data"));
}

TEST(Pdebench, NamesHaveAsManyDigitsAsTheLastNeeds) {
  const Scratch scratch;
  for (const auto& [samples, name] :
       {std::pair<std::int64_t, std::string>{3, "0000"}, {10000, "0000"}, {10001, "00000"}}) {
    PdebenchWriter writer(scratch / "d.h5", t, x, true, samples);
    writer.append(sample(0));
    writer.finish();
    EXPECT_EQ(PdebenchFile(scratch / "d.h5").name(0), name) << samples;
  }
}

TEST(Pdebench, AttributesOfFileSampleAndDataAreRead) {
  const Scratch scratch;
  write_named(scratch / "d.h5", {"0000", "0001"});
  {
    hdf5::File file = hdf5::File::create(scratch / "e.h5");
    file.root().copy_from(hdf5::File::open(scratch / "d.h5").root());
    file.root().attribute("length", 1.0);
    file.root().attribute("0001/config", "D: 1");
    file.root().open_group("0001").open_dataset("data").attribute("D", 5e-4);
    file.close();
  }
  std::map<std::string, PdebenchAttribute> found;
  for (const PdebenchAttribute& a : PdebenchFile(scratch / "e.h5").attributes(1)) found.emplace(a.place, a);
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found.at("/@length").numbers, std::vector<double>{1});
  EXPECT_EQ(found.at("/@0001/config").name, "config");
  EXPECT_EQ(found.at("/@0001/config").text, "D: 1");
  EXPECT_EQ(found.at("/0001/data@D").numbers, std::vector<double>{5e-4});
  EXPECT_EQ(PdebenchFile(scratch / "e.h5").attributes(0).size(), 1u);
}

TEST(Pdebench, MissingForeignAndTruncatedFilesAreInputErrors) {
  const Scratch scratch;
  EXPECT_THROW(PdebenchFile(scratch / "none.h5"), InputError);
  {
    hdf5::File file = hdf5::File::create(scratch / "foreign.h5");
    file.root().write("tensor", {2}, std::vector<double>{1, 2});
    file.close();
  }
  try {
    const PdebenchFile file(scratch / "foreign.h5");
    FAIL() << "no error";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("holds no samples"), HasSubstr("'0000'")));
  }
  PdebenchWriter writer(scratch / "d.h5", t, x);
  writer.append(sample(0));
  writer.finish();
  const std::string whole = read_file(scratch / "d.h5");
  testing::put_file(scratch / "cut.h5", whole.substr(0, whole.size() / 2));
  EXPECT_THROW(PdebenchFile(scratch / "cut.h5"), InputError);
}

}  // namespace
}  // namespace rankine
