// The descriptions of fields that ParaView reads. What readers make of them: test_interoperability.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/io/files.hpp"
#include "src/io/hdf5.hpp"
#include "src/io/stored_runs.hpp"
#include "src/io/xdmf.hpp"
#include "tests/unit/io/sample_results.hpp"
#include "tests/unit/io/scratch.hpp"

namespace rankine {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::Scratch;

int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

TEST(Xdmf, PlanesOfTimeAndOneSpaceAxisAreRectilinear) {
  const Scratch scratch;
  {
    ResultsWriter writer(scratch / "r.h5", "one axis");
    writer.run("a & b", 3)
        .fields("u", std::vector<float>(6),
                {{"sample_id", {5}, "1", ""}, {"t", {0, 1}, "s", ""}, {"x", {0.5, 1, 2}, "m", ""}});
    writer.finish();
  }
  EXPECT_EQ(xdmf_text(scratch / "r.h5"), R"(<?xml version="1.0" encoding="utf-8"?>
<Xdmf Version="3.0">
  <Domain>
    <Grid Name="a &amp; b/seed_3" GridType="Collection" CollectionType="Temporal">
      <Grid Name="sample 0" GridType="Uniform">
        <Time Value="0"/>
        <Topology TopologyType="2DRectMesh" Dimensions="2 3"/>
        <Geometry GeometryType="VXVY">
          <DataItem Dimensions="3" NumberType="Float" Precision="8" Format="HDF">r.h5:/runs/a &amp; b/seed_3/fields/x</DataItem>
          <DataItem Dimensions="2" NumberType="Float" Precision="8" Format="HDF">r.h5:/runs/a &amp; b/seed_3/fields/t</DataItem>
        </Geometry>
        <Attribute Name="u" AttributeType="Scalar" Center="Node">
          <DataItem ItemType="HyperSlab" Dimensions="2 3">
            <DataItem Dimensions="3 3" NumberType="Int" Format="XML">0 0 0  1 1 1  1 2 3</DataItem>
            <DataItem Dimensions="1 2 3" NumberType="Float" Precision="4" Format="HDF">r.h5:/runs/a &amp; b/seed_3/fields/u</DataItem>
          </DataItem>
        </Attribute>
      </Grid>
    </Grid>
  </Domain>
</Xdmf>
)");
}

TEST(Xdmf, MeshesOfTwoSpaceAxesNameTheirPointsInTheOrderOfTheValues) {
  const Scratch scratch;
  testing::write_box_results(scratch / "r.h5", {2, 3});
  const std::string text = xdmf_text(scratch / "r.h5");
  EXPECT_THAT(text, AllOf(HasSubstr("<Grid Name=\"v/seed_2 sample 1\" GridType=\"Collection\""),
                          HasSubstr("<Time Value=\"0.4\"/>"),
                          HasSubstr("<Topology TopologyType=\"2DSMesh\" Dimensions=\"2 3\"/>"),
                          HasSubstr("<Geometry GeometryType=\"XY\">"),
                          HasSubstr("1 2 0 0  1 1 1 1  1 1 2 3</DataItem>"), Not(HasSubstr("RectMesh"))));
  // u as floats and its reference as doubles; 2 runs of 2 samples at 3 times.
  EXPECT_EQ(count(text, "<DataItem Dimensions=\"2 3 2 3\" NumberType=\"Float\" Precision=\"4\""), 12);
  EXPECT_EQ(count(text, "<DataItem Dimensions=\"2 3 2 3\" NumberType=\"Float\" Precision=\"8\""), 12);
  EXPECT_EQ(count(text, "/Xdmf/Domain/DataItem[@Name=\"points 0\"]"), 12);
  EXPECT_THAT(text, ::testing::EndsWith(R"(    </Grid>
    <DataItem Name="points 0" Dimensions="2 3 2" NumberType="Float" Precision="8" Format="XML">
0.25 0.3333333333333333
0.25 1
0.25 1.6666666666666667
0.75 0.3333333333333333
0.75 1
0.75 1.6666666666666667
    </DataItem>
  </Domain>
</Xdmf>
)"));
}

TEST(Xdmf, GridsOfTheirOwnHavePointsOfTheirOwn) {
  const Scratch scratch;
  {
    ResultsWriter writer(scratch / "r.h5", "boxes");
    int seed = 0;
    for (const double end : {0.5, 0.6, 0.5})
      writer.run("v", seed++)
          .fields("u", std::vector<double>(8),
                  {{"sample_id", {0}, "1", ""},
                   {"t", {0}, "s", ""},
                   {"x", {0.1, end}, "m", ""},
                   {"y", {0, 1}, "m", ""},
                   {"z", {0, 1}, "m", ""}});
    writer.finish();
  }
  const std::string text = xdmf_text(scratch / "r.h5");
  EXPECT_EQ(count(text, "[@Name=\"points 0\"]"), 2);
  EXPECT_EQ(count(text, "[@Name=\"points 1\"]"), 1);
  EXPECT_EQ(count(text, "\n0.5 1 0\n"), 1);
  EXPECT_EQ(count(text, "\n0.6 1 0\n"), 1);
}

TEST(StoredFields, AnArrayYOfSomebodysIsNoAxis) {
  const Scratch scratch;
  hdf5::File file = hdf5::File::create(scratch / "r.h5");
  hdf5::Group run = file.root().require_group("run"), fields = run.require_group("fields");
  fields.write("t", {2}, std::vector<double>(2));
  fields.write("x", {3}, std::vector<double>(3));
  fields.write("y", {4}, std::vector<double>(4));
  fields.write("u", {5, 2, 3}, std::vector<float>(30));
  fields.write("of_other_samples", {1, 2, 3}, std::vector<float>(6));
  fields.write("counts", {5, 2, 3}, std::vector<std::int64_t>(30));
  const StoredFields found = stored_fields(run);
  EXPECT_THAT(found.axes, ElementsAre("sample_id", "t", "x"));
  EXPECT_THAT(found.shape, ElementsAre(5, 2, 3));
  EXPECT_THAT(found.names, ElementsAre("u"));
  // A field over y makes it one.
  fields.write("v", {5, 2, 3, 4}, std::vector<float>(120));
  EXPECT_THAT(stored_fields(run).axes, ElementsAre("sample_id", "t", "x", "y"));
  EXPECT_THAT(stored_fields(run).names, ElementsAre("v"));
}

TEST(Xdmf, ALargeSideFileIsKnownAsOurs) {
  const Scratch scratch;
  testing::write_box_results(scratch / "r.h5", {20, 20, 20});
  ASSERT_EQ(write_xdmf(scratch / "r.h5"), scratch / "r.xdmf");
  EXPECT_GT(std::filesystem::file_size(scratch / "r.xdmf"), 1U << 17U) << "more than is looked at";
  EXPECT_EQ(written_content(scratch / "r.xdmf"), FileContent::side_file);
  EXPECT_EQ(write_xdmf(scratch / "r.h5"), scratch / "r.xdmf") << "it replaces its own";
}

}  // namespace
}  // namespace rankine
