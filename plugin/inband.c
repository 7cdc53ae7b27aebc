/* SPDX-License-Identifier: BSD-3-Clause */
#include "inband.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "broker.h"
#include "fleet_conn.h"
#include "image_poll.h"
#include "util/json_out.h"

/* What one tick sends is paid for in the broker's next loop: copied, put into packets, written. So
 * at most this much, 1 MiB of it in 16 messages or 128 short ones: some 3 ms. */
#define OTA_INBAND_SLICE_BYTES    1048576
#define OTA_INBAND_SLICE_MESSAGES 128
#define OTA_INBAND_MESSAGES_A_MS  5
#define OTA_INBAND_SLICE_LOOKS    256
#define OTA_INBAND_EVERY_MS       4

/* What a device is sent in its turn, before the next one's: a block of the largest kind, or as much
 * in smaller ones, which cost no less than OTA_INBAND_LEAST, as each is a message. What is sent too
 * much counts in its next turn. */
#define OTA_INBAND_SHARE OTA_BLOCK_LENGTH_MAX
#define OTA_INBAND_LEAST 4096

/* So much of its rate a device may be sent at once: Mosquitto 2.0 ticks every 100 ms where nothing
 * happens. */
#define OTA_INBAND_BURST_MS   250
#define OTA_INBAND_PASSED_MAX 1000000 /* ms that count: no product of it can overflow */

/* Of requests that follow one another this many messages may wait. */
#define OTA_INBAND_AHEAD_MAX (2 * OTA_BLOCK_COUNT_MAX)

#define OTA_INBAND_IDLE_MS    10000
#define OTA_INBAND_FORGET     16 /* idle ones looked at in a tick */
#define OTA_INBAND_ANSWER_MAX 256
#define OTA_INBAND_TOLD       4096 /* a power of 2 */

/* Requests of one device: 100 a second. */
static const struct ota_rate ask_rate = {.step = OTA_RATE_TICKS_A_SECOND / 100, .burst = 200};

static const struct {
    int code;
    const char *name;
    const char *text;
} refusals[OTA_BLOCK_REFUSAL_COUNT] = {
#define OTA_X(id, code, name, text) [OTA_BLOCK_##id] = {code, name, text},
    OTA_BLOCK_REFUSALS(OTA_X)
#undef OTA_X
};

/* So many bytes a second, in thousandths of a byte: a message goes out while some is left, and may
 * leave a debt. */
struct budget {
    int64_t credit;
    int64_t at; /* monotonic ms */
};

TAILQ_HEAD(askers, asker);

/* A device that asks, or did a moment ago: what it was sent counts on. */
struct asker {
    TAILQ_ENTRY(asker) entry; /* among those that wait, or the idle */
    uint32_t device;          /* its id */
    uint32_t asked;           /* see ota_rate_take */
    struct budget budget;
    int64_t share;      /* of its turn, in bytes; not above 0: it has to wait for the next one */
    int64_t idle_since; /* monotonic ms */
    bool waits;
    /* The request, while it waits. */
    const struct mosquitto *client;
    int64_t task;
    int attempt;
    int qos;
    int length;
    int64_t offset; /* of the next block */
    int64_t end;
};

struct ota_inband {
    struct ota_inband_config config;
    struct ota_index index; /* of askers, by device */
    struct askers waiting;  /* whose turn is next, first */
    struct askers idle;     /* the longest idle first */
    struct budget budget;
    int64_t messages; /* that may be sent now */
    int64_t ticked_at;
    struct ota_image_poll poll;
    struct ota_inband_stats stats;
    /* Answered refusals, see ota_rate_take: by a hash of the device, as anybody is refused, also
     * those for whom there is no asker. */
    uint32_t told[OTA_INBAND_TOLD];
};

const char *ota_block_refusal_name(enum ota_block_refusal refusal)
{
    return refusals[refusal].name;
}

/* --- rates ------------------------------------------------------------------------------------ */

static void earn(struct budget *budget, int64_t rate, int64_t most, int64_t now)
{
    int64_t passed = now - budget->at;
    budget->credit += (passed < OTA_INBAND_PASSED_MAX ? passed : OTA_INBAND_PASSED_MAX) * rate;
    budget->credit = budget->credit < most ? budget->credit : most;
    budget->at = now;
}

static void earn_own(const struct ota_inband *inband, struct asker *asker)
{
    earn(&asker->budget, inband->config.rate, inband->config.rate * OTA_INBAND_BURST_MS,
         inband->config.core->mono_now);
}

static void earn_shared(struct ota_inband *inband)
{
    int64_t now = inband->config.core->mono_now;
    int64_t most = inband->config.rate_total * OTA_INBAND_BURST_MS;
    int64_t slice = INT64_C(1000) * OTA_INBAND_SLICE_BYTES;
    int64_t messages = (now - inband->ticked_at) * OTA_INBAND_MESSAGES_A_MS + inband->messages;
    earn(&inband->budget, inband->config.rate_total, most < slice ? most : slice, now);
    inband->messages = messages < OTA_INBAND_SLICE_MESSAGES ? messages : OTA_INBAND_SLICE_MESSAGES;
    inband->ticked_at = now;
}

/* --- who asks --------------------------------------------------------------------------------- */

static uint64_t hash_of(const struct ota_inband *inband, uint32_t device)
{
    return ota_hash(&inband->config.core->fleet.key, device, "", 0);
}

static bool asker_equal(const void *item, const void *key)
{
    return ((const struct asker *)item)->device == *(const uint32_t *)key;
}

static struct asker *find(const struct ota_inband *inband, const struct ota_device *device)
{
    return ota_index_find(&inband->index, hash_of(inband, device->id), asker_equal, &device->id);
}

static void forget(struct ota_inband *inband, struct asker *asker)
{
    TAILQ_REMOVE(&inband->idle, asker, entry);
    ota_index_remove(&inband->index, hash_of(inband, asker->device), asker);
    free(asker);
}

static void rest(struct ota_inband *inband, struct asker *asker)
{
    asker->idle_since = inband->config.core->mono_now;
    TAILQ_INSERT_TAIL(&inband->idle, asker, entry);
}

static void stop_waiting(struct ota_inband *inband, struct asker *asker)
{
    if (asker->waits) {
        asker->waits = false;
        inband->stats.waiting--;
        TAILQ_REMOVE(&inband->waiting, asker, entry);
        rest(inband, asker);
    }
}

static void start_waiting(struct ota_inband *inband, struct asker *asker)
{
    if (!asker->waits) {
        asker->waits = true;
        inband->stats.waiting++;
        TAILQ_REMOVE(&inband->idle, asker, entry);
        TAILQ_INSERT_TAIL(&inband->waiting, asker, entry);
    }
}

static void let_others(struct ota_inband *inband, struct asker *asker)
{
    TAILQ_REMOVE(&inband->waiting, asker, entry);
    TAILQ_INSERT_TAIL(&inband->waiting, asker, entry);
}

/* Who owes nothing any more is as good as new. */
static void forget_idle(struct ota_inband *inband)
{
    struct asker *asker;
    int64_t before = inband->config.core->mono_now - OTA_INBAND_IDLE_MS;
    for (int i = 0; i < OTA_INBAND_FORGET; i++) {
        asker = TAILQ_FIRST(&inband->idle);
        if (asker == NULL || asker->idle_since > before) {
            return;
        }
        earn_own(inband, asker);
        if (asker->budget.credit >= 0) {
            forget(inband, asker);
        } else {
            TAILQ_REMOVE(&inband->idle, asker, entry);
            rest(inband, asker);
        }
    }
}

/* NULL: there are too many, or memory is out. */
static struct asker *add(struct ota_inband *inband, const struct ota_device *device)
{
    if (inband->index.count >= inband->config.most) {
        if (TAILQ_EMPTY(&inband->idle)) {
            return NULL;
        }
        forget(inband, TAILQ_FIRST(&inband->idle));
    }
    struct asker *asker = calloc(1, sizeof *asker);
    if (asker == NULL || !ota_index_add(&inband->index, hash_of(inband, device->id), asker)) {
        free(asker);
        return NULL;
    }
    asker->device = device->id;
    rest(inband, asker);
    return asker;
}

/* --- refusals --------------------------------------------------------------------------------- */

static void answer(const struct ota_inband *inband, const char *client_id,
                   const struct ota_device *device, const struct ota_block_ask *ask,
                   enum ota_block_refusal refusal)
{
    char text[OTA_INBAND_ANSWER_MAX];
    char topic[sizeof inband->config.core->settings.topic_prefix + OTA_PRODUCT_MAX +
               OTA_DEVICE_MAX + 16];
    struct ota_json_out message;
    ota_json_out_begin(&message, text, sizeof text);
    ota_json_out_text(&message, "type", "request_block_rsp");
    ota_json_out_int(&message, "result_code", refusals[refusal].code);
    ota_json_out_text(&message, "result_msg", refusals[refusal].text);
    if (ask != NULL) {
        ota_json_out_int(&message, "task", ask->task);
        ota_json_out_int(&message, "offset", ask->offset);
    }
    size_t len = ota_json_out_end(&message);
    (void)snprintf(topic, sizeof topic, "%s/update/%s/%s",
                   inband->config.core->settings.topic_prefix, device->product->name, device->name);
    (void)ota_broker_publish(client_id, topic, text, len, 0);
}

/* As often as it may report, but apart from its reports: one of those that is too many closes the
 * connection. */
static bool may_tell(struct ota_inband *inband, const struct ota_device *device)
{
    const struct ota_core *core = inband->config.core;
    uint32_t *told = &inband->told[hash_of(inband, device->id) & (OTA_INBAND_TOLD - 1)];
    return ota_rate_take(&core->settings.report_rate, told, core->mono_now);
}

/* ask NULL: it couldn't be read. */
static void refuse(struct ota_inband *inband, const struct mosquitto *client,
                   const struct ota_device *device, const struct ota_block_ask *ask,
                   enum ota_block_refusal refusal)
{
    const char *client_id = ota_broker_client_id(client);
    inband->stats.refused[refusal]++;
    if (client_id != NULL && may_tell(inband, device)) {
        answer(inband, client_id, device, ask, refusal);
    }
}

void ota_inband_ask_bad(struct ota_inband *inband, const struct mosquitto *client,
                        struct ota_device *device)
{
    inband->stats.requests++;
    refuse(inband, client, device, NULL, OTA_BLOCK_BAD);
}

static enum ota_block_refusal judge(const struct ota_inband *inband,
                                    const struct ota_device *device,
                                    const struct ota_block_ask *ask)
{
    const struct ota_task *task = device->task;
    if (task == NULL || task->id != ask->task) {
        return task == NULL && device->last_task == ask->task ? OTA_BLOCK_ENDED : OTA_BLOCK_TASK;
    }
    if (!ota_status_is_timed(task->up.status)) {
        return OTA_BLOCK_EARLY;
    }
    if (inband->config.images == NULL || task->firmware == NULL) {
        return OTA_BLOCK_LATER;
    }
    return ask->offset < task->firmware->row.size ? OTA_BLOCK_REFUSAL_COUNT : OTA_BLOCK_RANGE;
}

/* --- asking ----------------------------------------------------------------------------------- */

/* Whether it asks for what comes behind that which it waits for. */
static bool goes_on(const struct asker *asker, const struct asker *next)
{
    return asker->waits && asker->client == next->client && asker->task == next->task &&
           asker->attempt == next->attempt && asker->qos == next->qos &&
           asker->length == next->length && asker->end == next->offset;
}

static void take(struct ota_inband *inband, struct asker *asker, const struct asker *next)
{
    if (goes_on(asker, next)) {
        int64_t most = asker->offset + (int64_t)OTA_INBAND_AHEAD_MAX * asker->length;
        asker->end = next->end < most ? next->end : most;
    } else {
        asker->client = next->client;
        asker->task = next->task;
        asker->attempt = next->attempt;
        asker->qos = next->qos;
        asker->length = next->length;
        asker->offset = next->offset;
        asker->end = next->end;
    }
    start_waiting(inband, asker);
    ota_core_hurry(inband->config.core);
}

void ota_inband_ask(struct ota_inband *inband, const struct mosquitto *client,
                    struct ota_device *device, const struct ota_block_ask *ask, int qos)
{
    struct asker *asker = NULL;
    inband->stats.requests++;
    enum ota_block_refusal refusal = judge(inband, device, ask);
    if (refusal == OTA_BLOCK_REFUSAL_COUNT) {
        asker = find(inband, device);
        asker = asker != NULL ? asker : add(inband, device);
        refusal = asker == NULL ? OTA_BLOCK_LATER : refusal;
    }
    if (asker != NULL && !ota_rate_take(&ask_rate, &asker->asked, inband->config.core->mono_now)) {
        refusal = OTA_BLOCK_RATE;
    }
    if (refusal != OTA_BLOCK_REFUSAL_COUNT) {
        refuse(inband, client, device, ask, refusal);
        return;
    }
    int64_t size = device->task->firmware->row.size;
    int64_t wanted = (int64_t)ask->length * ask->count;
    take(inband, asker,
         &(struct asker){.client = client,
                         .task = ask->task,
                         .attempt = device->task->up.attempt,
                         .qos = qos,
                         .length = ask->length,
                         .offset = ask->offset,
                         .end = wanted < size - ask->offset ? ask->offset + wanted : size});
}

void ota_inband_gone(struct ota_inband *inband, const struct mosquitto *client)
{
    if (inband == NULL || inband->stats.waiting == 0) {
        return;
    }
    const struct ota_conn *conn = ota_fleet_conn(&inband->config.core->fleet, client);
    const struct ota_device *device = conn != NULL ? conn->devices : NULL;
    for (; device != NULL; device = device->next_of_conn) {
        struct asker *asker = find(inband, device);
        if (asker != NULL) {
            stop_waiting(inband, asker);
        }
    }
}

/* --- sending ---------------------------------------------------------------------------------- */

/* The asker's device, where what it asked for is still its own to have; or NULL. */
static struct ota_device *device_of(const struct ota_inband *inband, const struct asker *asker)
{
    struct ota_device *device = ota_fleet_device_by_id(&inband->config.core->fleet, asker->device);
    const struct ota_task *task = device != NULL ? device->task : NULL;
    bool good = task != NULL && task->id == asker->task && task->up.attempt == asker->attempt &&
                ota_status_is_timed(task->up.status) && task->firmware != NULL &&
                device->conn != NULL && device->conn->client == asker->client;
    return good ? device : NULL;
}

/* False: memory is out. */
static bool publish(const struct ota_inband *inband, const struct asker *asker,
                    const struct ota_device *device, const unsigned char *bytes, size_t len)
{
    char topic[sizeof inband->config.core->settings.topic_prefix + OTA_PRODUCT_MAX +
               OTA_DEVICE_MAX + 64];
    (void)snprintf(topic, sizeof topic, "%s/block/%s/%s/%lld/%lld",
                   inband->config.core->settings.topic_prefix, device->product->name, device->name,
                   (long long)asker->task, (long long)asker->offset);
    return ota_broker_publish(device->conn->client_id, topic, bytes, len, asker->qos);
}

static void pay(struct ota_inband *inband, struct asker *asker, int64_t len)
{
    asker->budget.credit -= len * 1000;
    asker->share -= len > OTA_INBAND_LEAST ? len : OTA_INBAND_LEAST;
    inband->budget.credit -= len * 1000;
    inband->messages--;
    inband->stats.messages++;
    inband->stats.bytes += (uint64_t)len;
    asker->offset += len;
}

/* One block out of the image; false where it couldn't be sent. */
static bool send_block(struct ota_inband *inband, struct asker *asker,
                       const struct ota_device *device, const struct ota_image *image)
{
    int64_t left = asker->end - asker->offset;
    int64_t len = left < asker->length ? left : asker->length;
    if (asker->end > image->size ||
        !publish(inband, asker, device, image->bytes + asker->offset, (size_t)len)) {
        return false;
    }
    pay(inband, asker, len);
    if (asker->offset == asker->end) {
        stop_waiting(inband, asker);
    }
    return true;
}

static bool may_send(const struct ota_inband *inband)
{
    return inband->messages > 0 && inband->budget.credit > 0;
}

/* What the asker may have now. It stays the first until it had all of its share: else whoever asks
 * for large blocks would get more, where a tick may send less than a share. */
static bool send_share(struct ota_inband *inband, struct asker *asker,
                       const struct ota_device *device, const struct ota_image *image)
{
    asker->share += asker->share > 0 ? 0 : OTA_INBAND_SHARE;
    while (asker->waits && asker->share > 0 && asker->budget.credit > 0 && may_send(inband)) {
        if (!send_block(inband, asker, device, image)) {
            return false;
        }
    }
    if (asker->waits && (asker->share <= 0 || asker->budget.credit <= 0)) {
        let_others(inband, asker);
    }
    return true;
}

static void give_up(struct ota_inband *inband, struct asker *asker, struct ota_device *device)
{
    const struct ota_block_ask ask = {.task = asker->task, .offset = asker->offset};
    stop_waiting(inband, asker);
    inband->messages--;
    refuse(inband, asker->client, device, &ask, OTA_BLOCK_LATER);
}

/* The next one's turn; false where nothing came of it. */
static bool take_turn(struct ota_inband *inband)
{
    struct asker *asker = TAILQ_FIRST(&inband->waiting);
    struct ota_device *device = device_of(inband, asker);
    if (device == NULL) {
        stop_waiting(inband, asker);
        inband->messages--;
        return true;
    }
    earn_own(inband, asker);
    if (asker->budget.credit <= 0) {
        let_others(inband, asker);
        return false;
    }
    const struct ota_firmware_row *row = &device->task->firmware->row;
    int64_t now = inband->config.core->mono_now;
    struct ota_image *image = NULL;
    enum ota_err err = ota_image_poll_take(&inband->poll, row->image, row->size, now, &image);
    if (err == OTA_AGAIN) {
        let_others(inband, asker);
        return false;
    }
    bool sent = err == OTA_OK && send_share(inband, asker, device, image);
    if (err == OTA_OK) {
        ota_images_drop(inband->config.images, image, now);
    }
    if (!sent) {
        give_up(inband, asker, device);
    }
    return true;
}

/* A block or two in each loop, when it is only for what all may have together; those that have had
 * their own share, or have no image yet, needn't be looked at so often. */
static void wait(const struct ota_inband *inband, bool all)
{
    struct ota_core *core = inband->config.core;
    if (all) {
        ota_core_hurry(core);
    } else {
        ota_core_wake(core, core->mono_now + OTA_INBAND_EVERY_MS);
    }
}

void ota_inband_tick(struct ota_inband *inband)
{
    forget_idle(inband);
    earn_shared(inband);
    uint32_t in_vain = 0; /* in a row */
    while (may_send(inband) && in_vain < inband->stats.waiting &&
           in_vain < OTA_INBAND_SLICE_LOOKS) {
        in_vain = take_turn(inband) ? 0 : in_vain + 1;
    }
    if (inband->stats.waiting > 0) {
        wait(inband, in_vain == 0);
    }
}

const struct ota_inband_stats *ota_inband_stats(const struct ota_inband *inband)
{
    return &inband->stats;
}

/* --- beginning and end ------------------------------------------------------------------------ */

struct ota_inband *ota_inband_new(const struct ota_inband_config *config)
{
    struct ota_inband *inband = calloc(1, sizeof *inband);
    if (inband == NULL) {
        return NULL;
    }
    inband->config = *config;
    inband->poll = (struct ota_image_poll){.images = config->images, .loader = config->loader};
    inband->config.most = config->most > 0 ? config->most : OTA_INBAND_MOST;
    TAILQ_INIT(&inband->waiting);
    TAILQ_INIT(&inband->idle);
    inband->ticked_at = config->core->mono_now;
    return inband;
}

void ota_inband_free(struct ota_inband *inband)
{
    struct asker *asker;
    if (inband == NULL) {
        return;
    }
    for (size_t at = 0; (asker = ota_index_next(&inband->index, &at)) != NULL;) {
        free(asker);
    }
    ota_index_free(&inband->index);
    free(inband);
}
