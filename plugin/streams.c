/* SPDX-License-Identifier: BSD-3-Clause */
#include "streams.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

#include "broker.h"
#include "worker.h"

/* An event as it goes out: its lines, names and JSON. */
#define OTA_STREAM_TEXT 896

/* Events that come in quick succession wake a stream once. */
#define OTA_STREAM_GATHER_MS 20

static const char hello[] = "retry: 3000\n\n";
static const char alive[] = ": alive\n\n";

struct slot {
    size_t len;
    char product[OTA_PRODUCT_MAX + 1];
    char text[OTA_STREAM_TEXT];
};

struct stream {
    TAILQ_ENTRY(stream) entry;
    struct ota_streams *streams;
    struct ota_visitor *visitor;
    char user[OTA_USER_MAX + 1];
    char product[OTA_PRODUCT_MAX + 1]; /* "": all */
    uint64_t next;                     /* the event that is to be sent next */
    int64_t alive_at;                  /* when it was checked last, or sent a comment */
    unsigned check;                    /* streams->check, when it was checked last */
    bool asleep;                       /* put aside: to be taken up */
    bool over;
    size_t out_at; /* of what is being sent */
    size_t out_len;
    char out[OTA_STREAM_TEXT];
    size_t reader_len;
    _Alignas(max_align_t) unsigned char reader[OTA_READER_MAX];
};

struct ota_streams {
    struct ota_streams_config config;
    struct ota_worker waker;
    pthread_mutex_t lock;
    TAILQ_HEAD(, stream) open; /* the oldest first */
    atomic_int count;
    uint64_t dropped;
    bool stopped;
    atomic_uint check; /* all are to be checked again */
    atomic_bool news;  /* since the waker looked */
    uint64_t head;     /* number of the event that comes next; those before are in the ring */
    struct slot *ring;
};

/* --- the ring, under the lock ----------------------------------------------------------------- */

static uint64_t tail_of(const struct ota_streams *streams)
{
    return streams->head > streams->config.events ? streams->head - streams->config.events : 0;
}

static const struct slot *slot_of(const struct ota_streams *streams, uint64_t number)
{
    return &streams->ring[number % streams->config.events];
}

/* Moves stream->next to the next event that it wants; false: there is none yet. */
static bool find_next(struct stream *stream)
{
    const struct ota_streams *streams = stream->streams;

    while (stream->next < streams->head) {
        if (stream->next < tail_of(streams) || stream->product[0] == '\0' ||
            strcmp(stream->product, slot_of(streams, stream->next)->product) == 0) {
            return true;
        }
        stream->next++;
    }
    return false;
}

/* The JSON's members, with the names in front that MQTT has in the topic. */
static void write_slot(struct slot *slot, const char *type, const char *product, const char *device,
                       const char *json, size_t len)
{
    int used = device != NULL
                   ? snprintf(slot->text, sizeof slot->text,
                              "event: %s\ndata: {\"product\":\"%s\",\"device\":\"%s\",%.*s\n\n",
                              type, product, device, (int)len - 1, json + 1)
                   : snprintf(slot->text, sizeof slot->text,
                              "event: %s\ndata: {\"product\":\"%s\",%.*s\n\n", type, product,
                              (int)len - 1, json + 1);
    slot->len = (size_t)used < sizeof slot->text ? (size_t)used : sizeof slot->text - 1;
    (void)snprintf(slot->product, sizeof slot->product, "%s", product);
}

void ota_streams_tell(struct ota_streams *streams, const char *type, const char *product,
                      const char *device, const char *json, size_t len)
{
    if (streams == NULL || atomic_load(&streams->count) == 0) {
        return;
    }
    (void)pthread_mutex_lock(&streams->lock);
    write_slot(&streams->ring[streams->head % streams->config.events], type, product, device, json,
               len);
    streams->head++;
    (void)pthread_mutex_unlock(&streams->lock);
    if (!atomic_exchange(&streams->news, true)) {
        ota_worker_wake(&streams->waker);
    }
}

/* --- a stream --------------------------------------------------------------------------------- */

static void put_out(struct stream *stream, const char *text, size_t len)
{
    memcpy(stream->out, text, len);
    stream->out_at = 0;
    stream->out_len = len;
}

static size_t give(struct stream *stream, char *buffer, size_t max)
{
    size_t len = stream->out_len - stream->out_at;

    len = len < max ? len : max;
    memcpy(buffer, stream->out + stream->out_at, len);
    stream->out_at += len;
    return len;
}

static bool is_check_due(const struct stream *stream)
{
    return stream->check != atomic_load(&stream->streams->check);
}

static bool may_go_on(const struct stream *stream)
{
    const struct ota_streams_config *config = &stream->streams->config;

    return config->may_read(config->data, stream->reader);
}

/* Puts out what is next; false: there is nothing, and nothing is due. */
static bool next_out(struct stream *stream, int64_t now)
{
    bool due = now - stream->alive_at >= stream->streams->config.alive_ms;

    if (due || is_check_due(stream)) {
        stream->check = atomic_load(&stream->streams->check);
        if (!may_go_on(stream)) {
            stream->over = true;
            return true;
        }
    }
    if (find_next(stream)) {
        if (stream->next < tail_of(stream->streams)) {
            stream->streams->dropped++;
            stream->over = true;
            return true;
        }
        const struct slot *slot = slot_of(stream->streams, stream->next++);
        put_out(stream, slot->text, slot->len);
    } else if (due) {
        put_out(stream, alive, sizeof alive - 1);
    } else {
        return false;
    }
    stream->alive_at = due ? now : stream->alive_at;
    return true;
}

static long read_stream(void *data, char *buffer, size_t max)
{
    struct stream *stream = data;
    struct ota_streams *streams = stream->streams;
    long len = 0;

    (void)pthread_mutex_lock(&streams->lock);
    if (streams->stopped || stream->over) {
        len = -1;
    } else if (stream->out_at < stream->out_len || next_out(stream, ota_now_mono())) {
        len = stream->over ? -1 : (long)give(stream, buffer, max);
    } else {
        stream->asleep = true;
        ota_server_put_aside(stream->visitor);
    }
    (void)pthread_mutex_unlock(&streams->lock);
    return len;
}

static void end_stream(void *data)
{
    struct stream *stream = data;
    struct ota_streams *streams = stream->streams;

    (void)pthread_mutex_lock(&streams->lock);
    TAILQ_REMOVE(&streams->open, stream, entry);
    atomic_fetch_sub(&streams->count, 1);
    (void)pthread_mutex_unlock(&streams->lock);
    free(stream);
}

static void wake(struct stream *stream)
{
    if (stream->asleep) {
        stream->asleep = false;
        ota_server_take_up(stream->visitor);
    }
}

static void end_oldest_of(struct ota_streams *streams, const char *user)
{
    struct stream *stream;
    struct stream *oldest = NULL;
    int count = 0;

    TAILQ_FOREACH(stream, &streams->open, entry)
    {
        if (!stream->over && strcmp(stream->user, user) == 0) {
            oldest = oldest == NULL ? stream : oldest;
            count++;
        }
    }
    if (count >= OTA_STREAMS_A_USER) {
        oldest->over = true;
        wake(oldest);
    }
}

bool ota_streams_open(struct ota_streams *streams, struct ota_visitor *visitor, const char *user,
                      const char *product, const void *reader, size_t len)
{
    struct stream *stream = calloc(1, sizeof *stream);

    if (stream == NULL) {
        return false;
    }
    assert(len <= sizeof stream->reader);
    memcpy(stream->reader, reader, len);
    stream->streams = streams;
    stream->visitor = visitor;
    stream->alive_at = ota_now_mono();
    (void)snprintf(stream->user, sizeof stream->user, "%s", user);
    (void)snprintf(stream->product, sizeof stream->product, "%s", product != NULL ? product : "");
    put_out(stream, hello, sizeof hello - 1);
    (void)pthread_mutex_lock(&streams->lock);
    end_oldest_of(streams, user);
    stream->next = streams->head;
    stream->check = atomic_load(&streams->check);
    TAILQ_INSERT_TAIL(&streams->open, stream, entry);
    atomic_fetch_add(&streams->count, 1);
    (void)pthread_mutex_unlock(&streams->lock);
    return ota_reply_stream(visitor, "text/event-stream", read_stream, end_stream, stream);
}

void ota_streams_recheck(struct ota_streams *streams)
{
    atomic_fetch_add(&streams->check, 1);
    ota_worker_wake(&streams->waker);
}

bool ota_streams_has_room(struct ota_streams *streams)
{
    return atomic_load(&streams->count) < OTA_STREAMS_MOST;
}

void ota_streams_count(struct ota_streams *streams, struct ota_stream_counts *counts)
{
    (void)pthread_mutex_lock(&streams->lock);
    counts->open = atomic_load(&streams->count);
    counts->dropped = streams->dropped;
    (void)pthread_mutex_unlock(&streams->lock);
}

/* --- the waking thread ------------------------------------------------------------------------ */

static void gather(void)
{
    const struct timespec pause = {.tv_nsec = OTA_STREAM_GATHER_MS * 1000000L};
    (void)nanosleep(&pause, NULL);
}

static void wake_streams(void *data)
{
    struct ota_streams *streams = data;
    struct stream *stream;
    int64_t now = ota_now_mono();

    if (atomic_load(&streams->news)) {
        gather();
    }
    atomic_store(&streams->news, false);
    (void)pthread_mutex_lock(&streams->lock);
    TAILQ_FOREACH(stream, &streams->open, entry)
    {
        if (now - stream->alive_at >= streams->config.alive_ms || is_check_due(stream) ||
            find_next(stream)) {
            wake(stream);
        }
    }
    (void)pthread_mutex_unlock(&streams->lock);
}

/* --- start and stop --------------------------------------------------------------------------- */

enum ota_err ota_streams_start(const struct ota_streams_config *config,
                               struct ota_streams **streams, struct ota_error *error)
{
    struct ota_streams *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return ota_error_no_memory(error);
    }
    made->config = *config;
    TAILQ_INIT(&made->open);
    (void)pthread_mutex_init(&made->lock, NULL);
    made->ring = calloc(config->events, sizeof *made->ring);
    enum ota_err err = made->ring == NULL ? ota_error_no_memory(error)
                                          : ota_worker_start(&made->waker, (int)config->look_ms,
                                                             wake_streams, made, error);
    if (err != OTA_OK) {
        ota_streams_free(made);
        return err;
    }
    *streams = made;
    return OTA_OK;
}

void ota_streams_stop(struct ota_streams *streams)
{
    struct stream *stream;

    if (streams == NULL) {
        return;
    }
    ota_worker_stop(&streams->waker);
    (void)pthread_mutex_lock(&streams->lock);
    streams->stopped = true;
    TAILQ_FOREACH(stream, &streams->open, entry)
    {
        wake(stream);
    }
    (void)pthread_mutex_unlock(&streams->lock);
}

void ota_streams_free(struct ota_streams *streams)
{
    if (streams != NULL) {
        ota_streams_stop(streams);
        ota_worker_free(&streams->waker);
        free(streams->ring);
        (void)pthread_mutex_destroy(&streams->lock);
        free(streams);
    }
}
