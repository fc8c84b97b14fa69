-- Times are unix microseconds, money is whole minor units beside its currency.
-- STRICT everywhere: a column holds what it declares, or the write fails.

CREATE TABLE data_key (
    data_key_id BLOB NOT NULL PRIMARY KEY CHECK (length(data_key_id) = 16),
    tenant      TEXT NOT NULL,
    class       TEXT NOT NULL,
    epoch       INTEGER NOT NULL,
    status      TEXT NOT NULL,
    sealed      BLOB NOT NULL,
    kek_label   TEXT NOT NULL,
    kek_version INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    row_version INTEGER NOT NULL,
    UNIQUE (tenant, class, epoch)
) STRICT, WITHOUT ROWID;

CREATE TABLE card (
    tenant              TEXT NOT NULL,
    token               TEXT NOT NULL,
    fingerprint         BLOB,
    fingerprint_version INTEGER NOT NULL,
    reusable            INTEGER NOT NULL CHECK (reusable IN (0, 1)),
    envelope            BLOB,
    data_key_id         BLOB,
    brand               TEXT NOT NULL,
    last4               TEXT NOT NULL,
    exp_month           INTEGER NOT NULL,
    exp_year            INTEGER NOT NULL,
    format              TEXT NOT NULL,
    metadata            TEXT,
    created_at          INTEGER NOT NULL,
    expires_at          INTEGER,
    shredded_at         INTEGER,
    PRIMARY KEY (tenant, token)
) STRICT, WITHOUT ROWID;

-- One reusable token for one card of a tenant, whoever races.
CREATE UNIQUE INDEX card_reuse ON card (tenant, fingerprint_version, fingerprint)
    WHERE reusable = 1 AND shredded_at IS NULL;
-- Which records a data key still protects (rotation, destruction).
CREATE INDEX card_data_key ON card (data_key_id) WHERE data_key_id IS NOT NULL;

CREATE TABLE purpose (
    id           INTEGER PRIMARY KEY,
    tenant       TEXT NOT NULL,
    token        TEXT NOT NULL,
    kind         TEXT NOT NULL CHECK (kind IN ('open_payment', 'stored_card')),
    amount_minor INTEGER,
    currency     TEXT,
    request      TEXT NOT NULL,
    opened_at    INTEGER NOT NULL,
    expires_at   INTEGER,
    spent_by     TEXT
) STRICT;

CREATE INDEX purpose_token ON purpose (tenant, token);

CREATE TABLE idempotency (
    tenant          TEXT NOT NULL,
    principal       TEXT NOT NULL,
    endpoint        TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    request_mac     BLOB NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('running', 'done')),
    owner           TEXT NOT NULL,
    status          INTEGER,
    content_type    TEXT,
    body            BLOB,
    location        TEXT,
    created_at      INTEGER NOT NULL,
    done_at         INTEGER,
    PRIMARY KEY (tenant, principal, endpoint, idempotency_key)
) STRICT, WITHOUT ROWID;

CREATE TABLE charge (
    id                  TEXT NOT NULL PRIMARY KEY,
    tenant              TEXT NOT NULL,
    token               TEXT NOT NULL,
    brand               TEXT NOT NULL,
    last4               TEXT NOT NULL,
    amount_minor        INTEGER NOT NULL CHECK (amount_minor >= 0),
    currency            TEXT NOT NULL,
    captured_minor      INTEGER NOT NULL CHECK (captured_minor BETWEEN 0 AND amount_minor),
    refunded_minor      INTEGER NOT NULL CHECK (refunded_minor BETWEEN 0 AND captured_minor),
    status              TEXT NOT NULL,
    decline_code        TEXT,
    reference           TEXT,
    idempotency_key     TEXT NOT NULL,
    principal           TEXT NOT NULL,
    processor           TEXT NOT NULL,
    processor_reference TEXT,
    created_at          INTEGER NOT NULL,
    updated_at          INTEGER NOT NULL,
    UNIQUE (tenant, principal, idempotency_key)
) STRICT, WITHOUT ROWID;

CREATE TABLE refund (
    id                  TEXT NOT NULL PRIMARY KEY,
    tenant              TEXT NOT NULL,
    charge              TEXT NOT NULL REFERENCES charge (id),
    amount_minor        INTEGER NOT NULL CHECK (amount_minor >= 0),
    currency            TEXT NOT NULL,
    reason              TEXT NOT NULL,
    status              TEXT NOT NULL,
    requested_by        TEXT NOT NULL,
    approved_by         TEXT,
    act_hash            BLOB NOT NULL,
    processor_reference TEXT,
    created_at          INTEGER NOT NULL,
    updated_at          INTEGER NOT NULL,
    approval_expires_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX refund_charge ON refund (charge);

-- The embedded test processor's own books: what it did under which key, so that a retry changes nothing.
CREATE TABLE sandbox_book (
    idempotency_key TEXT NOT NULL PRIMARY KEY,
    kind            TEXT NOT NULL,
    amount_minor    INTEGER NOT NULL,
    currency        TEXT NOT NULL,
    outcome         TEXT NOT NULL,
    reference       TEXT NOT NULL,
    created_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE credential (
    id         TEXT NOT NULL PRIMARY KEY,
    principal  TEXT NOT NULL,
    role       TEXT NOT NULL,
    tenant     TEXT,
    hash       BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE audit_entry (
    log       TEXT NOT NULL,
    position  INTEGER NOT NULL CHECK (position >= 0),
    -- Repeats what the leaf says, so that one tenant's auditor can be shown that tenant's entries.
    tenant    TEXT,
    leaf      BLOB NOT NULL,
    leaf_hash BLOB NOT NULL CHECK (length(leaf_hash) = 32),
    PRIMARY KEY (log, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE setting (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
