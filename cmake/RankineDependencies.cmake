# Finds what Rankine stands on. Each dependency becomes one imported target, whatever the machine calls it.
include("${CMAKE_CURRENT_LIST_DIR}/RankineFind.cmake")

rankine_find_kokkos()
rankine_find_blas()
if(NOT RANKINE_KERNELS_ONLY)
  rankine_find_mpi()
  rankine_find_petsc()
  rankine_find_hdf5()
  rankine_find_yaml()
  rankine_find_small_libraries()
endif()
