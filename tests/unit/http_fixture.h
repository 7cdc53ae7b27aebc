/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: a store with firmware, devices and tasks, a download server on it, and faults on demand.
 * Thread: the test's; the faults are seen by the server's threads.
 * Frees: fixture_close.
 */
#ifndef OTA_TEST_HTTP_FIXTURE_H
#define OTA_TEST_HTTP_FIXTURE_H

#include "../../plugin/download.h"
#include "../../plugin/http.h"
#include "../../plugin/store/store.h"

struct fixture_firmware {
    int64_t id;
    int64_t size;
    unsigned char *bytes;
    char sha256[OTA_SHA256_HEX + 1];
};

struct fixture {
    char dir[64];
    char db_path[96];
    struct ota_store *store;
    struct ota_meta meta;
    int64_t product;
    struct fixture_firmware big;    /* 6 MiB and a bit */
    struct fixture_firmware small;  /* 40,000 bytes */
    struct fixture_firmware broken; /* its bytes are missing */
    struct ota_http *http;
    int port;
};

void fixture_open(struct fixture *fixture);
void fixture_close(struct fixture *fixture);

/* How often the server looks at its connections. */
#define FIXTURE_LOOK_MS 10

/* With so many places, or 0. */
void fixture_start(struct fixture *fixture, int places);
void fixture_stop(struct fixture *fixture);

/* A new device with a running task for this firmware: what its URL claims. */
struct ota_claim fixture_task(struct fixture *fixture, const struct fixture_firmware *firmware);
/* A claim that is signed, whatever it claims. */
void fixture_sign(const struct fixture *fixture, const char *sha256, struct ota_claim *claim);

/* Commits the end of the task, or its next attempt. */
void fixture_finish(struct fixture *fixture, int64_t task_id);
void fixture_retry(struct fixture *fixture, int64_t task_id);

/* What ota_reader_grant does from now on: fails, or tarries after it has read; 0 ends that at once.
 */
void fixture_fail_grants(bool fail);
void fixture_tarry(int ms);
/* Grants that are tarrying now. */
int fixture_tarrying(void);
/* Images loaded since fixture_open. */
int fixture_loads(void);
/* Until the server has looked at all its connections since this was called, and judged them. */
void fixture_await_look(void);
/* Whole MACs that were compared in constant time. */
int fixture_mac_compares(void);
/* How long each load takes at least; 0 ends one that is under way. */
void fixture_slow_loads(int ms);

/* What the process has open. */
int fixture_descriptors(void);
int fixture_threads(void);

#endif
