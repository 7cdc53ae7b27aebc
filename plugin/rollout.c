/* SPDX-License-Identifier: BSD-3-Clause */
#include "rollout.h"

/* The finaliser of splitmix64 (Steele, Lea, Flood 2014): one to one over 64 bits. */
static uint64_t mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

uint64_t ota_rollout_key(int64_t batch_id, uint32_t device_id)
{
    return mix(mix((uint64_t)batch_id) + device_id);
}

/* --- stages --------------------------------------------------------------------------------- */

uint32_t ota_rollout_needed(const struct ota_stage *stage)
{
    uint64_t parts =
        (uint64_t)ota_tally_total(&stage->tally) * (uint64_t)stage->min_success_percent;
    return (uint32_t)((parts + 99) / 100);
}

/* --- outcomes ------------------------------------------------------------------------------- */

void ota_tally_add(struct ota_tally *tally, const struct ota_standing *standing, int change)
{
    uint32_t one = (uint32_t)change;
    tally->by_status[standing->status] += one;
    if (standing->status == OTA_WAITING && standing->online) {
        tally->online += one;
    }
    if (standing->status != OTA_SUCCEEDED) {
        return;
    }
    if (standing->confirmation == OTA_CONFIRMED) {
        tally->confirmed += one;
    } else if (standing->confirmation == OTA_CONTRADICTED) {
        tally->contradicted += one;
    } else if (standing->overdue) {
        tally->overdue += one;
    }
}

uint32_t ota_tally_total(const struct ota_tally *tally)
{
    uint32_t total = 0;
    for (size_t i = 0; i < OTA_STATUS_COUNT; i++) {
        total += tally->by_status[i];
    }
    return total;
}

uint32_t ota_tally_successes(const struct ota_tally *tally, enum ota_gate gate)
{
    return gate == OTA_GATE_DONE ? tally->by_status[OTA_SUCCEEDED] : tally->confirmed;
}

uint32_t ota_tally_failures(const struct ota_tally *tally, enum ota_gate gate)
{
    uint32_t failures = tally->by_status[OTA_FAILED];
    return gate == OTA_GATE_DONE ? failures : failures + tally->contradicted + tally->overdue;
}

uint32_t ota_tally_in_flight(const struct ota_tally *tally, enum ota_gate gate)
{
    uint32_t in_flight = 0;
    for (int status = OTA_MESSAGE_SENT; status <= OTA_UPGRADING; status++) {
        in_flight += tally->by_status[status];
    }
    if (gate == OTA_GATE_CONFIRMED) {
        in_flight += tally->by_status[OTA_SUCCEEDED] - tally->confirmed - tally->contradicted -
                     tally->overdue;
    }
    return in_flight;
}

uint32_t ota_tally_unfinished(const struct ota_tally *tally)
{
    uint32_t unfinished = 0;
    for (int status = OTA_WAITING; status < OTA_FAILED; status++) {
        unfinished += tally->by_status[status];
    }
    return unfinished;
}

/* --- what is due ---------------------------------------------------------------------------- */

void ota_rollout_outcomes(const struct ota_rollout *rollout, uint32_t *failures,
                          uint32_t *successes)
{
    *failures = 0;
    *successes = 0;
    for (size_t i = 0; i < rollout->open; i++) {
        *failures += ota_tally_failures(&rollout->stages[i].tally, rollout->gate);
        *successes += ota_tally_successes(&rollout->stages[i].tally, rollout->gate);
    }
}

static uint32_t beyond(uint32_t now, uint32_t known)
{
    return now > known ? now - known : 0;
}

static bool fails_too_often(const struct ota_rollout *rollout)
{
    uint32_t failures;
    uint32_t successes;
    ota_rollout_outcomes(rollout, &failures, &successes);
    uint64_t failed = beyond(failures, rollout->known_failures);
    uint64_t ended = failed + beyond(successes, rollout->known_successes);
    return rollout->threshold_percent > 0 && ended > 0 && ended >= rollout->threshold_min &&
           failed * 100 >= ended * (uint64_t)rollout->threshold_percent;
}

static bool all_ended(const struct ota_rollout *rollout)
{
    uint32_t unfinished = 0;
    for (size_t i = 0; i < rollout->stage_count; i++) {
        unfinished += ota_tally_unfinished(&rollout->stages[i].tally);
    }
    return unfinished == 0;
}

bool ota_rollout_is_emptied(const struct ota_rollout *rollout)
{
    const struct ota_stage *stage = &rollout->stages[rollout->open - 1];
    uint32_t behind = 0;
    for (size_t i = rollout->open; i < rollout->stage_count; i++) {
        behind += ota_tally_total(&rollout->stages[i].tally);
    }
    return ota_tally_total(&stage->tally) == 0 && behind > 0 && stage->min_success_percent > 0;
}

/* The gate between the last open stage and the next one. */
static enum ota_rollout_act look_at_gate(const struct ota_rollout *rollout, int64_t service_now)
{
    const struct ota_stage *stage = &rollout->stages[rollout->open - 1];
    uint32_t needed = ota_rollout_needed(stage);
    uint32_t successes = ota_tally_successes(&stage->tally, rollout->gate);
    uint32_t spare = ota_tally_total(&stage->tally) - needed;
    if (ota_rollout_is_emptied(rollout)) {
        return OTA_ROLLOUT_NOTHING;
    }
    if (ota_tally_failures(&stage->tally, rollout->gate) > spare) {
        return OTA_ROLLOUT_PAUSE_GATE;
    }
    if (successes < needed) {
        return stage->passed_ms != 0 ? OTA_ROLLOUT_UNPASS : OTA_ROLLOUT_NOTHING;
    }
    if (stage->passed_ms == 0) {
        return OTA_ROLLOUT_PASS;
    }
    bool soaked = service_now - stage->passed_ms >= stage->soak_ms;
    return soaked && !stage->manual ? OTA_ROLLOUT_ADVANCE : OTA_ROLLOUT_NOTHING;
}

enum ota_rollout_act ota_rollout_next(const struct ota_rollout *rollout, int64_t service_now)
{
    if (!rollout->continuous && all_ended(rollout)) {
        return OTA_ROLLOUT_FINISH;
    }
    if (!rollout->running) {
        return OTA_ROLLOUT_NOTHING;
    }
    if (fails_too_often(rollout)) {
        return OTA_ROLLOUT_PAUSE_THRESHOLD;
    }
    bool at_gate = rollout->open > 0 && rollout->open < rollout->stage_count;
    return at_gate ? look_at_gate(rollout, service_now) : OTA_ROLLOUT_NOTHING;
}

/* --- pace ----------------------------------------------------------------------------------- */

void ota_bucket_begin(struct ota_bucket *bucket, int64_t service_now)
{
    *bucket = (struct ota_bucket){.tokens = 1.0, .at = service_now};
}

/* A tick comes at least so often. */
#define OTA_BETWEEN_LOOKS_MS 100

/* Who waits takes a token as it comes: what the bucket earns until somebody looks isn't lost,
 * though it holds no more. */
static double surplus(const struct ota_bucket *bucket, int64_t passed, double a_second)
{
    passed = passed < OTA_BETWEEN_LOOKS_MS ? passed : OTA_BETWEEN_LOOKS_MS;
    return bucket->wanted ? (double)passed * a_second / 1000.0 : 0.0;
}

static double most_of(int64_t rate)
{
    double a_second = (double)rate / 60.0;
    return a_second > 1.0 ? a_second : 1.0;
}

void ota_bucket_fit(struct ota_bucket *bucket, int64_t rate)
{
    double most = most_of(rate);
    bucket->tokens = bucket->tokens < most ? bucket->tokens : most;
}

void ota_bucket_fill(struct ota_bucket *bucket, int64_t rate, int64_t service_now)
{
    double a_second = (double)rate / 60.0;
    double most = most_of(rate);
    int64_t passed = service_now - bucket->at;
    if (bucket->at == 0) {
        ota_bucket_begin(bucket, service_now);
        return;
    }
    if (passed == 0) { /* a second look at the same tick */
        return;
    }
    most += surplus(bucket, passed, a_second);
    bucket->tokens += (double)passed * a_second / 1000.0;
    bucket->tokens = bucket->tokens < most ? bucket->tokens : most;
    bucket->at = service_now;
}

void ota_bucket_skip(struct ota_bucket *bucket, int64_t service_now)
{
    bucket->wanted = false;
    if (bucket->at != 0) {
        bucket->at = service_now;
    }
}
