# SPDX-License-Identifier: BSD-3-Clause
# cmake -DOUTPUT=FILE.c -DFILE=FILE -DNAME=name -P embed_text.cmake: writes the C source of
# `const char name[]`, the text of the file.
file(READ "${FILE}" text)
string(REPLACE "\\" "\\\\" text "${text}")
string(REPLACE "\"" "\\\"" text "${text}")
string(REPLACE "\n" "\\n\"\n    \"" text "${text}")
get_filename_component(file "${FILE}" NAME)
file(WRITE "${OUTPUT}" "/* Made from ${file} by embed_text.cmake. */
extern const char ${NAME}[];
const char ${NAME}[] =
    \"${text}\";
")
