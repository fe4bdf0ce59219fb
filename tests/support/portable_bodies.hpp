// The bodies that devices run, in place of those that are tuned for the host.
#pragma once

#include "kernels/dispatch.hpp"

namespace rankine::testing {

/// While it lives, all operations of the table take their portable bodies, if `portable`.
class PortableBodies {
 public:
  explicit PortableBodies(bool portable) { set(portable); }
  ~PortableBodies() { set(false); }
  PortableBodies(const PortableBodies&) = delete;
  PortableBodies& operator=(const PortableBodies&) = delete;

 private:
  static void set(bool portable) {
    for (kernels::DispatchEntry& entry : kernels::dispatch_table) entry.portable = portable;
  }
};

}  // namespace rankine::testing
