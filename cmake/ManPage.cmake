# SPDX-License-Identifier: BSD-3-Clause
# ota_gzip(FILE PACKED): makes PACKED of FILE, the same bytes each time.
function(ota_gzip file packed)
    add_custom_command(OUTPUT ${packed} COMMAND gzip -9nc ${file} > ${packed} DEPENDS ${file}
                       VERBATIM)
endfunction()

# ota_man_page(PROGRAM): makes man/PROGRAM.1 with PROGRAM --man-page, and installs it.
function(ota_man_page program)
    set(page ${PROJECT_BINARY_DIR}/man/${program}.1)
    add_custom_command(OUTPUT ${page}
                       COMMAND ${CMAKE_COMMAND} -E make_directory ${PROJECT_BINARY_DIR}/man
                       COMMAND ${program} --man-page > ${page}
                       DEPENDS ${program} VERBATIM)
    if(OTA_DEBIAN)
        ota_gzip(${page} ${page}.gz)
        set(page ${page}.gz)
    endif()
    add_custom_target(${program}_man ALL DEPENDS ${page})
    install(FILES ${page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
endfunction()
