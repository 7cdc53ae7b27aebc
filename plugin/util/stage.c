/* SPDX-License-Identifier: BSD-3-Clause */
#include "stage.h"

#include <math.h>

/* 0.1 percent of 1,000 is one device, whatever binary fractions make of it. */
#define OTA_ROUNDING 1e-9

static uint32_t wanted_end(const struct ota_stage *stage, uint32_t total)
{
    double end = stage->count > 0 ? (double)stage->count
                                  : ceil((double)total * stage->percent / 100.0 - OTA_ROUNDING);
    return end < (double)total ? (uint32_t)end : total;
}

void ota_stage_ends(const struct ota_stage *stages, size_t count, uint32_t total, uint32_t *ends)
{
    uint32_t before = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t end = wanted_end(&stages[i], total);
        if (end <= before) {
            end = before < total ? before + 1 : total;
        }
        ends[i] = i + 1 == count ? total : end;
        before = ends[i];
    }
}
