# `cmake --install`: a relocatable prefix with the program, the libraries, their headers and find_package(Rankine).
include(CMakePackageConfigHelpers)

set(rankine_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/Rankine")
set(rankine_layers kernels)
if(NOT RANKINE_KERNELS_ONLY)
  list(APPEND rankine_layers solvers core)
endif()

set(rankine_targets ${rankine_layers})
list(TRANSFORM rankine_targets PREPEND rankine_)
install(TARGETS ${rankine_targets} EXPORT RankineTargets ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(EXPORT RankineTargets NAMESPACE rankine:: DESTINATION "${rankine_package_dir}")

foreach(layer IN LISTS rankine_layers)
  if(layer STREQUAL "core")
    set(layer src)
  endif()
  install(DIRECTORY "${PROJECT_SOURCE_DIR}/${layer}" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/rankine"
    FILES_MATCHING PATTERN "*.hpp")
endforeach()

# Dependencies are found again on the user's machine, by the same macros that found them here.
configure_package_config_file(cmake/RankineConfig.cmake.in "${PROJECT_BINARY_DIR}/RankineConfig.cmake"
  INSTALL_DESTINATION "${rankine_package_dir}" NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file("${PROJECT_BINARY_DIR}/RankineConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES
  "${PROJECT_BINARY_DIR}/RankineConfig.cmake" "${PROJECT_BINARY_DIR}/RankineConfigVersion.cmake"
  "${PROJECT_SOURCE_DIR}/cmake/RankineFind.cmake"
  DESTINATION "${rankine_package_dir}")
install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}")

if(NOT RANKINE_KERNELS_ONLY)
  # Libraries outside the system's folders (modules, Spack) are found where they were at build time.
  set_target_properties(rankine PROPERTIES INSTALL_RPATH_USE_LINK_PATH TRUE)
  install(TARGETS rankine RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
  foreach(folder inputs analysis jobs)
    if(EXISTS "${PROJECT_SOURCE_DIR}/${folder}")
      install(DIRECTORY "${PROJECT_SOURCE_DIR}/${folder}" DESTINATION "${CMAKE_INSTALL_DATADIR}/rankine"
        USE_SOURCE_PERMISSIONS
        PATTERN "__pycache__" EXCLUDE PATTERN "*.egg-info" EXCLUDE PATTERN ".pytest_cache" EXCLUDE)
    endif()
  endforeach()
endif()
