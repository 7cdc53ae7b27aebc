/* SPDX-License-Identifier: BSD-3-Clause */
#include "fleet.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "device.h"
#include "gateway.h"

#define OTA_LINES_MAX  20 /* more devices: a summary instead of lines */
#define OTA_SUMMARY_MS 1000
#define OTA_END_MS     50 /* how often to look whether all is over */

/* Open files beside the devices' connections. */
#define OTA_FILES_SPARE   40 /* epoll, signals, certificates, what TLS opens */
#define OTA_DOWNLOADS_MIN 20

struct fleet {
    struct ota_world world;
    struct ota_device *devices;
    struct ota_fault *faults;
    struct ota_timer summary, watch, deadline;
    long downloads; /* at a time */
    int signals;
};

static void print_summary(struct fleet *fleet)
{
    const struct ota_world *world = &fleet->world;
    const struct ota_tally *tally = &world->tally;
    const size_t *phases = tally->phases;
    const struct {
        const char *key;
        uint64_t number;
    } rows[] = {
        {"connected", tally->connected},
        {"idle", phases[OTA_PHASE_IDLE] + phases[OTA_PHASE_COOLING]},
        {"downloading", phases[OTA_PHASE_STARTING] + phases[OTA_PHASE_FETCHING]},
        {"burning", phases[OTA_PHASE_BURNING]},
        {"away", phases[OTA_PHASE_REBOOTING]},
        {"silent", phases[OTA_PHASE_MUTE]},
        {"upgraded", tally->ended - tally->failed},
        {"failed", tally->failed},
        {"bytes", world->transfers.bytes},
    };
    json_t *details = json_object();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        (void)json_object_set_new(details, rows[i].key, json_integer((json_int_t)rows[i].number));
    }
    ota_output_say(&fleet->world.output, OTA_EVENT_SUMMARY, NULL, details);
}

static void on_summary(void *arg)
{
    struct fleet *fleet = arg;
    print_summary(fleet);
    ota_loop_after(&fleet->world.loop, &fleet->summary, OTA_SUMMARY_MS);
}

static void on_watch(void *arg)
{
    struct fleet *fleet = arg;
    if (fleet->world.tally.ended == fleet->world.devices) {
        ota_loop_stop(&fleet->world.loop);
    } else {
        ota_loop_after(&fleet->world.loop, &fleet->watch, OTA_END_MS);
    }
}

static void on_deadline(void *arg)
{
    struct fleet *fleet = arg;
    ota_loop_stop(&fleet->world.loop);
}

static void on_signal(void *arg, uint32_t events)
{
    struct fleet *fleet = arg;
    struct signalfd_siginfo info;
    (void)events;
    while (read(fleet->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo != SIGUSR1) {
            ota_loop_stop(&fleet->world.loop);
        }
        for (size_t i = 0; info.ssi_signo == SIGUSR1 && i < fleet->world.devices; i++) {
            ota_device_return(&fleet->devices[i]);
        }
    }
}

static enum ota_err open_signals(struct fleet *fleet, struct ota_error *error)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    fleet->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fleet->signals < 0) {
        return ota_error_set(error, OTA_INTERNAL, NULL, "signals can't be read");
    }
    return ota_loop_watch(&fleet->world.loop, fleet->signals, EPOLLIN, on_signal, fleet, error);
}

/* A device beyond the limit could only fail to connect, for ever, and in a fleet without a word. */
static enum ota_err raise_limit(const struct ota_options *options, long *downloads,
                                struct ota_error *error)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return ota_error_set(error, OTA_INTERNAL, NULL, "the limit of open files is unknown");
    }
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    /* The vendor's SDK leaves a download's connection open until its next one. */
    rlim_t needed = (rlim_t)options->count * (options->vendor ? 2 : 1) + OTA_FILES_SPARE;
    if (limit.rlim_max < needed + OTA_DOWNLOADS_MIN) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "count",
                             "--count %" PRId64 " needs %ju open files and %ju are allowed, see "
                             "ulimit -n",
                             options->count, (uintmax_t)(needed + OTA_DOWNLOADS_MIN),
                             (uintmax_t)limit.rlim_max);
    }
    rlim_t left = limit.rlim_max - needed;
    *downloads = left > OTA_DEVICES_MAX ? OTA_DEVICES_MAX : (long)left;
    return OTA_OK;
}

static enum ota_err open_net(struct ota_world *world, struct ota_error *error)
{
    const struct ota_options *options = world->options;
    world->net = (struct ota_net){
        .loop = &world->loop,
        .port = (int)options->port,
        .keepalive = (int)options->keepalive,
        .gap_us = 1000000 / options->connect_rate,
        .haste = options->haste,
        .tls = options->cafile == NULL || options->psk ? NULL : &world->tls,
        .auth = options->secret == NULL ? NULL : &world->auth,
    };
    enum ota_err err = ota_resolve(options->host, &world->net.addresses, error);
    if (err == OTA_OK && options->cafile != NULL) {
        err = ota_tls_open(&world->tls, options->cafile, options->insecure ? NULL : options->host,
                           error);
    }
    if (err == OTA_OK && options->secret != NULL) {
        err =
            ota_vendor_auth_open(&world->auth, options->secret, options->hmac, options->psk, error);
    }
    return err;
}

/* Where downloads go, and how the vendor's do. */
static enum ota_err open_streams(struct ota_world *world, struct ota_error *error)
{
    const struct ota_options *options = world->options;
    world->streams = (struct ota_streams){.loop = &world->loop, .tls = world->net.tls};
    if (options->connect_to == NULL) {
        return OTA_OK;
    }
    enum ota_err err = ota_place_parse(options->connect_to, &world->detour, error);
    if (err != OTA_OK) {
        ota_error_context(error, "--connect-to");
    }
    return err;
}

static enum ota_err read_keys(struct ota_world *world, struct ota_error *error)
{
    const char *file = world->options->verify_key;
    enum ota_err err = file != NULL ? ota_signature_keys_read(file, &world->keys, error) : OTA_OK;
    if (err != OTA_OK) {
        ota_error_context(error, "--verify-key");
    }
    return err;
}

static enum ota_err open_world(struct fleet *fleet, struct ota_error *error)
{
    struct ota_world *world = &fleet->world;
    const struct ota_options *options = world->options;
    bool lines = options->verbose || options->count <= OTA_LINES_MAX;
    ota_output_open(&world->output, options->json, lines, options->quiet);
    world->loop.rest = ota_output_flush;
    world->loop.rest_arg = &world->output;
    enum ota_err err = read_keys(world, error);
    if (err == OTA_OK) {
        err = open_net(world, error);
    }
    if (err == OTA_OK) {
        err = open_streams(world, error);
    }
    if (err == OTA_OK) {
        err = ota_transfers_open(&world->transfers, &world->loop, fleet->downloads, error);
    }
    world->transfers.cafile = options->cafile;
    world->transfers.insecure = options->insecure;
    world->transfers.detour = &world->detour;
    return err;
}

static enum ota_err deal_faults(struct fleet *fleet, struct ota_error *error)
{
    const struct ota_options *options = fleet->world.options;
    /* A single fault for all is a mix of one part. */
    const char *mix = options->mix != NULL     ? options->mix
                      : options->fault != NULL ? options->fault
                                               : "ok";
    return ota_mix_deal(mix, (size_t)options->count, (uint64_t)options->seed, &fleet->faults,
                        error);
}

static enum ota_err make_devices(struct fleet *fleet, struct ota_error *error)
{
    struct ota_world *world = &fleet->world;
    size_t count = (size_t)world->options->count;
    enum ota_err err = deal_faults(fleet, error);
    if (err == OTA_OK && world->options->gateway != NULL) {
        err = ota_gateway_new(world, &world->gateway, error);
    }
    if (err != OTA_OK) {
        return err;
    }
    fleet->devices = calloc(count, sizeof *fleet->devices);
    if (fleet->devices == NULL) {
        return ota_error_set(error, OTA_INTERNAL, NULL, "out of memory for the devices");
    }
    for (; err == OTA_OK && world->devices < count; world->devices++) {
        err = ota_device_init(&fleet->devices[world->devices], world,
                              world->options->first + (int64_t)world->devices,
                              &fleet->faults[world->devices], error);
        if (world->gateway != NULL) {
            ota_gateway_add(world->gateway, &fleet->devices[world->devices]);
        }
    }
    return err;
}

static enum ota_err make_timers(struct fleet *fleet, struct ota_error *error)
{
    const struct ota_options *options = fleet->world.options;
    struct ota_loop *loop = &fleet->world.loop;
    const struct {
        struct ota_timer *timer;
        void (*fire)(void *);
        int64_t first; /* negative: not wanted */
    } rows[] = {
        {&fleet->summary, on_summary,
         fleet->world.output.lines || options->json ? -1 : OTA_SUMMARY_MS},
        {&fleet->watch, on_watch, options->exit_when_done ? OTA_END_MS : -1},
        {&fleet->deadline, on_deadline, options->duration},
    };
    enum ota_err err = OTA_OK;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && err == OTA_OK; i++) {
        err = ota_loop_timer(loop, rows[i].timer, rows[i].fire, fleet, error);
        if (err == OTA_OK && rows[i].first >= 0) {
            ota_loop_after(loop, rows[i].timer, rows[i].first);
        }
    }
    return err;
}

static enum ota_err run(struct fleet *fleet, struct ota_error *error)
{
    enum ota_err err = open_signals(fleet, error);
    if (err == OTA_OK) {
        err = open_world(fleet, error);
    }
    if (err == OTA_OK) {
        err = make_devices(fleet, error);
    }
    if (err == OTA_OK) {
        err = make_timers(fleet, error);
    }
    if (err != OTA_OK) {
        return err;
    }
    for (size_t i = 0; i < fleet->world.devices; i++) {
        ota_device_start(&fleet->devices[i]);
    }
    if (fleet->world.gateway != NULL) {
        ota_gateway_start(fleet->world.gateway);
    }
    err = ota_loop_run(&fleet->world.loop, error);
    print_summary(fleet);
    ota_output_flush(NULL);
    return err;
}

static void close_all(struct fleet *fleet)
{
    struct ota_world *world = &fleet->world;
    if (world->transfers.multi != NULL) {
        ota_transfers_close(&world->transfers);
    }
    ota_gateway_free(world->gateway);
    for (size_t i = 0; i < world->devices; i++) {
        ota_device_free(&fleet->devices[i]);
    }
    free(fleet->devices);
    free(fleet->faults);
    ota_tls_free(&world->tls);
    ota_signature_keys_free(world->keys);
    if (fleet->signals >= 0) {
        close(fleet->signals);
    }
    ota_loop_close(&world->loop);
}

enum ota_err ota_fleet_run(const struct ota_options *options, int *exit_code,
                           struct ota_error *error)
{
    struct fleet fleet = {.world.options = options, .signals = -1};
    enum ota_err err = ota_loop_open(&fleet.world.loop, error);
    if (err == OTA_OK) {
        err = raise_limit(options, &fleet.downloads, error);
    }
    if (err == OTA_OK) {
        err = run(&fleet, error);
    }
    const struct ota_tally *tally = &fleet.world.tally;
    bool well = tally->failed == 0 && tally->ended == fleet.world.devices;
    *exit_code = options->exit_when_done && !well;
    close_all(&fleet);
    return err;
}
