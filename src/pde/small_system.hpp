// Linear systems of as many equations as a PDE has unknowns.
#pragma once

#include <vector>

namespace rankine {

/// Solves the m x m system a x = b in place for `columns` right-hand sides, x = [row][column], by elimination
/// with pivoting. Throws NumericalError where the matrix, the derivative of a storage, is singular.
void solve_small(std::vector<double> a, int m, double* x, int columns);

}  // namespace rankine
