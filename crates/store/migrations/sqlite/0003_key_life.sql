-- The life of keys: use counts and ends of data keys, jobs that can be resumed, acts that wait for a second person.

-- Uses are reserved in blocks before they happen, so that a crash counts too many and never too few.
ALTER TABLE data_key ADD COLUMN uses_reserved INTEGER NOT NULL DEFAULT 0 CHECK (uses_reserved >= 0);
ALTER TABLE data_key ADD COLUMN deactivated_at INTEGER;
-- Set together with an empty `sealed`: the key is gone, the row says that it was.
ALTER TABLE data_key ADD COLUMN destroyed_at INTEGER;
-- What a rewrap still has to do.
CREATE INDEX data_key_kek ON data_key (kek_label, kek_version);
-- What a new fingerprint key still has to do.
CREATE INDEX card_fingerprint_version ON card (fingerprint_version, tenant, token) WHERE fingerprint IS NOT NULL;

-- The fingerprint under the version before, until that version is retired: a gateway that has not yet heard of the
-- new version still finds the card's token.
ALTER TABLE card ADD COLUMN former_fingerprint BLOB;
ALTER TABLE card ADD COLUMN former_fingerprint_version INTEGER;
CREATE UNIQUE INDEX card_former_fingerprint ON card (tenant, former_fingerprint_version, former_fingerprint)
    WHERE former_fingerprint IS NOT NULL;

-- Which version of the HSM's key made the request's MAC: a retry after a rotation is still the same request.
ALTER TABLE idempotency ADD COLUMN request_mac_version INTEGER NOT NULL DEFAULT 1;

CREATE TABLE job (
    id           TEXT NOT NULL PRIMARY KEY,
    kind         TEXT NOT NULL,
    -- What it works on: an HSM key's label, or a tenant.
    subject      TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('running', 'paused', 'done', 'failed')),
    step         TEXT NOT NULL,
    from_version INTEGER,
    to_version   INTEGER,
    cursor       TEXT,
    done         INTEGER NOT NULL DEFAULT 0 CHECK (done >= 0),
    total        INTEGER NOT NULL DEFAULT 0 CHECK (total >= 0),
    reason       TEXT,
    -- The gateway run that works on it, and until when it is believed to.
    owner        TEXT,
    lease_until  INTEGER,
    requested_by TEXT NOT NULL,
    approved_by  TEXT,
    -- The agreement of two that it rests on, where it needs one.
    approval     TEXT UNIQUE,
    -- What it came to, as JSON: a destruction record, the settings to swap after a migration.
    outcome      TEXT,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    finished_at  INTEGER
) STRICT, WITHOUT ROWID;

-- Two that start the same job at once do the work once.
CREATE UNIQUE INDEX job_alone ON job (kind, subject) WHERE state IN ('running', 'paused');
CREATE INDEX job_listing ON job (created_at, id);

-- The HSM's own log, stored before the device is told to forget it.
CREATE TABLE device_log (
    -- The device's serial number.
    device   TEXT NOT NULL,
    seq      INTEGER NOT NULL CHECK (seq > 0),
    entry    BLOB NOT NULL,
    taken_at INTEGER NOT NULL,
    PRIMARY KEY (device, seq)
) STRICT, WITHOUT ROWID;

-- An act on keys that two people must agree to: bound to exactly this act, for a time, used once.
CREATE TABLE approval (
    id           TEXT NOT NULL PRIMARY KEY,
    act          TEXT NOT NULL,
    act_hash     BLOB NOT NULL CHECK (length(act_hash) = 32),
    state        TEXT NOT NULL CHECK (state IN ('open', 'used', 'rejected', 'expired')),
    reason       TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    approved_by  TEXT,
    -- The first officer's ticket of the device, where the device has officers; worth nothing without the second.
    ticket       BLOB,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    used_at      INTEGER
) STRICT, WITHOUT ROWID;

-- One open request for one act.
CREATE UNIQUE INDEX approval_open ON approval (act_hash) WHERE state = 'open';
