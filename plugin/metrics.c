/* SPDX-License-Identifier: BSD-3-Clause */
#include "metrics.h"

#include <stdio.h>
#include <stdlib.h>

#include "batch.h"
#include "broker.h"
#include "commands/commands.h"
#include "console.h"

struct page {
    FILE *file;
    const struct ota_surroundings *around;
};

/* --- lines ------------------------------------------------------------------------------------ */

static void head(const struct page *page, const char *name, const char *type, const char *help)
{
    (void)fprintf(page->file, "# HELP ota_%s %s\n# TYPE ota_%s %s\n", name, help, name, type);
}

static void one(const struct page *page, const char *name, const char *type, const char *help,
                double value)
{
    head(page, name, type, help);
    (void)fprintf(page->file, "ota_%s %.15g\n", name, value);
}

/* A label's value is a name of ours: letters, digits, and what needs no escaping. */
static void labelled(const struct page *page, const char *name, const char *label,
                     const char *value, uint64_t number)
{
    (void)fprintf(page->file, "ota_%s{%s=\"%s\"} %llu\n", name, label, value,
                  (unsigned long long)number);
}

/* Of the callback, or of all (NULL). */
static void histogram(const struct page *page, const char *name, const char *callback,
                      const struct ota_histogram *histogram)
{
    static const int64_t ends[OTA_HISTOGRAM_COUNT] = OTA_HISTOGRAM_ENDS;
    char label[64] = "";
    char alone[64] = "";
    unsigned long long sum = 0;

    if (callback != NULL) {
        (void)snprintf(label, sizeof label, "callback=\"%s\",", callback);
        (void)snprintf(alone, sizeof alone, "{callback=\"%s\"}", callback);
    }
    for (size_t i = 0; i < OTA_HISTOGRAM_COUNT; i++) {
        sum += histogram->counts[i];
        (void)fprintf(page->file, "ota_%s_bucket{%sle=\"%g\"} %llu\n", name, label,
                      (double)ends[i] / 1e6, sum);
    }
    sum += histogram->counts[OTA_HISTOGRAM_COUNT];
    (void)fprintf(page->file, "ota_%s_bucket{%sle=\"+Inf\"} %llu\n", name, label, sum);
    (void)fprintf(page->file, "ota_%s_sum%s %.6f\n", name, alone, (double)histogram->sum_us / 1e6);
    (void)fprintf(page->file, "ota_%s_count%s %llu\n", name, alone, sum);
}

/* --- the fleet -------------------------------------------------------------------------------- */

static void write_fleet(const struct page *page)
{
    const struct ota_fleet *fleet = &page->around->core->fleet;
    const struct ota_product *product;
    size_t at = 0;
    int count = 0;

    one(page, "devices", "gauge", "Devices that are known.", fleet->device_count);
    one(page, "devices_online", "gauge", "Devices that are connected.", fleet->online_count);
    head(page, "product_devices", "gauge", "Devices of a product.");
    while (count++ < OTA_METRICS_PRODUCTS &&
           (product = ota_index_next(&fleet->products, &at)) != NULL) {
        labelled(page, "product_devices", "product", product->name, product->devices);
    }
    head(page, "product_devices_online", "gauge", "Connected devices of a product.");
    at = 0;
    count = 0;
    while (count++ < OTA_METRICS_PRODUCTS &&
           (product = ota_index_next(&fleet->products, &at)) != NULL) {
        labelled(page, "product_devices_online", "product", product->name, product->online);
    }
}

static const char *status_name(size_t status)
{
    return ota_shown_name(ota_shown_of((enum ota_status)status, true));
}

static void write_tasks(const struct page *page)
{
    const struct ota_core *core = page->around->core;

    head(page, "tasks", "gauge",
         "Unfinished tasks by status; those of devices that are offline wait, too.");
    for (size_t i = 0; i < OTA_FAILED; i++) {
        labelled(page, "tasks", "status", status_name(i), core->fleet.by_status[i]);
    }
    head(page, "tasks_ended_total", "counter", "Tasks that ended, by how.");
    for (size_t i = OTA_FAILED; i < OTA_STATUS_COUNT; i++) {
        labelled(page, "tasks_ended_total", "status", status_name(i), core->counters.ended[i]);
    }
    one(page, "notices_total", "counter", "Upgrade notices that were sent.",
        (double)core->counters.notices);
}

static void write_reports(const struct page *page)
{
    static const char *const kinds[OTA_REPORT_KIND_COUNT] = {
        [OTA_REPORT_VERSION] = "version",
        [OTA_REPORT_DOWNLOADING] = "downloading",
        [OTA_REPORT_BURNING] = "burning",
        [OTA_REPORT_DONE] = "done",
        [OTA_REPORT_FAIL] = "fail",
        [OTA_REPORT_BLOCK] = "request_block",
        [OTA_REPORT_UPDATE] = "request_update"};
    const struct ota_intake *intake = page->around->intake;

    head(page, "reports_total", "counter", "Reports of devices that were taken, by kind.");
    for (size_t i = 0; i < OTA_REPORT_KIND_COUNT; i++) {
        labelled(page, "reports_total", "kind", kinds[i], intake->by_kind[i]);
    }
    head(page, "reports_refused_total", "counter", "Reports that changed nothing, by reason.");
    for (size_t i = 0; i < OTA_REFUSAL_COUNT; i++) {
        labelled(page, "reports_refused_total", "reason", ota_refusal_name((enum ota_refusal)i),
                 intake->refused[i]);
    }
}

static void write_logins(const struct page *page)
{
    if (page->around->device_auth == NULL) {
        return;
    }
    const struct ota_device_auth_counts *counts = ota_device_auth_counts(page->around->device_auth);

    one(page, "device_logins_total", "counter", "Log-ins of devices with their secret.",
        (double)counts->proved);
    one(page, "device_keys_total", "counter", "Secrets that TLS-PSK asked for.",
        (double)counts->keys);
    head(page, "device_logins_refused_total", "counter", "Log-ins that were refused, by reason.");
    for (size_t i = 0; i < OTA_AUTH_FAILURE_COUNT; i++) {
        labelled(page, "device_logins_refused_total", "reason",
                 ota_auth_failure_name((enum ota_auth_failure)i), counts->failed[i]);
    }
}

/* --- batches ---------------------------------------------------------------------------------- */

static void write_batch(const struct page *page, const struct ota_batch *batch)
{
    struct ota_tally tally = ota_batch_tally(batch);

    for (size_t i = 0; i < OTA_STATUS_COUNT; i++) {
        (void)fprintf(
            page->file, "ota_batch_tasks{batch=\"%lld\",product=\"%s\",status=\"%s\"} %u\n",
            (long long)batch->row.id, batch->product->name, status_name(i), tally.by_status[i]);
    }
}

static void write_batches(const struct page *page)
{
    const struct ota_batch *batch = page->around->core->fleet.live;
    uint64_t by_state[OTA_BATCH_STATE_COUNT] = {0};

    head(page, "batch_tasks", "gauge", "Tasks of a batch that isn't settled, by status.");
    for (int i = 0; batch != NULL; i++, batch = batch->next_live) {
        by_state[batch->row.state]++;
        if (i < OTA_METRICS_BATCHES) {
            write_batch(page, batch);
        }
    }
    head(page, "batches", "gauge", "Batches that aren't settled, by state.");
    for (size_t i = 0; i < OTA_BATCH_STATE_COUNT; i++) {
        labelled(page, "batches", "state", ota_batch_state_name((enum ota_batch_state)i),
                 by_state[i]);
    }
}

/* --- the machinery ---------------------------------------------------------------------------- */

static void write_downloads(const struct page *page)
{
    struct ota_http_stats stats;

    if (page->around->http == NULL) {
        return;
    }
    ota_http_stats(page->around->http, &stats);
    one(page, "download_requests_total", "counter", "Requests to download_listen.",
        (double)stats.requests);
    one(page, "download_refused_total", "counter", "Of these, refused ones.",
        (double)stats.refused);
    one(page, "download_bytes_total", "counter", "Bytes of finished downloads.",
        (double)stats.bytes);
    one(page, "downloads_active", "gauge", "Downloads that are under way.", stats.active);
    one(page, "download_connections", "gauge", "Connections to download_listen.",
        stats.connections);
}

static void write_inband(const struct page *page)
{
    const struct ota_inband *inband = page->around->intake->inband;

    if (inband == NULL) {
        return;
    }
    const struct ota_inband_stats *stats = ota_inband_stats(inband);
    one(page, "block_requests_total", "counter", "Requests for blocks of firmware, in-band.",
        (double)stats->requests);
    head(page, "block_refused_total", "counter", "Of these, refused ones, by reason.");
    for (size_t i = 0; i < OTA_BLOCK_REFUSAL_COUNT; i++) {
        labelled(page, "block_refused_total", "reason",
                 ota_block_refusal_name((enum ota_block_refusal)i), stats->refused[i]);
    }
    one(page, "block_messages_total", "counter", "Blocks that were sent.", (double)stats->messages);
    one(page, "block_bytes_total", "counter", "Bytes of these blocks.", (double)stats->bytes);
    one(page, "blocks_waiting", "gauge", "Devices whose request isn't served to its end.",
        stats->waiting);
}

static void write_console(const struct page *page)
{
    struct ota_console_stats stats;

    if (page->around->console == NULL) {
        return;
    }
    ota_console_count(page->around->console, &stats);
    one(page, "console_requests_total", "counter", "Requests to console_listen.",
        (double)stats.requests);
    one(page, "console_failed_logins_total", "counter", "Wrong users or passwords.",
        (double)stats.failed_logins);
    one(page, "console_sessions", "gauge", "Sessions of people.", stats.sessions);
    one(page, "console_streams", "gauge", "Readers of events.", stats.streams);
    one(page, "console_dropped_streams_total", "counter", "Readers that were too slow.",
        (double)stats.dropped_streams);
}

static void write_database(const struct page *page)
{
    const struct ota_core *core = page->around->core;
    struct ota_store_stats stats;

    ota_store_stats(core->store, &stats);
    one(page, "database_bytes", "gauge", "Size of the database file.",
        (double)ota_store_bytes(core->store));
    one(page, "wal_bytes", "gauge", "Of the write-ahead log, what isn't in the database file yet.",
        (double)stats.wal_bytes);
    one(page, "store_failures_total", "counter", "Changes that the database refused.",
        (double)core->counters.store_failures);
    one(page, "checkpoints_total", "counter", "Checkpoints of the write-ahead log.",
        (double)stats.checkpoints);
    one(page, "checkpoint_seconds_total", "counter", "Time that checkpoints took, on their thread.",
        (double)stats.checkpoint_us / 1e6);
    head(page, "commit_seconds", "histogram", "Time that commits took, on the broker's thread.");
    histogram(page, "commit_seconds", NULL, &core->counters.commits);
}

static void write_service(const struct page *page)
{
    const struct ota_surroundings *around = page->around;
    json_t *warnings = ota_info_warnings(around);

    head(page, "info", "gauge", "What runs.");
    (void)fprintf(page->file, "ota_info{version=\"%s\",broker=\"%s\"} 1\n", OTA_VERSION,
                  around->broker_version);
    one(page, "start_time_seconds", "gauge", "When it was started, as Unix time.",
        (double)around->started_at / 1e3);
    one(page, "warnings", "gauge", "Sentences in getInfo.warnings.",
        (double)json_array_size(warnings));
    one(page, "shadowed_messages_total", "counter",
        "Messages on our topics that another plugin let in.", (double)around->shadowed);
    head(page, "callback_seconds", "histogram",
         "Time for which the broker's loop was held: by a tick that had work, by a report.");
    histogram(page, "callback_seconds", "tick", &around->core->counters.ticks);
    histogram(page, "callback_seconds", "report", &around->core->counters.reports);
    json_decref(warnings);
}

bool ota_metrics_text(const struct ota_surroundings *around, char **text, size_t *len)
{
    char *buffer = NULL;
    size_t size = 0;
    struct page page = {.file = open_memstream(&buffer, &size), .around = around};

    if (page.file == NULL) {
        return false;
    }
    write_service(&page);
    write_fleet(&page);
    write_tasks(&page);
    write_reports(&page);
    write_logins(&page);
    write_batches(&page);
    write_downloads(&page);
    write_inband(&page);
    write_console(&page);
    write_database(&page);
    if (fclose(page.file) != 0) {
        free(buffer);
        return false;
    }
    *text = buffer;
    *len = size;
    return true;
}
