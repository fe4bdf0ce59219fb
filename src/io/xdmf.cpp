#include "src/io/xdmf.hpp"

#include <algorithm>
#include <filesystem>
#include <iterator>

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

struct Source {
  std::string file;  // name relative to the XDMF file
  template <class Out>
  void item(Out out, int indent, const std::string& dimensions, int bytes, const std::string& path) const {
    fmt::format_to(
        out,
        "{:{}}<DataItem Dimensions=\"{}\" NumberType=\"Float\" Precision=\"{}\" Format=\"HDF\">{}:{}"
        "</DataItem>\n",
        "", indent, dimensions, bytes, escaped(file), escaped(path));
  }
};

int bytes_of(hdf5::Type type) { return type == hdf5::Type::f32 ? 4 : 8; }

void describe_run(std::string& text, const hdf5::Group& fields, const std::string& title,
                  const Source& source) {
  if (!fields.has_dataset("t") || !fields.has_dataset("x")) return;
  const auto nt = fields.info("t").shape.at(0), nx = fields.info("x").shape.at(0);
  std::vector<std::string> names;
  std::uint64_t samples = 0;
  for (const auto& name : fields.names()) {
    if (!fields.has_dataset(name)) continue;
    const hdf5::DatasetInfo info = fields.info(name);
    const bool is_field = info.shape.size() == 3 && info.shape[1] == nt && info.shape[2] == nx &&
                          (info.type == hdf5::Type::f32 || info.type == hdf5::Type::f64);
    if (!is_field || (!names.empty() && info.shape[0] != samples)) continue;
    samples = info.shape[0];
    names.push_back(name);
  }
  if (names.empty()) return;

  auto out = std::back_inserter(text);
  fmt::format_to(out, "    <Grid Name=\"{}\" GridType=\"Collection\" CollectionType=\"Temporal\">\n",
                 escaped(title));
  for (std::uint64_t sample = 0; sample < samples; ++sample) {
    fmt::format_to(out,
                   "      <Grid Name=\"sample {}\" GridType=\"Uniform\">\n        <Time Value=\"{}\"/>\n",
                   sample, sample);
    fmt::format_to(out, "        <Topology TopologyType=\"2DRectMesh\" Dimensions=\"{} {}\"/>\n", nt, nx);
    fmt::format_to(out, "        <Geometry GeometryType=\"VXVY\">\n");
    source.item(out, 10, std::to_string(nx), bytes_of(fields.info("x").type), fields.path() + "/x");
    source.item(out, 10, std::to_string(nt), bytes_of(fields.info("t").type), fields.path() + "/t");
    fmt::format_to(out, "        </Geometry>\n");
    for (const auto& name : names) {
      fmt::format_to(out, "        <Attribute Name=\"{}\" AttributeType=\"Scalar\" Center=\"Node\">\n",
                     escaped(name));
      fmt::format_to(out, "          <DataItem ItemType=\"HyperSlab\" Dimensions=\"{} {}\">\n", nt, nx);
      fmt::format_to(
          out,
          "            <DataItem Dimensions=\"3 3\" NumberType=\"Int\" Format=\"XML\">{} 0 0  1 1 1  1 {} "
          "{}</DataItem>\n",
          sample, nt, nx);
      source.item(out, 12, fmt::format("{} {} {}", samples, nt, nx), bytes_of(fields.info(name).type),
                  fields.path() + "/" + name);
      fmt::format_to(out, "          </DataItem>\n        </Attribute>\n");
    }
    fmt::format_to(out, "      </Grid>\n");
  }
  fmt::format_to(out, "    </Grid>\n");
}

}  // namespace

std::string xdmf_text(const std::string& results_path) {
  const hdf5::File file = hdf5::File::open(results_path);
  const Source source{std::filesystem::path(results_path).filename().string()};
  std::string text(xdmf_start);
  for (const StoredRun& run : stored_runs(file.root())) {
    if (run.group.has_group("fields"))
      describe_run(text, run.group.open_group("fields"), fmt::format("{}/seed_{}", run.variant, run.seed),
                   source);
  }
  return text + "  </Domain>\n</Xdmf>\n";
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
