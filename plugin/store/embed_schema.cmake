# SPDX-License-Identifier: BSD-3-Clause
# cmake -DOUTPUT=FILE.c -DMIGRATIONS=FILE;FILE… -P embed_schema.cmake: writes the C source of
# ota_migrations, one entry a migration, from schema/NNNN_name.sql.
cmake_policy(SET CMP0007 NEW)

set(entries "")
set(expected 0)
foreach(file IN LISTS MIGRATIONS)
    math(EXPR expected "${expected} + 1")
    get_filename_component(name "${file}" NAME_WE)
    if(NOT name MATCHES "^0*([0-9]+)_[a-z0-9_]+$" OR NOT CMAKE_MATCH_1 EQUAL expected)
        message(FATAL_ERROR "${file}: migration ${expected} is due here, as NNNN_name.sql")
    endif()
    file(READ "${file}" text)
    string(REPLACE "\\" "\\\\" text "${text}")
    string(REPLACE "\"" "\\\"" text "${text}")
    string(REPLACE "\n" "\\n\"\n     \"" text "${text}")
    # The version is part of the text, so that both are in the one transaction that runs it.
    string(APPEND entries
           "    {${expected},\n     \"${text}\"\n     \"PRAGMA user_version = ${expected};\"},\n")
endforeach()

file(WRITE "${OUTPUT}" "/* Made from schema/ by embed_schema.cmake. */
#include \"store_internal.h\"

const struct ota_migration ota_migrations[] = {
${entries}};
const int ota_migration_count = ${expected};
")
