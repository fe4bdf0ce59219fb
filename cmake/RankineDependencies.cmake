# Finds what Rankine stands on. Each dependency becomes one imported target, whatever the machine calls it.
include("${CMAKE_CURRENT_LIST_DIR}/RankineFind.cmake")
rankine_find_all()
if(Kokkos_DEVICES MATCHES "CUDA|HIP")
  include(RankineDevice)
endif()
