/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The same firmware service beside the broker instead of in it: the domain and the store of the
 * plugin, linked into a client that subscribes to all reports with QoS 1. As good as a client can
 * be: one persistent session, no waiting for small packets, many reports for one wait, one commit
 * a change before its PUBACK leaves, percentages written late like the plugin's.
 *
 *     bench_service PORT DB_PATH COUNTER
 *
 * COUNTER is a file of 8 bytes, mapped: the reports that are done, for the load generator.
 */
#include <fcntl.h>
#include <mosquitto.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "broker_service.h"
#include "service.h"

#define READS_A_WAIT  64
#define LONGEST_WAIT  50 /* ms */
#define MISC_EVERY_MS 1000

static volatile sig_atomic_t stopping;
static bool subscribed;

struct bench_service {
    struct ota_service ota;
    volatile uint64_t *done;
};

static void on_signal(int number)
{
    (void)number;
    stopping = 1;
}

static void check(int rc, const char *what)
{
    if (rc != MOSQ_ERR_SUCCESS) {
        fprintf(stderr, "%s: %s\n", what, mosquitto_strerror(rc));
        exit(1);
    }
}

static void on_connect(struct mosquitto *mosq, void *data, int rc)
{
    (void)data;
    check(rc != 0 ? MOSQ_ERR_CONN_REFUSED : MOSQ_ERR_SUCCESS, "connect");
    check(mosquitto_subscribe(mosq, NULL, "$ota/report/#", 1), "subscribe");
}

static void on_subscribe(struct mosquitto *mosq, void *data, int mid, int count, const int *granted)
{
    (void)mosq;
    (void)data;
    (void)mid;
    (void)count;
    (void)granted;
    subscribed = true;
    puts("ready");
    (void)fflush(stdout);
}

/* libmosquitto has queued the PUBACK already; it is written only after this (see `work`). */
static void on_message(struct mosquitto *mosq, void *data, const struct mosquitto_message *message)
{
    struct bench_service *service = data;
    struct ota_topic topic = ota_topic_parse(&service->ota.access, message->topic);
    if (topic.kind == OTA_TOPIC_REPORT && topic.product != NULL &&
        ota_intake_report(&service->ota.intake, mosq, &topic, message->payload,
                          (size_t)message->payloadlen, message->qos) == OTA_INTAKE_NOT_COMMITTED) {
        fprintf(stderr, "a report wasn't committed\n");
        exit(1);
    }
    ++*service->done;
}

/* Reads until nothing comes any more, then writes what has gathered: PUBACKs and answers. */
static void work(struct mosquitto *mosq, struct bench_service *service, bool readable)
{
    uint64_t before;
    int reads = 0;
    do {
        before = *service->done;
        if (readable) {
            check(mosquitto_loop_read(mosq, 1), "read");
        }
        reads++;
    } while (*service->done != before && reads < READS_A_WAIT);
    while (mosquitto_want_write(mosq)) {
        check(mosquitto_loop_write(mosq, 1), "write");
    }
}

static void run(struct mosquitto *mosq, struct bench_service *service)
{
    int64_t misc = 0;
    while (!stopping) {
        struct pollfd fd = {.fd = mosquitto_socket(mosq), .events = POLLIN};
        int n = poll(&fd, 1, LONGEST_WAIT);
        work(mosq, service, n > 0);
        ota_service_tick(&service->ota);
        if (ota_now_coarse() - misc >= MISC_EVERY_MS) {
            misc = ota_now_coarse();
            check(mosquitto_loop_misc(mosq), "misc");
        }
    }
}

static void start_domain(struct bench_service *service, const char *db_path)
{
    /* the rate as at the plugin: a few connections stand for many devices */
    const char *keys[] = {"db_path", "download_listen", "device_identity", "max_report_rate"};
    const char *values[] = {db_path, "off", "username:%p/%d", "10000"};
    struct ota_options options;
    struct ota_error error = {0};
    enum ota_err err = ota_options_read(keys, values, 4, &options, &error);
    if (err == OTA_OK) {
        err = ota_service_start(&service->ota, &options, "2.0", &error);
    }
    if (err != OTA_OK) {
        fprintf(stderr, "%s\n", error.text);
        exit(1);
    }
}

static void open_counter(struct bench_service *service, const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    void *map = MAP_FAILED;
    if (fd >= 0 && ftruncate(fd, sizeof *service->done) == 0) {
        map = mmap(NULL, sizeof *service->done, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    if (map == MAP_FAILED) {
        perror(path);
        exit(1);
    }
    close(fd);
    service->done = map;
}

static struct mosquitto *open_connection(struct bench_service *service, int port)
{
    struct mosquitto *mosq = mosquitto_new("service", false, service);
    if (mosq == NULL) {
        perror("mosquitto_new");
        exit(1);
    }
    bench_broker_is(mosq);
    check(mosquitto_int_option(mosq, MOSQ_OPT_TCP_NODELAY, 1), "nodelay");
    /* Else a PUBACK would be written before its report is committed. */
    check(mosquitto_threaded_set(mosq, true), "threaded");
    mosquitto_connect_callback_set(mosq, on_connect);
    mosquitto_subscribe_callback_set(mosq, on_subscribe);
    mosquitto_message_callback_set(mosq, on_message);
    check(mosquitto_connect(mosq, "127.0.0.1", port, 60), "connect");
    return mosq;
}

int main(int argc, char **argv)
{
    static struct bench_service service;
    if (argc != 4) {
        fprintf(stderr, "usage: bench_service PORT DB_PATH COUNTER\n");
        return 2;
    }
    (void)signal(SIGTERM, on_signal);
    (void)mosquitto_lib_init();
    open_counter(&service, argv[3]);
    start_domain(&service, argv[2]);
    struct mosquitto *mosq = open_connection(&service, atoi(argv[1]));
    run(mosq, &service);
    (void)mosquitto_disconnect(mosq);
    mosquitto_destroy(mosq);
    ota_service_stop(&service.ota);
    (void)mosquitto_lib_cleanup();
    return 0;
}
