-- SPDX-License-Identifier: BSD-3-Clause
-- Times are Unix milliseconds; "service" times are milliseconds in which the plugin ran
-- (docs/architecture.md, "Two clocks"). No index names a column that changes while a task runs:
-- SQLite rewrites an index entry, and a partial index's too, whenever such a column is updated.

-- One row: what the file is, and the clock that deadlines count in.
CREATE TABLE meta (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    service_ms INTEGER NOT NULL CHECK (service_ms >= 0),
    url_key    BLOB NOT NULL CHECK (length(url_key) = 32), -- signs download URLs
    created_at INTEGER NOT NULL
) STRICT;

-- A product that is being deleted has no name; its rows go in slices.
CREATE TABLE product (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT UNIQUE CHECK (length(name) BETWEEN 1 AND 32),
    description TEXT NOT NULL CHECK (length(CAST (description AS BLOB)) <= 256),
    created_at  INTEGER NOT NULL
) STRICT;

CREATE INDEX product_doomed ON product (id) WHERE name IS NULL;

-- Versions that devices reported, also those that none runs any more: people filter by them.
CREATE TABLE product_version (
    product_id INTEGER NOT NULL REFERENCES product (id),
    version    TEXT NOT NULL CHECK (length(version) BETWEEN 1 AND 32),
    PRIMARY KEY (product_id, version)
) STRICT, WITHOUT ROWID;

-- Bytes of firmware, whole or still arriving: rows of 64 KiB, the last one short.
CREATE TABLE image_block (
    image INTEGER NOT NULL,
    seq   INTEGER NOT NULL CHECK (seq >= 0),
    data  BLOB NOT NULL CHECK (length(data) BETWEEN 1 AND 65536),
    UNIQUE (image, seq)
) STRICT;

-- Draws the image numbers. A dead one is named by no upload and no firmware any more; its blocks
-- are rubbish, removed in slices.
CREATE TABLE image (
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    dead INTEGER NOT NULL DEFAULT 0 CHECK (dead IN (0, 1))
) STRICT;

CREATE INDEX image_dead ON image (id) WHERE dead = 1;

CREATE TABLE upload (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    image       INTEGER NOT NULL UNIQUE REFERENCES image (id),
    user        TEXT NOT NULL,
    product_id  INTEGER NOT NULL REFERENCES product (id),
    version     TEXT NOT NULL CHECK (length(version) BETWEEN 1 AND 32),
    ord         INTEGER, -- NULL: one more than the highest when it is committed
    filename    TEXT NOT NULL,
    size        INTEGER NOT NULL CHECK (size > 0),
    sha256      TEXT NOT NULL CHECK (length(sha256) = 64),
    description TEXT NOT NULL,
    signature   TEXT NOT NULL,
    received    INTEGER NOT NULL DEFAULT 0 CHECK (received BETWEEN 0 AND size),
    touched_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE firmware (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    product_id  INTEGER NOT NULL REFERENCES product (id),
    version     TEXT NOT NULL CHECK (length(version) BETWEEN 1 AND 32),
    ord         INTEGER NOT NULL,
    filename    TEXT NOT NULL CHECK (length(CAST (filename AS BLOB)) BETWEEN 4 AND 128),
    size        INTEGER NOT NULL CHECK (size > 0),
    md5         TEXT NOT NULL CHECK (length(md5) = 32),
    sha256      TEXT NOT NULL CHECK (length(sha256) = 64),
    description TEXT NOT NULL CHECK (length(CAST (description AS BLOB)) <= 256),
    signature   TEXT NOT NULL, -- base64, or ''
    image       INTEGER NOT NULL UNIQUE REFERENCES image (id),
    created_at  INTEGER NOT NULL,
    UNIQUE (product_id, version)
) STRICT;

CREATE INDEX firmware_by_product ON firmware (product_id, id);

CREATE TABLE device (
    id           INTEGER PRIMARY KEY,
    product_id   INTEGER NOT NULL REFERENCES product (id),
    name         TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 48),
    description  TEXT NOT NULL DEFAULT '' CHECK (length(CAST (description AS BLOB)) <= 256),
    tags         TEXT NOT NULL DEFAULT '', -- sorted, one space between
    hold         INTEGER NOT NULL DEFAULT 0 CHECK (hold IN (0, 1)),
    version      TEXT CHECK (length(version) BETWEEN 1 AND 32), -- NULL: never reported
    version_at   INTEGER,
    last_seen_at INTEGER,
    created_at   INTEGER NOT NULL,
    last_task    INTEGER, -- the newest task, unfinished or not
    gateway_id   INTEGER REFERENCES device (id),
    UNIQUE (product_id, name)
) STRICT;

CREATE INDEX device_by_gateway ON device (gateway_id, product_id, name)
    WHERE gateway_id IS NOT NULL;

-- Every version that a device ever reported, in order.
CREATE TABLE device_version (
    device_id INTEGER NOT NULL REFERENCES device (id),
    at        INTEGER NOT NULL,
    version   TEXT NOT NULL,
    PRIMARY KEY (device_id, at)
) STRICT, WITHOUT ROWID;

-- status: see enum ota_status. firmware_id has no foreign key: a finished task outlives its firmware.
-- product_id is the device's: lists of a product's tasks would cost a device's page for each row.
CREATE TABLE task (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    product_id      INTEGER NOT NULL REFERENCES product (id),
    device_id       INTEGER NOT NULL REFERENCES device (id),
    firmware_id     INTEGER NOT NULL,
    batch_id        INTEGER,
    version         TEXT NOT NULL,
    from_version    TEXT,
    status          INTEGER NOT NULL CHECK (status BETWEEN 0 AND 7),
    confirmation    INTEGER NOT NULL DEFAULT 0 CHECK (confirmation BETWEEN 0 AND 3),
    ending          INTEGER NOT NULL DEFAULT 0 CHECK (ending BETWEEN 0 AND 4),
    attempt         INTEGER NOT NULL DEFAULT 1 CHECK (attempt >= 1),
    percent         INTEGER NOT NULL DEFAULT 0 CHECK (percent BETWEEN 0 AND 100),
    result_code     INTEGER,
    device_message  TEXT NOT NULL DEFAULT '' CHECK (length(CAST (device_message AS BLOB)) <= 128),
    flags           INTEGER NOT NULL DEFAULT 0,
    timeout_ms      INTEGER NOT NULL CHECK (timeout_ms > 0),
    retry_max       INTEGER NOT NULL DEFAULT 0 CHECK (retry_max BETWEEN 0 AND 10),
    retry_delay_ms  INTEGER NOT NULL DEFAULT 0,
    retry_on        TEXT NOT NULL DEFAULT '', -- "timeout,-1,-3", or '' for the default
    retries         INTEGER NOT NULL DEFAULT 0,
    created_at      INTEGER NOT NULL,
    sent_at         INTEGER, -- first notice of this attempt
    updated_at      INTEGER NOT NULL,
    finished_at     INTEGER,
    deadline_ms     INTEGER, -- service time: the attempt's end, or a waiting retry's turn
    settle_until_ms INTEGER, -- service time: until then the latest version report decides
    last_event      INTEGER, -- head of the history's chain
    CHECK ((finished_at IS NULL) = (status < 5))
) STRICT;

CREATE INDEX task_by_device ON task (device_id, id);
CREATE INDEX task_by_product ON task (product_id, id);
CREATE INDEX task_by_batch ON task (batch_id, id) WHERE batch_id IS NOT NULL;
CREATE UNIQUE INDEX task_unfinished ON task (device_id) WHERE finished_at IS NULL;

-- A task's history, chained from its newest entry back: appending touches no index.
CREATE TABLE event (
    id      INTEGER PRIMARY KEY,
    task_id INTEGER NOT NULL,
    prev    INTEGER,
    at      INTEGER NOT NULL,
    status  INTEGER NOT NULL CHECK (status BETWEEN 0 AND 7),
    percent INTEGER NOT NULL CHECK (percent BETWEEN 0 AND 100),
    detail  TEXT NOT NULL DEFAULT ''
) STRICT;

-- Successes of changing commands, so that a message delivered twice acts once (kept for 24 h).
CREATE TABLE request (
    id         INTEGER PRIMARY KEY,
    user       TEXT NOT NULL,
    request_id TEXT NOT NULL,
    digest     BLOB NOT NULL CHECK (length(digest) = 32), -- SHA-256 of command and fields
    data       TEXT NOT NULL, -- the stored answer, JSON
    at         INTEGER NOT NULL,
    UNIQUE (user, request_id)
) STRICT;

CREATE INDEX request_by_time ON request (at);
