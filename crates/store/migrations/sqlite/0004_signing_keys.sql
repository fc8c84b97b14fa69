-- The public half of every version of the signing keys. What a version signed is verified long after the version was
-- retired, destroyed, or left behind on another device, so no row is ever deleted.

CREATE TABLE signing_key (
    label      TEXT NOT NULL,
    -- A key goes on counting when it moves to another device, so a version is one key, wherever it is.
    version    INTEGER NOT NULL CHECK (version > 0),
    -- Serial number of the device that made it.
    device     TEXT NOT NULL,
    -- The byte that signed notes (C2SP) put before the public half to make a verifier key: 1 is Ed25519.
    algorithm  INTEGER NOT NULL CHECK (algorithm = 1),
    public     BLOB NOT NULL CHECK (length(public) = 32),
    first_seen INTEGER NOT NULL,
    -- Since when it signs nothing more: a newer version took over, or the device stopped it.
    ended      INTEGER,
    PRIMARY KEY (label, version)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER signing_key_stays BEFORE DELETE ON signing_key
BEGIN SELECT RAISE(ABORT, 'public halves of signing keys are kept for ever'); END;

CREATE TRIGGER signing_key_is_fixed BEFORE UPDATE OF label, version, device, algorithm, public, first_seen ON signing_key
BEGIN SELECT RAISE(ABORT, 'public halves of signing keys do not change'); END;
