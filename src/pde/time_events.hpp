// When the terms and walls of a PDE change abruptly in time, so that no step of an integrator passes over it.
#pragma once

#include <span>
#include <vector>

#include "kernels/bytecode.hpp"
#include "src/pde/pde.hpp"

namespace rankine {

/// Times in (0, duration) at which a result of `programs` (Program::time_events()) vanishes or has an
/// extremum; rising. Found on 2048 equal intervals, refined by bisection and golden sections: an event
/// within one interval is found where it comes alone or where an operand has an event there.
std::vector<double> event_times(std::span<const kernels::Program> programs,
                                std::span<const double> parameters, double duration);

/// Times that an integration of the PDE should end a step at: its events, and as many others as its terms and
/// walls need where they vary, at the given state, within less than a 64th of the duration. Rising, in
/// (0, duration). Empty for an autonomous PDE. `u` [point][unknown] at `x` (rows as in TermPoints): the initial state at some points.
std::vector<double> time_stops(const Pde& pde, std::span<const double> parameters, std::span<const double> x,
                               std::span<const double> u);

}  // namespace rankine
