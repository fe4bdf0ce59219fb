#include "src/experiments/faults.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "kernels/error.hpp"

namespace rankine {
namespace {

/// What travels of a report besides its texts and its tensor.
struct PackedFault {
  long tile, sample, expert, frame, cell, channel;
  std::int64_t element, count;
  double value;
  int rank;
};

double element_of(const Tensor& tensor, std::int64_t element) {
  const Tensor x = tensor.contiguous() ? tensor : tensor.clone();
  switch (x.dtype()) {
    case DType::f32:
      return static_cast<double>(x.data<float>()[element]);
    case DType::f64:
      return x.data<double>()[element];
    case DType::c64: {
      const auto z = x.data<std::complex<float>>()[element];
      return static_cast<double>(std::isfinite(z.real()) ? z.imag() : z.real());
    }
    case DType::c128: {
      const auto z = x.data<std::complex<double>>()[element];
      return std::isfinite(z.real()) ? z.imag() : z.real();
    }
    default:
      return std::numeric_limits<double>::quiet_NaN();
  }
}

}  // namespace

void FaultOptions::options(OptionVisitor& o) {
  o("skip_limit", skip_limit,
    {.help = "steps in a row that may be left out; one more ends the run with exit code 2", .min = 0});
  o("rewind_limit", rewind_limit,
    {.help = "on_fault: rewind: how often a run may go back; one more fault ends it with exit code 2. A step "
             "that fails again after going back is left out",
     .min = 1});
  o("rewind_rate", rewind_rate,
    {.help = "factor on the learning rate from each rewind on", .min = 0, .max = 1, .exclusive_min = true});
}

std::string FaultReport::text() const {
  const char* what = std::isnan(value) ? "NaN" : value > 0 ? "inf" : "-inf";
  const std::string name = layer.empty() ? tensor : tensor + " of layer " + layer;
  std::string out = fmt::format("variant {}, seed {}, step {}: ", variant, seed, step);
  if (phase == "gone") {
    out += tensor + " was not finite, but is when the step is repeated; look for a fault of the machine";
  } else if (phase == "solve") {
    out += name + " failed";
  } else if (phase == "update") {
    out += fmt::format("the update would make {} {}", name, what);
  } else if (phase == "backward") {
    out += fmt::format("the gradient of {} is {}", name, what);
  } else {
    out += fmt::format("{} is {}", name, what);
  }
  std::string where;
  const auto add = [&](const char* label, long at) {
    if (at >= 0) where += fmt::format("{}{} {}", where.empty() ? "" : ", ", label, at);
  };
  add("tile", tile);
  add("sample", sample);
  add("expert", expert);
  add("channel", channel);
  add("frame", frame);
  add("cell", cell);
  if (where.empty() && count > 0) where = fmt::format("element {}", element);
  add("rank", rank);
  if (!where.empty()) out += " at " + where;
  if (count > 1) out += fmt::format(" ({} values are not finite)", count);
  if (!term.empty()) out += ": " + term;
  const auto number = [](double x) { return std::isnan(x) ? std::string("nan") : fmt::format("{:.6g}", x); };
  return out + "; loss " + number(loss) + ", gradient norm " + number(gradient_norm);
}

void share_fault(const Communicator& communicator, int owner, FaultReport& report) {
  PackedFault packed{report.tile,    report.sample,  report.expert, report.frame, report.cell,
                     report.channel, report.element, report.count,  report.value, report.rank};
  communicator.broadcast(packed, owner);
  report.tile = packed.tile;
  report.sample = packed.sample;
  report.expert = packed.expert;
  report.frame = packed.frame;
  report.cell = packed.cell;
  report.channel = packed.channel;
  report.element = packed.element;
  report.count = packed.count;
  report.value = packed.value;
  report.rank = packed.rank;
  for (std::string* text : {&report.phase, &report.tensor, &report.layer, &report.term})
    communicator.broadcast(*text, owner);
  std::int64_t type = report.content.defined() ? static_cast<std::int64_t>(report.content.dtype()) : -1;
  communicator.broadcast(type, owner);
  if (type < 0) return;
  std::vector<std::int64_t> shape(report.content.shape().begin(), report.content.shape().end());
  communicator.broadcast(shape, owner);
  std::vector<std::byte> bytes;
  if (communicator.rank() == owner) bytes = value_of(report.content).bytes;
  communicator.broadcast(bytes, owner);
  report.content = Tensor::wrap(bytes.data(), Shape(shape), static_cast<DType>(type)).clone();
}

bool agree_on_fault(const Communicator& communicator, const FaultProbe& probe,
                    const DescribeFinding& describe, FaultReport& report) {
  constexpr std::int64_t none = std::numeric_limits<std::int64_t>::max();
  const std::int64_t mine = probe.found() ? probe.found()->number : none;
  const std::int64_t first = communicator.min(mine);
  if (first == none) return false;
  const bool here = mine == first;
  const int owner = communicator.min(here ? communicator.rank() : communicator.size());
  // A value that all ranks have alike counts once.
  const std::int64_t total = communicator.sum(here ? probe.found()->elements.count : 0);
  if (communicator.rank() == owner) {
    const FaultProbe::Finding& found = *probe.found();
    report.phase = found.kind == FaultProbe::Finding::Kind::output ? "forward" : "backward";
    report.tensor = found.name;
    report.layer = found.layer;
    report.rank = owner;
    report.element = found.elements.first;
    report.value = element_of(found.value, found.elements.first);
    report.count = total;
    report.content = found.value;
    describe(found, report);
    if (report.rank < 0) report.count = found.elements.count;
  }
  share_fault(communicator, owner, report);
  return true;
}

void FaultPolicy::register_state(StateRegistry& state) {
  state.add("faults/in_a_row", StateKind::replicated, in_a_row_);
  state.add("faults/rewound_steps", StateKind::replicated, rewound_);
}

FaultPolicy::Action FaultPolicy::decide(std::int64_t step, const std::string& text) {
  if (policy_ == "stop") {
    throw NumericalError(text +
                         "; lower train.learning_rate, or let train.on_fault: skip leave such steps out, or "
                         "rewind go back to a checkpoint");
  }
  if (policy_ == "rewind" && std::find(rewound_.begin(), rewound_.end(), step) == rewound_.end()) {
    if (rewinds() >= o_.rewind_limit) {
      throw NumericalError(
          fmt::format("{}; the run went back {} times before, which is train.faults.rewind_limit; lower "
                      "train.learning_rate",
                      text, rewinds()));
    }
    rewound_.push_back(step);
    return Action::rewind;
  }
  if (++in_a_row_ > o_.skip_limit) {
    throw NumericalError(
        fmt::format("{}; {} steps in a row were left out before, which is train.faults.skip_limit; lower "
                    "train.learning_rate",
                    text, o_.skip_limit));
  }
  return Action::skip;
}

void FaultPolicy::keep_across(const std::function<void()>& restore) {
  const std::vector<std::int64_t> rewound = rewound_;
  restore();
  rewound_ = rewound;
  in_a_row_ = 0;
}

double FaultPolicy::rate_factor() const {
  double factor = 1;
  for (std::int64_t i = 0; i < rewinds(); ++i) factor *= o_.rewind_rate;
  return factor;
}

FaultFile fault_file(const FaultReport& report) {
  FaultFile out;
  out.facts = {{"message", report.text()},  {"variant", report.variant},
               {"seed", report.seed},       {"step", report.step},
               {"phase", report.phase},     {"tensor", report.tensor},
               {"layer", report.layer},     {"term", report.term},
               {"loss", report.loss},       {"gradient_norm", report.gradient_norm},
               {"value", report.value},     {"count", report.count},
               {"element", report.element}, {"rank", std::int64_t{report.rank}}};
  const std::pair<const char*, long> places[] = {{"tile", report.tile},     {"sample", report.sample},
                                                 {"expert", report.expert}, {"frame", report.frame},
                                                 {"cell", report.cell},     {"channel", report.channel}};
  for (const auto& [name, at] : places) out.facts.emplace_back(name, std::int64_t{at});
  if (report.content.defined() && is_real_floating(report.content.dtype()))
    out.arrays.emplace_back("tensor", value_of(report.content));
  return out;
}

}  // namespace rankine
