-- SPDX-License-Identifier: BSD-3-Clause
-- Secrets of devices that log in with them, each encrypted with the key of secret_keyfile, which
-- isn't in this file (docs/vendor-sdk.md).

-- One row: what tells that key from any other.
CREATE TABLE secret_key (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    proof BLOB NOT NULL CHECK (length(proof) = 32)
) STRICT;

CREATE TABLE device_secret (
    device_id INTEGER PRIMARY KEY REFERENCES device (id),
    sealed    BLOB NOT NULL CHECK (length(sealed) BETWEEN 29 AND 76), -- nonce, secret, tag
    set_at    INTEGER NOT NULL
) STRICT;
