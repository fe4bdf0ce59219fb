#include "src/tensor/step_report.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "src/tensor/storage.hpp"

namespace rankine {
namespace {

thread_local StepReport* open_report = nullptr;

}  // namespace

StepReport::StepReport() : outer_(open_report) {
  const Uncounted scope;
  memory_ = Tensor::empty({kNumbers + kFlags}, DType::f64);
  open_report = this;
}
StepReport::~StepReport() { open_report = outer_; }
StepReport* StepReport::open() { return open_report; }

int StepReport::add() {
  RANKINE_ASSERT(numbers_ < kNumbers, "a step reports more than " + std::to_string(kNumbers) + " numbers");
  return numbers_++;
}
DevicePtr<double> StepReport::number(int slot) const { return memory_.data<double>() + slot; }

int StepReport::add(const Tensor& scalar) {
  RANKINE_ASSERT(scalar.count() == 1 && scalar.dtype() == DType::f64,
                 "a step reports " + scalar.shape().text());
  const int slot = add();
  memory_.view(scalar.shape(), row_major_strides(scalar.shape()), slot).assign(scalar);
  return slot;
}

void StepReport::read() {
  // Numbers and flags are neighbours, so that what is not used need not travel.
  const int count = flags_ > 0 ? kNumbers + flags_ : numbers_;
  values_.resize(static_cast<std::size_t>(count));
  copy_to_host(values_.data(), memory_.data<double>(), count);
  const std::vector<Check> checks = std::exchange(checks_, {});
  for (const Check& check : checks) {
    const auto flag = std::bit_cast<std::int64_t>(values_[static_cast<std::size_t>(kNumbers + check.slot)]);
    if (flag != 0) check.complain(flag);
  }
}

CheckFlag::CheckFlag() {
  StepReport* const report = open_report;
  if (report != nullptr && report->flags_ < StepReport::kFlags) {
    memory_ = report->memory_;
    slot_ = report->flags_++;
  } else {
    memory_ = Tensor::empty({1}, DType::f64);
  }
}
DevicePtr<std::int64_t> CheckFlag::device() const {
  return memory_.data<double>().as<std::int64_t>() + (slot_ < 0 ? 0 : StepReport::kNumbers + slot_);
}

void check_flag(const CheckFlag& flag, std::function<void(std::int64_t)> complain) {
  StepReport* const report = open_report;
  if (flag.slot_ >= 0 && report != nullptr && report->memory_.shares_memory_with(flag.memory_)) {
    report->checks_.push_back({flag.slot_, std::move(complain)});
    return;
  }
  std::int64_t value = 0;
  copy_to_host(&value, flag.device(), 1);
  if (value != 0) complain(value);
}

}  // namespace rankine
