/* SPDX-License-Identifier: BSD-3-Clause */
#include "fleet_conn.h"

#include <stdlib.h>
#include <string.h>

#include "batch.h"

static uint64_t hash_client(const struct ota_fleet *fleet, const struct mosquitto *client)
{
    return ota_hash(&fleet->key, (uint64_t)(uintptr_t)client, "", 0);
}

static bool conn_equal(const void *item, const void *key)
{
    return ((const struct ota_conn *)item)->client == key;
}

struct ota_conn *ota_fleet_conn(const struct ota_fleet *fleet, const struct mosquitto *client)
{
    return ota_index_find(&fleet->conns, hash_client(fleet, client), conn_equal, client);
}

static void free_conn(struct ota_conn *conn)
{
    free(conn->client_id);
    free(conn);
}

struct ota_conn *ota_fleet_add_conn(struct ota_fleet *fleet, const struct mosquitto *client,
                                    const char *client_id)
{
    struct ota_conn *conn = calloc(1, sizeof *conn);
    if (conn == NULL) {
        return NULL;
    }
    conn->client = client;
    conn->client_id = strdup(client_id);
    if (conn->client_id == NULL ||
        !ota_index_add(&fleet->conns, hash_client(fleet, client), conn)) {
        free_conn(conn);
        return NULL;
    }
    return conn;
}

void ota_fleet_remove_conn(struct ota_fleet *fleet, struct ota_conn *conn)
{
    ota_index_remove(&fleet->conns, hash_client(fleet, conn->client), conn);
    free_conn(conn);
}

void ota_fleet_drop_idle_conn(struct ota_fleet *fleet, struct ota_conn *conn)
{
    if (conn != NULL && conn->devices == NULL) {
        ota_fleet_remove_conn(fleet, conn);
    }
}

void ota_fleet_free_conns(struct ota_fleet *fleet)
{
    struct ota_conn *conn;
    for (size_t at = 0; (conn = ota_index_next(&fleet->conns, &at)) != NULL;) {
        free_conn(conn);
    }
    ota_index_free(&fleet->conns);
}

static void leave_conn(struct ota_device *device)
{
    if (device->prev_of_conn != NULL) {
        device->prev_of_conn->next_of_conn = device->next_of_conn;
    } else {
        device->conn->devices = device->next_of_conn;
    }
    if (device->next_of_conn != NULL) {
        device->next_of_conn->prev_of_conn = device->prev_of_conn;
    }
    device->prev_of_conn = NULL;
    device->next_of_conn = NULL;
    device->conn = NULL;
}

void ota_fleet_set_conn(struct ota_fleet *fleet, struct ota_device *device, struct ota_conn *conn)
{
    int change = (conn != NULL) - (device->conn != NULL);
    if (device->conn != NULL) {
        leave_conn(device);
    }
    device->echoes = false;
    if (conn != NULL) {
        device->conn = conn;
        device->next_of_conn = conn->devices;
        if (conn->devices != NULL) {
            conn->devices->prev_of_conn = device;
        }
        conn->devices = device;
    }
    device->product->online += (uint32_t)change;
    if (change != 0 && device->task != NULL && device->task->batch != NULL &&
        device->task->up.status == OTA_WAITING) {
        ota_batch_count_online(device->task->batch, device->id, change);
    }
    if (!ota_device_is_doomed(device)) { /* else it was taken off with its product */
        fleet->online_count += (uint32_t)change;
    }
}
