// The table and the comparison that people read.
#include <fstream>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "src/core/random.hpp"
#include "src/io/hdf5.hpp"
#include "src/io/info.hpp"
#include "src/io/results.hpp"
#include "tests/unit/io/sample_results.hpp"
#include "tests/unit/io/scratch.hpp"

namespace rankine {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::Scratch;

TEST(Info, TheTableShowsMetricsVerdictsAndOrigin) {
  const Scratch scratch;
  testing::write_sample_results(scratch / "r.h5");
  EXPECT_THAT(
      info_text(scratch / "r.h5"),
      AllOf(HasSubstr("pi-hc-moe"), HasSubstr("rel_l2"), HasSubstr(" ± "), HasSubstr("9 runs"),
            HasSubstr("fail       mean(rel_l2[pi-hc]) <= 0.1 * mean(rel_l2[pi-sc])   (0.003 against 0.0006)"),
            HasSubstr("start_utc")));
}

TEST(Info, NamesTheTablesWithTheirDimensions) {
  const Scratch scratch;
  {
    ResultsWriter writer(scratch / "r.h5", "tables");
    RunWriter run = writer.run("a", 0);
    for (const std::int64_t step : {0, 5}) {
      run.append_step(step, {{"loss", 1}});
      run.table("layers", {"layer", {"first", "second", "third"}})
          .row(step, "norm", std::vector<double>{1, 2, 3});
      run.table("distance").row(step, "euclidean", static_cast<double>(step));
    }
    writer.finish();
  }
  EXPECT_THAT(info_text(scratch / "r.h5"), AllOf(HasSubstr("layers    2 steps x 3 layers: norm"),
                                                 HasSubstr("distance  2 steps: euclidean")));
  EXPECT_THAT(info_json(scratch / "r.h5"),
              AllOf(HasSubstr("\"dimension\": \"layer\""), HasSubstr("\"others\": []")));
  const hdf5::File file = hdf5::File::open(scratch / "r.h5");
  EXPECT_EQ(file.root().open_group("runs/a/seed_0/layers").text_attribute("names"), "first second third");
}

TEST(Info, NamesTheFieldsWithTheirAxes) {
  const Scratch scratch;
  testing::write_box_results(scratch / "r.h5", {4, 6, 3});
  const char* line = "Fields\n  [sample_id 2, t 3, x 4, y 6, z 3]: u, u_reference\n";
  EXPECT_THAT(info_text(scratch / "r.h5"), HasSubstr(line));
  EXPECT_THAT(info_json(scratch / "r.h5"), HasSubstr("\"fields\": {\n        \"axes\": ["));
}

TEST(Info, OtherHdf5FilesAreRefused) {
  const Scratch scratch;
  hdf5::File::create(scratch / "other.h5").close();
  try {
    info_text(scratch / "other.h5");
    FAIL() << "no error";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("not one of Rankine's results"));
  }
}

/// Flipped bits and cuts anywhere: what `work` says of the file, if it is not InputError, is its content.
void damage(const std::string& path, const std::function<void()>& work) {
  std::ifstream in(path, std::ios::binary);
  const std::string whole((std::istreambuf_iterator<char>(in)), {});
  const RandomStream random(1, "damage");
  int refused = 0;
  for (int i = 0; i < 24; ++i) {
    std::string bytes = whole;
    const auto at =
        static_cast<std::size_t>(random.integer(static_cast<std::int64_t>(whole.size()), 0, 0, i));
    if (i % 6 == 0) {
      bytes.resize(at);
    } else {
      // HDF5's own structures lie at the beginning of the file, the values behind.
      const std::size_t early = at % std::min<std::size_t>(whole.size(), 20'000);
      for (std::size_t k = 0; k < 4 && early + k < bytes.size(); ++k)
        bytes[early + k] ^= static_cast<char>(1 + i);
    }
    std::ofstream(path, std::ios::binary) << bytes;
    try {
      work();
    } catch (const InputError& error) {
      ++refused;
      EXPECT_THAT(error.what(), HasSubstr(path));
    }
  }
  EXPECT_GE(refused, 4);
  std::ofstream(path, std::ios::binary) << whole;
}

TEST(Info, DamagedFilesAreRefusedAndCrashNothing) {
  const Scratch scratch;
  testing::write_sample_results(scratch / "r.h5");
  damage(scratch / "r.h5", [&] { info_json(scratch / "r.h5"); });
}

TEST(Compare, DamagedFilesAreRefusedAndCrashNothing) {
  const Scratch scratch;
  testing::write_sample_results(scratch / "a.h5");
  testing::write_sample_results(scratch / "b.h5");
  damage(scratch / "b.h5", [&] { compare_results(scratch / "a.h5", scratch / "b.h5"); });
}

TEST(Compare, NamesWhatIsInOneFileOnly) {
  const Scratch scratch;
  const auto write = [&](const std::string& name, const char* metric, const char* unit) {
    ResultsWriter writer(scratch / name, "t");
    RunWriter run = writer.run("a", 1);
    run.summary("same", std::nan(""));
    run.summary(metric, -0.0, {unit, ""});
    writer.finish();
  };
  write("a.h5", "left", "1");
  write("b.h5", "right", "1");
  write("c.h5", "left", "m");

  const auto ab = compare_results(scratch / "a.h5", scratch / "b.h5");
  ASSERT_EQ(ab.size(), 2u);
  EXPECT_EQ(ab[0].path + ": " + ab[0].what, "/runs/a/seed_1/summary/left: only in the first file");
  EXPECT_EQ(ab[1].path + ": " + ab[1].what, "/runs/a/seed_1/summary/right: only in the second file");
  const auto ac = compare_results(scratch / "a.h5", scratch / "c.h5");
  ASSERT_EQ(ac.size(), 1u);
  EXPECT_EQ(ac[0].path + ": " + ac[0].what, "/runs/a/seed_1/summary/left@units: '1' against 'm'");
  EXPECT_THAT(compare_text("a.h5", "a.h5", {}), HasSubstr("same"));
}

}  // namespace
}  // namespace rankine
