/* SPDX-License-Identifier: BSD-3-Clause */
/* getStats: the tasks of a product or a batch, looked at in slices. */
#include <stdlib.h>
#include <string.h>

#include "../broker.h"
#include "commands.h"

#define OTA_CLUSTERS_MAX 200 /* kinds of failures; what is beyond is counted together */
#define OTA_VERSIONS_MAX 1000

struct cluster {
    bool has_code;
    int code;
    const char *text;
    char from_version[OTA_VERSION_MAX + 1]; /* "" unknown */
    int64_t count;
};

struct stats {
    struct ota_core *core;
    int64_t looked_to; /* a task's id */
    int64_t end;       /* monotonic ms */
    int looked;
    bool more;
    struct ota_tally tally;
    struct cluster clusters[OTA_CLUSTERS_MAX + 1]; /* the last one: all others */
    size_t cluster_count;
};

static const char other_text[] = "other failures";

static struct cluster cluster_of(const struct ota_task_outcome *row)
{
    struct cluster cluster = {.has_code = row->has_result_code, .code = row->result_code};
    memcpy(cluster.from_version, row->from_version, sizeof cluster.from_version);
    cluster.text = row->status == OTA_SUCCEEDED        ? "reported another version after success"
                   : row->ending == OTA_ENDING_TIMEOUT ? "timeout"
                                                       : ota_result_text(row->result_code);
    return cluster;
}

static bool is_same(const struct cluster *a, const struct cluster *b)
{
    return a->has_code == b->has_code && a->code == b->code && strcmp(a->text, b->text) == 0 &&
           strcmp(a->from_version, b->from_version) == 0;
}

static void count_failure(struct stats *stats, const struct ota_task_outcome *row)
{
    struct cluster cluster = cluster_of(row);
    size_t i = 0;
    while (i < stats->cluster_count && !is_same(&stats->clusters[i], &cluster)) {
        i++;
    }
    if (i == stats->cluster_count && i < OTA_CLUSTERS_MAX) {
        stats->clusters[stats->cluster_count++] = cluster;
    }
    stats->clusters[i].count++;
}

static void count_task(struct stats *stats, const struct ota_task_outcome *row,
                       const struct ota_device *device)
{
    struct ota_standing standing = {
        .status = row->status, .confirmation = row->confirmation, .online = device->conn != NULL};
    ota_tally_add(&stats->tally, &standing, 1);
    if (row->status == OTA_FAILED || row->confirmation == OTA_CONTRADICTED) {
        count_failure(stats, row);
    }
}

static bool look_at(void *data, const struct ota_task_outcome *row)
{
    struct stats *stats = data;
    const struct ota_device *device = ota_fleet_device_by_id(&stats->core->fleet, row->device_id);
    if (device != NULL) { /* else it was deleted, and its rows go in slices */
        count_task(stats, row, device);
    }
    stats->looked_to = row->id;
    stats->more = ++stats->looked % 64 == 0 && ota_now_mono() >= stats->end;
    return !stats->more;
}

static int compare_clusters(const void *a, const void *b)
{
    const struct cluster *left = a;
    const struct cluster *right = b;
    return (left->count < right->count) - (left->count > right->count);
}

static json_t *show_clusters(struct stats *stats)
{
    json_t *failures = json_array();
    struct cluster *others = &stats->clusters[OTA_CLUSTERS_MAX];
    qsort(stats->clusters, stats->cluster_count, sizeof *stats->clusters, compare_clusters);
    if (others->count > 0) {
        others->text = other_text;
        stats->cluster_count = OTA_CLUSTERS_MAX + 1;
    }
    for (size_t i = 0; i < stats->cluster_count; i++) {
        const struct cluster *cluster = &stats->clusters[i];
        ota_json_push(&failures,
                      json_pack("{s:o, s:s, s:o, s:I}", "resultCode",
                                cluster->has_code ? json_integer(cluster->code) : json_null(),
                                "text", cluster->text, "fromVersion",
                                ota_json_text(cluster->from_version), "count",
                                (json_int_t)cluster->count));
    }
    return failures;
}

static int compare_versions(const void *a, const void *b)
{
    const struct ota_version *left = *(const struct ota_version *const *)a;
    const struct ota_version *right = *(const struct ota_version *const *)b;
    if (left->devices != right->devices) {
        return left->devices < right->devices ? 1 : -1;
    }
    return strcmp(left->text, right->text);
}

/* Those that devices run, most devices first; `unknown` stands for devices that never reported.
 * There must be room for all of the product's versions and one more. */
static size_t sort_versions(const struct ota_product *product, struct ota_version *unknown,
                            const struct ota_version **sorted)
{
    const struct ota_version *version;
    size_t count = 0;
    unknown->devices = product->devices;
    for (size_t at = 0; (version = ota_index_next(&product->versions, &at)) != NULL;) {
        unknown->devices -= version->devices;
        if (version->devices > 0) {
            sorted[count++] = version;
        }
    }
    if (unknown->devices > 0) {
        sorted[count++] = unknown;
    }
    qsort(sorted, count, sizeof *sorted, compare_versions);
    return count;
}

/* What the devices of the product run now; NULL: no memory. */
static json_t *show_versions(const struct ota_product *product)
{
    struct ota_version unknown = {0};
    const struct ota_version **sorted = malloc((product->versions.count + 1) * sizeof *sorted);
    if (sorted == NULL) {
        return NULL;
    }
    json_t *versions = json_array();
    size_t count = sort_versions(product, &unknown, sorted);
    for (size_t i = 0; i < count && i < OTA_VERSIONS_MAX; i++) {
        ota_json_push(&versions, json_pack("{s:o, s:I}", "version", ota_json_text(sorted[i]->text),
                                           "devices", (json_int_t)sorted[i]->devices));
    }
    free(sorted);
    return versions;
}

static enum ota_err look_at_some(struct ota_call *call, struct stats *stats,
                                 const struct ota_product *product, const struct ota_batch *batch)
{
    stats->more = false;
    stats->end = call->end;
    return batch != NULL
               ? ota_task_outcomes_of_batch(call->core->store, batch->row.id, stats->looked_to,
                                            look_at, stats, &call->error)
               : ota_task_outcomes_of_product(call->core->store, product->id, stats->looked_to,
                                              look_at, stats, &call->error);
}

static enum ota_err find_subject(struct ota_call *call, struct ota_product **product,
                                 struct ota_batch **batch)
{
    bool by_batch = json_object_get(call->fields, "batch") != NULL;
    *batch = NULL;
    if (by_batch == (json_object_get(call->fields, "product") != NULL)) {
        return ota_error_set(&call->error, OTA_INVALID_REQUEST, "product",
                             "getStats takes either product or batch");
    }
    if (!by_batch) {
        return ota_call_product(call, product);
    }
    enum ota_err err = ota_call_batch(call, batch);
    if (err == OTA_OK) {
        *product = (*batch)->product;
    }
    return err;
}

enum ota_err ota_cmd_get_stats(struct ota_call *call)
{
    struct ota_product *product;
    struct ota_batch *batch;
    enum ota_err err = find_subject(call, &product, &batch);
    if (err != OTA_OK) {
        return err;
    }
    if (call->progress->state == NULL) {
        *call->progress = (struct ota_progress){calloc(1, sizeof(struct stats)), free};
    }
    struct stats *stats = call->progress->state;
    if (stats == NULL) {
        return ota_error_no_memory(&call->error);
    }
    stats->core = call->core;
    err = look_at_some(call, stats, product, batch);
    if (err != OTA_OK || stats->more) {
        return err != OTA_OK ? err : OTA_AGAIN;
    }
    err = ota_call_answer(call, "versions", show_versions(product));
    if (err == OTA_OK) {
        err = ota_call_answer(call, "statuses", ota_show_counts(&stats->tally));
    }
    return err == OTA_OK ? ota_call_answer(call, "failures", show_clusters(stats)) : err;
}
