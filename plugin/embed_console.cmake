# SPDX-License-Identifier: BSD-3-Clause
# cmake -DOUTPUT=FILE.c -DFOLDER=DIR -DFILES=FILE;FILE… -P embed_console.cmake: writes the C source
# of ota_assets, each file of the console plain and gzipped.
cmake_policy(SET CMP0007 NEW)

# The bytes of a file as the text of a C array.
function(c_bytes file variable)
    file(READ "${file}" hex HEX)
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
    string(REGEX REPLACE "(................................................................................)" "\\1\n" bytes "${bytes}")
    set(${variable} "${bytes}" PARENT_SCOPE)
endfunction()

set(arrays "")
set(entries "")
set(number 0)
foreach(file IN LISTS FILES)
    file(RELATIVE_PATH path "${FOLDER}" "${file}")
    if(NOT path MATCHES "^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$")
        message(FATAL_ERROR "${file}: its name must be of letters, digits, dots, _ and -")
    endif()
    set(packed "${OUTPUT}.${number}.gz")
    file(ARCHIVE_CREATE OUTPUT "${packed}" PATHS "${file}" FORMAT raw COMPRESSION GZip
         COMPRESSION_LEVEL 9)
    file(SHA256 "${file}" digest)
    string(SUBSTRING "${digest}" 0 24 digest)
    c_bytes("${file}" plain)
    c_bytes("${packed}" gzip)
    file(REMOVE "${packed}")
    # A byte more: an array must not be empty.
    string(APPEND arrays "static const unsigned char plain_${number}[] = {\n${plain}0};\n"
           "static const unsigned char gzip_${number}[] = {\n${gzip}0};\n")
    string(APPEND entries "    {\"${path}\", \"${digest}\", plain_${number},\n"
           "     sizeof plain_${number} - 1, gzip_${number}, sizeof gzip_${number} - 1},\n")
    math(EXPR number "${number} + 1")
endforeach()

file(WRITE "${OUTPUT}" "/* Made from console/ by embed_console.cmake. */
#include \"assets.h\"

${arrays}
const struct ota_asset ota_assets[] = {
${entries}};
const size_t ota_asset_count = ${number};
")
