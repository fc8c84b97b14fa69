-- Accounts of people and their sessions. API keys stay in `credential`.

CREATE TABLE person (
    principal           TEXT NOT NULL PRIMARY KEY,
    role                TEXT NOT NULL,
    tenant              TEXT,
    state               TEXT NOT NULL CHECK (state IN ('active', 'disabled')),
    -- Argon2id in PHC form, with its parameters.
    password_hash       TEXT NOT NULL,
    -- The hashes before it, one a line, the newest first.
    password_former     TEXT NOT NULL,
    -- A password that somebody else knows: it opens nothing but its own change.
    must_change         INTEGER NOT NULL CHECK (must_change IN (0, 1)),
    -- Until when a password that must be changed, or an account without a second factor, can still be set up.
    setup_until         INTEGER,
    -- The secret of the authenticator app, sealed under a data key that the HSM sealed; never clear.
    factor              BLOB,
    factor_kek_version  INTEGER,
    factor_since        INTEGER,
    -- One that waits for its first code.
    factor_pending      BLOB,
    -- The last time step whose code was used: no code is taken twice.
    factor_step         INTEGER,
    -- Tries since the last success, counted before anything is compared.
    failures            INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0),
    locked_until        INTEGER,
    created_at          INTEGER NOT NULL,
    password_changed_at INTEGER NOT NULL,
    last_login_at       INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE session (
    id               TEXT NOT NULL PRIMARY KEY,
    principal        TEXT NOT NULL REFERENCES person (principal),
    hash             BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    created_at       INTEGER NOT NULL,
    -- Written at most once a minute.
    last_seen        INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL,
    ended_at         INTEGER,
    second_factor_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX session_principal ON session (principal) WHERE ended_at IS NULL;
