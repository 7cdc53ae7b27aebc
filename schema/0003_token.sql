-- SPDX-License-Identifier: BSD-3-Clause
-- What build servers show instead of a password (docs/security.md). The token itself isn't here:
-- who reads this file can't use any.
CREATE TABLE token (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    digest     BLOB NOT NULL UNIQUE CHECK (length(digest) = 32), -- SHA-256 of the token
    name       TEXT NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 32),
    role       INTEGER NOT NULL CHECK (role BETWEEN 1 AND 3),
    maker      TEXT NOT NULL, -- the user whose role it never exceeds
    created_at INTEGER NOT NULL,
    expire_at  INTEGER, -- NULL: never
    used_at    INTEGER  -- to the minute; NULL: never
) STRICT;
