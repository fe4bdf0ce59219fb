# rankine_add_revision_header(target): makes <build>/generated/rankine_revision.hpp, which holds the git revision. It is
# looked at in every build and written only where it changed, so that a commit recompiles one file and a build without
# one recompiles none. From a source archive the revision is "unknown".
if(NOT CMAKE_SCRIPT_MODE_FILE)
  set(RANKINE_REVISION_SCRIPT "${CMAKE_CURRENT_LIST_FILE}")

  function(rankine_add_revision_header target)
    set(header "${PROJECT_BINARY_DIR}/generated/rankine_revision.hpp")
    find_package(Git QUIET)
    add_custom_target(rankine_revision
      COMMAND "${CMAKE_COMMAND}" "-DSOURCE_DIR=${PROJECT_SOURCE_DIR}" "-DHEADER=${header}" "-DGIT=${GIT_EXECUTABLE}"
              -P "${RANKINE_REVISION_SCRIPT}"
      BYPRODUCTS "${header}"
      COMMENT ""
      VERBATIM)
    add_dependencies(${target} rankine_revision)
    target_include_directories(${target} PRIVATE "${PROJECT_BINARY_DIR}/generated")
  endfunction()
  return()
endif()

set(revision "unknown")
set(dirty "false")
if(GIT)
  execute_process(COMMAND "${GIT}" -C "${SOURCE_DIR}" rev-parse --show-toplevel
    OUTPUT_VARIABLE top OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  file(REAL_PATH "${SOURCE_DIR}" source)
  if(top)
    file(REAL_PATH "${top}" top)
  endif()
  # An archive that was unpacked inside somebody else's repository has no revision of its own.
  if(top STREQUAL source)
    execute_process(COMMAND "${GIT}" -C "${SOURCE_DIR}" rev-parse HEAD
      OUTPUT_VARIABLE head OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
    if(NOT failed)
      set(revision "${head}")
      execute_process(COMMAND "${GIT}" -C "${SOURCE_DIR}" status --porcelain --untracked-files=no
        OUTPUT_VARIABLE changes ERROR_QUIET)
      if(changes)
        set(dirty "true")
      endif()
    endif()
  endif()
endif()

set(content "#pragma once

namespace rankine::generated {
inline constexpr const char* git_revision = \"${revision}\";
inline constexpr bool git_dirty = ${dirty};
}  // namespace rankine::generated
")
set(old "")
if(EXISTS "${HEADER}")
  file(READ "${HEADER}" old)
endif()
if(NOT old STREQUAL content)
  file(WRITE "${HEADER}" "${content}")
endif()
