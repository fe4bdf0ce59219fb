#include "src/io/xdmf.hpp"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "src/io/hdf5.hpp"
#include "src/io/safe_file.hpp"
#include "src/io/stored_runs.hpp"

namespace rankine {
namespace {

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string spaced(const hdf5::Shape& numbers) { return fmt::format("{}", fmt::join(numbers, " ")); }

int bytes_of(hdf5::Type type) { return type == hdf5::Type::f32 ? 4 : 8; }

class Description {
 public:
  explicit Description(std::string file) : file_(std::move(file)) {}

  void run(const StoredRun& run) {
    const StoredFields fields = stored_fields(run.group);
    if (fields.names.empty()) return;
    const hdf5::Group group = run.group.open_group("fields");
    const std::string title = escaped(fmt::format("{}/seed_{}", run.variant, run.seed));
    if (fields.shape.size() == 3)
      planes(group, fields, title);
    else
      meshes(group, fields, title);
  }

  std::string text() const { return text_ + points_ + "  </Domain>\n</Xdmf>\n"; }

 private:
  template <class... Parts>
  void line(fmt::format_string<Parts...> format, Parts&&... parts) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Parts>(parts)...);
    text_ += '\n';
  }

  void item(int indent, const hdf5::Group& group, const std::string& name) {
    const hdf5::DatasetInfo info = group.info(name);
    line(
        "{:{}}<DataItem Dimensions=\"{}\" NumberType=\"Float\" Precision=\"{}\" Format=\"HDF\">{}:{}</DataItem>",
        "", indent, spaced(info.shape), bytes_of(info.type), escaped(file_),
        escaped(group.path() + "/" + name));
  }

  void begin_collection(const std::string& title) {
    line("    <Grid Name=\"{}\" GridType=\"Collection\" CollectionType=\"Temporal\">", title);
  }

  template <class Number>
  void begin_grid(const std::string& name, Number time) {
    line("      <Grid Name=\"{}\" GridType=\"Uniform\">\n        <Time Value=\"{}\"/>", name, time);
  }

  /// The part of each field that begins at `start` and has `count` entries, and ends the grid.
  void end_grid(const hdf5::Group& group, const StoredFields& fields, const hdf5::Shape& start,
                const hdf5::Shape& count, const std::string& nodes) {
    const hdf5::Shape stride(start.size(), 1);
    for (const auto& name : fields.names) {
      line("        <Attribute Name=\"{}\" AttributeType=\"Scalar\" Center=\"Node\">", escaped(name));
      line("          <DataItem ItemType=\"HyperSlab\" Dimensions=\"{}\">", nodes);
      line(
          "            <DataItem Dimensions=\"3 {}\" NumberType=\"Int\" Format=\"XML\">{}  {}  {}</DataItem>",
          start.size(), spaced(start), spaced(stride), spaced(count));
      item(12, group, name);
      line("          </DataItem>\n        </Attribute>");
    }
    line("      </Grid>");
  }

  /// Planes of x and t, one after the other.
  void planes(const hdf5::Group& group, const StoredFields& fields, const std::string& title) {
    const std::uint64_t nt = fields.shape[1], nx = fields.shape[2];
    begin_collection(title);
    for (std::uint64_t sample = 0; sample < fields.shape[0]; ++sample) {
      begin_grid(fmt::format("sample {}", sample), sample);
      line("        <Topology TopologyType=\"2DRectMesh\" Dimensions=\"{} {}\"/>", nt, nx);
      line("        <Geometry GeometryType=\"VXVY\">");
      item(10, group, "x");
      item(10, group, "t");
      line("        </Geometry>");
      end_grid(group, fields, {sample, 0, 0}, {1, nt, nx}, spaced({nt, nx}));
    }
    line("    </Grid>");
  }

  /// Two or three space axes. A rectilinear mesh takes the last axis of an array as X, which is y or z here; a
  /// curvilinear one has the position of each point in the order of the values.
  void meshes(const hdf5::Group& group, const StoredFields& fields, const std::string& title) {
    const std::string points = points_of(group, fields);
    const hdf5::Shape cells(fields.shape.begin() + 2, fields.shape.end());
    const std::string nodes = spaced(cells);
    const std::vector<double> times = group.read<double>("t");
    hdf5::Shape start(fields.shape.size(), 0), count = fields.shape;
    count[0] = count[1] = 1;
    for (start[0] = 0; start[0] < fields.shape[0]; ++start[0]) {
      begin_collection(fmt::format("{} sample {}", title, start[0]));
      for (start[1] = 0; start[1] < times.size(); ++start[1]) {
        begin_grid(fmt::format("t = {}", times[start[1]]), times[start[1]]);
        line("        <Topology TopologyType=\"{}DSMesh\" Dimensions=\"{}\"/>", cells.size(), nodes);
        line("        <Geometry GeometryType=\"{}\">", cells.size() == 2 ? "XY" : "XYZ");
        line("          <DataItem Reference=\"XML\">/Xdmf/Domain/DataItem[@Name=\"{}\"]</DataItem>", points);
        line("        </Geometry>");
        end_grid(group, fields, start, count, nodes);
      }
      line("    </Grid>");
    }
  }

  /// The name of the points of these fields, which are written once for each grid. They stand behind the runs,
  /// because a side file is known by what it begins with (files.hpp).
  std::string points_of(const hdf5::Group& group, const StoredFields& fields) {
    Grid grid;
    for (std::size_t axis = 2; axis < fields.axes.size(); ++axis)
      grid.push_back(group.read<double>(fields.axes[axis]));
    const auto known = std::find(grids_.begin(), grids_.end(), grid);
    const std::string name = fmt::format("points {}", known - grids_.begin());
    if (known != grids_.end()) return name;
    grids_.push_back(grid);
    const auto out = std::back_inserter(points_);
    fmt::format_to(out,
                   "    <DataItem Name=\"{}\" Dimensions=\"{} {}\" NumberType=\"Float\" Precision=\"8\" "
                   "Format=\"XML\">\n",
                   name, spaced(hdf5::Shape(fields.shape.begin() + 2, fields.shape.end())), grid.size());
    if (grid.size() == 2) grid.push_back({0});
    for (const double x : grid[0])
      for (const double y : grid[1])
        for (const double z : grid[2])
          fields.axes.size() == 4 ? fmt::format_to(out, "{} {}\n", x, y)
                                  : fmt::format_to(out, "{} {} {}\n", x, y, z);
    points_ += "    </DataItem>\n";
    return name;
  }

  using Grid = std::vector<std::vector<double>>;  // the coordinates of each axis
  std::string file_;                              // name relative to the XDMF file
  std::string text_{xdmf_start}, points_;
  std::vector<Grid> grids_;
};

}  // namespace

std::string xdmf_text(const std::string& results_path) {
  const hdf5::File file = hdf5::File::open(results_path);
  Description description(std::filesystem::path(results_path).filename().string());
  for (const StoredRun& run : stored_runs(file.root())) description.run(run);
  return description.text();
}

std::string xdmf_path(const std::string& results_path) {
  return std::filesystem::path(results_path).replace_extension(".xdmf").string();
}

std::string write_xdmf(const std::string& results_path) {
  const std::string text = xdmf_text(results_path);
  if (text.find("<Grid") == std::string::npos) return "";
  const std::string path = xdmf_path(results_path);
  write_file(path, FileContent::side_file, text);
  return path;
}

}  // namespace rankine
