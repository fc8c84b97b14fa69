-- Accounts of people and their sessions. API keys stay in `credential`.

CREATE TABLE person (
    principal           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    role                TEXT COLLATE "C" NOT NULL,
    tenant              TEXT COLLATE "C",
    state               TEXT COLLATE "C" NOT NULL CHECK (state IN ('active', 'disabled')),
    -- Argon2id in PHC form, with its parameters.
    password_hash       TEXT COLLATE "C" NOT NULL,
    -- The hashes before it, one a line, the newest first.
    password_former     TEXT COLLATE "C" NOT NULL,
    -- A password that somebody else knows: it opens nothing but its own change.
    must_change         SMALLINT NOT NULL CHECK (must_change IN (0, 1)),
    -- Until when a password that must be changed, or an account without a second factor, can still be set up.
    setup_until         TIMESTAMPTZ,
    -- The secret of the authenticator app, sealed under a data key that the HSM sealed; never clear.
    factor              BYTEA,
    factor_kek_version  BIGINT,
    factor_since        TIMESTAMPTZ,
    -- One that waits for its first code.
    factor_pending      BYTEA,
    -- The last time step whose code was used: no code is taken twice.
    factor_step         BIGINT,
    -- Tries since the last success, counted before anything is compared.
    failures            BIGINT NOT NULL DEFAULT 0 CHECK (failures >= 0),
    locked_until        TIMESTAMPTZ,
    created_at          TIMESTAMPTZ NOT NULL,
    password_changed_at TIMESTAMPTZ NOT NULL,
    last_login_at       TIMESTAMPTZ
);

CREATE TABLE session (
    id               TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    principal        TEXT COLLATE "C" NOT NULL REFERENCES person (principal),
    hash             BYTEA NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    created_at       TIMESTAMPTZ NOT NULL,
    -- Written at most once a minute.
    last_seen        TIMESTAMPTZ NOT NULL,
    expires_at       TIMESTAMPTZ NOT NULL,
    ended_at         TIMESTAMPTZ,
    second_factor_at TIMESTAMPTZ
);

CREATE INDEX session_principal ON session (principal) WHERE ended_at IS NULL;
