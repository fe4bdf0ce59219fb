#include "src/data/pde_file.hpp"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <regex>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"
#include "src/deck/node.hpp"

namespace rankine {
namespace {

/// Twice the rounding error of float32 for a number of this size.
double rounding(double size) { return 2 * std::numeric_limits<float>::epsilon() * std::abs(size); }

bool is_near(double a, double b) { return std::abs(a - b) <= rounding(std::max(std::abs(a), std::abs(b))); }

void check_places(const PdebenchFile& file, const Pde& pde) {
  const std::vector<double>& x = file.x();
  const auto n = static_cast<double>(x.size());
  const double length = pde.length(0), dx = length / n, first = dx / 2, last = length - dx / 2;
  // Coordinates may have been summed up in float32.
  const double tolerance = rounding(length) + 1e-3 * dx;
  const auto centre = [&](std::size_t i) { return length * (static_cast<double>(i) + 0.5) / n; };
  std::size_t worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i)
    if (std::abs(x[i] - centre(i)) > std::abs(x[worst] - centre(worst))) worst = i;
  if (std::abs(x[worst] - centre(worst)) <= tolerance) return;
  std::string remedy = "write the cell centres, in the unit of pde.length";
  const double step = (x.back() - x.front()) / (n - 1);
  if (std::abs(x.front()) <= tolerance && std::abs(x.back() - length) <= tolerance)
    remedy = "these are nodes with both ends: average neighbours, or interpolate, to cell centres";
  else if (std::abs(x.front()) <= tolerance && std::abs(step - dx) <= 1e-3 * dx)
    remedy = "these are the left edges of the cells: write their centres";
  else if (std::abs(x.front() - step / 2) <= 1e-3 * step)
    remedy +=
        fmt::format(", or set pde.length to {}", shortest(static_cast<double>(static_cast<float>(n * step))));
  throw InputError(fmt::format(
      "grid/x runs from {} to {}, but the {} cell centres of [0, {}] (pde.length) run from {} to {}{}; {}",
      x.front(), x.back(), x.size(), length, first, last,
      std::abs(x.front() - first) <= tolerance && std::abs(x.back() - last) <= tolerance
          ? fmt::format(", and number {} is {} in place of {}", worst, x[worst], centre(worst))
          : std::string(),
      remedy));
}

void check_times(const PdebenchFile& file, const Pde& pde, std::optional<int> frames) {
  const std::vector<double>& t = file.t();
  const double duration = pde.duration(), tolerance = rounding(duration);
  if (std::abs(t.front()) > tolerance || std::abs(t.back() - duration) > tolerance)
    throw InputError(
        fmt::format("grid/t runs from {} to {}, pde.duration is {}; {}", t.front(), t.back(), duration,
                    std::abs(t.front()) > tolerance
                        ? std::string("the first frame must be the initial state, at t = 0")
                        : fmt::format("write the times in the deck's unit, or set pde.duration to {}",
                                      shortest(t.back()))));
  if (frames && static_cast<int>(t.size()) != *frames)
    throw InputError(fmt::format("holds {} frames, but data.frames is {}; leave data.frames out, or write {}",
                                 t.size(), *frames, t.size()));
}

/// The content of a configuration: numbers by name, and the name of the equation.
struct Stated {
  std::vector<std::pair<std::string, double>> numbers;
  std::string equation;
};

void add(const std::string& name, const std::string& text, Stated& out) {
  std::string lower;
  for (const char c : text)
    if (std::isalnum(static_cast<unsigned char>(c)))
      lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const bool of_pdebench = lower.size() > 2 && lower[0] >= '1' && lower[0] <= '3' && lower[1] == 'd';
  if ((name == "pde" || (name == "name" && of_pdebench)) && lower.find("sorp") == std::string::npos)
    out.equation = text;
  const char* begin = text.c_str();
  char* end = nullptr;
  const double value = std::strtod(begin, &end);
  while (end != nullptr && (*end == ' ' || *end == '\t' || *end == '\r' || *end == ',')) ++end;
  if (end != begin && *end == '\0') out.numbers.emplace_back(name, value);
}

/// Reads the numbers of a configuration at its top level, and in the sections that describe the simulation. A
/// text that is no YAML, and therefore no JSON, is read line by line.
Stated numbers_of(const std::string& config) {
  Stated out;
  try {
    const DeckNode root = parse_deck_text(config, "config");
    const auto add_section = [&](const DeckNode& section) {
      for (const std::string& key : section.keys())
        if (const DeckNode value = section.child(key); value.is_scalar()) add(key, value.as_text(), out);
    };
    add_section(root);
    for (const char* section :
         {"sim", "simulation", "pde", "equation", "physics", "parameters", "params", "args"})
      if (root.has(section) && root.child(section).is_mapping()) add_section(root.child(section));
  } catch (const InputError&) {
    out = {};
    static const std::regex line(R"(^\s*["']?(\w+)["']?\s*[:=]\s*(.*)$)");
    std::size_t at = 0;
    while (at < config.size()) {
      const std::size_t end = std::min(config.find('\n', at), config.size());
      const std::string one = config.substr(at, std::min<std::size_t>(end - at, 1000));
      std::smatch found;
      if (std::regex_match(one, found, line)) add(found[1], found[2], out);
      at = end + 1;
    }
  }
  return out;
}

void check_stated(const PdebenchFile& file, const Pde& pde, long sample) {
  const std::vector<PdeConstant> constants = pde.constants();
  for (const PdebenchAttribute& attribute : file.attributes(sample)) {
    Stated stated;
    if (attribute.name == "config" && !attribute.text.empty())
      stated = numbers_of(attribute.text);
    else if (!attribute.text.empty())
      add(attribute.name, attribute.text, stated);
    else if (attribute.numbers.size() == 1)
      stated.numbers.emplace_back(attribute.name, attribute.numbers.front());
    if (!stated.equation.empty())
      throw InputError(
          fmt::format("{} calls the equation '{}', but data.source: pdebench reads solutions of "
                      "diffusion-sorption; give another file",
                      attribute.place, printable(stated.equation)));
    for (const auto& [name, value] : stated.numbers)
      for (const PdeConstant& constant : constants) {
        if (name != constant.key && std::count(constant.names.begin(), constant.names.end(), name) == 0)
          continue;
        if (is_near(value, constant.value)) continue;
        throw InputError(fmt::format(
            "{} says {} = {}, but {} {}", attribute.place, name, shortest(value),
            constant.key.empty() ? "the equation has" : fmt::format("pde.{} is", constant.key),
            constant.key.empty()
                ? fmt::format("{} there; give a file of this equation", shortest(constant.value))
                : fmt::format("{}; the file holds solutions of another equation: set pde.{} to {}, or give "
                              "another file",
                              shortest(constant.value), constant.key, shortest(value))));
      }
  }
}

void check_values(const PdebenchFile& file, const Pde& pde, long sample) {
  const std::vector<double> u = file.read_sample(sample);
  const CollocatedPde* equation = pde.collocated();
  if (equation == nullptr) return;
  const std::size_t cells = file.x().size();
  const auto [least, greatest] = std::minmax_element(u.begin(), u.begin() + static_cast<long>(cells));
  const auto [low, high] = equation->bounds(*least, *greatest);
  const double slack = 0.1 * (high - low);  // for noise, and for overshoots of a scheme
  for (std::size_t i = 0; i < u.size(); ++i)
    if (u[i] < low - slack || u[i] > high + slack)
      throw InputError(
          fmt::format("'/{}/data' holds {} at [t {}, x {}, 0] (t = {}, x = {}), but from this initial state "
                      "solutions stay between {} and {}; is it another equation's file, or in another unit?",
                      file.name(sample), u[i], i / cells, i % cells, file.t()[i / cells], file.x()[i % cells],
                      low, high));
}

}  // namespace

std::vector<double> uniform_times(double duration, int frames) {
  std::vector<double> times(frames);
  for (int j = 0; j < frames; ++j) times[j] = duration * j / (frames - 1);
  return times;
}

void check_pde_file(const PdebenchFile& file, const Pde& pde, long samples, std::optional<int> frames) {
  check_places(file, pde);
  check_times(file, pde, frames);
  for (long s = 0; s < std::min<long>(samples, file.samples()); ++s) {
    check_stated(file, pde, s);
    check_values(file, pde, s);
  }
}

bool same_times(const std::vector<double>& a, const std::vector<double>& b) {
  const double tolerance = rounding(b.empty() ? 0 : b.back());
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](double s, double t) { return std::abs(s - t) <= tolerance; });
}

std::vector<double> file_times(const PdebenchFile& file, const Pde& pde) {
  std::vector<double> times = file.t();
  const std::vector<double> uniform = uniform_times(pde.duration(), static_cast<int>(times.size()));
  if (same_times(times, uniform)) return uniform;
  times.front() = 0;
  times.back() = pde.duration();
  return times;
}

}  // namespace rankine
