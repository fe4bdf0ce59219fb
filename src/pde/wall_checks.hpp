// What can be wrong with the ends of a domain, found before work starts: a ring whose ends do not meet, a
// condition that has no solution on a grid, a value where everything flows out.
#pragma once

#include <span>

#include "src/deck/node.hpp"
#include "src/pde/pde.hpp"

namespace rankine {

/// Throws InputError at the key of `node`, the deck's `pde`, that is at fault:
/// - a flux that is not finite at x = 0 or x = length in an initial state;
/// - on a periodic domain: flux, source, their first derivatives, or an initial state differ at x = 0 and
///   x = length by more than a thousandth of what they vary by in x;
/// - a condition a u + b u_x = e whose factors are both 0 or not finite, or that the ghost cells of a grid
///   cannot hold: with the wall at the distance h from the outermost centre, a + s b / h (s = 1 at the right,
///   -1 at the left) must not vanish, nor have the sign of a where b pulls the other way;
/// - more unknowns with a value at a wall than characteristics that enter there, among the unknowns whose
/// flux
///   holds no derivative (Kreiss 1970): at t = 0 both for the initial states and the values, later where
///   the flux is linear in the unknowns.
/// With several axes only the conditions of the walls are checked.
/// `grids`: all grids in use. Parameters and initial states are drawn like those of
/// samples; conditions are looked at on a thousand times from 0 to the duration.
void check_walls(const Pde& pde, const DeckNode& node, std::span<const Grid> grids);

/// Throws NumericalError where a solution has reached a wall at which it flows out and a value is held: where
/// Godunov's flux between the value and the outermost cell (Bardos, Le Roux and Nedelec 1979) is not that of
/// the value, by more than a hundredth of the range of the flux. For unknowns whose flux depends on
/// themselves alone and holds no derivative, with one axis. `solution`: [time][cell][unknown].
void check_outflow(const Pde& pde, std::span<const double> parameters, std::span<const double> solution,
                   const Grid& grid, std::span<const double> times);

}  // namespace rankine
