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
    last_task    INTEGER, -- where it isn't the newest one: an older task that was tried again
    gateway_id   INTEGER REFERENCES device (id),
    UNIQUE (product_id, name)
) STRICT;

CREATE INDEX device_by_gateway ON device (gateway_id, product_id, name)
    WHERE gateway_id IS NOT NULL;

CREATE INDEX device_tried_again ON device (id) WHERE last_task IS NOT NULL;

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

-- An upgrade of many devices. Texts are as its command gave them. state, reason, mode, gate: see
-- words.h. prepared: 0 its tasks aren't made yet, 1 they are being made, device by device up to
-- prepared_to, 2 all are there.
CREATE TABLE batch (
    id                  INTEGER PRIMARY KEY AUTOINCREMENT,
    product_id          INTEGER NOT NULL REFERENCES product (id),
    firmware_id         INTEGER NOT NULL,
    version             TEXT NOT NULL,
    name                TEXT NOT NULL CHECK (length(CAST (name AS BLOB)) <= 256),
    mode                INTEGER NOT NULL CHECK (mode BETWEEN 0 AND 1),
    state               INTEGER NOT NULL CHECK (state BETWEEN 0 AND 6),
    reason              INTEGER NOT NULL CHECK (reason BETWEEN 0 AND 4),
    target              TEXT NOT NULL, -- JSON, or ''
    named               INTEGER NOT NULL CHECK (named IN (0, 1)), -- only devices of batch_device
    gate                INTEGER NOT NULL CHECK (gate BETWEEN 0 AND 1),
    rate_per_minute     INTEGER, -- NULL: no limit
    max_in_flight       INTEGER NOT NULL CHECK (max_in_flight > 0),
    threshold_percent   INTEGER CHECK (threshold_percent BETWEEN 1 AND 100),
    threshold_min       INTEGER,
    timeout_ms          INTEGER NOT NULL CHECK (timeout_ms > 0),
    retry_max           INTEGER NOT NULL CHECK (retry_max BETWEEN 0 AND 10),
    retry_delay_ms      INTEGER NOT NULL,
    retry_on            TEXT NOT NULL,
    flags               INTEGER NOT NULL, -- OTA_BATCH_… of store.h
    start_at            INTEGER,
    expire_at           INTEGER,
    created_at          INTEGER NOT NULL,
    started_at          INTEGER,
    finished_at         INTEGER,
    prepared            INTEGER NOT NULL CHECK (prepared BETWEEN 0 AND 2),
    prepared_to         INTEGER NOT NULL, -- a device's id
    retried_to          INTEGER, -- a task's id: retryBatch has come so far; NULL: none under way
    excluded_on_version INTEGER NOT NULL,
    excluded_busy       INTEGER NOT NULL,
    excluded_held       INTEGER NOT NULL,
    excluded_downgrade  INTEGER NOT NULL,
    open_stages         INTEGER NOT NULL,
    known_failures      INTEGER NOT NULL,
    known_successes     INTEGER NOT NULL,
    tokens              REAL NOT NULL,
    tokens_at           INTEGER NOT NULL, -- service time
    tallied             INTEGER NOT NULL CHECK (tallied IN (0, 1)), -- over, and every task ended
    CHECK ((finished_at IS NULL) = (state < 5))
) STRICT;

CREATE INDEX batch_by_product ON batch (product_id, id);

-- A batch without stages has one. The tallies are stored and kept while the batch says tallied;
-- until then they are counted in memory.
CREATE TABLE batch_stage (
    batch_id     INTEGER NOT NULL REFERENCES batch (id),
    seq          INTEGER NOT NULL CHECK (seq >= 0),
    percent      REAL NOT NULL, -- cumulative, or 0: by count
    count        INTEGER NOT NULL,
    min_success  INTEGER NOT NULL CHECK (min_success BETWEEN 0 AND 100),
    soak_ms      INTEGER NOT NULL,
    manual       INTEGER NOT NULL CHECK (manual IN (0, 1)),
    state        INTEGER NOT NULL CHECK (state BETWEEN 0 AND 2),
    end_key      INTEGER NOT NULL, -- 64 bits, of the last device in the batch's order
    opened_at    INTEGER,
    passed_ms    INTEGER, -- service time at which enough had succeeded
    waiting      INTEGER NOT NULL DEFAULT 0,
    message_sent INTEGER NOT NULL DEFAULT 0,
    downloading  INTEGER NOT NULL DEFAULT 0,
    downloaded   INTEGER NOT NULL DEFAULT 0,
    upgrading    INTEGER NOT NULL DEFAULT 0,
    failed       INTEGER NOT NULL DEFAULT 0,
    succeeded    INTEGER NOT NULL DEFAULT 0,
    cancelled    INTEGER NOT NULL DEFAULT 0,
    confirmed    INTEGER NOT NULL DEFAULT 0,
    contradicted INTEGER NOT NULL DEFAULT 0,
    overdue      INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (batch_id, seq)
) STRICT, WITHOUT ROWID;

-- The devices that were named for a batch that hasn't been prepared yet.
CREATE TABLE batch_device (
    batch_id  INTEGER NOT NULL REFERENCES batch (id),
    device_id INTEGER NOT NULL,
    PRIMARY KEY (batch_id, device_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX batch_device_by_device ON batch_device (device_id);

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

-- Who asked for what, and what came of it. Refusals of one user, command and code within a minute
-- are one row that counts; accepted commands have a row each, made in their own transaction.
CREATE TABLE audit (
    id      INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    user    TEXT NOT NULL, -- '' for none, as in all texts here
    client  TEXT NOT NULL,
    command TEXT NOT NULL, -- or identity, shadowing, other: see docs/control-api.md
    target  TEXT NOT NULL,
    code    TEXT NOT NULL,
    count   INTEGER NOT NULL CHECK (count > 0)
) STRICT;

CREATE INDEX audit_by_time ON audit (at);
