#include "src/train/faults.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/io/provenance.hpp"
#include "src/run/checkpoint_state.hpp"

namespace rankine {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

/// The numbers of a report, which a rank sends to the others.
struct PackedFault {
  long tile, sample, expert, frame, cell, channel;
  std::int64_t element, count;
  double value;
  int rank;
};

/// An element as a real number: the part that is not finite where it is complex.
double element_of(const Tensor& tensor, std::int64_t element) {
  const Tensor x = tensor.contiguous() ? tensor : tensor.clone();
  const auto get = [&](auto value) {
    copy_to_host(&value, x.data<decltype(value)>() + element, 1);
    return value;
  };
  const auto bad_part = [](auto z) {
    return static_cast<double>(std::isfinite(z.real()) ? z.imag() : z.real());
  };
  switch (x.dtype()) {
    case DType::f32:
      return static_cast<double>(get(float()));
    case DType::f64:
      return get(double());
    case DType::c64:
      return bad_part(get(std::complex<float>()));
    case DType::c128:
      return bad_part(get(std::complex<double>()));
    default:
      return nan;
  }
}

/// What the finding's own rank says about it, before `describe` has its turn.
void note_finding(const FaultProbe::Finding& found, int rank, FaultReport& report) {
  report.phase = found.kind == FaultProbe::Finding::Kind::output ? "forward" : "backward";
  report.tensor = found.name;
  report.layer = found.layer;
  report.rank = rank;
  name_element(found.value, found.elements, report);
}

void note_complaint(const UpdateGuard::Complaint& complaint, double learning_rate, FaultReport& report) {
  report.phase = complaint.statistics ? "statistics" : "update";
  report.tensor = complaint.tensor;
  name_element(complaint.value, not_finite(complaint.value), report);
  report.term = complaint.statistics ? "activations of this batch are too large"
                                     : fmt::format("the learning rate of this step is {:g}", learning_rate);
}

void note_loss(const StepOutcome& outcome, const std::string& loss_term, FaultReport& report) {
  const bool by_loss = !std::isfinite(outcome.loss);
  if (!by_loss && std::isfinite(outcome.gradient_norm)) {
    report.phase = "gone";
    report.tensor = "a value";
    report.value = nan;
    return;
  }
  report.phase = "loss";
  report.tensor = by_loss ? "the loss" : "the gradient's norm";
  report.value = by_loss ? outcome.loss : outcome.gradient_norm;
  report.term = by_loss ? loss_term : "its elements are numbers, but their squares overflow";
}

/// Fills the report from a fault that the learning rule has found itself.
void read_rule_fault(const Communicator& communicator, const FailedStep& failed, FaultReport& report) {
  const RuleFault& fault = *failed.outcome.fault;
  if (communicator.rank() == fault.owner) {
    if (fault.finding) {
      note_finding(*fault.finding, fault.owner, report);
      failed.describe(*fault.finding, fault.in_step, report);
    } else if (fault.complaint) {
      note_complaint(*fault.complaint, failed.context.learning_rate, report);
    } else {
      note_loss(failed.outcome, "", report);
    }
    if (report.layer.empty() && (!fault.finding || fault.in_step)) report.layer = fault.block;
  }
  share_fault(communicator, fault.owner, report);
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
  } else if (phase == "statistics") {
    out += fmt::format("the step would make {} {}", name, what);
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

Tensor row_of(const Tensor& x, std::int64_t index) {
  Shape shape = x.shape(), strides = x.strides();
  shape.erase(0);
  strides.erase(0);
  return x.view(shape, strides, index * x.strides()[0]).clone();
}

void name_element(const Tensor& tensor, const NotFinite& elements, FaultReport& report) {
  report.element = elements.first;
  report.value = element_of(tensor, elements.first);
  report.count = elements.count;
  report.content = tensor;
}

bool place_parameter(const FaultProbe::Finding& found, const ParameterSet& parameters, long tile,
                     FaultReport& report) {
  if (found.name != "parameters") return false;
  // The parts of the parameter set: one output each, and one gradient of all.
  if (found.kind == FaultProbe::Finding::Kind::input_gradient) {
    report.rank = -1;
    for (const ParameterInfo& part : parameters.parts()) {
      if (found.elements.first < part.offset) continue;
      report.tensor = "weights/" + part.name;
      report.element = found.elements.first - part.offset;
    }
    return true;
  }
  const ParameterInfo& part = parameters.parts()[static_cast<size_t>(found.slot)];
  report.tensor = "weights/" + part.name;
  report.layer.clear();
  if (!part.on_tiles) {
    report.rank = -1;
    return true;
  }
  const std::int64_t each = part.shape.count();
  if (tile >= 0)
    report.tile = tile + static_cast<long>(found.elements.first / each);
  else if (found.kind == FaultProbe::Finding::Kind::output)
    report.rank = -1;
  report.element = found.elements.first % each;
  report.content = row_of(found.value, found.elements.first / each);
  return true;
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
  report.content = Tensor::from_bytes(bytes, Shape(shape), static_cast<DType>(type));
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
    note_finding(found, owner, report);
    report.count = total;
    describe(found, report);
    if (report.rank < 0) report.count = not_finite(report.content).count;
  }
  share_fault(communicator, owner, report);
  return true;
}

FoundFault find_fault(const Communicator& communicator, const FailedStep& failed, FaultReport report) {
  report.loss = failed.outcome.loss;
  report.gradient_norm = failed.outcome.gradient_norm;
  FoundFault out{report};
  if (failed.outcome.fault) {
    read_rule_fault(communicator, failed, out.report);
    return out;
  }

  FaultProbe probe;
  if (const auto bad = failed.guard.check()) probe.check(bad->tensor, bad->value);
  for (const auto& [name, value] : failed.inputs) probe.check(name, value);
  const std::int64_t before = probe.checks();

  // The rule's own state must not see the step twice.
  StateRegistry rule_state;
  failed.rule.register_state(rule_state, "rule");
  const StateSnapshot kept = rule_state.save();
  RuleContext again = failed.context;
  again.update = [&](const Tensor& g) { out.gradient = g.clone(); };
  std::optional<SharedNumericalError> thrown;
  StepOutcome repeated;
  try {
    repeated = take_step(failed.rule, again);
  } catch (const SharedNumericalError& error) {
    thrown = error;
  }
  rule_state.restore(kept);
  if (!out.gradient.defined()) out.gradient = repeated.gradient;

  const auto describe = [&](const FaultProbe::Finding& found, FaultReport& to) {
    const bool about_state = found.name.starts_with("weights/") || found.name.starts_with("optimizer/");
    if (about_state && found.number < before)
      to.rank = -1;
    else
      failed.describe(found, found.number >= before, to);
  };
  if (agree_on_fault(communicator, probe, describe, out.report)) return out;
  if (failed.guard.complaint()) {  // the same on all ranks
    note_complaint(*failed.guard.complaint(), failed.context.learning_rate, out.report);
    return out;
  }
  if (const Party* party = again.party; party != nullptr && party->complaint()) {
    note_complaint(*party->complaint(), party->learning_rate(again), out.report);
    return out;
  }
  if (thrown) {
    out.report.phase = "solve";
    out.report.tensor = "the computation of a sample";
    out.report.rank = thrown->rank;
    out.report.value = nan;
    out.report.term = thrown->own;
    if (failed.describe_thrown) failed.describe_thrown(out.report);
    return out;
  }
  const bool by_loss = !std::isfinite(repeated.loss);
  note_loss(repeated, by_loss && failed.explain_loss ? failed.explain_loss() : "", out.report);
  return out;
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

void FaultHandler::require_checkpoints(const RunContext& context, const std::string& policy) {
  if (policy == "rewind" && !context.checkpoint.wanted())
    throw InputError("variant " + context.variant +
                     ": train.on_fault: rewind needs checkpoints to go back to; give checkpoint.every_steps "
                     "or every_minutes");
}

FaultHandler::FaultHandler(RunContext& context, const std::string& policy, const FaultOptions& options,
                           const ParameterSet& parameters, std::function<void()> state_changed)
    : context_(context),
      policy_(policy, options),
      parameters_(parameters),
      state_changed_(std::move(state_changed)),
      skips_(policy == "skip") {
  policy_.register_state(context.checkpoint.state());
}

FaultReport FaultHandler::report(std::int64_t step) const {
  FaultReport out{.variant = context_.variant, .seed = context_.seed, .step = step};
  out.loss = out.gradient_norm = nan;
  return out;
}

void FaultHandler::check_start(std::int64_t step) {
  state_changed_();
  for (const auto& [name, entry] : context_.checkpoint.state().entries()) {
    if (!must_be_finite(name) || !is_differentiable(entry.type)) continue;
    const StateView view = entry.view();
    const Tensor tensor = Tensor::from_bytes(view.bytes, Shape(view.shape), view.type);
    const NotFinite bad = not_finite(tensor);
    if (bad.count == 0) continue;
    FoundFault found{report(step)};
    found.report.phase = "start";
    found.report.tensor = name;
    name_element(tensor, bad, found.report);
    policy_.reported();
    throw NumericalError(text_of(found) +
                         "; the run cannot start from these values: give another checkpoint or weights");
  }
}

std::optional<std::int64_t> FaultHandler::step_failed(std::int64_t step,
                                                      const std::function<FoundFault()>& find) {
  std::string text = fmt::format("variant {}, seed {}, step {}: something is not finite", context_.variant,
                                 context_.seed, step);
  const bool looked_into = policy_.reported() || !skips_;
  if (looked_into) text = text_of(find());
  const FaultPolicy::Action action = policy_.decide(step, text);
  if (looked_into)
    context_.log.warning(text + (action == FaultPolicy::Action::skip ? "; the step is left out" : ""));
  if (action == FaultPolicy::Action::skip) return std::nullopt;
  return rewind(text);
}

std::int64_t FaultHandler::rewind(const std::string& fault) {
  std::optional<std::int64_t> to;
  policy_.keep_across([&] { to = context_.checkpoint.rewind(); });
  if (!to)
    throw NumericalError(fault +
                         "; there is no good checkpoint of this run to go back to; make "
                         "checkpoint.every_steps smaller");
  state_changed_();
  context_.checkpoint.save(*to);
  context_.log.line(
      fmt::format("{} seed {}: went back to step {}; the learning rate is {:f} times the deck's from here on",
                  context_.variant, context_.seed, *to, rate_factor()));
  return *to;
}

std::string FaultHandler::text_of(const FoundFault& found) {
  std::string file;
  if (policy_.first() && context_.communicator.is_root()) file = dump(found);
  context_.communicator.broadcast(file);
  return found.report.text() + (file.empty() ? "" : "; state written to " + file);
}

/// Writes everything that the step depended on to a file beside the results. Root only.
std::string FaultHandler::dump(const FoundFault& found) const {
  const std::string path = fmt::format("{}.fault-{}-seed_{}-step_{}.h5", context_.output, context_.variant,
                                       context_.seed, found.report.step);
  FaultFile file = fault_file(found.report);
  const BuildInfo build = build_info();
  file.texts = {{"deck", context_.deck.text()},
                {"resolved_deck", context_.deck.resolved()},
                {"version", build.version},
                {"revision", build.git_revision},
                {"ranks", std::to_string(context_.communicator.size())}};
  for (const auto& [name, x] : found.batch)
    if (x.defined()) file.arrays.emplace_back("batch/" + name, value_of(x));
  const auto add_parts = [&](const std::string& group, const Tensor& flat) {
    if (!flat.defined()) return;
    for (const ParameterInfo& part : parameters_.parts())
      file.arrays.emplace_back(group + "/" + part.name,
                               value_of(flat.view(part.shape, row_major_strides(part.shape), part.offset)));
  };
  add_parts("weights", parameters_.flat());
  add_parts("gradient", found.gradient);
  for (const auto& [name, entry] : context_.checkpoint.state().entries())
    if (name.find("optimizer/") != std::string::npos && entry.kind == StateKind::replicated)
      file.arrays.emplace_back(name, entry.get());
  try {
    write_fault_file(path, file);
  } catch (const std::exception& error) {
    context_.log.warning(std::string("the state of the failed step could not be written: ") + error.what());
    return {};
  }
  return path;
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
