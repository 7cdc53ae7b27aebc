/* SPDX-License-Identifier: BSD-3-Clause */
/* A device's report: the quick scan and jansson must say the same. */
#include "fuzz.h"

#include "../../plugin/intake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ota_report quick;
    struct ota_report any;
    memset(&quick, 0xa5, sizeof quick); /* what isn't written must not be read */
    memset(&any, 0x5a, sizeof any);
    enum ota_refusal refusal = ota_report_parse(data, size, &quick);
    if (size > OTA_REPORT_MAX) {
        FUZZ_CHECK(refusal == OTA_REFUSED_TOO_LARGE);
        return 0;
    }
    FUZZ_CHECK(refusal == ota_report_parse_any(data, size, &any));
    FUZZ_CHECK(quick.says == any.says);
    if (refusal != OTA_REFUSAL_COUNT) {
        FUZZ_CHECK(refusal < OTA_REFUSAL_COUNT);
        return 0;
    }
    if (quick.says == OTA_ASKS_BLOCK) {
        FUZZ_CHECK(memcmp(&quick.block, &any.block, sizeof quick.block) == 0);
        FUZZ_CHECK(quick.block.task >= 1 && quick.block.offset >= 0);
        FUZZ_CHECK(quick.block.length >= 1 && quick.block.length <= OTA_BLOCK_LENGTH_MAX);
        FUZZ_CHECK(quick.block.count >= 1 && quick.block.count <= OTA_BLOCK_COUNT_MAX);
        return 0;
    }
    if (quick.says == OTA_ASKS_UPDATE) {
        return 0;
    }
    FUZZ_CHECK(strcmp(quick.version, any.version) == 0);
    FUZZ_CHECK(ota_name_is_version(quick.version, strlen(quick.version)));
    FUZZ_CHECK(quick.kind == any.kind);
    FUZZ_CHECK(quick.percent == any.percent && quick.code == any.code);
    FUZZ_CHECK(quick.percent >= 0 && quick.percent <= 100);
    FUZZ_CHECK(strcmp(quick.message, any.message) == 0);
    return 0;
}
