# cmake -DBUILD=... -DCONSUMER=... -DWORK=... -P install.cmake: see CMakeLists.txt beside this file.
function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    string(JOIN " " command ${ARGV})
    message(FATAL_ERROR "${command}\ngave ${result}:\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE "${WORK}")
file(MAKE_DIRECTORY "${WORK}")
run("${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${WORK}/first")
file(RENAME "${WORK}/first" "${WORK}/moved")

run("${WORK}/moved/bin/rankine" --help)
# Fragments that a deck anywhere uses come with the program.
file(WRITE "${WORK}/deck.yaml" "use: protocols/equations.yaml\npde: {name: burgers}\n")
run("${WORK}/moved/bin/rankine" run "${WORK}/deck.yaml" --smoke --dry-run)
foreach(path bin/rankine include/rankine/kernels/error.hpp)
  if(NOT EXISTS "${WORK}/moved/${path}")
    message(FATAL_ERROR "the prefix lacks ${path}")
  endif()
endforeach()

set(sanitizer_flags "")
if(SANITIZE)
  set(sanitizer_flags "-fsanitize=${SANITIZE}")
endif()
run("${CMAKE_COMMAND}" -S "${CONSUMER}" -B "${WORK}/build" -G "${GENERATOR}" "-DCMAKE_PREFIX_PATH=${WORK}/moved"
  "-DCMAKE_C_COMPILER=${C}" "-DCMAKE_CXX_COMPILER=${CXX}" "-DCMAKE_CXX_FLAGS=${FLAGS} ${sanitizer_flags}")
run("${CMAKE_COMMAND}" --build "${WORK}/build")
run("${WORK}/build/consumer")
message(STATUS "${output}")
