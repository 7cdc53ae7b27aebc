# SPDX-License-Identifier: BSD-3-Clause
# The Debian package: scripts/package builds with OTA_DEBIAN and runs cpack.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_CONTACT "mosquitto-ota maintainers <maintainers@mosquitto-ota.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "firmware upgrades for the devices of a Mosquitto broker")
set(CPACK_PACKAGE_DESCRIPTION
    "A plugin that makes a firmware upgrade service of an Eclipse Mosquitto\n\
broker: it listens to the version and status reports of devices, keeps\n\
firmware and upgrade tasks in one SQLite file, sends notices, serves the\n\
downloads and has a web console. otactl is its command-line tool, otasim\n\
simulates devices.")
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "mosquitto (>= 2.0.11)")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS openssl)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA "${PROJECT_SOURCE_DIR}/packaging/postinst"
    "${PROJECT_SOURCE_DIR}/packaging/prerm" "${PROJECT_SOURCE_DIR}/packaging/postrm")
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ
    GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CMAKE_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS ${CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS})

# SOURCE_DATE_EPOCH makes it the same again.
string(TIMESTAMP OTA_DATE "%a, %d %b %Y %H:%M:%S +0000" UTC)
file(READ "${PROJECT_SOURCE_DIR}/LICENSE" OTA_LICENSE)
string(STRIP "${OTA_LICENSE}" OTA_LICENSE)
string(REGEX REPLACE "\n\n" "\n.\n" OTA_LICENSE "${OTA_LICENSE}")
string(REPLACE "\n" "\n " OTA_LICENSE " ${OTA_LICENSE}")

set(doc "${PROJECT_BINARY_DIR}/doc")
configure_file(packaging/changelog.in "${doc}/changelog.Debian" @ONLY)
configure_file(packaging/copyright.in "${doc}/copyright" @ONLY)
ota_gzip("${doc}/changelog.Debian" "${doc}/changelog.Debian.gz")
ota_gzip("${PROJECT_SOURCE_DIR}/CHANGELOG.md" "${doc}/changelog.gz")
add_custom_target(ota_changelogs ALL DEPENDS "${doc}/changelog.Debian.gz" "${doc}/changelog.gz")

file(GLOB pages CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/docs/*.md")
set(place "${CMAKE_INSTALL_DATADIR}/doc/mosquitto-ota")
install(FILES "${doc}/changelog.Debian.gz" "${doc}/changelog.gz" "${doc}/copyright" README.md
        DESTINATION "${place}")
install(FILES ${pages} DESTINATION "${place}/docs")
install(FILES conf/debian.conf conf/mosquitto.conf.in conf/mosquitto-2.1.conf.in conf/acl
        conf/nginx.conf.in docs/alerts.yml DESTINATION "${place}/examples")
install(PROGRAMS conf/make-certs DESTINATION "${place}/examples")

include(CPack)
