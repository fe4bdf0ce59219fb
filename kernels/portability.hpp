// One place for what differs between Kokkos versions (3.4 to 5.x).
#pragma once

#include <Kokkos_Core.hpp>
